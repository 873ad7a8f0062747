"""The worker: takes as many jobs as there are free slots, runs them side by side, and keeps their leases alive."""

import asyncio
import importlib
import signal
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog
import uvloop
from prometheus_client import Counter, Gauge, Histogram
from redis.exceptions import RedisError
from structlog.contextvars import bound_contextvars

from app import settings as settings_module
from app import tasks
from app.db import is_away
from app.queue import HANDLERS, PERIODIC, WITHOUT_REDIS, Lease, PeriodicTask
from models.engine import EngineBusy, State

if TYPE_CHECKING:
    from app.runtime import Runtime

log = structlog.get_logger(__name__)

JOB_MODULES = (
    "app.chat.jobs",
    "app.knowledge.jobs",
    "app.notices.jobs",
    "app.people.jobs",
    "app.recommend.campaign_jobs",
    "app.recommend.jobs",
    "app.service_desk.jobs",
    "app.service_desk.duty_jobs",
    "app.service_desk.webhook_jobs",
    "app.service_desk.incident_jobs",
    "app.service_desk.promise_jobs",
)
"""The modules whose import registers handlers and periodic functions."""

REDIS_AWAY = (RedisError, OSError, TimeoutError)
RECONNECT_SECONDS_MAX = 2.0
ENGINE_FULL_SECONDS = 0.2
"""How soon to look again when the engine has no free slot and no job of ours ends first."""
ENGINE_REST_SECONDS_MAX = 10.0
"""Longest pause after refusals of the engine; short enough for documents, which wait with the rest."""
POSTGRES_AWAY_SECONDS = 1.0
"""Pause before a job that found Postgres away is tried again."""
ON_THE_WAY_SECONDS = 1.0
"""Time in which a job that needs the engine has asked it."""

JOBS = Counter("linli_jobs_total", "Jobs by how their attempt ended.", ["job", "outcome"])
JOB_SECONDS = Histogram("linli_job_seconds", "Running time of an attempt.", ["job"])
JOB_WAIT_SECONDS = Histogram("linli_job_wait_seconds", "Time from sending a job to its start.", ["job"])
JOBS_RUNNING = Gauge("linli_jobs_running", "Jobs running in this process.")
REDIS_LOST = Counter("linli_worker_redis_lost_total", "Times the worker's connection to Redis failed.")


@dataclass(eq=False)
class _Running:
    """A job under way. `why` it is stopped is what its CancelledError carries; "ended" lets it settle in peace."""

    lease: Lease
    task: asyncio.Task[None] | None = None
    why: str = ""
    started: float = field(default_factory=time.monotonic)

    def stop(self, why: str) -> None:
        if not self.why and self.task is not None:
            self.why = why
            self.task.cancel(why)


