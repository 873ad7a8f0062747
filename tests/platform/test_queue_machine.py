"""Any sequence of events, checked against a clerk with a notebook. Only the clock is not real."""

from dataclasses import dataclass, field
from uuid import UUID

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from app.queue import Cancelled, Job, Lane, Lease
from bench.queue_simulation import START, TimedQueue
from bench.queue_simulation import settings as queue_settings

LEASE_SECONDS, PAUSE_SECONDS, ATTEMPTS = 10.0, 5.0, 3
JOBS = [
    Job("j", UUID(int=i), UUID(int=i % 2), lane=list(Lane)[i % 3], group=None if i % 4 == 3 else f"g{i % 4}")
    for i in range(12)
]


@dataclass
class Clerk:
    """What a patient clerk expects: where each job is, which of a conversation goes next, who holds which lease."""

    ready: set[Job] = field(default_factory=set)
    delayed: dict[Job, float] = field(default_factory=dict)
    parked: list[Job] = field(default_factory=list)
    leased: dict[Job, tuple[Lease, float]] = field(default_factory=dict)
    dead: set[Job] = field(default_factory=set)
    failures: dict[Job, int] = field(default_factory=dict)
    token: int = 0

    def knows(self, job: Job) -> bool:
        return any(job in place for place in (self.ready, self.delayed, self.parked, self.leased, self.dead))

    def enter(self, job: Job) -> None:
        self.failures[job] = 0
        ahead = [*self.ready, *self.delayed, *self.leased]
        if job.group is not None and any(other.group == job.group for other in ahead):
            self.parked.append(job)
        else:
            self.ready.add(job)

    def leave(self, job: Job) -> None:
        """It is over or dead: the next of its conversation may go."""
        if job in self.parked:
            self.parked.remove(job)
            return
        self.ready.discard(job)
        self.delayed.pop(job, None)
        self.leased.pop(job, None)
        if following := next((p for p in self.parked if p.group == job.group), None):
            self.parked.remove(following)
            self.ready.add(following)

    def failed(self, job: Job, now: float) -> bool:
        """An attempt failed; whether there will be another."""
        self.failures[job] += 1
        if self.failures[job] >= ATTEMPTS:
            self.leave(job)
            self.dead.add(job)
            return False
        self.leased.pop(job, None)
        self.delayed[job] = now + PAUSE_SECONDS
        return True

    def come_due(self, now: float) -> None:
        for job in [job for job, due in self.delayed.items() if due <= now]:
            del self.delayed[job]
            self.ready.add(job)
        for job in [job for job, (_, deadline) in self.leased.items() if deadline <= now]:
            self.failed(job, now)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["send"] * 4 + ["take"] * 3 + ["finish", "retry", "break", "fail", "cancel", "renew", "replay"]
            + ["stale", "tick", "tick", "wipe"]
        ),
        st.integers(0, 11),
    ),
    max_size=70,
)  # fmt: skip


