"""Several engines as one: each request goes where its conversation went before, unless there it would wait.

Nothing is remembered: which engine a conversation prefers follows from its id and the engines' names alone, so every
process agrees, a dead engine's conversations spread over the others, and when it is back they come back.
"""

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Collection, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from hashlib import blake2b

from models.engine import Completion, Delta, Engine, EngineBusy, EngineFailed, EngineSeen, EngineState, Request, State
from models.structured import BadAnswer
from models.vllm_engine import RETRY_PAUSE_SECONDS, EngineClientSettings, EngineRefused, VllmEngine, complete_by

LOAD_SHARE_MAX = 1.25
"""A conversation keeps its engine up to this many times the mean load: a cached prefix is worth some waiting, not more.

Source: Mirrokni, Thorup, Zadimoghaddam, SODA 2018 (consistent hashing with bounded loads).
"""


def open_engine(settings: EngineClientSettings) -> Engine:
    """The engine that the settings name: a client of one URL, or a pool of several."""
    urls = list(dict.fromkeys(url.strip().rstrip("/") for url in settings.engine_url.split(",") if url.strip()))
    return EnginePool(settings, urls) if len(urls) > 1 else VllmEngine(settings, url="".join(urls))


@dataclass(frozen=True, slots=True)
class Standing:
    """An engine at the moment of a choice. `load`: requests there; `slots`: how many more this process may send."""

    name: str
    ready: bool
    load: int
    slots: int


def choose(standings: Sequence[Standing], *, session: str | None) -> Standing | None:
    """Where a request goes; None when no engine is ready.

    Its session's own engine, while that has a free slot and, with this request, at most LOAD_SHARE_MAX times the mean
    load (rounded up, so that an idle pool never breaks a session). Otherwise the least loaded of those with a free
    slot, or of all where none has one.
    """
    ready = [one for one in standings if one.ready]
    if not ready:
        return None
    free = [one for one in ready if one.slots > 0] or ready
    least = min(free, key=lambda one: one.load)
    if session is None:
        return least
    own = max(ready, key=lambda one: _weight(session, one.name))
    load_max = math.ceil(LOAD_SHARE_MAX * (sum(one.load for one in ready) + 1) / len(ready))
    return own if own in free and own.load < load_max else least


def _weight(session: str, name: str) -> bytes:
    """Rendezvous hashing: the engine with the greatest weight is the session's own.

    Source: Thaler, Ravishankar, IEEE/ACM ToN 1998 (highest random weight).
    """
    return blake2b(f"{session}\n{name}".encode(), digest_size=8).digest()


class EnginePool:
    """Implements `Engine` over one client for each URL. `model_name` is that of the first ready one."""

    def __init__(self, settings: EngineClientSettings, urls: Iterable[str]) -> None:
        self._settings = settings
        # Another engine is a better second try than the same one.
        self._clients = {url: VllmEngine(settings, url=url, attempts_max=1) for url in urls}
        self.model_name = settings.engine_model

    async def stream(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Pieces of the answer. Before the first one a failure is tried again at another engine, a refusal offered to
        those with free slots; after it never.

        Raises: EngineBusy when an engine is alive and none takes it, EngineFailed.
        """
        tries, started = Tries(), time.monotonic()
        while True:
            url = await self._next(request.session, tries)
            begun = False
            try:
                async with aclosing(self._clients[url].stream(request)) as pieces:
                    async for delta in pieces:
                        begun = True
                        yield delta
                return
            except EngineBusy as error:
                tries.refused(url, error)
            except (EngineRefused, BadAnswer):
                raise
            except EngineFailed as error:
                tries.failed(url, error)
                late = time.monotonic() - started > self._settings.engine_total_seconds
                if begun or late or tries.failures >= max(1, self._settings.engine_attempts_max):
                    raise

    async def complete(self, request: Request) -> Completion:
        """The whole answer; one that breaks its form is asked for once more. Raises EngineBusy, EngineFailed."""
        return await complete_by(self.stream, request)

    async def state(self) -> EngineState:
        """READY when any engine is, with the free slots of all that are. Waits for a look only when none seems ready.

        `detail` names no address: residents may read it.
        """
        seen = [one.state for one in await self._seen()]
        ready = [one for one in seen if one.state is State.READY]
        if ready:
            counted = f"{len(ready)} of {len(seen)} engines are ready."
            return EngineState(State.READY, counted, sum(one.slots for one in ready))
        order = (State.WARMING, State.FAILING, State.OFF)
        return min(seen, key=lambda one: order.index(one.state))

    def engines(self) -> list[EngineSeen]:
        """Each engine as it was last seen."""
        return [seen for client in self._clients.values() for seen in client.engines()]

    async def close(self) -> None:
        await asyncio.gather(*(client.close() for client in self._clients.values()))

    async def _seen(self) -> list[EngineSeen]:
        """All engines, looks that are due begun. A dead one makes nobody wait while another is ready."""
        clients = self._clients.values()
        seen = [client.glance() for client in clients]
        if not any(one.state.state is State.READY for one in seen):
            await asyncio.gather(*(client.state() for client in clients))
            seen = self.engines()
        for client, one in zip(clients, seen, strict=True):
            if one.state.state is State.READY:
                self.model_name = client.model_name
                break
        return seen

    async def _next(self, session: str | None, tries: "Tries") -> str:
        """The URL of the engine to try next; raises what the tries so far amount to when none is left."""
        chosen = choose(await self._standings(without=tries.at, full=tries.busy is None), session=session)
        if chosen is None and tries.error is not None and tries.busy is None:
            # Nobody else is there: the one that failed may have had a bad moment.
            await asyncio.sleep(RETRY_PAUSE_SECONDS)
            chosen = choose(await self._standings(), session=session)
        if chosen is None:
            raise tries.busy or tries.error or EngineFailed(f"None of {len(self._clients)} engines is ready.")
        return chosen.name

    async def _standings(self, *, without: Collection[str] = (), full: bool = True) -> list[Standing]:
        """Those that may be tried: not `without`, and those without a free slot only where `full` ones may."""
        seen = await self._seen()
        standings = [
            Standing(url, one.state.state is State.READY, client.load, one.state.slots)
            for (url, client), one in zip(self._clients.items(), seen, strict=True)
            if url not in without
        ]
        return [one for one in standings if full or one.slots > 0]


class Tries:
    """What became of one request so far: engines that refused or failed it, and the words of the last of each."""

    def __init__(self) -> None:
        self.at: set[str] = set()
        self.failures = 0
        self.busy: EngineBusy | None = None
        self.error: EngineFailed | None = None

    def refused(self, url: str, error: EngineBusy) -> None:
        """Of several refusals the one to come back to soonest counts."""
        self.at.add(url)
        if self.busy is None or error.retry_after_seconds < self.busy.retry_after_seconds:
            self.busy = error

    def failed(self, url: str, error: EngineFailed) -> None:
        self.at.add(url)
        self.failures += 1
        self.error = error
