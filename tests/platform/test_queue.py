"""The queue as residents and operators notice it: fair, in order, one at a time, nothing lost, nothing twice."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis

from app.queue import Cancelled, Job, Lane, Lease, Queue, QueueFull
from tests.platform.valkey_servers import open_redis

HERE = uuid4()


def a_job(community: UUID = HERE, **details) -> Job:
    return Job("chat.answer_turn", uuid4(), community, **details)


async def take_now(queue: Queue, n: int = 1) -> list[Lease]:
    return await queue.take(n, wait_seconds=0)


async def take_one(queue: Queue, *, wait_seconds: float = 0) -> Lease:
    [lease] = await queue.take(1, wait_seconds=wait_seconds)
    return lease


async def test_a_job_comes_back_as_it_was_sent(queue: Queue):
    job = a_job(lane=Lane.SERVICE, cost=2.5, group="conversation:1")
    await queue.send(job)
    lease = await take_one(queue)
    assert (lease.job, lease.attempt) == (job, 1)
    assert await queue.finish(lease)
    assert await take_now(queue) == []
    assert (await queue.stats()).leased == 0


async def test_a_flooding_community_does_not_delay_the_others(queue_with: Callable[..., Queue]):
    queue = queue_with(queue_waiting_per_community_max=10_000)
    loud, quiet = uuid4(), [uuid4() for _ in range(4)]
    for _ in range(2_000):
        await queue.send(a_job(loud))
    for _ in range(20):
        for community in quiet:
            await queue.send(a_job(community))
    served = Counter([(await take_one(queue)).job.community_id for _ in range(100)])
    assert max(served.values()) / min(served[c] for c in (loud, *quiet)) <= 1.1


async def test_shares_stay_even_while_everybody_keeps_sending(queue_with: Callable[..., Queue]):
    """The loud one always has 100 times as much waiting as each of the others, who always have something waiting."""
    queue = queue_with(queue_waiting_per_community_max=10_000)
    loud, quiet = uuid4(), [uuid4() for _ in range(3)]
    for _ in range(200):
        await queue.send(a_job(loud))
    for community in quiet * 2:
        await queue.send(a_job(community))
    served: Counter[UUID] = Counter()
    for _ in range(100):
        for lease in await take_now(queue, 4):
            served[lease.job.community_id] += 1
            await queue.send(a_job(lease.job.community_id))
            await queue.finish(lease)
    assert max(served.values()) / min(served.values()) <= 1.1


async def test_a_newcomer_is_not_repaid_for_the_time_it_was_silent(queue: Queue):
    early, late = uuid4(), uuid4()
    for _ in range(60):
        await queue.send(a_job(early))
    for _ in range(30):
        await queue.finish(await take_one(queue))
    for _ in range(30):
        await queue.send(a_job(late))
    served = Counter([(await take_one(queue)).job.community_id for _ in range(20)])
    assert abs(served[early] - served[late]) <= 2


async def test_weights_and_costs_set_the_shares(queue_with: Callable[..., Queue]):
    big, small = uuid4(), uuid4()
    queue = queue_with(community_weights={str(big): 3.0}, lease_seconds=60)
    for _ in range(60):
        await queue.send(a_job(big))
        await queue.send(a_job(small))
    served = Counter([(await take_one(queue)).job.community_id for _ in range(40)])
    assert served[big] == pytest.approx(30, abs=1)

    dear, cheap = uuid4(), uuid4()
    for _ in range(40):
        await queue.send(a_job(dear, cost=4.0, lane=Lane.BATCH))
        await queue.send(a_job(cheap, cost=1.0, lane=Lane.BATCH))
    while (lease := await take_one(queue)).job.lane is not Lane.BATCH:
        pass
    served = Counter([lease.job.community_id, *[(await take_one(queue)).job.community_id for _ in range(39)]])
    assert served[cheap] == pytest.approx(32, abs=1)


async def test_jobs_of_one_community_run_in_order(queue: Queue):
    jobs = [a_job() for _ in range(20)]
    for job in jobs:
        await queue.send(job)
    assert [lease.job for lease in await take_now(queue, 20)] == jobs


async def test_people_who_watch_come_before_the_service_desk_and_before_imports(queue: Queue):
    lanes = [Lane.BATCH, Lane.SERVICE, Lane.INTERACTIVE]
    for lane in lanes:
        await queue.send(a_job(lane=lane))
    assert [lease.job.lane for lease in await take_now(queue, 3)] == lanes[::-1]


async def test_an_import_of_a_community_does_not_push_its_residents_back(queue: Queue):
    busy, other = uuid4(), uuid4()
    for _ in range(100):
        await queue.send(a_job(busy, lane=Lane.BATCH))
    await queue.send(a_job(busy))
    for _ in range(5):
        await queue.send(a_job(other))
    assert busy in [lease.job.community_id for lease in await take_now(queue, 2)]


async def test_no_lane_starves(queue_with: Callable[..., Queue]):
    patient = queue_with(lane_service_wait_seconds=3_600, lane_batch_wait_seconds=3_600)
    for lane in (Lane.SERVICE, Lane.BATCH):
        await asyncio.gather(*(patient.send(a_job(lane=lane)) for _ in range(40)))
    await asyncio.gather(*(patient.send(a_job()) for _ in range(200)))
    fresh = Counter([(await take_one(patient)).job.lane for _ in range(8)])
    assert fresh == {Lane.INTERACTIVE: 8}
    # What waits is older than these bounds.
    late = queue_with(lane_service_wait_seconds=0.001, lane_batch_wait_seconds=0.001)
    aged = Counter([(await take_one(late)).job.lane for _ in range(40)])
    assert aged == {Lane.INTERACTIVE: 15, Lane.SERVICE: 15, Lane.BATCH: 10}, "three and two of eight places"
    batch_late = queue_with(lane_service_wait_seconds=3_600, lane_batch_wait_seconds=0.001)
    aged = Counter([(await take_one(batch_late)).job.lane for _ in range(40)])
    assert aged == {Lane.INTERACTIVE: 30, Lane.BATCH: 10}, "what is promised to a lane in time is nobody's"


async def test_a_conversation_has_one_turn_at_a_time_and_in_order(queue: Queue):
    turns = [a_job(group="conversation:1") for _ in range(4)]
    other = a_job(group="conversation:2")
    for job in [*turns, other]:
        await queue.send(job)
    first, second = await take_now(queue, 10)
    assert [first.job, second.job] == [turns[0], other]
    assert (await queue.stats()).parked == 3
    for following in turns[1:]:
        assert await take_now(queue) == []
        assert await queue.finish(first)
        first = await take_one(queue)
        assert first.job == following
    await queue.finish(first)
    await queue.finish(second)
    await queue.send(a_job(group="conversation:1"))
    assert len(await take_now(queue)) == 1


async def test_a_retried_turn_keeps_its_conversation(queue: Queue):
    first, second = a_job(group="g"), a_job(group="g")
    await queue.send(first)
    await queue.send(second)
    await queue.retry(await take_one(queue), delay_seconds=0.1)
    assert await take_now(queue) == []
    again = await take_one(queue, wait_seconds=1)
    assert (again.job, again.attempt) == (first, 1)
    await queue.fail(again, reason="no")
    assert (await take_one(queue)).job == second


async def test_sending_twice_is_one_job(queue: Queue):
    job = a_job()
    await queue.send(job)
    await queue.send(job)
    lease = await take_one(queue)
    await queue.send(job)
    assert await take_now(queue) == []
    await queue.finish(lease)
    await queue.send(job)
    assert (await take_one(queue)).job == job


async def test_a_burst_of_sends_and_finishes_is_told_apart(queue_with: Callable[..., Queue]):
    """They travel together; each gets its own answer."""
    queue = queue_with(queue_waiting_per_community_max=50)
    answers = await asyncio.gather(*(queue.send(a_job()) for _ in range(80)), return_exceptions=True)
    assert [type(answer) for answer in answers].count(QueueFull) == 30
    leases = await take_now(queue, 80)
    assert len(leases) == 50
    assert all(await asyncio.gather(*(queue.finish(lease) for lease in leases)))
    assert not any(await asyncio.gather(*(queue.finish(lease) for lease in leases)))


async def test_a_thousand_documents_leave_room_for_questions(queue_with: Callable[..., Queue]):
    queue = queue_with(queue_waiting_per_community_max=10, queue_waiting_max=100)
    for _ in range(5):
        await queue.send(a_job(lane=Lane.BATCH))
    with pytest.raises(QueueFull):
        await queue.send(a_job(lane=Lane.BATCH))
    for _ in range(5):
        await queue.check_admission(HERE)
        await queue.send(a_job())


async def test_too_much_waiting_is_refused_in_both_languages_and_kept_out(queue_with: Callable[..., Queue]):
    queue = queue_with(queue_waiting_per_community_max=3, queue_waiting_max=5)
    for _ in range(3):
        await queue.check_admission(HERE)
        await queue.send(a_job())
    with pytest.raises(QueueFull) as refused:
        await queue.send(a_job())
    assert (refused.value.status, refused.value.facts["scope"]) == (429, "community")
    assert 1 <= refused.value.retry_after_seconds <= 60
    assert "排队" in refused.value.message_zh
    assert "waiting" in refused.value.message_en
    with pytest.raises(QueueFull):
        await queue.check_admission(HERE)
    for _ in range(2):
        await queue.send(a_job(uuid4()))
    with pytest.raises(QueueFull) as refused:
        await queue.send(a_job(uuid4()))
    assert refused.value.facts["scope"] == "all"
    assert (await queue.stats()).waiting == 5
    await take_now(queue, 5)
    await queue.send(a_job())


async def test_an_idle_worker_wakes_at_once_without_polling(queue: Queue, redis: Redis, redis_url: str):
    await take_now(queue)  # loads the script
    async with open_redis(redis_url) as other:
        sender = Queue(other, queue._settings)
        await sender.check_admission(HERE)
        waits = []
        for _ in range(5):
            taking = asyncio.create_task(queue.take(1, wait_seconds=5))
            await asyncio.sleep(0.1)
            started = time.perf_counter()
            await sender.send(a_job())
            [lease] = await taking
            waits.append(time.perf_counter() - started)
            await queue.finish(lease)
        assert min(waits) < 0.05

        before = (await other.info("stats"))["total_commands_processed"]
        assert await queue.take(1, wait_seconds=1) == []
        after = (await other.info("stats"))["total_commands_processed"]
        assert after - before < 60  # one look, one blocked wait


async def test_many_idle_workers_share_a_burst(queue: Queue):
    taking = [asyncio.create_task(queue.take(2, wait_seconds=20)) for _ in range(5)]
    await asyncio.sleep(0.1)
    jobs = {job.row_id for job in (a_job() for _ in range(10))}
    for row_id in jobs:
        await queue.send(Job("chat.answer_turn", row_id, HERE))
    started = time.perf_counter()
    taken = [lease for leases in await asyncio.gather(*taking) for lease in leases]
    taken += await take_now(queue, 10)
    assert {lease.job.row_id for lease in taken} == jobs
    assert len(taken) == 10
    assert time.perf_counter() - started < 10


async def test_a_waiting_take_can_be_interrupted_without_loss(queue: Queue):
    taking = asyncio.create_task(queue.take(1, wait_seconds=10))
    await asyncio.sleep(0.1)
    await queue.interrupt()
    assert await asyncio.wait_for(taking, 5) == []
    await queue.send(a_job())
    assert len(await take_now(queue)) == 1


async def test_position_says_how_many_go_before_and_how_long(queue: Queue):
    ahead, mine = a_job(), a_job(lane=Lane.SERVICE)
    behind = a_job(lane=Lane.SERVICE, group="g")
    parked = a_job(lane=Lane.SERVICE, group="g")
    for job in (ahead, mine, behind, parked):
        await queue.send(job)
    places = [await queue.position(job.name, job.row_id) for job in (ahead, mine, behind, parked)]
    assert [place.ahead for place in places if place] == [0, 1, 2, 3]
    waits = [place.expected_wait_seconds for place in places if place]
    assert waits == sorted(waits)
    assert await queue.position("chat.answer_turn", uuid4()) is None
    lease = await take_one(queue)
    running = await queue.position(ahead.name, ahead.row_id)
    assert running is not None
    assert (running.ahead, running.expected_wait_seconds) == (0, 0)
    await asyncio.sleep(0.1)
    await queue.finish(lease)


async def test_expected_wait_follows_the_service_times_seen(queue: Queue):
    for _ in range(5):
        await queue.send(a_job())
        lease = await take_one(queue)
        await asyncio.sleep(0.05)
        await queue.finish(lease)
    jobs = [a_job() for _ in range(8)]
    for job in jobs:
        await queue.send(job)
    running = await take_now(queue, 2)
    place = await queue.position(jobs[-1].name, jobs[-1].row_id)
    assert place is not None
    # Five go before it, two run at once, each takes about 50 ms.
    assert (place.ahead, len(running)) == (5, 2)
    assert 0.12 <= place.expected_wait_seconds <= 0.5


async def test_cancel_removes_a_waiting_job_and_flags_a_running_one(queue: Queue):
    waiting, running, parked = a_job(group="a"), a_job(group="b"), a_job(group="b")
    await queue.send(running)
    lease = await take_one(queue)
    for job in (waiting, parked):
        await queue.send(job)
    assert await queue.cancel(waiting.name, waiting.row_id) is Cancelled.WAITING_REMOVED
    assert await queue.cancel(parked.name, parked.row_id) is Cancelled.WAITING_REMOVED
    assert await queue.cancel(waiting.name, waiting.row_id) is Cancelled.UNKNOWN
    assert await queue.cancelled([lease]) == []
    assert await queue.cancel(running.name, running.row_id) is Cancelled.RUNNING_FLAGGED
    assert await queue.cancelled([lease]) == [lease]
    assert await queue.finish(lease)
    stats = await queue.stats()
    assert (stats.waiting, stats.leased) == (0, 0)


async def test_cancelling_the_first_of_a_conversation_lets_the_next_go(queue: Queue):
    first, second = a_job(group="g"), a_job(group="g")
    await queue.send(first)
    await queue.send(second)
    await queue.cancel(first.name, first.row_id)
    assert (await take_one(queue)).job == second


async def test_stats_say_what_waits_and_since_when(queue: Queue):
    for lane in (Lane.INTERACTIVE, Lane.BATCH, Lane.BATCH):
        await queue.send(a_job(lane=lane))
    await asyncio.sleep(0.05)
    stats = await queue.stats()
    assert {lane: seen.ready for lane, seen in stats.lanes.items()} == {
        Lane.INTERACTIVE: 1,
        Lane.SERVICE: 0,
        Lane.BATCH: 2,
    }
    assert stats.lanes[Lane.BATCH].oldest_wait_seconds >= 0.05
    assert (stats.waiting, stats.leased, stats.dead) == (3, 0, 0)


async def test_stats_name_the_communities_that_wait_most(queue: Queue):
    few, many, done = uuid4(), uuid4(), uuid4()
    await queue.send(a_job(done))
    await queue.finish(await take_one(queue))
    for community in (few, many, many):
        await queue.send(a_job(community))
    assert (await queue.stats()).communities == [(many, 2), (few, 1)]
    for _ in range(25):
        await queue.send(a_job(uuid4()))
    assert len((await queue.stats()).communities) == 20
