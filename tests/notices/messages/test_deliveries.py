"""A message leaves by the channels that the community set up; every try is written down and nothing is lost."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from app.notices import deliveries, jobs, outgoing
from app.people.tables import Account, Resident, Staff
from app.queue import Lease
from app.runtime import Runtime
from tests.conftest import Client, Clock
from tests.make import Make, Person
from tests.notices.messages.conftest import Tell
from tests.notices.messages.receivers import Inbox, Receiver

OpenChannel = Callable[..., Awaitable[dict[str, Any]]]
Listed = Callable[[Person], Awaitable[list[dict[str, Any]]]]
NIGHT = datetime(2026, 11, 22, 15, 30, tzinfo=UTC)
"""23:30 in the practice community."""


@pytest.fixture
def reach(runtime: Runtime) -> Callable[..., Awaitable[None]]:
    """Gives a person a mail address to sign in with, or a phone number."""

    async def reach(person: Person, table: type[Resident] | type[Staff], *, mail: str = "", phone: str = "") -> None:
        async with runtime.transaction(person.tenant) as session:
            if mail:
                await session.execute(update(Account).where(Account.id == person.account_id).values(login=mail))
            if phone:
                await session.execute(update(table).where(table.id == person.id).values(phone=phone))

    return reach


async def test_a_webhook_is_signed_and_says_who_is_told_what(
    manager: Person,
    make: Make,
    tell: Tell,
    open_channel: OpenChannel,
    listed: Listed,
    receiver: Receiver,
    run_jobs,
    clock,
):
    resident = await make.resident()
    made = await open_channel(manager, kind="webhook", url=receiver.url)
    await tell(resident)
    await run_jobs()
    ((headers, body),) = receiver.got
    assert outgoing.check_signature(headers["linli-signature"], body, [made["secret"]], now=clock())
    assert not outgoing.check_signature(headers["linli-signature"], body, ["another"], now=clock())
    (delivery,) = await listed(manager)
    told = receiver.bodies[0]
    assert (told["id"], headers["linli-event-id"]) == (delivery["id"], delivery["id"])
    assert (told["person"]["id"], told["kind"], told["title"]["zh"]) == (
        str(resident.id),
        "workorder.moved",
        "师傅已出发",
    )
    assert (delivery["status"], delivery["attempts"], len(delivery["tries"])) == ("sent", 1, 1)
    assert "师傅" not in str(delivery), "who looks after channels does not read what others are told"


async def test_an_e_mail_is_in_the_language_of_its_reader_and_keeps_its_headers_apart(
    manager: Person,
    make: Make,
    tell: Tell,
    open_channel: OpenChannel,
    listed: Listed,
    inbox: Inbox,
    run_jobs,
    reach,
    runtime,
):
    english = await make.resident(language="en")
    await reach(english, Resident, mail=f"{english.login}@example.org")
    await open_channel(manager, kind="email")
    async with runtime.transaction(english.tenant) as session:
        await deliveries.tell(
            session, runtime, community_id=english.place.id, resident_id=english.id, kind="workorder.moved", key="k",
            title={"zh": "漏水", "en": "Leak\r\nBcc: everyone@example.org"}, body={"zh": "处理中", "en": "We are on it."},
        )  # fmt: skip
    await run_jobs()
    (letter,) = inbox.letters
    assert (letter["To"], letter["Subject"]) == (f"{english.login}@example.org", "Leak Bcc: everyone@example.org")
    assert letter["Bcc"] is None
    assert letter["List-Unsubscribe"] is None
    assert letter.get_content().strip() == "We are on it."
    (delivery,) = await listed(manager)
    assert (delivery["status"], delivery["address"]) == ("sent", "r***@example.org")


async def test_a_mail_to_many_tells_the_mail_program_how_to_leave_them(
    manager: Person, make: Make, open_channel: OpenChannel, inbox: Inbox, run_jobs, reach, runtime
):
    one = await make.resident()
    await reach(one, Resident, mail=f"{one.login}@example.org")
    await open_channel(manager, kind="email")
    leave = "https://linli.example.org/api/v1/unsubscribe?t=abc"
    letter = deliveries.Letter(one.id, {"zh": "面包课"}, {"zh": "周六下午。"}, "", leave_link=leave)
    async with runtime.transaction(one.tenant) as session:
        await deliveries.tell_each(
            session, runtime, community_id=one.place.id, kind="news.sent", key="k", letters=[letter]
        )
    await run_jobs()
    (mail,) = inbox.letters
    assert mail["List-Unsubscribe"] == f"<{leave}>"
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"


async def test_sms_and_phone_get_the_number_and_the_words(
    manager: Person,
    make: Make,
    tell: Tell,
    open_channel: OpenChannel,
    listed: Listed,
    receiver: Receiver,
    run_jobs,
    reach,
):
    reached, silent = await make.resident(), await make.resident()
    await reach(reached, Resident, phone="13812345678")
    await open_channel(manager, kind="sms", url=receiver.url)
    await tell(reached)
    await tell(silent)
    await run_jobs()
    (told,) = receiver.bodies
    assert (told["to"], told["text"]) == ("13812345678", "师傅已出发 工单 12 已派单。 https://example.org/o/1")
    newest, older = await listed(manager)
    assert (newest["status"], newest["last_error"]) == ("skipped", "there is no address to send to")
    assert (older["status"], older["address"]) == ("sent", "138****78")


async def test_a_receiver_in_trouble_is_tried_again_and_given_up_in_the_end(
    client: Client, manager: Person, make: Make, tell: Tell, open_channel: OpenChannel, listed: Listed, receiver: Receiver,
    run_jobs, runtime: Runtime, clock: Clock,
):  # fmt: skip
    await open_channel(manager, kind="webhook", url=receiver.url)
    receiver.statuses = [500, 503, 500]
    await tell(await make.resident())
    await run_jobs()
    (delivery,) = await listed(manager)
    assert (delivery["status"], delivery["last_error"], delivery["attempts"]) == ("waiting", "HTTP 500", 1)
    await jobs.sweep_due_deliveries(runtime)
    await run_jobs()
    (delivery,) = await listed(manager)
    assert delivery["attempts"] == 1, "it is not due yet"
    for seconds in (5, 10):
        clock.now += timedelta(seconds=seconds)
        await jobs.sweep_due_deliveries(runtime)
        await run_jobs()
    (delivery,) = await listed(manager)
    assert (delivery["status"], delivery["attempts"]) == ("given_up", 3)
    assert [(one["number"], one["detail"]) for one in delivery["tries"]] == [
        (1, "HTTP 500"),
        (2, "HTTP 503"),
        (3, "HTTP 500"),
    ]
    url = f"{manager.place.url}/message-deliveries/{delivery['id']}/retry"
    assert (await client.post(url, as_=manager)).json()["status"] == "waiting"
    await run_jobs()
    (delivery,) = await listed(manager)
    assert (delivery["status"], len(delivery["tries"]), len(receiver.got)) == ("sent", 4, 4)
    assert (await client.post(url, as_=manager)).json()["status"] == "sent"
    assert (await run_jobs(), len(receiver.got)) == (0, 4)
    assert len({body["id"] for body in receiver.bodies}) == 1, "whoever gets it twice can tell"


async def test_a_mail_server_that_is_away_loses_nothing_and_a_refused_address_is_not_tried_again(
    manager: Person, make: Make, tell: Tell, open_channel: OpenChannel, listed: Listed, inbox: Inbox, run_jobs, reach,
    runtime: Runtime, clock: Clock,
):  # fmt: skip
    resident = await make.resident()
    await reach(resident, Resident, mail=f"{resident.login}@example.org")
    await open_channel(manager, kind="email")
    inbox.refuse = "451 try later"
    await tell(resident, key="first")
    await run_jobs()
    assert (await listed(manager))[0]["status"] == "waiting"
    inbox.refuse = ""
    clock.now += timedelta(seconds=6)
    await jobs.sweep_due_deliveries(runtime)
    await run_jobs()
    assert (await listed(manager))[0]["status"] == "sent"
    inbox.refuse = "550 no such mailbox"
    await tell(resident, key="second")
    await run_jobs()
    assert ((await listed(manager))[0]["status"], len(inbox.letters)) == ("given_up", 1)


async def test_ordinary_messages_wait_for_the_morning_and_emergencies_do_not(
    manager: Person, make: Make, tell: Tell, open_channel: OpenChannel, listed: Listed, receiver: Receiver, run_jobs,
    runtime: Runtime, clock: Clock, client: Client,
):  # fmt: skip
    resident = await make.resident()
    await open_channel(manager, kind="webhook", url=receiver.url)
    clock.now = NIGHT
    await tell(resident, key="ordinary")
    await tell(resident, key="urgent", kind="emergency.ring")
    await jobs.sweep_due_deliveries(runtime)
    await run_jobs()
    assert [body["kind"] for body in receiver.bodies] == ["emergency.ring"]
    assert len((await client.get("/api/v1/me/messages", as_=resident)).json()["items"]) == 2, "the app is not silent"
    waiting = next(row for row in await listed(manager) if row["status"] == "waiting")
    assert waiting["due_at"] == "2026-11-22T23:00:00Z"
    clock.now = NIGHT + timedelta(hours=7, minutes=31)
    await jobs.sweep_due_deliveries(runtime)
    await run_jobs()
    assert [body["kind"] for body in receiver.bodies] == ["emergency.ring", "workorder.moved"]


async def test_a_message_that_was_late_until_the_night_waits_too(
    manager: Person,
    make: Make,
    tell: Tell,
    open_channel: OpenChannel,
    listed: Listed,
    receiver: Receiver,
    run_jobs,
    clock,
):
    await open_channel(manager, kind="webhook", url=receiver.url)
    await tell(await make.resident())
    clock.now = NIGHT
    await run_jobs()
    (delivery,) = await listed(manager)
    assert (delivery["status"], delivery["attempts"], receiver.got) == ("waiting", 0, [])


async def test_two_workers_with_the_same_delivery_send_it_once(
    manager: Person,
    make: Make,
    tell: Tell,
    open_channel: OpenChannel,
    listed: Listed,
    receiver: Receiver,
    runtime: Runtime,
):
    receiver.seconds = 0.2
    await open_channel(manager, kind="webhook", url=receiver.url)
    await tell(await make.resident())
    (lease,) = await runtime.queue.take(8, wait_seconds=0)
    again = Lease(job=lease.job, token=lease.token + 1, attempt=2)
    await asyncio.gather(jobs.deliver(runtime, lease), jobs.deliver(runtime, again), jobs.deliver(runtime, again))
    assert len(receiver.got) == 1
    assert len((await listed(manager))[0]["tries"]) == 1


async def test_a_delivery_whose_worker_died_is_sent_by_another(
    manager: Person, make: Make, tell: Tell, open_channel: OpenChannel, listed: Listed, receiver: Receiver, runtime: Runtime,
    clock: Clock, run_jobs,
):  # fmt: skip
    receiver.seconds = 30
    await open_channel(manager, kind="webhook", url=receiver.url)
    await tell(await make.resident())
    (lease,) = await runtime.queue.take(8, wait_seconds=0)
    dying = asyncio.ensure_future(jobs.deliver(runtime, lease))
    async with asyncio.timeout(10):
        while not receiver.got:  # noqa: ASYNC110 (the receiver is another task)
            await asyncio.sleep(0.01)
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    await runtime.queue.finish(lease)
    receiver.seconds = 0
    clock.now += timedelta(minutes=2)
    await jobs.sweep_due_deliveries(runtime)
    await run_jobs()
    (delivery,) = await listed(manager)
    assert (delivery["status"], len(receiver.got)) == ("sent", 2)


async def test_without_redis_messages_leave_as_soon_as_the_sweeper_looks(
    manager: Person, make: Make, tell: Tell, open_channel: OpenChannel, receiver: Receiver, runtime: Runtime, run_jobs
):
    await open_channel(manager, kind="webhook", url=receiver.url)
    await tell(await make.resident())
    await runtime.redis.flushall()
    await jobs.sweep_due_deliveries(runtime)
    await run_jobs()
    assert len(receiver.got) == 1


async def test_a_job_that_died_ends_its_delivery_so_that_staff_see_it(
    manager: Person,
    make: Make,
    tell: Tell,
    open_channel: OpenChannel,
    listed: Listed,
    receiver: Receiver,
    runtime: Runtime,
):
    await open_channel(manager, kind="webhook", url=receiver.url)
    await tell(await make.resident())
    (lease,) = await runtime.queue.take(8, wait_seconds=0)
    await runtime.queue.fail(lease, reason="it killed its worker")
    await jobs.sweep_due_deliveries(runtime)
    (delivery,) = await listed(manager)
    assert (delivery["status"], delivery["last_error"]) == ("given_up", "it killed its worker")