class Machine:
    """One run: each step is done to the queue and to the clerk, who then count the same."""

    def __init__(self, redis: Redis) -> None:
        limits = {"lease_seconds": LEASE_SECONDS, "job_attempts_max": ATTEMPTS, "lane_batch_wait_seconds": 20}
        pauses = {"retry_seconds_min": PAUSE_SECONDS, "retry_seconds_max": PAUSE_SECONDS}
        self.redis, self.queue = redis, TimedQueue(redis, queue_settings(**limits, **pauses))
        self.clerk, self.now = Clerk(), 0.0
        self.old: list[Lease] = []
        self.oldest_token = 0

    async def step(self, what: str, job: Job, number: int) -> None:
        self.now += 0.001
        await self.queue.set_time(self.now)
        held = self.clerk.leased.get(job)
        if what in ("finish", "retry", "break", "fail", "renew"):
            if held:
                await self.settle(what, held[0])
        elif what == "send":
            await self.send(job)
        elif what == "take":
            await self.take(1 + number % 4)
        elif what == "cancel":
            await self.cancel(job)
        elif what == "replay":
            assert await self.queue.replay(job.name, job.row_id) is (job in self.clerk.dead)
            if job in self.clerk.dead:
                self.clerk.dead.remove(job)
                self.clerk.enter(job)
        elif what == "tick":
            self.now += (1.0, PAUSE_SECONDS, LEASE_SECONDS + 1)[number % 3]
        elif what == "wipe":
            await self.wipe()
        else:
            zombie = self.old[number % len(self.old)]
            assert not await self.queue.finish(zombie)
            assert await self.queue.renew([zombie]) == [zombie]
            assert not await self.queue.retry(zombie, attempt_counts=True)
        await self.count()

    async def send(self, job: Job) -> None:
        if not self.clerk.knows(job):
            self.clerk.enter(job)
        await self.queue.send(job)

    async def take(self, n: int) -> None:
        for lease, deadline in self.clerk.leased.values():
            if deadline <= self.now:
                self.remember(lease)
        self.clerk.come_due(self.now)
        leases = await self.queue.take(n, wait_seconds=0)
        assert len(leases) == min(n, len(self.clerk.ready))
        for lease in leases:
            assert lease.job in self.clerk.ready, "leased twice, too early, or beside one of its conversation"
            assert lease.token > self.clerk.token
            assert lease.attempt == self.clerk.failures[lease.job] + 1
            self.clerk.token = lease.token
            self.clerk.ready.remove(lease.job)
            self.clerk.leased[lease.job] = lease, self.now + LEASE_SECONDS

    def remember(self, lease: Lease) -> None:
        """It must not work any more. One issued before a wipe might: the queue takes it for a lease that was lost."""
        if lease.token >= self.oldest_token:
            self.old.append(lease)

    async def settle(self, what: str, lease: Lease) -> None:
        job, clerk = lease.job, self.clerk
        if what == "renew":
            assert await self.queue.renew([lease]) == []
            clerk.leased[job] = lease, self.now + LEASE_SECONDS
            return
        self.remember(lease)
        if what == "finish":
            clerk.leave(job)
            assert await self.queue.finish(lease)
        elif what == "retry":
            del clerk.leased[job]
            clerk.ready.add(job)
            assert await self.queue.retry(lease, delay_seconds=0)
        elif what == "break":
            again = clerk.failed(job, self.now)
            assert await self.queue.retry(lease, attempt_counts=True) is again
        else:
            clerk.leave(job)
            clerk.dead.add(job)
            assert await self.queue.fail(lease, reason="no")

    async def cancel(self, job: Job) -> None:
        found = await self.queue.cancel(job.name, job.row_id)
        if job in self.clerk.leased:
            assert found is Cancelled.RUNNING_FLAGGED
        elif job in self.clerk.dead or not self.clerk.knows(job):
            assert found is Cancelled.UNKNOWN
        else:
            assert found is Cancelled.WAITING_REMOVED
            self.clerk.leave(job)

    async def wipe(self) -> None:
        """Redis forgets everything: workers say what they hold, then the sweeper sends what rows say is waiting."""
        clerk = self.clerk
        await self.redis.flushall()
        self.now += 1
        await self.queue.set_time(self.now)
        held = [lease for lease, _ in clerk.leased.values()]
        assert await self.queue.renew(held) == []
        waiting = [*clerk.ready, *clerk.delayed, *clerk.parked]
        failures = {lease.job: clerk.failures[lease.job] for lease in held}
        self.clerk = Clerk(token=clerk.token, failures=failures)
        self.clerk.leased = {lease.job: (lease, self.now + LEASE_SECONDS) for lease in held}
        self.old, self.oldest_token = [], int((START + self.now) * 1e6)
        for job in waiting:
            await self.send(job)

    async def count(self) -> None:
        stats, clerk = await self.queue.stats(), self.clerk
        assert sum(lane.ready for lane in stats.lanes.values()) == len(clerk.ready)
        assert (stats.delayed, stats.parked) == (len(clerk.delayed), len(clerk.parked))
        assert (stats.leased, stats.dead) == (len(clerk.leased), len(clerk.dead))
        assert sum(waiting for _, waiting in stats.communities) == stats.waiting


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
async def test_whatever_happens_no_job_is_lost_doubled_or_out_of_turn(redis: Redis, steps):
    await redis.flushall()
    machine = Machine(redis)
    await machine.queue.set_time(0)
    for what, number in steps:
        if what == "stale" and not machine.old:
            continue
        await machine.step(what, JOBS[number], number)
    stats = await machine.queue.stats()
    while stats.waiting or stats.leased:
        machine.now += PAUSE_SECONDS
        await machine.step("take", JOBS[0], 3)
        for lease, _ in list(machine.clerk.leased.values()):
            await machine.settle("finish", lease)
        stats = await machine.queue.stats()
    assert stats.dead == len(machine.clerk.dead)
    left = {key async for key in redis.scan_iter("*}:job:*")}
    assert len(left) == len(machine.clerk.dead)
