"""Watches one engine: is it there, what does it understand, does it still generate.

`/health` is asked often and cheaply, but vLLM answers 200 there also when it hangs. So after quiet time one token
is asked for as a test (the canary), and tokens of real answers count as signs of life.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx

from models.breaker import Breaker, Position
from models.engine import EngineBusy, EngineFailed, EngineSeen, EngineState, State

LOOK_WAIT_SECONDS = 0.25
"""A caller waits this long for a fresh look when there is an older one; degraded mode beats a late answer."""
STATUS_FILE = "engine_status.json"
STATUS_FILE_SECONDS_MAX = 900
"""A status older than this was left behind by a `linli up` that is gone."""
DETAIL_CHARS_MAX = 300


class WatchSettings(Protocol):
    """The settings the watch needs."""

    @property
    def data_dir(self) -> Path: ...
    @property
    def engine_kind(self) -> str: ...
    @property
    def engine_model(self) -> str: ...
    @property
    def engine_slots_max(self) -> int: ...
    @property
    def engine_connect_seconds(self) -> float: ...
    @property
    def engine_state_seconds(self) -> float: ...
    @property
    def engine_canary_seconds(self) -> float: ...
    @property
    def engine_canary_wait_seconds(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Dialect:
    """What the server understands: vLLM's own fields (`vllm`, `priority`) and the model's name."""

    model: str
    vllm: bool
    priority: bool


class EngineWatch:
    """Keeps the last look at the engine and renews it when asked; holds no connection of its own."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        url: str,
        settings: WatchSettings,
        breaker: Breaker,
        *,
        canary: Callable[[Dialect, float], Awaitable[None]],
    ) -> None:
        self._http = http
        self._url = url
        self._root = url.removesuffix("/v1")
        self._settings = settings
        self._breaker = breaker
        self._canary = canary
        self._dialect: Dialect | None = None
        self._seen: EngineState | None = None
        self._seen_at = 0.0
        self._alive_at = 0.0
        self._looking: asyncio.Task[EngineState] | None = None
        self._testing: asyncio.Task[None] | None = None
        self.model_name = settings.engine_model

    async def look(self, *, busy: bool) -> EngineState:
        """The state with all slots free. Fresh within `engine_state_seconds`, or a moment's wait for a new look."""
        seen = await self._look()
        if seen.state is not State.READY:
            # Off or warming up says more than "it fails", and there is nobody to send a test to.
            return seen
        if self._breaker.position is not Position.CLOSED:
            self._start_canary()
            return self._failing()
        quiet = time.monotonic() - self._alive_at
        if not busy and quiet > self._settings.engine_canary_seconds:
            self._start_canary()
        return seen

    async def _look(self) -> EngineState:
        fresh = time.monotonic() - self._seen_at < self._settings.engine_state_seconds
        if self._seen is None or not fresh:
            if self._looking is None or self._looking.done():
                self._looking = asyncio.create_task(self._renew())
            if self._seen is None:
                return await asyncio.shield(self._looking)
            await asyncio.wait([self._looking], timeout=LOOK_WAIT_SECONDS)
        return self._seen

    def seen(self, *, in_flight: int) -> EngineSeen:
        """The engine as it was last seen; asks nobody."""
        state = self._seen or EngineState(State.OFF, "Not asked yet.", 0)
        if state.state is State.READY and self._breaker.position is not Position.CLOSED:
            state = self._failing()
        state = replace(state, slots=max(0, state.slots - in_flight))
        return EngineSeen(name_of(self._url), state, in_flight, breaker=self._breaker.position, detail=state.detail)

    def _failing(self) -> EngineState:
        return EngineState(State.FAILING, f"The engine fails: {self._breaker.detail}", 0)

    def saw_life(self) -> None:
        """A token came: the engine generates."""
        self._alive_at = time.monotonic()

    def alive_within(self, seconds: float) -> bool:
        """Whether some answer got a token that lately."""
        return time.monotonic() - self._alive_at < seconds

    def forget(self) -> None:
        """A request failed: the next look is a fresh one, and another server may be listening by then."""
        self._seen_at = 0.0
        self._dialect = None

    def drop_priority(self) -> None:
        if self._dialect is not None:
            self._dialect = replace(self._dialect, priority=False)

    async def close(self) -> None:
        tasks = [task for task in (self._looking, self._testing) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def dialect(self) -> Dialect:
        """What the server understands; asked once per server. Raises EngineFailed when it cannot be reached."""
        if self._dialect is None:
            vllm = self._settings.engine_kind == "vllm"
            if self._settings.engine_kind == "auto":
                version = await self._get(f"{self._root}/version")
                vllm = version.status_code == httpx.codes.OK and "version" in _json(version)
            model = self._settings.engine_model or await self._first_model()
            self.model_name = model
            self._dialect = Dialect(model, vllm, priority=vllm)
        return self._dialect

    async def _first_model(self) -> str:
        listed = await self._get(f"{self._url}/models")
        if listed.status_code != httpx.codes.OK:
            raise EngineFailed(f"The engine lists no models: {await refusal(listed)}")
        data = _json(listed).get("data")
        if not isinstance(data, list) or not data or not isinstance(data[0], dict) or not data[0].get("id"):
            raise EngineFailed("The engine lists no models.")
        return str(data[0]["id"])

    async def _get(self, url: str) -> httpx.Response:
        try:
            async with asyncio.timeout(self._settings.engine_connect_seconds):
                return await self._http.get(url)
        except (TimeoutError, httpx.HTTPError, httpx.InvalidURL) as error:
            raise EngineFailed(f"The engine cannot be reached: {error!r}") from error

    async def _renew(self) -> EngineState:
        before, self._seen = self._seen, await self._ask_health()
        if before is not None and before.state is not State.READY and self._seen.state is State.READY:
            # It was away and is back: what failed before says nothing about it now.
            self._breaker.ripen()
        self._seen_at = time.monotonic()
        return self._seen

    async def _ask_health(self) -> EngineState:
        status = read_status(self._settings.data_dir / STATUS_FILE)
        if not self._url:
            return status or EngineState(State.OFF, "No engine is configured.", 0)
        try:
            dialect = await self.dialect()
            if dialect.vllm or self._settings.engine_kind == "auto":
                health = await self._get(f"{self._root}/health")
                # A plain server has no /health; that it listed its models is as much as it says.
                if health.status_code not in (httpx.codes.OK, httpx.codes.NOT_FOUND):
                    return EngineState(State.FAILING, f"The engine says it is unwell: {await refusal(health)}", 0)
            else:
                await self._get(f"{self._url}/models")
        except EngineFailed as error:
            self._dialect = None
            return status or EngineState(State.OFF, str(error), 0)
        return EngineState(State.READY, f"{dialect.model} is ready.", self._settings.engine_slots_max)

    def _start_canary(self) -> None:
        if (self._testing is None or self._testing.done()) and self._breaker.enter():
            self._testing = asyncio.create_task(self._test())

    async def _test(self) -> None:
        before = await self._tokens_generated()
        try:
            await self._canary(await self.dialect(), self._settings.engine_canary_wait_seconds)
        except EngineBusy:
            # It refuses because it is full; that is life.
            self._breaker.leave()
        except EngineFailed as error:
            after = await self._tokens_generated()
            if before is not None and after is not None and after > before:
                # Others get their tokens and our test waits behind them: busy, not hung.
                self._breaker.succeeded()
            else:
                self._breaker.failed(str(error), certain=True)
                self.forget()
        else:
            self.saw_life()
            self._breaker.succeeded()
            self._seen_at = 0.0
        finally:
            self._breaker.leave()

    async def _tokens_generated(self) -> float | None:
        """vLLM's own count of generated tokens; None where there is none to read."""
        try:
            metrics = await self._get(f"{self._root}/metrics")
        except EngineFailed:
            return None
        counts = [
            float(line.rsplit(" ", 1)[1])
            for line in metrics.text.splitlines()
            if line.startswith("vllm:generation_tokens_total")
        ]
        return sum(counts) if counts else None


def name_of(url: str) -> str:
    """What people call the engine at this URL: host:port, without credentials; "engine" while none is configured."""
    parts = urlsplit(url)
    port = parts.port or {"https": 443}.get(parts.scheme, 80)
    return f"{parts.hostname}:{port}" if parts.hostname else "engine"


def read_status(path: Path) -> EngineState | None:
    """What `linli up` wrote about an engine it is still preparing; None when there is nothing current."""
    try:
        age = time.time() - path.stat().st_mtime
        status = json.loads(path.read_text())
        state, detail = status["state"], str(status.get("detail", ""))
        percent = status.get("percent")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    if age > STATUS_FILE_SECONDS_MAX:
        return None
    if state == State.WARMING:
        shown = f"{detail} ({percent:.0f}%)" if isinstance(percent, int | float) else detail
        return EngineState(State.WARMING, shown, 0)
    if state in (State.FAILING, State.OFF):
        return EngineState(State.OFF, detail, 0)
    return None


async def refusal(response: httpx.Response) -> str:
    """The server's own words for a refusal, short."""
    try:
        await response.aread()
    except httpx.HTTPError:
        return f"HTTP {response.status_code}"
    error = _json(response).get("error")
    text = error.get("message") if isinstance(error, dict) else response.text
    return f"{text or response.reason_phrase}"[:DETAIL_CHARS_MAX]


def _json(response: httpx.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
