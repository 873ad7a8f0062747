"""The real queue on a real Valkey, driven through hours of made-up load in seconds: only the clock is ours."""

import heapq
import itertools
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from redis.asyncio import Redis

from app.queue import Job, Lane, Lease, Queue, QueueFull
from app.queue_lua import Script
from app.settings import Settings

START = 1_700_000_000.0


class TimedQueue(Queue):
    """A queue whose scripts read the time from a key; `set_time` moves it, in seconds from the start."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        super().__init__(redis, settings)
        self._store = redis

    def _script(self, body: str) -> Script:
        return super()._script(body.replace("call('TIME')", "call('HMGET', KEYS[1] .. 'clock', 's', 'us')"))

    async def set_time(self, seconds: float) -> None:
        whole, part = divmod(START + seconds, 1)
        await self._store.hset(f"{self._prefix}clock", mapping={"s": int(whole), "us": int(part * 1e6)})


@dataclass(frozen=True, slots=True)
class Arrival:
    at: float
    community: UUID
    lane: Lane = Lane.INTERACTIVE


@dataclass(slots=True)
class Served:
    """A job's fate. `expected` is the wait that its sender was told at once, None where it was not asked."""

    arrival: Arrival
    expected: float | None = None
    refused_retry_after: float | None = None
    started: float | None = None
    ended: float | None = None

    @property
    def waited(self) -> float:
        assert self.started is not None
        return self.started - self.arrival.at


@dataclass
class Simulation:
    """`slots` jobs run at once, each for `service(now)` seconds."""

    queue: TimedQueue
    slots: int
    service: Callable[[float], float]
    ask_every: int = 1
    served: list[Served] = field(default_factory=list)

    async def run(self, arrivals: Iterable[Arrival]) -> list[Served]:
        """Every arrival's fate, once all that were let in have ended."""
        ticket = itertools.count()
        events: list[tuple[float, int, Arrival | Lease]] = [(a.at, next(ticket), a) for a in arrivals]
        heapq.heapify(events)
        waiting: dict[UUID, Served] = {}
        running: dict[UUID, Served] = {}
        while events:
            now, number, what = heapq.heappop(events)
            await self.queue.set_time(now)
            if isinstance(what, Arrival):
                await self._arrive(what, waiting, asked=number % self.ask_every == 0)
            else:
                await self.queue.finish(what)
                running.pop(what.job.row_id).ended = now
            if len(running) < self.slots:
                for lease in await self.queue.take(self.slots - len(running), wait_seconds=0):
                    mine = running[lease.job.row_id] = waiting.pop(lease.job.row_id)
                    mine.started = now
                    heapq.heappush(events, (now + self.service(now), next(ticket), lease))
        return self.served

    async def _arrive(self, arrival: Arrival, waiting: dict[UUID, Served], *, asked: bool) -> None:
        job = Job("chat.answer_turn", uuid4(), arrival.community, lane=arrival.lane)
        fate = Served(arrival)
        self.served.append(fate)
        try:
            await self.queue.send(job)
        except QueueFull as full:
            fate.refused_retry_after = full.retry_after_seconds
            return
        waiting[job.row_id] = fate
        if asked and (place := await self.queue.position(job.name, job.row_id)):
            fate.expected = place.expected_wait_seconds


def poisson(rate: float, seconds: float, community: UUID, *, seed: int, **details: Any) -> list[Arrival]:
    """Arrivals at `rate` a second, at random."""
    draw, at, found = random.Random(seed), 0.0, []
    while (at := at + draw.expovariate(rate)) < seconds:
        found.append(Arrival(at, community, **details))
    return found


def lognormal(mean: float, *, seed: int, spread: float = 0.6) -> Callable[[float], float]:
    """Service times as answers have them: most near the median, some three times as long."""
    draw = random.Random(seed)
    centre = mean / 2.718281828459045 ** (spread**2 / 2)
    return lambda now: centre * draw.lognormvariate(0, spread)


def settings(**changes: Any) -> Settings:
    """Leases that last through the simulation, and room for everybody unless `changes` says otherwise."""
    roomy = {"queue_waiting_max": 1_000_000, "queue_waiting_per_community_max": 1_000_000, "lease_seconds": 1e6}
    return Settings(_env_file=None, **(roomy | changes))
