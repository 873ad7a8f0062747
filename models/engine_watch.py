"""Watches one engine: is it there, what does it understand, does it still generate.

`/health` is asked often and cheaply, but vLLM answers 200 there also when it hangs. So while anything is owed to us a
guard waits for signs of life by the rule of `engine_pace.Pace`, and after quiet time one token is asked for as a test
(the canary), which is owed like any other.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx

from models.breaker import Breaker, Position
from models.engine import EngineBusy, EngineFailed, EngineSeen, EngineState, State
from models.engine_meters import Meters, read_meters
from models.engine_pace import LOOKS, Attention, Owed, Pace, PaceSettings

LOOK_WAIT_SECONDS = 0.25
"""A caller waits this long for a fresh look when there is an older one; degraded mode beats a late answer."""
METERS_SECONDS = 5.0
"""How old the engine's own figures may get before a look asks for them again."""
GUARD_PAUSE_SECONDS_MIN = 0.01
STATUS_FILE = "engine_status.json"
STATUS_FILE_SECONDS_MAX = 900
"""A status older than this was left behind by a `linli up` that is gone."""
DETAIL_CHARS_MAX = 300


class WatchSettings(PaceSettings, Protocol):
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


@dataclass(frozen=True, slots=True)
class Dialect:
    """What the server understands: vLLM's own fields (`vllm`, `priority`) and the model's name."""

    model: str
    vllm: bool
    priority: bool


class CanaryLate(EngineFailed):
    """The test token took longer than any answer may, while the engine gave signs of life."""


