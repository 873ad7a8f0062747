"""About an emergency somebody is rung, then the next, then the managers, then all again, until somebody answers."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import delete, update

from app import worker
from app.notices import channel_list
from app.notices.tables import ChannelAudience, ChannelKind, ChannelUse
from app.people.callers import system_caller
from app.people.tables import Staff, StaffRight, StaffRole
from app.queue import PERIODIC, WITHOUT_REDIS, Lease, Queue
from app.runtime import Runtime, open_redis
from app.service_desk import duty_jobs, ring_answers, ringing
from app.service_desk.duty_hearing import ring_job
from app.service_desk.duty_tables import RingAnswer
from app.service_desk.tables import Status, Urgency, WorkOrder
from tests.make import Order, Person
from tests.notices.messages.receivers import Receiver
from tests.notices.receiver import listening
from tests.service_desk.duties import Desk


async def emergency(desk: Desk, **columns: Any) -> Order:
    """Somebody is trapped in a lift."""
    return await desk.make.work_order(
        text="我被困在3号电梯里了", urgency=Urgency.EMERGENCY, emergency_kind="trapped", **columns
    )


async def ring_on(desk: Desk, run_jobs: Any, minutes: float = 0) -> None:
    desk.later(minutes=minutes)
    await duty_jobs.sweep_rings(desk.runtime)
    await run_jobs()


async def rung(desk: Desk, *people: Person) -> list[int]:
    return [(await desk.told(one)).count("emergency.ring") for one in people]


async def link_of(desk: Desk, who: Person) -> str:
    listed = await desk.client.get("/api/v1/me/messages", as_=who)
    link = next(one["link"] for one in listed.json()["items"] if one["kind"] == "emergency.ring")
    parts = urlsplit(link)
    return f"{parts.path}?{parts.query}"


async def test_the_rota_is_rung_level_by_level_then_the_managers_then_everybody_for_ever(desk: Desk, run_jobs):
    first, second = await desk.plumber("lift", name="王师傅"), await desk.plumber("lift", name="李师傅")
    await desk.make.on_call(first, 1)
    await desk.make.on_call(second, 2)
    order = await emergency(desk)
    await ring_on(desk, run_jobs)
    assert await rung(desk, first, second, desk.manager) == [1, 0, 0]
    await ring_on(desk, run_jobs, 2)
    assert await rung(desk, first, second, desk.manager) == [1, 0, 0], "they have three minutes to answer"
    await ring_on(desk, run_jobs, 1)
    assert await rung(desk, first, second, desk.manager) == [1, 1, 0]
    await ring_on(desk, run_jobs, 3)
    assert await rung(desk, first, second, desk.manager) == [1, 1, 1]
    for _ in range(3):
        await ring_on(desk, run_jobs, 31)
    assert await rung(desk, first, second, desk.manager) == [4, 4, 4], "it never ends in silence"
    assert [event["facts"]["level"] for event in await desk.events(order, "rung")] == [
        "rota:1", "rota:2", "managers", "everybody", "everybody", "everybody",
    ]  # fmt: skip
    assert (await desk.seen(order))["needs_person"] is True
    assert len(await desk.events(order, "escalated")) == 3


async def test_whoever_accepts_has_the_order_the_ringing_ends_and_the_others_are_told(desk: Desk, run_jobs):
    first, second = await desk.plumber("lift"), await desk.plumber("lift")
    await desk.make.on_call(first, 1)
    await desk.make.on_call(second, 1)
    order = await emergency(desk)
    await ring_on(desk, run_jobs)
    answers = await asyncio.gather(*(desk.post(order, "ring/accept", one) for one in (first, second)))
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    refused = next(answer for answer in answers if answer.status_code == 409).json()
    assert (refused["code"], refused["facts"]["answer"]) == ("ring_answered", "accept")
    seen = await desk.seen(order)
    assert seen["status"] == "accepted"
    assert seen["assignee_id"] == refused["facts"]["staff_id"]
    loser = second if seen["assignee_id"] == str(first.id) else first
    assert (await desk.told(loser))[-1] == "emergency.answered"
    await ring_on(desk, run_jobs, 60)
    assert await rung(desk, first, second, desk.manager) == [1, 1, 0]
    (answered,) = await desk.events(order, "ring_answered")
    assert answered["facts"]["answer"] == "accept"


async def test_what_is_no_emergency_goes_its_usual_way_as_urgent(desk: Desk, run_jobs):
    on_call = await desk.plumber("lift")
    await desk.make.on_call(on_call)
    order = await emergency(desk)
    await desk.triage(order, "lift", urgency=Urgency.EMERGENCY)
    await run_jobs()
    assert (await desk.seen(order))["status"] == "submitted", "an emergency is not handed out like a dripping tap"
    downgraded = await desk.post(order, "ring/downgrade", on_call, note="门已打开，人出来了")
    assert downgraded.json()["answer"] == "downgrade"
    await run_jobs()
    seen = await desk.seen(order)
    assert (seen["urgency"], seen["status"], seen["assignee_id"]) == ("urgent", "dispatched", str(on_call.id))
    assert (await desk.events(order, "ring_answered"))[0]["note"] == "门已打开，人出来了"


async def test_a_known_emergency_is_rung_no_more_and_left_to_the_desk(desk: Desk, run_jobs):
    on_call = await desk.plumber("lift")
    await desk.make.on_call(on_call)
    order = await emergency(desk)
    await ring_on(desk, run_jobs)
    assert (await desk.post(order, "ring/known", on_call)).status_code == 200
    assert (await desk.post(order, "ring/known", on_call)).status_code == 200, "the same answer twice is one"
    assert (await desk.post(order, "ring/accept", on_call)).json()["code"] == "ring_answered"
    await ring_on(desk, run_jobs, 60)
    assert await rung(desk, on_call, desk.manager) == [1, 0]
    seen = await desk.seen(order)
    assert (seen["needs_person"], seen["urgency"]) == (True, "emergency")


async def test_a_phone_that_is_not_signed_in_answers_by_its_link_and_opening_it_answers_nothing(desk: Desk, run_jobs):
    on_call = await desk.plumber("lift")
    await desk.make.on_call(on_call)
    order = await emergency(desk)
    await ring_on(desk, run_jobs)
    link = await link_of(desk, on_call)
    page = await desk.client.get(link)
    assert (page.status_code, "电梯困人" in page.text, "3号电梯" in page.text) == (200, True, True)
    assert (await desk.seen(order))["status"] == "submitted", "mail programs open links by themselves"
    accepted = await desk.client.post(link.replace("/ring?", "/ring/accept?"))
    assert (accepted.status_code, "接单" in accepted.text) == (200, True)
    assert (await desk.seen(order))["assignee_id"] == str(on_call.id)


async def test_a_link_that_was_changed_is_too_old_or_whose_owner_left_opens_nothing(desk: Desk, run_jobs, settings):
    on_call = await desk.plumber("lift")
    await desk.make.on_call(on_call)
    order = await emergency(desk)
    await ring_on(desk, run_jobs)
    link = await link_of(desk, on_call)
    accept = link.replace("/ring?", "/ring/accept?")
    assert (await desk.client.post(accept[:-4] + "AAAA")).json()["code"] == "ring_link_invalid"
    token = desk.client.token(on_call)
    assert (await desk.client.post(f"/api/v1/ring/accept?t={token}")).json()["code"] == "ring_link_invalid"
    as_token = await desk.client.get("/api/v1/me", as_=link.partition("t=")[2])
    assert as_token.status_code == 401, "a link is no way to sign in"
    async with desk.runtime.transaction(order.place.tenant) as session:
        await session.execute(delete(StaffRight).where(StaffRight.staff_id == on_call.id))
    assert (await desk.client.post(accept)).status_code == 401
    desk.later(hours=25)
    assert (await desk.client.post(accept)).json()["code"] == "ring_link_invalid"
    assert (await desk.seen(order))["status"] == "submitted"


async def test_a_ring_job_that_comes_twice_or_to_two_workers_rings_once(desk: Desk):
    on_call = await desk.plumber("lift")
    await desk.make.on_call(on_call)
    order = await emergency(desk)
    lease = Lease(ring_job(order.id, order.place.id), token=1, attempt=1)
    await asyncio.gather(*(duty_jobs.ring_on_call(desk.runtime, lease) for _ in range(4)))
    assert await rung(desk, on_call) == [1]


async def test_an_emergency_whose_job_redis_lost_is_found_by_the_sweep(desk: Desk, run_jobs):
    order = await emergency(desk)
    await desk.runtime.redis.flushall()
    await ring_on(desk, run_jobs, 1)
    assert await rung(desk, desk.manager) == [1], "without a rota the managers are rung"
    ring = (await desk.client.get(f"{order.url}/ring", as_=desk.manager)).json()
    assert (ring["state"], ring["step"], len(ring["calls"])) == ("ringing", 1, 1)


async def test_who_takes_the_order_without_answering_ends_the_ringing_too(desk: Desk, run_jobs):
    on_call = await desk.plumber("lift")
    await desk.make.on_call(on_call)
    order = await emergency(desk)
    await ring_on(desk, run_jobs)
    assert (await desk.post(order, "accept", on_call)).status_code == 200
    await ring_on(desk, run_jobs, 10)
    assert await rung(desk, on_call, desk.manager) == [1, 0]
    assert (await desk.client.get(f"{order.url}/ring", as_=desk.manager)).json()["state"] == "over"
    assert (await desk.post(order, "ring/accept", on_call)).json()["code"] == "not_ringing"


async def test_an_order_given_to_somebody_who_does_not_answer_is_taken_by_who_does(desk: Desk, run_jobs):
    silent, on_call = await desk.plumber("lift"), await desk.plumber("lift")
    await desk.make.on_call(on_call)
    order = await emergency(desk)
    dispatched = await desk.post(order, "dispatch", desk.manager, assignee_id=str(silent.id))
    assert dispatched.status_code == 200, dispatched.text
    await ring_on(desk, run_jobs)
    assert (await desk.post(order, "ring/accept", on_call)).status_code == 200
    assert (await desk.seen(order))["assignee_id"] == str(on_call.id)


async def test_nobody_to_ring_is_said_on_the_order_and_tried_again(desk: Desk, run_jobs):
    order = await emergency(desk)
    async with desk.runtime.transaction(order.place.tenant) as session:
        await session.execute(
            update(StaffRight).where(StaffRight.staff_id == desk.manager.id).values(role=StaffRole.FINANCE)
        )
    await ring_on(desk, run_jobs)
    events = await desk.client.get(f"{order.url}/events", as_=desk.manager)
    assert "没有可呼叫的员工" in events.text
    late = await desk.make.staff()
    await ring_on(desk, run_jobs, 31)
    assert await rung(desk, late) == [1]


async def test_only_staff_in_person_answer(desk: Desk, run_jobs):
    order = await emergency(desk)
    await ring_on(desk, run_jobs)
    key = await desk.make.api_key("workorders:read", "workorders:write")
    assert (await desk.client.post(f"{order.url}/ring/accept", json={}, as_=key)).json()["code"] == "person_needed"
    assert (await desk.post(order, "ring/accept", order.reporter)).status_code == 403
    calm = await desk.make.work_order()
    assert (await desk.post(calm, "ring/accept", desk.manager)).json()["code"] == "not_ringing"
    assert (await desk.client.get(f"{calm.url}/ring", as_=desk.manager)).json()["state"] is None


async def test_an_order_that_ended_is_rung_about_no_more(desk: Desk, run_jobs):
    order = await emergency(desk)
    await ring_on(desk, run_jobs)
    async with desk.runtime.transaction(order.place.tenant) as session:
        gone = {"status": Status.CANCELLED, "closed_at": desk.clock.now}
        await session.execute(update(WorkOrder).where(WorkOrder.id == order.id).values(**gone))
    await ring_on(desk, run_jobs, 10)
    assert await rung(desk, desk.manager) == [1]


def test_every_answer_has_its_words_and_its_consequence():
    assert set(ring_answers.WORDS) == set(ring_answers.ANSWERS) == set(RingAnswer)
    assert len(ringing.EMERGENCIES) == 9


async def test_without_redis_the_next_sweep_of_any_worker_rings_and_the_call_goes_out(desk: Desk):
    receiver = Receiver()
    async with listening(receiver.serve) as receiver.port:
        order = await emergency(desk)
        allowed = {"outgoing_private_hosts": ["127.0.0.1"], "outgoing_ports": [receiver.port]}
        async with without_redis(desk.runtime, **allowed) as runtime:
            async with runtime.transaction(order.place.tenant) as session:
                await channel_list.open_channel(
                    session, runtime, system_caller(order.place.tenant), kind=ChannelKind.PHONE, url=receiver.url,
                    name="电话", use=ChannelUse.EMERGENCIES, audience=ChannelAudience.STAFF, enabled=True,
                )  # fmt: skip
                await session.execute(update(Staff).where(Staff.id == desk.manager.id).values(phone="13800001111"))
            workers = [
                asyncio.create_task(worker._run_periodically(runtime, name, 0.2, PERIODIC[name][1]))
                for name in (*WITHOUT_REDIS, *WITHOUT_REDIS)
            ]
            async with asyncio.timeout(30):
                while not receiver.got:  # noqa: ASYNC110 (the receiver is another task)
                    await asyncio.sleep(0.05)
            for one in workers:
                one.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
    assert [body["to"] for body in receiver.bodies] == ["13800001111"]
    assert "/api/v1/ring?t=" in receiver.bodies[0]["text"]
    assert await rung(desk, desk.manager) == [1]


@asynccontextmanager
async def without_redis(runtime: Runtime, **settings: Any) -> AsyncIterator[Runtime]:
    """The same house, whose Redis is not there."""
    config = runtime.settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0", **settings})
    redis = open_redis(config)
    yield dataclasses.replace(runtime, settings=config, redis=redis, queue=Queue(redis, config))
    await redis.aclose()
