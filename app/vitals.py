"""Vital signs of a process: measured for Prometheus, and written to Redis so that `linli status` sees the whole house.

Every process writes its own every few seconds under a key that dies with it. They are for people; nothing is decided
by them.
"""

import asyncio
import os
import socket
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import structlog
from prometheus_client import REGISTRY, Gauge, Histogram
from pydantic import BaseModel, ConfigDict, ValidationError
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from app import tasks
from app.db import DISK, is_full
from app.metering import MeteredEngine
from app.queue import QueueStats
from app.runtime import Runtime
from models.engine import State

log = structlog.get_logger(__name__)

PULSE_SECONDS = 2.0
ALIVE_SECONDS = 10
"""A process that wrote nothing for so long is not shown any more."""
WINDOW_SECONDS = 60
"""Counts of "lately" reach back so far."""
LAG_SECONDS = 0.1
ANSWER_SECONDS = 2.0
"""A store that takes longer to say that it is there counts as down."""
FULL = "down: its disk is full"
FULL_SECONDS = 15.0
"""A write that Postgres refused for want of room is told for so long; while it lasts there are always more."""
KEY = "linli:{processes}"
AWAY = (RedisError, OSError, TimeoutError)

PART_UP = Gauge("linli_part_up", "1 when this process reaches the part.", ["part"])
ENGINE_READY = Gauge("linli_engine_ready", "1 when the engine answers; none where none is wanted.", ["engine"])
ENGINE_IN_FLIGHT = Gauge("linli_engine_in_flight", "Requests of our workers at the engine.", ["engine"])
ENGINE_SLOTS = Gauge("linli_engine_free_slots", "Requests our workers may send the engine now.", ["engine"])
ENGINE_RUNNING = Gauge("linli_engine_running", "Requests that the engine says it runs, of everybody.", ["engine"])
ENGINE_WAITING = Gauge("linli_engine_waiting", "Requests that the engine says wait in it.", ["engine"])
QUEUE_JOBS = Gauge("linli_queue_jobs", "Jobs in the queue by state.", ["state"])
QUEUE_READY = Gauge("linli_queue_ready_jobs", "Jobs that wait for a worker, by lane.", ["lane"])
QUEUE_LIMIT = Gauge("linli_queue_waiting_max", "Jobs that may wait before requests are refused.")
CROWD_JOBS = Gauge("linli_queue_community_waiting_jobs", "Jobs waiting of the community that has most.")
CROWD_LIMIT = Gauge("linli_queue_community_waiting_max", "Jobs of one community that may wait before it is refused.")
OLDEST_WAIT = Gauge("linli_queue_oldest_wait_seconds", "Longest wait of a ready job.", ["lane"])
EXPECTED_WAIT = Gauge("linli_queue_expected_wait_seconds", "Time until the last in line starts.", ["lane"])
PROCESSES = Gauge("linli_processes", "Processes that gave a sign of life lately, by role.", ["role"])
VERSIONS = Gauge("linli_versions", "Different versions of Linli among the living processes.")
FOLLOWERS = Gauge("linli_feed_followers", "Followers of answers through this process.")
POOL_IN_USE = Gauge("linli_pool_in_use", "Connections in use.", ["pool"])
POOL_SIZE = Gauge("linli_pool_size", "Connections there may be.", ["pool"])
POOL_WAITING = Gauge("linli_pool_waiting", "Those who wait for a connection now.", ["pool"])
DOCUMENTS_WAITING = Gauge("linli_documents_waiting", "Documents that are not searchable yet (counted up to 1,000).")
LOOP_LAG = Histogram(
    "linli_loop_lag_seconds", "How late the event loop wakes its timers.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)  # fmt: skip

COUNTED: dict[str, tuple[str, dict[str, tuple[str, ...]]]] = {
    "jobs_done": ("linli_jobs_total", {"outcome": ("done",)}),
    "jobs_failed": ("linli_jobs_total", {"outcome": ("failed",)}),
    "turns_answered": ("linli_turns_total", {"status": ("answered",)}),
    "turns_failed": ("linli_turns_total", {"status": ("failed",)}),
    "engine_fallbacks": (
        "linli_answer_fallbacks_total",
        {"reason": ("engine_off", "engine_failed", "engine_warming", "engine_failing")},
    ),
    "requests": ("linli_http_requests_total", {}),
    "refusals": ("linli_problems_total", {"status": ("429",)}),
    "queue_full": ("linli_problems_total", {"code": ("queue_full",)}),
    "errors": ("linli_problems_total", {"status": ("500", "503")}),
    "webhooks_given_up": ("linli_webhook_deliveries_total", {"outcome": ("given_up",)}),
    "followers_cut": ("linli_feed_followers_cut_total", {}),
    "prompt_tokens": ("linli_engine_tokens_total", {"kind": ("prompt",)}),
    "cached_tokens": ("linli_engine_tokens_total", {"kind": ("cached",)}),
    "completion_tokens": ("linli_engine_tokens_total", {"kind": ("completion",)}),
}
"""What is told of the last minute: the counter, and which of its labels count."""


class EngineVital(BaseModel):
    """One engine as a process sees it."""

    name: str
    state: State
    detail: str = ""
    slots: int = 0
    in_flight: int = 0
    running: int | None = None
    waiting: int | None = None
    breaker: str = "closed"
    tokens_per_second: float | None = None
    prefix_cache_hit_share: float | None = None


class PoolVital(BaseModel):
    in_use: int = 0
    size: int = 0
    waiting: int = 0


class Vitals(BaseModel):
    """One process. `lately` counts what happened within the last minute, by the names of COUNTED."""

    # Processes of two versions run side by side while Linli is updated.
    model_config = ConfigDict(extra="ignore")

    id: str
    role: str
    host: str
    pid: int
    version: str = ""
    started_at: float = 0.0
    parts: dict[str, str] = {}
    jobs_running: int = 0
    slots: int = 0
    engine_wanted: bool = False
    engines: list[EngineVital] = []
    tokens_per_second: float = 0.0
    first_token_seconds: list[float] = []
    followers: int = 0
    database: PoolVital = PoolVital()
    redis: PoolVital = PoolVital()
    loop_lag_seconds: float = 0.0
    lately: dict[str, float] = {}


@dataclass
class Pulse:
    """Measures one process. `role` is web or worker."""

    runtime: Runtime
    role: str
    started_at: float = field(default_factory=time.time)
    lags: deque[tuple[float, float]] = field(default_factory=deque)
    counts: deque[tuple[float, dict[str, float]]] = field(default_factory=deque)

    @property
    def id(self) -> str:
        return f"{self.role}:{socket.gethostname()}:{os.getpid()}"

    async def measure(self) -> Vitals:
        """The vitals of now; the gauges show the same."""
        runtime, config, engine = self.runtime, self.runtime.settings, self.runtime.engine
        working = self.role == "worker"
        metered = engine if isinstance(engine, MeteredEngine) else None
        if working:
            # Workers ask the engine anyhow; a look from every web process would only add to its load.
            await engine.state()
        vitals = Vitals(
            id=self.id, role=self.role, host=socket.gethostname(), pid=os.getpid(), version=our_version(),
            started_at=self.started_at,
            parts=await parts(runtime),
            jobs_running=int(REGISTRY.get_sample_value("linli_jobs_running") or 0) if working else 0,
            slots=config.worker_slots_max if working else 0,
            engine_wanted=bool(config.engine_url),
            engines=engine_vitals(runtime) if working else [],
            tokens_per_second=metered.tokens_per_second if metered else 0,
            first_token_seconds=[round(seconds, 3) for seconds in metered.first_tokens()] if metered else [],
            followers=runtime.feed.followers,
            database=database_pool(runtime), redis=redis_pool(runtime.redis),
            loop_lag_seconds=round(max((lag for _, lag in self.lags), default=0.0), 4),
            lately=self._lately(),
        )  # fmt: skip
        show(runtime)
        return vitals

    def _lately(self) -> dict[str, float]:
        now, counted = time.monotonic(), count()
        while self.counts and self.counts[0][0] < now - WINDOW_SECONDS:
            self.counts.popleft()
        before = self.counts[0][1] if self.counts else counted
        self.counts.append((now, counted))
        return {name: value - before[name] for name, value in counted.items() if value > before[name]}

    async def listen_to_the_loop(self) -> None:
        """Notes how late timers come, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_SECONDS
            await asyncio.sleep(LAG_SECONDS)
            now = loop.time()
            lag = max(0.0, now - due)
            LOOP_LAG.observe(lag)
            self.lags.append((now, lag))
            while self.lags[0][0] < now - WINDOW_SECONDS:
                self.lags.popleft()

    async def beat(self) -> None:
        """Writes the vitals, for ever. Without Redis nobody is told; that the key is gone says it."""
        while True:
            try:
                vitals = await self.measure()
                async with asyncio.timeout(ANSWER_SECONDS):
                    await self._write(vitals)
                    await show_house(self.runtime)
            except AWAY as error:
                log.debug("vitals_not_written", error=repr(error))
            except Exception:
                # Signs of life are for people: what is wrong with them must not end them.
                log.exception("vitals_failed")
            await asyncio.sleep(PULSE_SECONDS)

    async def _write(self, vitals: Vitals) -> None:
        async with self.runtime.redis.pipeline(transaction=False) as pipe:
            pipe.set(f"{KEY}:{self.id}", vitals.model_dump_json(), ex=ALIVE_SECONDS)
            pipe.zadd(KEY, {self.id: time.time()})
            # By the clock of whoever writes: an hour is more than clocks differ.
            pipe.zremrangebyscore(KEY, "-inf", time.time() - 3600)
            await pipe.execute()


@asynccontextmanager
async def living(runtime: Runtime, role: str) -> AsyncIterator[Pulse]:
    """This process gives signs of life while the block runs."""
    pulse = Pulse(runtime, role)
    beating = [
        asyncio.create_task(pulse.listen_to_the_loop(), name="loop-lag"),
        asyncio.create_task(pulse.beat(), name="vitals"),
    ]
    try:
        yield pulse
    finally:
        await tasks.cancel(beating)
        with suppress(*AWAY):
            async with asyncio.timeout(1):
                await runtime.redis.delete(f"{KEY}:{pulse.id}")


async def processes(redis: Redis) -> list[Vitals]:
    """All that live, web first. Raises redis errors."""
    ids = [value.decode() if isinstance(value, bytes) else str(value) for value in await redis.zrange(KEY, 0, -1)]
    if not ids:
        return []
    found = []
    for raw in await redis.mget([f"{KEY}:{name}" for name in ids]):
        # What another version wrote may not be readable here.
        with suppress(ValidationError):
            if raw is not None:
                found.append(Vitals.model_validate_json(raw))
    return sorted(found, key=lambda vitals: (vitals.role, vitals.host, vitals.pid))


async def parts(runtime: Runtime) -> dict[str, str]:
    """ "ok" or what is wrong, of database and redis."""
    database, redis = await asyncio.gather(_reached(_ask_database(runtime)), _reached(_ask_redis(runtime)))
    if database == "ok" and DISK.was_full_within(FULL_SECONDS):
        database = FULL
    for name, found in (("database", database), ("redis", redis)):
        PART_UP.labels(name).set(found == "ok")
    return {"database": database, "redis": redis}


async def _reached(asking: Awaitable[None]) -> str:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            await asking
    except (SQLAlchemyError, *AWAY) as error:
        return FULL if is_full(error) else f"down: {type(error).__name__}"
    return "ok"


async def _ask_database(runtime: Runtime) -> None:
    async with runtime.transaction(None) as session:
        await session.execute(text("SELECT 1"))


async def _ask_redis(runtime: Runtime) -> None:
    await runtime.redis.ping()


async def documents_waiting(runtime: Runtime) -> int:
    """Documents that are not searchable yet, counted up to 1,000. Raises database errors."""
    async with runtime.transaction(None) as session:
        waiting = text("SELECT count(*) FROM waiting_documents(:now, 1000)")
        return int(await session.scalar(waiting, {"now": runtime.clock()}) or 0)


async def show_house(runtime: Runtime) -> None:
    """Sets the gauges that say the same in every process: the queue, and who lives. Raises redis errors."""
    stats, alive = await asyncio.gather(runtime.queue.stats(), processes(runtime.redis))
    show_queue(stats)
    QUEUE_LIMIT.set(runtime.settings.queue_waiting_max)
    CROWD_JOBS.set(stats.communities[0][1] if stats.communities else 0)
    CROWD_LIMIT.set(runtime.settings.queue_waiting_per_community_max)
    for role in ("web", "worker"):
        PROCESSES.labels(role).set(sum(vitals.role == role for vitals in alive))
    VERSIONS.set(len({vitals.version for vitals in alive}))
    show_engines(alive)


def show_engines(alive: list[Vitals]) -> None:
    """Sets the gauges of the engines from what all workers saw: one that any of them gets answers from is ready."""
    seen: dict[str, list[EngineVital]] = {}
    for vitals in alive:
        for engine in vitals.engines if vitals.engine_wanted else ():
            seen.setdefault(engine.name, []).append(engine)
    for gauge in (ENGINE_READY, ENGINE_IN_FLIGHT, ENGINE_SLOTS, ENGINE_RUNNING, ENGINE_WAITING):
        gauge.clear()
    for name, views in seen.items():
        ENGINE_READY.labels(name).set(any(view.state is State.READY for view in views))
        ENGINE_IN_FLIGHT.labels(name).set(sum(view.in_flight for view in views))
        ENGINE_SLOTS.labels(name).set(sum(view.slots for view in views))
        if running := [view.running for view in views if view.running is not None]:
            ENGINE_RUNNING.labels(name).set(max(running))
        if waiting := [view.waiting for view in views if view.waiting is not None]:
            ENGINE_WAITING.labels(name).set(max(waiting))


def show_queue(stats: QueueStats) -> None:
    for state in ("waiting", "delayed", "parked", "leased", "dead"):
        QUEUE_JOBS.labels(state).set(getattr(stats, state))
    for lane, found in stats.lanes.items():
        QUEUE_READY.labels(lane).set(found.ready)
        OLDEST_WAIT.labels(lane).set(found.oldest_wait_seconds)
        EXPECTED_WAIT.labels(lane).set(found.expected_wait_seconds)


def show(runtime: Runtime) -> None:
    """Sets the gauges of this process."""
    FOLLOWERS.set(runtime.feed.followers)
    for name, pool in (("database", database_pool(runtime)), ("redis", redis_pool(runtime.redis))):
        POOL_IN_USE.labels(name).set(pool.in_use)
        POOL_SIZE.labels(name).set(pool.size)
        POOL_WAITING.labels(name).set(pool.waiting)


def engine_vitals(runtime: Runtime) -> list[EngineVital]:
    """Each engine as this process last saw it."""
    return [
        EngineVital(
            name=seen.name,
            state=seen.state.state,
            detail=seen.detail or seen.state.detail,
            slots=seen.state.slots,
            in_flight=seen.in_flight,
            running=seen.running,
            waiting=seen.waiting,
            breaker=seen.breaker,
            tokens_per_second=seen.tokens_per_second,
            prefix_cache_hit_share=seen.prefix_cache_hit_share,
        )
        for seen in runtime.engine.engines()
    ]


def database_pool(runtime: Runtime) -> PoolVital:
    pool = runtime.sessions.kw["bind"].pool
    return PoolVital(in_use=pool.checkedout(), size=pool.size(), waiting=pool.waiting)


def redis_pool(redis: Redis) -> PoolVital:
    pool: Any = redis.connection_pool
    # The pool offers no public count of those in use.
    return PoolVital(in_use=len(pool._in_use_connections), size=pool.max_connections)


def count() -> dict[str, float]:
    """The counters behind COUNTED as they stand."""
    families = REGISTRY.restricted_registry({name for name, _ in COUNTED.values()}).collect()
    samples = [sample for family in families for sample in family.samples]
    return {
        name: sum(
            sample.value
            for sample in samples
            if sample.name == metric and all(sample.labels.get(key) in values for key, values in wanted.items())
        )
        for name, (metric, wanted) in COUNTED.items()
    }


def our_version() -> str:
    """The version that is installed here."""
    try:
        return version("linli")
    except PackageNotFoundError:
        return "unknown"
