"""Leases: workers that die, freeze and come back; a Redis that forgets everything."""

import asyncio
import time
from collections.abc import Callable

from redis.asyncio import Redis

from app.queue import Lane, Queue
from tests.platform.test_queue import a_job, take_now, take_one


async def test_a_job_of_a_silent_worker_goes_to_another(queue: Queue):
    job = a_job()
    await queue.send(job)
    dead = await take_one(queue)
    started = time.perf_counter()
    taken_over = await take_one(queue, wait_seconds=6)
    assert 0.7 <= time.perf_counter() - started <= 5
    assert (taken_over.job, taken_over.attempt) == (job, 2)
    assert taken_over.token > dead.token


async def test_the_zombie_is_refused_everything(queue: Queue):
    await queue.send(a_job())
    zombie = await take_one(queue)
    holder = await take_one(queue, wait_seconds=3)
    assert await queue.renew([zombie, holder]) == [zombie]
    assert not await queue.finish(zombie)
    assert not await queue.retry(zombie)
    assert not await queue.fail(zombie, reason="no")
    assert await queue.finish(holder)
    assert await queue.renew([zombie]) == [zombie]
    assert not await queue.finish(zombie)
    assert (await queue.stats()).leased == 0


async def test_renewing_keeps_a_slow_job(queue: Queue):
    await queue.send(a_job())
    lease = await take_one(queue)
    for _ in range(8):
        assert await queue.take(1, wait_seconds=0.1) == []
        assert await queue.renew([lease]) == []
    assert await queue.finish(lease)


async def test_tokens_grow_also_when_redis_was_wiped(queue: Queue, redis: Redis):
    tokens = []
    for _ in range(5):
        for _ in range(3):
            await queue.send(a_job())
        tokens += [lease.token for lease in await take_now(queue, 3)]
        await redis.flushall()
    assert tokens == sorted(set(tokens))


async def test_a_running_job_survives_a_wipe(queue: Queue, redis: Redis):
    job, following = a_job(group="g", lane=Lane.SERVICE, cost=2.0), a_job(group="g")
    await queue.send(job)
    lease = await take_one(queue)
    await redis.flushall()
    assert await queue.renew([lease]) == []
    await queue.send(job)  # the sweeper
    await queue.send(following)
    assert await take_now(queue, 2) == []
    assert await queue.finish(lease)
    assert (await take_one(queue)).job == following


async def test_a_running_job_sent_again_after_a_wipe_is_not_run_twice(queue: Queue, redis: Redis):
    job, other = a_job(group="g"), a_job(group="g")
    await queue.send(job)
    lease = await take_one(queue)
    await redis.flushall()
    await queue.send(other)
    await queue.send(job)  # the sweeper was quicker than the renewal
    assert await queue.renew([lease]) == []
    assert await take_now(queue, 5) == []
    assert (await queue.stats()).waiting == 1
    assert await queue.finish(lease)
    assert (await take_one(queue)).job == other


async def test_after_a_wipe_the_new_holder_wins(queue: Queue, redis: Redis):
    job = a_job()
    await queue.send(job)
    old = await take_one(queue)
    await redis.flushall()
    await queue.send(job)
    new = await take_one(queue)
    assert new.token > old.token
    assert await queue.renew([old, new]) == [old]
    assert not await queue.finish(old)
    assert await queue.finish(new)


async def test_after_a_wipe_two_turns_of_a_conversation_do_not_run_at_once(queue: Queue, redis: Redis):
    first, second = a_job(group="g"), a_job(group="g")
    await queue.send(first)
    old = await take_one(queue)
    await redis.flushall()
    await queue.send(second)
    await take_one(queue)
    assert await queue.renew([old]) == [old]


async def test_finishing_right_after_a_wipe_leaves_nothing_behind(queue: Queue, redis: Redis):
    job = a_job()
    await queue.send(job)
    lease = await take_one(queue)
    await redis.flushall()
    await queue.send(job)
    assert await queue.finish(lease)
    assert await take_now(queue) == []


async def test_failures_back_off_and_end_in_the_dead_set(queue_with: Callable[..., Queue]):
    queue, job = queue_with(retry_seconds_min=0.3, retry_seconds_max=2), a_job()
    await queue.send(job)
    pauses = []
    lease = await take_one(queue)
    for _ in range(2):
        started = time.perf_counter()
        assert await queue.retry(lease, attempt_counts=True, reason="it broke")
        assert await take_now(queue) == []
        lease = await take_one(queue, wait_seconds=5)
        pauses.append(time.perf_counter() - started)
    assert pauses[0] >= 0.3
    assert pauses[1] >= 0.6
    assert lease.attempt == 3
    assert not await queue.retry(lease, attempt_counts=True, reason="it broke")
    [dead] = await queue.dead()
    assert (dead.job, dead.attempts, dead.reason) == (job, 3, "it broke")
    assert abs(dead.died_at - time.time()) < 5

    await queue.send(job)  # a sweeper does not bring it back: a person does
    assert await take_now(queue) == []
    assert await queue.replay(job.name, job.row_id)
    assert not await queue.replay(job.name, job.row_id)
    assert (await take_one(queue)).attempt == 1
    assert await queue.dead() == []


async def test_a_job_that_kills_its_workers_dies(queue: Queue):
    await queue.send(a_job())
    for attempt in (1, 2, 3):
        assert (await take_one(queue, wait_seconds=3)).attempt == attempt
    assert await queue.take(1, wait_seconds=1) == []
    [dead] = await queue.dead()
    assert "sign of life" in dead.reason


async def test_putting_back_for_a_busy_engine_costs_no_attempt_and_no_place(queue: Queue):
    first, second = a_job(), a_job()
    await queue.send(first)
    await queue.send(second)
    for _ in range(10):
        lease = await take_one(queue)
        assert (lease.job, lease.attempt) == (first, 1)
        assert await queue.retry(lease, delay_seconds=0)


async def test_the_dead_set_is_bounded(queue_with: Callable[..., Queue]):
    queue = queue_with(dead_jobs_max=3)
    jobs = [a_job() for _ in range(5)]
    for job in jobs:
        await queue.send(job)
        await queue.fail(await take_one(queue), reason="no")
        await asyncio.sleep(0.002)
    assert [dead.job for dead in await queue.dead()] == jobs[:1:-1]
