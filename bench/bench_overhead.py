"""What the way through Linli costs, beside the engine alone and beside the LiteLLM proxy.

The same questions at the same concurrency go straight to the engine, and through web, queue, worker and feed, all as
processes of their own over real Postgres and Valkey. The engine is `paced_engine`, on a fixed token schedule; with
`--real` it is vLLM with the small starter. Documents are not searched (`LINLI_RETRIEVAL=false`).

Run: .venv/bin/python -m bench.bench_overhead [--real] [--quick] [--only p1,p2,p3,p7] [--profile FOLDER]
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop

from bench.house import cpu_seconds_of, running
from bench.load import Side, one_by_one, quantile, requests_for, stream_rate, streams
from bench.overhead_real import cache_hits, real_first_token, real_throughput
from bench.overhead_setup import STREAMS, Bench, bare, opened, opened_real, spent
from bench.pairs import Ratio, Sample, compare, conditions, exactly, exit_status, goal, interval, table

PARTS = ("web", "worker", "valkey", "postgres")


async def throughput(bench: Bench, folder: Path) -> None:
    """P1: 64 streams at 20 tokens a second, and what each token costs on the way."""
    await bench.schedule(tokens=100, first=0.05, every=0.05)
    used, tokens = dict.fromkeys(PARTS, 0.0), 0

    async def ours() -> Sample:
        nonlocal tokens
        before = spent(bench, PARTS)
        heard = await streams(bench.linli, STREAMS)
        for name, seconds in spent(bench, PARTS).items():
            used[name] += seconds - before[name]
        tokens += sum(one.tokens for one in heard)
        return Sample(sum(one.tokens for one in heard), stream_rate(heard))

    async def alone() -> Sample:
        heard = await streams(bench.direct, STREAMS)
        return Sample(sum(one.tokens for one in heard), stream_rate(heard))

    seen = await compare({"engine alone": alone, "linli": ours}, pairs=bench.pairs, warm_ups=0)
    table(seen, unit="tokens/s", title="P1 64 streams at 20 tokens/s")
    goal("P1 throughput, linli / engine alone", seen["linli"], at_least=0.97)
    costs = ", ".join(f"{name} {seconds / tokens * 1000:.3f}" for name, seconds in used.items())
    print(f"   CPU seconds per 1,000 relayed tokens: {costs}")


async def first_token(bench: Bench, folder: Path) -> None:
    """P2: what the way through the house adds to the first token, idle and at 80 % of 64 streams."""
    await bench.schedule(tokens=8)
    before = spent(bench, PARTS)
    rounds = 30 * bench.pairs
    heard = await one_by_one([bench.direct, bench.linli, bench.native], rounds)
    alone = [one.first * 1000 for one in heard["engine"]]
    print(f"P2 first token of the engine alone, idle: p50 {statistics.median(alone):.2f} ms")
    for name, label in (("linli", "OpenAI door"), ("native", "own door")):
        added = [(one.first - other.first) * 1000 for one, other in zip(heard[name], heard["engine"], strict=True)]
        low, high = interval(added)
        middle = statistics.median(added)
        goal(f"P2 added first-token ms, idle, {label}, p50", Ratio(middle, low, high, 0.0, middle), at_most=3)
        goal(f"P2 the same, p99 of {len(added)} turns", exactly(quantile(added, 0.99)), at_most=10)
    turns = 2 * rounds
    costs = ", ".join(f"{n} {(now - before[n]) / turns * 1000:.1f}" for n, now in spent(bench, PARTS).items())
    print(f"   CPU ms per turn of 8 tokens: {costs}")
    await bench.schedule(tokens=60, first=0.2, every=0.05)

    def waiting(side: Side) -> Callable[[], Awaitable[Sample]]:
        async def run() -> Sample:
            heard = await streams(side, STREAMS * 4 // 5, spread_seconds=3.0)
            return Sample(len(heard), statistics.median(one.first for one in heard))

        return run

    sides = {"engine alone": waiting(bench.direct), "linli": waiting(bench.linli)}
    seen = await compare(sides, pairs=min(5, bench.pairs), warm_ups=0)
    table(seen, unit="s", title="P2 first token, 51 of 64 streams")
    goal("P2 first token at 80 % load, linli / engine alone", seen["linli"], at_most=1.05)


async def beside_litellm(bench: Bench, folder: Path) -> None:
    """P3: answers a second, and streams of 64 tokens a second, one web and one worker against one LiteLLM process."""
    assert bench.litellm is not None
    assert bench.litellm_child is not None
    peer, child = bench.litellm, bench.litellm_child
    for stream, tokens, label, least in ((False, 8, "short answers", 20), (True, 64, "streams of 64 tokens", 25)):
        await bench.schedule(tokens=tokens)
        cpu: dict[str, list[float]] = {"linli": [], "litellm": []}

        def asking(
            side: Side, stream: bool = stream, cpu: dict[str, list[float]] = cpu
        ) -> Callable[[], Awaitable[Sample]]:
            def used() -> float:
                return cpu_seconds_of(child.pid or 0) if side is peer else bench.built.cpu_seconds("web", "worker")

            async def run() -> Sample:
                before = used()
                rate, answered = await requests_for(side, 1.5, at_once=16, stream=stream)
                cpu[side.name].append((used() - before) / answered)
                return Sample(answered, rate)

            return run

        seen = await compare({"litellm": asking(peer), "linli": asking(bench.linli)}, pairs=bench.pairs)
        table(seen, unit="answers/s", title=f"P3 {label}")
        goal(f"P3 {label}/s, linli (one web, one worker) / one LiteLLM process", seen["linli"], at_least=least)
        ours, theirs = (statistics.median(cpu[name]) * 1000 for name in ("linli", "litellm"))
        print(f"   CPU ms an answer: web and worker {ours:.1f}, LiteLLM {theirs:.1f}: {theirs / ours:.1f} times")


async def relayed(bench: Bench, folder: Path) -> None:
    """P7: tokens relayed per CPU second, ours in frames against one event a token."""
    for every in (0.01, 0.05):
        count, pace = round(2 / every), f"64 streams at {1 / every:.0f} tokens/s"
        await bench.schedule(tokens=count, every=every)
        samples: dict[str, list[float]] = {"loop": [], "relay": [], "web": [], "web and worker": []}
        children = {
            name: bare(name, folder, engine_url=bench.engine_url, tokens=count, every=every)
            for name in ("loop", "relay")
        }
        with running(*(child for child, _ in children.values())):
            for number in range(-1, min(5, bench.pairs)):
                for name, (child, url) in children.items():
                    before = cpu_seconds_of(child.pid or 0)
                    heard = await streams(Side(name, url, "/", bench.direct.ask), STREAMS if number >= 0 else 8)
                    if number >= 0:
                        used = cpu_seconds_of(child.pid or 0) - before
                        samples[name].append(sum(one.tokens for one in heard) / used)
                if number >= 0:
                    seconds = spent(bench, ("web", "worker"))
                    tokens = sum(one.tokens for one in await streams(bench.linli, STREAMS))
                    web, worker = (now - seconds[name] for name, now in spent(bench, ("web", "worker")).items())
                    samples["web"].append(tokens / web)
                    samples["web and worker"].append(tokens / (web + worker))
        print(
            f"P7 {pace}, tokens per CPU second: "
            + ", ".join(f"{n} {statistics.median(v):.0f}" for n, v in samples.items())
        )
        goal(f"P7 web / bare SSE loop, {pace}", share(samples, "web", "loop"), at_least=1.5)
        goal(
            f"P7 web and worker / bare relay of the engine, {pace}",
            share(samples, "web and worker", "relay"),
            at_least=1.5,
        )


def share(samples: dict[str, list[float]], ours: str, theirs: str) -> Ratio:
    ratios = [a / b for a, b in zip(samples[ours], samples[theirs], strict=True)]
    return Ratio(statistics.median(ratios), *interval(ratios), cpu_ratio=0.0)


async def main(options: argparse.Namespace) -> None:
    conditions()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.real:
            async with opened_real(folder, options) as bench:
                for part, measure in {"p2": real_first_token, "p1": real_throughput, "p9": cache_hits}.items():
                    if part in options.only:
                        await measure(bench)
        else:
            runs = {"p2": first_token, "p1": throughput, "p7": relayed, "p3": beside_litellm}
            async with opened(folder, options) as bench:
                for part, run in runs.items():
                    if part in options.only:
                        await run(bench, folder)
    conditions()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", action="store_true", help="in front of vLLM in place of the paced engine")
    parser.add_argument("--quick", action="store_true", help="three pairs in place of seven")
    parser.add_argument("--only", default="p1,p2,p3,p7,p9", type=lambda text: text.split(","))
    parser.add_argument("--profile", type=Path, help="folder for the findings of cProfile in web and worker")
    given = parser.parse_args()
    given.pairs = 3 if given.quick else 7
    uvloop.run(main(given))
    sys.exit(exit_status())