@dataclass(eq=False)
class _Worker:
    runtime: "Runtime"
    stop: asyncio.Event
    running: dict[tuple[str, uuid.UUID], _Running] = field(default_factory=dict)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    renewing: asyncio.Lock = field(default_factory=asyncio.Lock)
    engine_width: int = 0
    refusals: int = 0
    rest_until: float = 0.0
    renewed_at: float = field(default_factory=time.monotonic)

    @property
    def renew_seconds(self) -> float:
        return self.runtime.settings.lease_seconds / 3

    async def free_slots(self) -> int:
        """Jobs that may start now: our own free slots, and no more than a ready engine can run at once.

        An engine that is off, warming or failing limits nothing: degraded answers need no slot of it.
        """
        free = self.runtime.settings.worker_slots_max - len(self.running)
        if free <= 0 or time.monotonic() < self.rest_until:
            return 0
        engine = await self.runtime.engine.state()
        if engine.state is not State.READY:
            return free
        # A job that started just now may not be at the engine yet. Counting it as there twice would leave slots empty,
        # so the engine's width less all our jobs is allowed too.
        self.engine_width = max(self.engine_width, engine.slots)
        recent = sum(time.monotonic() - running.started < ON_THE_WAY_SECONDS for running in self.running.values())
        return min(free, max(engine.slots - recent, self.engine_width - len(self.running)))

    async def take_jobs(self) -> None:
        """Takes and starts jobs until told to stop. Losing Redis is waited out."""
        queue, pause = self.runtime.queue, 0.1
        while not self.stop.is_set():
            self.ended.clear()
            slots = await self.free_slots()
            if slots <= 0:
                await _either(self.ended, self.stop, seconds=ENGINE_FULL_SECONDS if self.has_room() else None)
                continue
            try:
                # After a stall our own leases look expired: say first that we live, then look for the dead.
                if time.monotonic() - self.renewed_at > self.renew_seconds * 1.5:
                    await self.renew()
                leases = await queue.take(slots, wait_seconds=self.runtime.settings.lease_seconds / 2)
                pause = 0.1
            except REDIS_AWAY as error:
                REDIS_LOST.inc()
                log.warning("worker_lost_redis", error=repr(error), retry_seconds=pause)
                await _either(self.stop, seconds=pause)
                pause = min(RECONNECT_SECONDS_MAX, pause * 2)
                continue
            for lease in leases:
                self.start(lease)

    def has_room(self) -> bool:
        return len(self.running) < self.runtime.settings.worker_slots_max

    def start(self, lease: Lease) -> None:
        key = (lease.job.name, lease.job.row_id)
        if before := self.running.get(key):
            before.stop("lost")  # the same job again: the lease of the first had expired
        running = self.running[key] = _Running(lease)
        running.task = asyncio.create_task(self.run_job(running), name=f"{lease.job.name}:{lease.job.row_id}")
        running.task.add_done_callback(lambda task: self.forget(running, task))
        JOBS_RUNNING.set(len(self.running))

    def forget(self, running: _Running, task: asyncio.Task[None]) -> None:
        key = (running.lease.job.name, running.lease.job.row_id)
        if self.running.get(key) is running:
            del self.running[key]
        JOBS_RUNNING.set(len(self.running))
        self.ended.set()
        if not task.cancelled() and (error := task.exception()):
            log.error("job_not_settled", job=key[0], row_id=str(key[1]), exc_info=error)

    async def run_job(self, running: _Running) -> None:
        """Runs the handler, then tells the queue how it ended."""
        lease, job = running.lease, running.lease.job
        with bound_contextvars(
            job=job.name, row_id=str(job.row_id), community_id=str(job.community_id), attempt=lease.attempt
        ):
            started = time.perf_counter()
            JOB_WAIT_SECONDS.labels(job.name).observe(lease.waited_seconds)
            outcome, settle = await self.handle(running)
            running.why = "ended"
            JOB_SECONDS.labels(job.name).observe(time.perf_counter() - started)
            JOBS.labels(job.name, outcome).inc()
            log.info("job_ended", outcome=outcome, seconds=round(time.perf_counter() - started, 3))
            if settle is not None:
                await self.settle(settle)

    async def handle(self, running: _Running) -> tuple[str, Callable[[], Awaitable[bool]] | None]:
        """The outcome, and what the queue is to be told of it."""
        lease, queue = running.lease, self.runtime.queue
        handler = HANDLERS.get(lease.job.name)
        try:
            if handler is None:
                raise LookupError(f"no handler is registered for {lease.job.name}")
            await handler(self.runtime, lease)
        except EngineBusy as busy:
            delay = self.rest(busy)
            return "engine_busy", lambda: queue.retry(lease, delay_seconds=delay)
        except asyncio.CancelledError:
            if running.why == "lost":
                return "lost", None
            if running.why == "cancelled":
                return "cancelled", lambda: queue.finish(lease)
            return "handed_back", lambda: queue.retry(lease, delay_seconds=0)
        except Exception as error:
            return self.failed(lease, error)
        self.refusals = 0
        return "done", lambda: queue.finish(lease)

    def failed(self, lease: Lease, error: Exception) -> tuple[str, Callable[[], Awaitable[bool]]]:
        queue, reason = self.runtime.queue, repr(error)
        if is_away(error):
            # An outage, however long, must not use up the attempts of every job that meets it.
            log.warning("job_waits_for_postgres", error=reason)
            return "postgres_away", lambda: queue.retry(lease, delay_seconds=POSTGRES_AWAY_SECONDS)
        log.exception("job_failed", exc_info=error)
        return "failed", lambda: queue.retry(lease, attempt_counts=True, reason=reason)

    def rest(self, busy: EngineBusy) -> float:
        """Seconds for which a refused job stays away. Until then no other is taken: it would search in vain.

        Each round of refusals with no job done in between doubles the rest; those of one round count once.
        """
        now = time.monotonic()
        if now >= self.rest_until:
            self.refusals += 1
            doubled = busy.retry_after_seconds * 2 ** min(10, self.refusals - 1)
            self.rest_until = now + max(busy.retry_after_seconds, min(ENGINE_REST_SECONDS_MAX, doubled))
        return max(busy.retry_after_seconds, self.rest_until - now)

    async def settle(self, settle: Callable[[], Awaitable[bool]]) -> None:
        """Tell the queue, also when Redis is away for a moment. If it stays away the job runs again, harmlessly."""
        # A renewal under way could otherwise arrive after this, and write the lease again as if Redis had lost it.
        async with self.renewing:
            pass
        for pause in (0.1, 0.3, 1.0, 3.0, 0.0):
            try:
                if not await settle():
                    log.warning("job_dead_or_lease_lost")
                return
            except REDIS_AWAY as error:
                log.warning("job_settling_waits", error=repr(error))
                await asyncio.sleep(pause)

    async def renew(self) -> None:
        """Keep the leases; stop the jobs whose lease was lost or that were cancelled."""
        async with self.renewing:
            leases = [running.lease for running in self.running.values() if running.why != "ended"]
            lost = await self.runtime.queue.renew(leases)
        self.renewed_at = time.monotonic()
        for lease in lost:
            self.stop_job(lease, "lost")
        for lease in await self.runtime.queue.cancelled(leases):
            self.stop_job(lease, "cancelled")

    def stop_job(self, lease: Lease, why: str) -> None:
        running = self.running.get((lease.job.name, lease.job.row_id))
        if running is not None and running.lease.token == lease.token:
            log.info("job_stopped", job=lease.job.name, row_id=str(lease.job.row_id), why=why)
            running.stop(why)

    async def keep_leases(self) -> None:
        while True:
            await asyncio.sleep(self.renew_seconds)
            try:
                await self.renew()
            except REDIS_AWAY as error:
                log.warning("leases_not_renewed", error=repr(error))

    async def hear_cancellations(self) -> None:
        """Stops cancelled jobs at once. What it misses while Redis is away, `renew` finds."""
        while True:
            try:
                async for name, row_id in self.runtime.queue.cancellations():
                    if running := self.running.get((name, row_id)):
                        self.stop_job(running.lease, "cancelled")
            except REDIS_AWAY as error:
                log.warning("cancellations_not_heard", error=repr(error))
            await asyncio.sleep(0.5)

    async def drain(self) -> None:
        """Give running jobs `shutdown_seconds`, then hand them back."""
        left = [running.task for running in self.running.values() if running.task is not None]
        if not left:
            return
        log.info("worker_drains", jobs=len(left))
        await asyncio.wait(left, timeout=self.runtime.settings.shutdown_seconds)
        for running in list(self.running.values()):
            running.stop("handed_back")
        if left := [running.task for running in self.running.values() if running.task is not None]:
            await asyncio.wait(left, timeout=5)


