"""What the way through Linli costs, beside the engine alone and beside the LiteLLM proxy.

The same questions at the same concurrency go straight to the engine, and through web, queue, worker and feed, all as
processes of their own over real Postgres and Valkey. The engine is `paced_engine`, on a fixed token schedule; with
`--real` it is vLLM with the small starter. Documents are not searched (`LINLI_RETRIEVAL=false`).

Run: .venv/bin/python -m bench.bench_overhead [--real] [--quick] [--only NAME,…] [--profile FOLDER]
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from app.chat import prompt
from app.children import Child
from bench import bare_sse, litellm_peer, paced_engine
from bench.house import House, answers, cpu_seconds_of, free_port, house, load, module, running
from bench.load import Interval, Side, interval, one_by_one, paired, quantile, requests_for, show, stream_rate, streams

STREAMS = 64
TOKENS_MAX = 400


@dataclass
class Bench:
    """Everything that runs, and the table as it grows."""

    built: House
    engine: Child
    direct: Side
    linli: Side
    native: Side
    litellm: Side | None
    litellm_child: Child | None
    pairs: int
    rows: list[tuple[str, ...]] = field(default_factory=list)

    async def schedule(self, **how: float) -> None:
        """How the engine answers from now on."""
        connection = await self.direct.connect()
        await connection.post("/schedule", how)
        connection.close()

    def row(self, name: str, figure: str, goal: str = "", verdict: str = "") -> None:
        self.rows.append((name, figure, goal, verdict))
        print(f"{name:58} {figure:34} {goal:14} {verdict}", flush=True)

    def judge(self, name: str, seen: Interval, goal: float, *, least: bool, note: str = "") -> None:
        """A row with its verdict: met or not met only when the whole interval says so."""
        good = seen.low >= goal if least else seen.high <= goal
        bad = seen.high < goal if least else seen.low > goal
        verdict = "met" if good else "not met" if bad else "undecided"
        self.row(name, f"{seen}{note}", f"{'>=' if least else '<='} {goal:g}", verdict)


def sides(built: House, engine_url: str, model: str, *, community: str) -> tuple[Side, Side, Side]:
    """Engine alone, the OpenAI door, and Linli's own door. The engine alone is asked in the very words Linli uses."""

    def to_engine(question: str, stream: bool) -> dict[str, Any]:
        messages = prompt.build(community=community, language="en", history=[], sources=[], question=question)
        body: dict[str, Any] = {
            "model": model,
            "messages": [{"role": m.role, "content": m.content} for m in messages],
            "max_tokens": TOKENS_MAX,
            "temperature": 0,
            "stream": stream,
        }
        return {**body, "stream_options": {"include_usage": True}} if stream else body

    def to_linli(question: str, stream: bool) -> dict[str, Any]:
        return {"model": "linli", "messages": [{"role": "user", "content": question}], "stream": stream}

    native = {**built.headers, "accept": "text/event-stream"}
    return (
        Side("engine", engine_url.removesuffix("/v1"), "/v1/chat/completions", to_engine),
        Side("linli", built.url, "/v1/chat/completions", to_linli, built.headers),
        Side("native", built.url, "/api/v1/me/turns", lambda text, _: {"text": text}, native, b"event: done"),
    )


@asynccontextmanager
async def opened(folder: Path, options: argparse.Namespace) -> AsyncIterator[Bench]:
    """The engine, Linli and LiteLLM, all up and asked once."""
    port = free_port()
    engine = Child("engine", module("bench.paced_engine", "--port", str(port)), folder / "engine.log")
    engine.is_ready = answers(f"http://127.0.0.1:{port}/health")
    url, slots = f"http://127.0.0.1:{port}/v1", 2 * STREAMS
    peer, peer_url, peer_key = litellm_peer.peer(folder, engine_url=url, model=paced_engine.MODEL)
    parts = [engine] if "p3" not in options.only else [engine, peer]
    with running(*parts):
        async with house(
            folder, engine_url=url, profile=options.profile, retrieval=False, worker_slots_max=slots,
            engine_slots_max=slots,
        ) as (built, _):  # fmt: skip
            direct, linli, native = sides(built, url, paced_engine.MODEL, community="桃源里")
            litellm = Side("litellm", peer_url, direct.path, direct.ask, {"authorization": f"Bearer {peer_key}"})
            bench = Bench(
                built, engine, direct, linli, native, litellm if peer in parts else None, peer, options.pairs
            )
            await bench.schedule(tokens=8)
            await one_by_one([direct, linli, native, *([litellm] if peer in parts else [])], 12)
            yield bench


