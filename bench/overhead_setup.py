"""What `bench_overhead` runs against: an engine, Linli in front of it, LiteLLM in front of it."""

import argparse
import asyncio
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from app.chat import prompt
from app.children import Child
from app.settings import Settings
from bench import litellm_peer, paced_engine
from bench.house import ROOT, House, answers, free_port, house, module, running
from bench.load import Side, one_by_one
from models.starter import cache_dir, has_gpu, prepare, prepare_environment, serve_command

STREAMS = 64
COMMUNITY = "桃源里"
REAL_TOKENS = 48


@dataclass
class Bench:
    """Everything that runs."""

    built: House
    engine: Child
    engine_url: str
    direct: Side
    linli: Side
    native: Side
    litellm: Side | None
    litellm_child: Child | None
    pairs: int

    async def schedule(self, **how: float) -> None:
        """How the paced engine answers from now on."""
        connection = await self.direct.connect()
        await connection.post("/schedule", how)
        connection.close()

    def pids(self, *names: str) -> list[int]:
        return [self.built.parts[name].pid or 0 for name in names]


def sides(built: House, engine_url: str, model: str, *, tokens: int) -> tuple[Side, Side, Side]:
    """Engine alone, the OpenAI door, and Linli's own door. The engine alone is asked in the very words Linli uses."""

    def to_engine(question: str, stream: bool) -> dict[str, Any]:
        messages = prompt.build(community=COMMUNITY, language="en", history=[], sources=[], question=question)
        body: dict[str, Any] = {
            "model": model,
            "messages": [{"role": m.role, "content": m.content} for m in messages],
            "max_tokens": tokens,
            "temperature": 0,
            "stream": stream,
        }
        return {**body, "stream_options": {"include_usage": True}} if stream else body

    def to_linli(question: str, stream: bool) -> dict[str, Any]:
        body: dict[str, Any] = {"model": "linli", "messages": [{"role": "user", "content": question}], "stream": stream}
        return {**body, "stream_options": {"include_usage": True}} if stream else body

    native = {**built.headers, "accept": "text/event-stream"}
    return (
        Side("engine", engine_url.removesuffix("/v1"), "/v1/chat/completions", to_engine),
        Side("linli", built.url, "/v1/chat/completions", to_linli, built.headers),
        Side("native", built.url, "/api/v1/me/turns", lambda text, _: {"text": text}, native, b"event: done"),
    )


@asynccontextmanager
async def opened(folder: Path, options: argparse.Namespace) -> AsyncIterator[Bench]:
    """The paced engine, Linli and, for P3, LiteLLM, all up and asked once."""
    port = free_port()
    engine = Child("engine", module("bench.paced_engine", "--port", str(port)), folder / "engine.log")
    engine.environment = own_environment()
    engine.is_ready = answers(f"http://127.0.0.1:{port}/health")
    url, slots = f"http://127.0.0.1:{port}/v1", 2 * STREAMS
    parts, peer, litellm = [engine], None, None
    if "p3" in options.only:
        peer, peer_url, key = litellm_peer.peer(folder, engine_url=url, model=paced_engine.MODEL)
        parts.append(peer)
    with running(*parts):
        async with house(
            folder, engine_url=url, profile=options.profile, retrieval=False, worker_slots_max=slots,
            engine_slots_max=slots,
        ) as (built, _):  # fmt: skip
            direct, linli, native = sides(built, url, paced_engine.MODEL, tokens=400)
            if peer is not None:
                litellm = Side("litellm", peer_url, direct.path, direct.ask, {"authorization": f"Bearer {key}"})
            bench = Bench(built, engine, url, direct, linli, native, litellm, peer, options.pairs)
            await bench.schedule(tokens=8)
            await one_by_one([direct, linli, native, *([litellm] if litellm else [])], 12)
            yield bench


@asynccontextmanager
async def opened_real(folder: Path, options: argparse.Namespace) -> AsyncIterator[Bench]:
    """vLLM with the small starter and Linli in front of it. What is absent is installed: minutes on first use."""

    def quiet(stage: str, fraction: float) -> None:
        pass

    python = await asyncio.to_thread(prepare_environment, cache_dir(), quiet, gpu=has_gpu())
    checkpoint = await asyncio.to_thread(prepare, "starter-0.5b", cache_dir(), quiet, python=python)
    port = free_port()
    plain: dict[str, Any] = {"data_dir": folder}
    argv, environment = serve_command(python, checkpoint, port, Settings(_env_file=None, **plain), gpu=has_gpu())
    engine = Child("vllm", argv, folder / "vllm.log", environment=environment, guard_seconds=10)
    engine.is_ready = answers(f"http://127.0.0.1:{port}/health")
    url = f"http://127.0.0.1:{port}/v1"
    with running(engine, seconds=300):
        async with house(
            folder, engine_url=url, profile=options.profile, retrieval=False, answer_tokens_max=REAL_TOKENS
        ) as (built, _):
            found = sides(built, url, await model_of(url), tokens=REAL_TOKENS)
            direct, linli, native = (replace(side, reads=True) for side in found)
            bench = Bench(built, engine, url, direct, linli, native, None, None, options.pairs)
            await one_by_one([direct, linli], 2)
            yield bench


async def model_of(engine_url: str) -> str:
    """The name of the first model that an engine lists."""
    import httpx

    async with httpx.AsyncClient(trust_env=False) as client:
        return str((await client.get(f"{engine_url}/models")).json()["data"][0]["id"])


def bare(name: str, folder: Path, *, engine_url: str, tokens: int, every: float) -> tuple[Child, str]:
    """A bare SSE loop of `bare_sse` (not started yet) and its address."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", f"bench.bare_sse:{name}", "--port", str(port), "--no-access-log"]
    wanted = {"ENGINE_URL": engine_url, "TOKENS": str(tokens), "EVERY": str(every)}
    child = Child(name, command, folder / f"{name}.log", environment={**own_environment(), **wanted})
    child.is_ready = answers(f"http://127.0.0.1:{port}/")
    return child, f"http://127.0.0.1:{port}"


def own_environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def spent(bench: Bench, names: Sequence[str]) -> dict[str, float]:
    """CPU seconds by part, so far."""
    return {name: bench.built.cpu_seconds(name) for name in names}