async def run(runtime: "Runtime", *, stop: asyncio.Event) -> None:
    """Work until `stop` is set, then let running jobs finish or hand them back."""
    worker = _Worker(runtime, stop)
    helpers = [
        asyncio.create_task(worker.keep_leases(), name="keep-leases"),
        asyncio.create_task(worker.hear_cancellations(), name="hear-cancellations"),
        asyncio.create_task(_interrupt(runtime, stop), name="interrupt"),
        *(
            asyncio.create_task(_run_periodically(runtime, name, seconds, task), name=name)
            for name, (seconds, task) in PERIODIC.items()
        ),
    ]
    log.info("worker_started", slots=runtime.settings.worker_slots_max, jobs=sorted(HANDLERS))
    try:
        await worker.take_jobs()
        await worker.drain()
    finally:
        stop.set()
        for running in worker.running.values():
            running.stop("handed_back")
        await tasks.cancel(helpers)
        log.info("worker_stopped")


async def _interrupt(runtime: "Runtime", stop: asyncio.Event) -> None:
    await stop.wait()
    with suppress(*REDIS_AWAY):
        await runtime.queue.interrupt()


async def _either(*events: asyncio.Event, seconds: float | None = None) -> None:
    """Waits until one of the events is set, or for `seconds`."""
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


RENEW_LOCK = "return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('PEXPIRE', KEYS[1], ARGV[2]) or 0"


async def _run_periodically(runtime: "Runtime", name: str, seconds: float, task: PeriodicTask) -> None:
    """Runs `task` every `seconds` in whichever worker gets the lock, which dies with its holder."""
    key, me = f"linli:periodic:{name}", uuid.uuid4().hex
    lease_ms = round(runtime.settings.lease_seconds * 1000)
    renew_lock = runtime.redis.register_script(RENEW_LOCK)

    async def hold() -> None:
        while True:
            await asyncio.sleep(lease_ms / 3000)
            with suppress(*REDIS_AWAY):
                await renew_lock(keys=[key], args=[me, lease_ms])

    while True:
        try:
            if await runtime.redis.set(key, me, nx=True, px=lease_ms):
                holding = asyncio.create_task(hold(), name=f"{name} holds its lock")
                try:
                    await task(runtime)
                finally:
                    # One that went on would keep the lock from everybody for as long as this process lives.
                    await tasks.cancel([holding])
                    # The lock outlives the run: its expiry is the pause until the next.
                    await renew_lock(keys=[key], args=[me, round(seconds * 1000)])
        except REDIS_AWAY as error:
            log.warning("periodic_waits_for_redis", task=name, error=repr(error))
            if name in WITHOUT_REDIS:
                await _run_unlocked(runtime, name, task)
        except Exception:
            log.exception("periodic_failed", task=name)
        await asyncio.sleep(min(15.0, max(0.05, seconds / 4)))


async def _run_unlocked(runtime: "Runtime", name: str, task: PeriodicTask) -> None:
    """Runs a task that does not need Redis while there is none."""
    try:
        await task(runtime)
    except REDIS_AWAY as error:
        log.warning("periodic_needs_redis", task=name, error=repr(error))
    except Exception:
        log.exception("periodic_failed", task=name)


async def serve(settings: settings_module.Settings) -> None:
    """The worker process: opens everything, works until SIGTERM or SIGINT."""
    from app import telemetry, vitals
    from app.runtime import open_runtime

    for module in JOB_MODULES:
        importlib.import_module(module)
    telemetry.serve_metrics(settings)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    async with open_runtime(settings) as runtime, vitals.living(runtime, "worker"):
        await run(runtime, stop=stop)


def main() -> None:
    """Entry of `linli worker`."""
    from app import logs

    settings = settings_module.load()
    logs.set_up(settings)
    uvloop.run(serve(settings))