async def throughput(bench: Bench) -> None:
    """P1: 64 streams at 20 tokens a second, and what each token costs on the way."""
    await bench.schedule(tokens=100, first=0.05, every=0.05)
    names, spent = ("web", "worker", "valkey", "postgres"), dict.fromkeys(("web", "worker", "valkey", "postgres"), 0.0)
    tokens = 0

    async def ours() -> float:
        nonlocal tokens
        before = {name: bench.built.cpu_seconds(name) for name in names}
        heard = await streams(bench.linli, STREAMS)
        for name in names:
            spent[name] += bench.built.cpu_seconds(name) - before[name]
        tokens += sum(one.tokens for one in heard)
        return stream_rate(heard)

    async def theirs() -> float:
        return stream_rate(await streams(bench.direct, STREAMS))

    ratio, rate, direct = await paired(ours, theirs, bench.pairs)
    note = f"  ({rate:.0f} of {direct:.0f} tokens/s)"
    bench.judge("P1 throughput / engine alone, 64 streams at 20 tokens/s", ratio, 0.97, least=True, note=note)
    for name in names:
        bench.row(f"   CPU seconds per 1,000 relayed tokens, {name}", show(spent[name] / tokens * 1000))


async def first_token(bench: Bench) -> None:
    """P2: what the way through the house adds to the first token, idle and at 80 % of 64 streams."""
    await bench.schedule(tokens=8)
    heard = await one_by_one([bench.direct, bench.linli, bench.native], 30 * bench.pairs)
    alone = [one.first * 1000 for one in heard["engine"]]
    bench.row("   first token of the engine alone, idle, p50 ms", show(statistics.median(alone)))
    for name, label in (("linli", "OpenAI door"), ("native", "own door")):
        added = [(one.first - other.first) * 1000 for one, other in zip(heard[name], heard["engine"], strict=True)]
        bench.judge(f"P2 added first-token time, idle, {label}, p50 ms", interval(added), 3, least=False)
        tail = quantile(added, 0.99)
        bench.row(f"P2 the same, p99 ms ({len(added)} turns)", show(tail), "<= 10", "met" if tail <= 10 else "not met")
    await bench.schedule(tokens=60, first=0.2, every=0.05)
    busy = STREAMS * 4 // 5

    async def median_first(side: Side) -> float:
        return statistics.median(one.first for one in await streams(side, busy, answers=1, spread_seconds=3.0))

    ratio, ours, direct = await paired(
        lambda: median_first(bench.linli), lambda: median_first(bench.direct), min(5, bench.pairs)
    )
    note = f"  ({ours * 1000:.0f} / {direct * 1000:.0f} ms)"
    bench.judge("P2 first token / engine alone, 51 of 64 streams busy", ratio, 1.05, least=False, note=note)


