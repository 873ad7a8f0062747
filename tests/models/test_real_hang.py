"""Real vLLM whose generating processes are frozen: its web server goes on saying 200."""

import asyncio
import os
import signal
import time
from contextlib import aclosing, suppress

import httpx
import pytest

from models.engine import Engine, EngineFailed, Message, Request, State
from tests.models.test_engine_faults import wait_for_state

SECONDS_MAX = 60
"""Far beyond the promise of 10 s (bench/RESULTS.md): machines of tests are slow now and then."""


def ask(max_tokens: int) -> Request:
    return Request(messages=(Message("user", "请详细介绍小区的绿化、停车、门禁和物业服务。"),), max_tokens=max_tokens)


def tell(pids: list[int], what: signal.Signals) -> None:
    for pid in pids:
        os.kill(pid, what)


async def frozen_after_first_token(engine: Engine, generators: list[int]) -> float:
    """How long it took until the engine was found to be frozen, in seconds."""
    frozen_at = None
    with suppress(EngineFailed):
        async with aclosing(engine.stream(ask(400))) as pieces:
            async for _ in pieces:
                if frozen_at is None:
                    tell(generators, signal.SIGSTOP)
                    frozen_at = time.monotonic()
        pytest.fail("a frozen engine's answer came to its end")
    assert frozen_at is not None, "it failed before it was frozen"
    return time.monotonic() - frozen_at


async def test_a_frozen_engine_is_found_by_its_silence_and_used_again_when_it_thaws(
    real_engine, connect, record_property
):
    if real_engine.pid is None:
        pytest.skip("the engine is somebody else's")
    engine = connect(real_engine.url, engine_state_seconds=0.2, breaker_open_seconds=0.5)
    await engine.complete(ask(16))
    generators = real_engine.generators()
    assert generators
    try:
        found = await frozen_after_first_token(engine, generators)
        assert found < SECONDS_MAX
        health = await asyncio.to_thread(httpx.get, f"{real_engine.url.removesuffix('/v1')}/health", timeout=10)
        assert health.status_code == httpx.codes.OK
        await wait_for_state(engine, State.FAILING, seconds=SECONDS_MAX)
    finally:
        tell(generators, signal.SIGCONT)
    thawed_at = time.monotonic()
    await wait_for_state(engine, State.READY, seconds=SECONDS_MAX)
    assert (await engine.complete(ask(8))).text
    used = time.monotonic() - thawed_at
    record_property("report", f"real vLLM frozen mid-answer: found after {found:.1f} s, used again {used:.1f} s after")
