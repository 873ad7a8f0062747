"""The queue: fair between communities, leased to workers, never the record.

A job names a row. It waits in one of three lanes, ordered within a lane by start-time fair queueing between
communities, and is leased to one worker at a time with a fencing token. Everything here can be lost: the sweeper
sends again what rows say is waiting, and a running worker's next `renew` writes its lease again.
The scripts and the keys are in `queue_scripts.py`.
"""

import asyncio
import math
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from redis.asyncio import Redis
from redis.exceptions import NoScriptError
from sqlalchemy.ext.asyncio import AsyncSession

from app import queue_scripts
from app.errors import RateLimited
from app.queue_gather import Gathered
from app.queue_lua import Script, compile_script
from app.settings import Settings

if TYPE_CHECKING:
    from app.runtime import Runtime


class Lane(StrEnum):
    """Who waits for it: a person who is watching, the service desk, nobody."""

    INTERACTIVE = "interactive"
    SERVICE = "service"
    BATCH = "batch"


@dataclass(frozen=True, slots=True)
class Job:
    """Work on one row. `cost` is its share of its community's turn; jobs of one `group` run one at a time, in order."""

    name: str
    row_id: UUID
    community_id: UUID
    lane: Lane = Lane.INTERACTIVE
    cost: float = 1.0
    group: str | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to run a job. `token` only ever grows, so a row can refuse the writes of an older holder."""

    job: Job
    token: int
    attempt: int
    waited_seconds: float = field(default=0.0, compare=False)


class Cancelled(StrEnum):
    """What `cancel` found."""

    WAITING_REMOVED = "waiting_removed"
    RUNNING_FLAGGED = "running_flagged"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Position:
    """Jobs that will start before this one, and an estimate of the wait. A running job has 0 and 0."""

    ahead: int
    expected_wait_seconds: float


@dataclass(frozen=True, slots=True)
class LaneStats:
    """`expected_wait_seconds`: until the job that is last in line now starts."""

    ready: int
    oldest_wait_seconds: float
    expected_wait_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class QueueStats:
    """`waiting` counts ready, delayed and parked jobs (those behind another of their group)."""

    lanes: dict[Lane, LaneStats]
    waiting: int
    delayed: int
    leased: int
    dead: int
    communities: list[tuple[UUID, int]] = field(default_factory=list)
    """Those with the most jobs waiting, at most 20."""

    @property
    def parked(self) -> int:
        return self.waiting - self.delayed - sum(lane.ready for lane in self.lanes.values())


@dataclass(frozen=True, slots=True)
class DeadJob:
    """A job that failed for good. `died_at` is in seconds since 1970."""

    job: Job
    attempts: int
    reason: str
    died_at: float


class QueueFull(RateLimited):
    """Too much is waiting; nothing was accepted, so nothing can be lost."""

    code = "queue_full"

    def __init__(self, *, waiting: int, scope: str, retry_after_seconds: float) -> None:
        super().__init__(
            f"{waiting} requests are waiting already. Please try again in {retry_after_seconds:.0f} s.",
            f"当前已有 {waiting} 个请求在排队，请在 {retry_after_seconds:.0f} 秒后再试。",
            retry_after_seconds=retry_after_seconds,
            waiting=waiting,
            scope=scope,
        )


RETRY_AFTER_SECONDS_MAX = 60.0
BLOCK_SECONDS_MAX = 5.0
"""Longest single wait on the wake list: shorter than the time after which a client takes its connection for dead."""


class Queue:
    """One shard of the queue. Raises redis errors when Redis is away; the row that a job names stays waiting."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._redis = redis
        self._settings = settings
        self._prefix = f"linli:queue:{{{settings.queue_shard}}}:"
        self._own_wake = f"{self._prefix}wake:{uuid.uuid4().hex}"
        self._scripts: dict[str, Script] = {}
        self._sends = Gathered(lambda args: self._call(queue_scripts.SEND, *args))
        self._finishes = Gathered(lambda args: self._call(queue_scripts.FINISH, *args))
        self._due_at = -math.inf
        socket_timeout = redis.connection_pool.connection_kwargs.get("socket_timeout", 5.0)
        self._block_seconds_max = min(BLOCK_SECONDS_MAX, (socket_timeout or math.inf) * 0.6)

    async def send(self, job: Job) -> None:
        """Let a job wait. One that waits, runs or is dead already stays as it is. Raises QueueFull."""
        _check_room(await self._sends.call(self._described(job)))

    async def check_admission(self, community_id: UUID) -> None:
        """Raises QueueFull when a job of this community would be refused now; asked before its row is written."""
        _check_room(await self._call(queue_scripts.ADMISSION, str(community_id), Lane.INTERACTIVE.value))

    async def take(self, n: int, *, wait_seconds: float) -> list[Lease]:
        """Up to `n` leases, at once if anything is ready, else what comes within `wait_seconds`; maybe none.

        Also brings back what is due: delayed jobs, and those whose worker gave no sign of life.
        """
        clock = asyncio.get_running_loop().time
        until = clock() + wait_seconds
        if wait_seconds <= 0:
            return self._taken(await self._call(queue_scripts.TAKE, n))
        # Whenever something is ready there is an element in the wake list, so this blocks only when nothing is.
        while (left := until - clock()) > 0:
            block = min(left, self._block_seconds_max, self._due_at - clock())
            interrupted, reply = await self._wait_and_take(n, max(block, 0.001))
            if (leases := self._taken(reply)) or interrupted:
                return leases
        return []

    async def interrupt(self) -> None:
        """Make this process's waiting `take` return now. It loses nothing, as cancelling it might."""
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.rpush(self._own_wake, "1")
            pipe.expire(self._own_wake, 60)
            await pipe.execute()

    async def renew(self, leases: Sequence[Lease]) -> list[Lease]:
        """The leases that are lost: another worker has the job. One that Redis itself lost is written again."""
        if not leases:
            return []
        reply = await self._call(queue_scripts.RENEW, *(value for lease in leases for value in self._held(lease)))
        return [lease for lease, held in zip(leases, reply, strict=True) if not held]

    async def finish(self, lease: Lease) -> bool:
        """Take a done job out. False when the lease was lost before."""
        return bool(await self._finishes.call(self._held(lease)))

    async def retry(
        self, lease: Lease, *, delay_seconds: float | None = None, attempt_counts: bool = False, reason: str = ""
    ) -> bool:
        """Put a job back, by default after exponential back-off. False when it will not run again through this call:
        its attempts are used up and it is dead now, or the lease was lost before.
        """
        delay_ms = -1 if delay_seconds is None else round(delay_seconds * 1000)
        reply = await self._call(
            queue_scripts.RETRY, *self._held(lease), delay_ms, int(attempt_counts), reason[:REASON_CHARS_MAX]
        )
        return cast("int", reply) == 1

    async def fail(self, lease: Lease, *, reason: str) -> bool:
        """Move a job to the dead set at once. False when the lease was lost before."""
        return bool(await self._call(queue_scripts.FAIL, *self._held(lease), reason[:REASON_CHARS_MAX]))

    async def cancel(self, name: str, row_id: UUID) -> Cancelled:
        """Remove a waiting job, or flag a running one for its worker to stop."""
        reply = cast("int", await self._call(queue_scripts.CANCEL, _id(name, row_id)))
        return (Cancelled.UNKNOWN, Cancelled.WAITING_REMOVED, Cancelled.RUNNING_FLAGGED)[reply]

    async def cancelled(self, leases: Sequence[Lease]) -> list[Lease]:
        """Those of `leases` whose job was flagged by `cancel`."""
        if not leases:
            return []
        ids = (_id(lease.job.name, lease.job.row_id) for lease in leases)
        reply = await self._call(queue_scripts.CANCELLED, *ids)
        return [lease for lease, flagged in zip(leases, reply, strict=True) if flagged]

    async def cancellations(self) -> AsyncIterator[tuple[str, UUID]]:
        """(name, row_id) of running jobs as they are cancelled, at once. Misses those sent while Redis is away."""
        pubsub = self._redis.pubsub(ignore_subscribe_messages=True)
        try:
            await pubsub.subscribe(f"{self._prefix}cancel")
            async for message in pubsub.listen():
                yield _name_and_row(message["data"])
        finally:
            await pubsub.aclose()  # type: ignore[no-untyped-call]

    async def position(self, name: str, row_id: UUID) -> Position | None:
        """Place and expected wait, from recent service times and the jobs running now; None when it is not here."""
        reply = await self._call(queue_scripts.POSITION, _id(name, row_id))
        return Position(ahead=reply[0], expected_wait_seconds=reply[1] / 1000) if reply else None

    async def stats(self) -> QueueStats:
        """Counts and oldest waits, for metrics."""
        reply = await self._call(queue_scripts.STATS, COMMUNITIES_SHOWN)
        numbers = zip(*[iter(reply[: 3 * len(Lane)])] * 3, strict=True)
        lanes = {
            lane: LaneStats(n, old / 1000, last / 1000) for lane, (n, old, last) in zip(Lane, numbers, strict=True)
        }
        waiting, delayed, leased, dead, most = reply[3 * len(Lane) :]
        communities = [(UUID(_text(most[i])), int(most[i + 1])) for i in range(0, len(most), 2)]
        return QueueStats(lanes, waiting=waiting, delayed=delayed, leased=leased, dead=dead, communities=communities)

    async def dead(self, *, limit: int = 100) -> list[DeadJob]:
        """The jobs that died last, newest first."""
        return [
            DeadJob(_job(row[0], *row[1:5]), attempts=int(row[5]), reason=_text(row[6]), died_at=int(row[7]) / 1000)
            for row in await self._call(queue_scripts.DEAD_LIST, limit)
        ]

    async def replay(self, name: str, row_id: UUID) -> bool:
        """Let a dead job wait again with all its attempts. False when it is not dead."""
        return bool(await self._call(queue_scripts.REPLAY, _id(name, row_id)))

    def _taken(self, reply: list[Any]) -> list[Lease]:
        due_ms = reply[0]
        self._due_at = asyncio.get_running_loop().time() + due_ms / 1000 if due_ms >= 0 else math.inf
        leases = []
        for i in range(1, len(reply), 8):
            row, token, attempt, community, lane, cost, group, waited = reply[i : i + 8]
            job = _job(row, community, lane, cost, group)
            leases.append(Lease(job, int(token), attempt, waited_seconds=waited / 1000))
        return leases

    def _described(self, job: Job) -> tuple[str, ...]:
        return _id(job.name, job.row_id), str(job.community_id), job.lane.value, repr(job.cost), job.group or ""

    def _held(self, lease: Lease) -> tuple[str | int, ...]:
        row, *rest = self._described(lease.job)
        return row, lease.token, *rest, lease.attempt

    def _script(self, body: str) -> Script:
        script = self._scripts.get(body)
        if script is None:
            script = self._scripts[body] = compile_script(body, self._settings)
        return script

    async def _call(self, body: str, *args: str | int) -> Any:
        script = self._script(body)
        try:
            return await self._redis.evalsha(script.sha, 1, self._prefix, *args)
        except NoScriptError:
            return await self._redis.eval(script.text, 1, self._prefix, *args)

    async def _wait_and_take(self, n: int, block_seconds: float) -> tuple[bool, Any]:
        """Block on the wake lists, then take: one round trip, so an idle worker starts a job as soon as it is sent."""
        script = self._script(queue_scripts.TAKE)
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.blpop([f"{self._prefix}wake", self._own_wake], timeout=block_seconds)
            pipe.evalsha(script.sha, 1, self._prefix, n)
            woken, reply = await pipe.execute(raise_on_error=False)
        if isinstance(reply, NoScriptError):
            reply = await self._call(queue_scripts.TAKE, n)
        for answer in (woken, reply):
            if isinstance(answer, Exception):
                raise answer
        return bool(woken and _text(woken[0]) == self._own_wake), reply


