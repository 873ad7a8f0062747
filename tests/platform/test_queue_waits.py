"""What people are told about their wait comes true, in simulated time on a real Valkey."""

import statistics
from collections.abc import Callable
from uuid import uuid4

from redis.asyncio import Redis

from app.queue import Lane, Queue
from bench import queue_overload
from bench.queue_simulation import Arrival
from tests.platform.test_queue import a_job


async def test_the_wait_that_people_are_told_comes_true_in_a_rush(redis: Redis):
    """At 1.3 times what the engine can do: eight slots, eight seconds an answer, one start a second."""
    rush = queue_overload.mixed(1.3, 300, seed=2)
    served = await queue_overload.simulate(redis, rush, queue_waiting_max=40)
    number, error, within = queue_overload.errors(served)
    assert number > 150
    assert error <= 0.35
    assert within >= 0.65
    retry_after = [fate.refused_retry_after for fate in served if fate.refused_retry_after is not None]
    # Until a quarter of the 40 places is free again.
    assert 5 <= statistics.median(retry_after) <= 20


async def test_who_waits_behind_an_own_flood_is_told_of_the_others_who_go_before(redis: Redis):
    """A flood of one community while another keeps the engine half busy: it moves at half the pace."""
    loud, quiet = queue_overload.COMMUNITIES[:2]
    usual = [Arrival(second * 2.0, quiet) for second in range(200)]
    flood = [Arrival(at, loud) for at in (100.0, 140.0) for _ in range(50)]
    served = await queue_overload.simulate(redis, [*usual, *flood])
    # Those who come when the pace has been seen.
    late = [fate for fate in served if fate.arrival.community == loud and fate.arrival.at == 140]
    told, waited = sum(fate.expected or 0 for fate in late), sum(fate.waited for fate in late)
    assert 0.5 <= told / waited <= 1.6
    others = [fate.waited for fate in served if fate.arrival.community == quiet and fate.arrival.at > 100]
    assert max(others) < min(fate.waited for fate in late[10:])


async def test_a_place_counts_only_the_jobs_that_start_before(queue_with: Callable[..., Queue]):
    queue = queue_with(lease_seconds=60)
    loud, quiet = uuid4(), a_job(uuid4())
    for _ in range(50):
        await queue.send(a_job(loud))
    await queue.send(quiet)
    for _ in range(5):
        await queue.send(a_job(uuid4(), lane=Lane.BATCH))
    place = await queue.position(quiet.name, quiet.row_id)
    assert place is not None
    assert place.ahead <= 1
    started = [lease.job for lease in await queue.take(place.ahead + 1, wait_seconds=0)]
    assert started[-1] == quiet
