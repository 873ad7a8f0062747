"""What the engine does for us, counted on the way: tokens, first tokens, prefix-cache hits."""

import time
from collections import deque
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager

from prometheus_client import Counter, Histogram

from models.engine import (
    Completion,
    Delta,
    Engine,
    EngineBusy,
    EngineFailed,
    EngineSeen,
    EngineState,
    Request,
    Usage,
)

TOKENS = Counter("linli_engine_tokens_total", "Tokens of prompts, those of them from the cache, and written.", ["kind"])
REQUESTS = Counter("linli_engine_requests_total", "Requests to the engine by how they ended.", ["outcome"])
FIRST_TOKEN_SECONDS = Histogram(
    "linli_engine_first_token_seconds", "Time from asking the engine to its first token.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 40, 90),
)  # fmt: skip
RATE_SECONDS = 10
"""Tokens a second are told over so many."""
WINDOW_SECONDS = 60
FIRST_TOKENS_MAX = 200
"""First tokens kept for quantiles: on a busy machine these are fewer than the window's, and the newest."""

for _kind in ("prompt", "cached", "completion"):
    TOKENS.labels(_kind)
for _outcome in ("done", "busy", "failed", "left"):
    REQUESTS.labels(_outcome)


class MeteredEngine:
    """An engine whose requests are counted; everything else passes through."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._seconds: deque[list[int]] = deque(maxlen=RATE_SECONDS + 1)
        self._first: deque[tuple[float, float]] = deque(maxlen=FIRST_TOKENS_MAX)

    @property
    def model_name(self) -> str:
        return self._engine.model_name

    @property
    def tokens_per_second(self) -> float:
        """Tokens that arrived in the last full seconds of the window; they are told before their request ends."""
        now = int(time.monotonic())
        return sum(n for second, n in self._seconds if now - RATE_SECONDS <= second < now) / RATE_SECONDS

    def first_tokens(self) -> list[float]:
        """The waits for a first token in the last minute, in seconds."""
        since = time.monotonic() - WINDOW_SECONDS
        return [seconds for at, seconds in self._first if at >= since]

    async def stream(self, request: Request) -> AsyncGenerator[Delta, None]:
        """As the engine's own. Raises: EngineBusy before the first piece, EngineFailed at any time."""
        started, pieces, usage = time.monotonic(), 0, None
        try:
            with _outcome_counted():
                async with aclosing(self._engine.stream(request)) as deltas:
                    async for delta in deltas:
                        if delta.text:
                            if pieces == 0:
                                self._saw_first(time.monotonic() - started)
                            pieces += 1
                            self._saw_tokens(1)
                        usage = delta.usage or usage
                        yield delta
        finally:
            # One that was left early tells no usage: what came is counted, about a token each.
            _count(usage or Usage(completion_tokens=pieces))

    async def complete(self, request: Request) -> Completion:
        """As the engine's own. Raises EngineBusy, EngineFailed."""
        with _outcome_counted():
            answer = await self._engine.complete(request)
        _count(answer.usage)
        self._saw_tokens(answer.usage.completion_tokens)
        return answer

    async def state(self) -> EngineState:
        return await self._engine.state()

    def engines(self) -> list[EngineSeen]:
        return self._engine.engines()

    async def close(self) -> None:
        await self._engine.close()

    def _saw_first(self, seconds: float) -> None:
        FIRST_TOKEN_SECONDS.observe(seconds)
        self._first.append((time.monotonic(), seconds))

    def _saw_tokens(self, number: int) -> None:
        second = int(time.monotonic())
        if self._seconds and self._seconds[-1][0] == second:
            self._seconds[-1][1] += number
        else:
            self._seconds.append([second, number])


@contextmanager
def _outcome_counted() -> Iterator[None]:
    outcome = "left"
    try:
        yield
        outcome = "done"
    except EngineBusy:
        outcome = "busy"
        raise
    except EngineFailed:
        outcome = "failed"
        raise
    finally:
        REQUESTS.labels(outcome).inc()


def _count(usage: Usage) -> None:
    TOKENS.labels("prompt").inc(usage.prompt_tokens)
    TOKENS.labels("cached").inc(usage.cached_tokens)
    TOKENS.labels("completion").inc(usage.completion_tokens)