REASON_CHARS_MAX = 500
COMMUNITIES_SHOWN = 20


def _check_room(reply: list[int]) -> None:
    if reply[0]:
        raise QueueFull(
            waiting=reply[1],
            scope="all" if reply[0] == 1 else "community",
            retry_after_seconds=float(min(RETRY_AFTER_SECONDS_MAX, max(1, math.ceil(reply[2] / 1000)))),
        )


def _job(row: Any, community: Any, lane: Any, cost: Any, group: Any) -> Job:
    name, row_id = _name_and_row(row)
    return Job(name, row_id, UUID(_text(community)), Lane(_text(lane)), float(cost), _text(group) or None)


def _id(name: str, row_id: UUID) -> str:
    return f"{name}:{row_id}"


def _name_and_row(row: Any) -> tuple[str, UUID]:
    name, _, row_id = _text(row).rpartition(":")
    return name, UUID(row_id)


def _text(value: Any) -> str:
    """Text of a reply, whether or not the client decodes replies itself."""
    return value.decode() if isinstance(value, bytes) else str(value)


def send_after_commit(session: AsyncSession, job: Job) -> None:
    """Send `job` when the transaction of `session` has committed, and not at all when it rolls back."""
    session.info.setdefault("jobs", []).append(job)


Handler = Callable[["Runtime", Lease], Awaitable[None]]
PeriodicTask = Callable[["Runtime"], Awaitable[None]]
HANDLERS: dict[str, Handler] = {}
PERIODIC: dict[str, tuple[float, PeriodicTask]] = {}
WITHOUT_REDIS: set[str] = set()
"""Periodic functions that every worker runs while Redis is away: two at once must do no harm there."""


def job(name: str) -> Callable[[Handler], Handler]:
    """Registers the handler of the jobs called `name`. It may run twice for one job, and must not mind.

    Returning ends the job. EngineBusy puts it back, any other exception counts as a failed attempt. A handler that is
    stopped gets CancelledError with the reason as its argument: "cancelled" (by `Queue.cancel`; the job is over then),
    "lost" (another worker has it) or "handed_back" (this process ends; another will run it).
    """

    def register(handler: Handler) -> Handler:
        assert HANDLERS.get(name, handler) is handler, f"two handlers for {name}"
        HANDLERS[name] = handler
        return handler

    return register


def periodic(seconds: float, *, without_redis: bool = False) -> Callable[[PeriodicTask], PeriodicTask]:
    """Registers a function that runs every `seconds` in one worker at a time; see WITHOUT_REDIS."""

    def register(task: PeriodicTask) -> PeriodicTask:
        name = f"{task.__module__}.{task.__name__}"
        assert name not in PERIODIC, f"{name} is registered twice"
        PERIODIC[name] = (seconds, task)
        WITHOUT_REDIS.update({name} if without_redis else ())
        return task

    return register