class EngineWatch:
    """Keeps the last look at the engine and renews it when asked; holds no connection of its own."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        url: str,
        settings: WatchSettings,
        breaker: Breaker,
        *,
        canary: Callable[[Dialect, Owed], Awaitable[None]],
        in_flight: Callable[[], int],
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
        self._looking: asyncio.Task[EngineState] | None = None
        self._testing: asyncio.Task[None] | None = None
        self._guarding: asyncio.Task[None] | None = None
        self._meters: Meters | None = None
        self._meters_at = 0.0
        self._tokens_per_second: float | None = None
        self._canary_seconds: float | None = None
        self._in_flight = in_flight
        self.others = 0
        """Requests of other processes at this engine, as of the last reading of its figures."""
        self._attention = Attention()
        self.pace = Pace(settings, now=self._attention)
        self.model_name = settings.engine_model

    async def look(self) -> EngineState:
        """The state with all slots free. Fresh within `engine_state_seconds`, or a moment's wait for a new look."""
        if self._begin_look():
            assert self._looking is not None
            if self._seen is None:
                await asyncio.shield(self._looking)
            else:
                await asyncio.wait([self._looking], timeout=LOOK_WAIT_SECONDS)
        return self._seen_and_tested().state

    def glance(self) -> EngineSeen:
        """The engine as it was last seen; a look or a test that is due begins, and nobody waits for it."""
        self._begin_look()
        return self._seen_and_tested()

    def _seen_and_tested(self) -> EngineSeen:
        seen, quiet = self.seen(), self.pace.now() - self.pace.sign_at
        if seen.state.state is State.FAILING and self._breaker.position is not Position.CLOSED:
            self._start_canary()
        elif seen.state.state is State.READY and not seen.in_flight and quiet > self._settings.engine_canary_seconds:
            # Only while nothing runs: then the tokens, or their absence, tell.
            self._start_canary()
        return seen

    def seen(self) -> EngineSeen:
        """The engine as it was last seen; asks nobody."""
        state = self._seen or EngineState(State.OFF, "Not asked yet.", 0)
        # Off or warming up says more than "it fails", and there is nobody to send a test to.
        if state.state is State.READY and self._breaker.position is not Position.CLOSED:
            state = EngineState(State.FAILING, f"The engine fails: {self._breaker.detail}", 0)
        meters, in_flight = self._meters, self._in_flight()
        return EngineSeen(
            name_of(self._url),
            replace(state, slots=max(0, state.slots - in_flight)),
            in_flight,
            running=meters.running if meters else None,
            waiting=meters.waiting if meters else None,
            tokens_per_second=self._tokens_per_second,
            prefix_cache_hits=meters.prefix_cache_hits if meters else None,
            prefix_cache_queries=meters.prefix_cache_queries if meters else None,
            breaker=self._breaker.position,
            canary_seconds=self._canary_seconds,
            detail=state.detail,
        )

    def _begin_look(self) -> bool:
        """Whether the last look is old, so that a new one is under way."""
        if self._seen is not None and time.monotonic() - self._seen_at < self._settings.engine_state_seconds:
            return False
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._renew())
        return True

    @contextmanager
    def owing(self, chars: int) -> Iterator[Owed]:
        """A request whose prompt has so many characters is at the engine; it is cut when the engine hangs."""
        owed = self.pace.owe(chars)
        if self._guarding is None or self._guarding.done():
            self._guarding = asyncio.create_task(self._guard())
        try:
            yield owed
        finally:
            self.pace.settle(owed)

    async def _guard(self) -> None:
        """Ends all waiting when the engine hangs. Costs nothing while tokens come: it wakes once in a while."""
        before: Meters | None = None
        pause_max = self._settings.engine_stall_seconds_min / LOOKS
        try:
            while self.pace.owed:
                patience, silence = self.pace.patience_seconds(), self.pace.silence_seconds()
                first_look = patience / LOOKS
                if silence < first_look:
                    before, left = None, first_look - silence
                else:
                    self._attention.expect(self._settings.engine_connect_seconds)
                    meters = await self._read_meters()
                    if before is not None and meters is not None and meters.progress != before.progress:
                        self.pace.sign()
                    elif self.pace.silence_seconds() >= patience:
                        self._hangs(silence)
                    before = meters or before
                    left = min(first_look, patience - silence) if silence < patience else first_look
                pause = max(GUARD_PAUSE_SECONDS_MIN, min(left, pause_max))
                self._attention.expect(pause)
                await asyncio.sleep(pause)
        finally:
            self._attention.rest()

    def _hangs(self, seconds: float) -> None:
        self._breaker.failed(f"It hangs: no sign of life for {seconds:.1f} s.", certain=True)
        self.forget()
        for owed in self.pace.owed:
            owed.cut()

    def alive_within(self, seconds: float) -> bool:
        """Whether some answer got a token that lately."""
        return self.pace.now() - self.pace.sign_at < seconds

    def forget(self) -> None:
        """A request failed: the next look is a fresh one, and another server may be listening by then."""
        self._seen_at = 0.0
        self._dialect = None

    def drop_priority(self) -> None:
        if self._dialect is not None:
            self._dialect = replace(self._dialect, priority=False)

    async def close(self) -> None:
        tasks = [task for task in (self._looking, self._testing, self._guarding) if task is not None]
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
            self.pace.forget()
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
                await self._look_at_meters()
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
        """One token as a test; a hung engine is the guard's to find, which then cuts the test as well."""
        started = time.monotonic()
        try:
            dialect = await self.dialect()
            with self.owing(0) as owed:
                await self._canary(dialect, owed)
                owed.token()
                owed.was_read(cached_share=0)
        except EngineBusy:
            # It refuses because it is full; that is life.
            self._breaker.leave()
        except CanaryLate:
            # Others get their tokens and our test waits behind them: busy, not hung.
            self._breaker.succeeded()
        except EngineFailed as error:
            self._breaker.failed(str(error), certain=True)
            self.forget()
        else:
            self._canary_seconds = time.monotonic() - started
            self._breaker.succeeded()
            self._seen_at = 0.0
        finally:
            self._breaker.leave()

    async def _look_at_meters(self) -> None:
        """Renews the engine's own figures when they are old."""
        passed = time.monotonic() - self._meters_at
        if passed < METERS_SECONDS:
            return
        before, self._meters = self._meters, await self._read_meters()
        self._meters_at = time.monotonic()
        if self._meters is None:
            self.others, self._tokens_per_second = 0, None
            return
        self.others = max(0, self._meters.running + self._meters.waiting - self._in_flight())
        if before is not None:
            self._tokens_per_second = max(0, self._meters.generated - before.generated) / passed

    async def _read_meters(self) -> Meters | None:
        """The engine's own figures; None where there are none to read."""
        try:
            return read_meters((await self._get(f"{self._root}/metrics")).text)
        except EngineFailed:
            return None


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
