"""Turns whose job is gone: sent again, or given up where the job died."""

from datetime import timedelta
from uuid import uuid4

from app.chat.jobs import sweep_open_turns
from app.queue import Job
from tests.chat.test_turns import ask, finished


async def die(runtime, job: Job) -> None:
    await runtime.queue.send(job)
    [lease] = await runtime.queue.take(1, wait_seconds=1)
    await runtime.queue.fail(lease, reason="it kills its worker")


async def test_a_turn_whose_job_died_is_given_up_however_many_died_after_it(client, runtime, make, clock):
    resident = await make.resident()
    turn = await ask(client, resident, "临时停车怎么收费？")
    [lease] = await runtime.queue.take(1, wait_seconds=1)
    await runtime.queue.fail(lease, reason="it kills its worker")
    for _ in range(120):
        await die(runtime, Job("knowledge.other", uuid4(), resident.place.id))
    clock.now += timedelta(minutes=1)
    await sweep_open_turns(runtime)
    ended = await finished(client, resident, turn)
    assert (ended["status"], ended["error"]) == ("failed", "gave_up")