async def beside_litellm(bench: Bench) -> None:
    """P3: answers a second, and streams of 64 tokens a second, one web and one worker against one LiteLLM process."""
    assert bench.litellm is not None
    assert bench.litellm_child is not None
    for stream, tokens, label, goal in ((False, 8, "short answers/s", 20), (True, 64, "streams of 64 tokens/s", 25)):
        await bench.schedule(tokens=tokens)
        cpu = {"linli": [0.0, 0.0], "litellm": [0.0, 0.0]}

        async def rate(side: Side, stream: bool = stream, cpu: dict[str, list[float]] = cpu) -> float:
            def used() -> float:
                if side is bench.litellm and bench.litellm_child is not None:
                    return cpu_seconds_of(bench.litellm_child.pid or 0)
                return bench.built.cpu_seconds("web", "worker")

            before, started = used(), time.perf_counter()
            seen = await requests_for(side, 1.5, at_once=16, stream=stream)
            cpu[side.name][0] += used() - before
            cpu[side.name][1] += seen * (time.perf_counter() - started)
            return seen

        peer = bench.litellm
        ratio, ours, theirs = await paired(lambda rate=rate: rate(bench.linli), lambda rate=rate: rate(peer), bench.pairs)  # type: ignore[misc]
        note = f"  ({ours:.0f} / {theirs:.1f})"
        bench.judge(f"P3 {label}, ours / LiteLLM", ratio, goal, least=True, note=note)
        costs = {name: spent / max(1.0, done) * 1000 for name, (spent, done) in cpu.items()}
        figure = f"{show(costs['linli'])} / {show(costs['litellm'])}  ({costs['litellm'] / costs['linli']:.1f} times)"
        bench.row("   CPU ms an answer, web and worker / LiteLLM", figure)


async def relayed(bench: Bench, folder: Path) -> None:
    """P7: tokens relayed per CPU second, ours by frames against one event a token."""
    for every in (0.01, 0.05):
        count = round(2 / every)
        await bench.schedule(tokens=count, every=every)
        bare: dict[str, float] = {}
        for name in ("loop", "relay"):
            port = free_port()
            command = [sys.executable, "-m", "uvicorn", f"bench.bare_sse:{name}", "--port", str(port), "--no-access-log"]
            environment = {**bare_environment(), "ENGINE_URL": f"{bench.direct.url}/v1", "TOKENS": str(count)}
            child = Child(name, command, folder / f"{name}.log", environment=environment | {"EVERY": str(every)})
            child.is_ready = answers(f"http://127.0.0.1:{port}/")
            with running(child):
                side = Side(name, f"http://127.0.0.1:{port}", "/", bench.direct.ask)
                await streams(side, 8)
                before = cpu_seconds_of(child.pid or 0)
                heard = await streams(side, STREAMS)
                bare[name] = sum(one.tokens for one in heard) / (cpu_seconds_of(child.pid or 0) - before)
        rates: dict[str, list[float]] = {"web": [], "both": []}
        for _ in range(min(3, bench.pairs)):
            before = {name: bench.built.cpu_seconds(name) for name in ("web", "worker")}
            tokens = sum(one.tokens for one in await streams(bench.linli, STREAMS))
            used = {name: bench.built.cpu_seconds(name) - before[name] for name in before}
            rates["web"].append(tokens / used["web"])
            rates["both"].append(tokens / sum(used.values()))
        pace = f"64 streams at {1 / every:.0f} tokens/s"
        ratios = [rate / bare["loop"] for rate in rates["web"]]
        seen = Interval(statistics.median(ratios), min(ratios), max(ratios))
        note = f"  ({statistics.median(rates['web']):.0f} / {bare['loop']:.0f} a CPU second)"
        bench.judge(f"P7 web / bare SSE loop, {pace}", seen, 1.5, least=True, note=note)
        ratios = [rate / bare["relay"] for rate in rates["both"]]
        seen = Interval(statistics.median(ratios), min(ratios), max(ratios))
        bench.row(f"   web and worker / bare relay, {pace}", f"{seen}  ({bare['relay']:.0f})")


def bare_environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(bare_sse.__file__).parent.parent)}


async def main(options: argparse.Namespace) -> None:
    print(f"bench_overhead, {load()}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with opened(folder, options) as bench:
            for part, run in (("p2", first_token), ("p1", throughput), ("p3", beside_litellm)):
                if part in options.only:
                    await run(bench)
            if "p7" in options.only:
                await relayed(bench, folder)
    print(f"done, {load()}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="p1,p2,p3,p7", type=lambda text: text.split(","))
    parser.add_argument("--profile", type=Path, help="folder for the findings of cProfile in web and worker")
    given = parser.parse_args()
    given.pairs = 3 if given.quick else 7
    uvloop.run(main(given))
