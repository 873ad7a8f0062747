"""Webhooks as the people at the other end know them: a real receiver that is well, slow, dead or back again."""

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from fastapi import FastAPI
from prometheus_client import REGISTRY
from pydantic import SecretStr
from sqlalchemy import text

from app.notices import outgoing
from app.people.tables import StaffRole
from app.queue import HANDLERS, Lease
from app.runtime import Runtime
from app.service_desk import webhook_jobs, webhooks
from app.service_desk.webhook_events import EVENTS, EventKind
from app.settings import Settings
from models.scripted_engine import ScriptedEngine
from tests.conftest import Client, Clock
from tests.make import Make, Person
from tests.notices.conftest import opened
from tests.notices.receiver import Receiver, answer, receiving

DATA: dict[str, Any] = EVENTS[EventKind.WORKORDER_CREATED].example


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
async def runtime(
    open_parts: Runtime, engine: ScriptedEngine, clock: Clock, settings: Settings, receiver: Receiver
) -> Runtime:
    """A house that may speak to this machine's receivers, and soon gives up."""
    await open_parts.redis.flushall()
    near = opened(settings, receiver).model_copy(update={"webhook_attempts_max": 4, "webhooks_max": 3})
    return dataclasses.replace(open_parts, engine=engine, clock=clock, settings=near)


@pytest.fixture
async def manager(make: Make) -> Person:
    return await make.staff()


class Desk:
    """A manager who sets up webhooks, and the house that tells them."""

    def __init__(self, client: Client, app: FastAPI, runtime: Runtime, manager: Person) -> None:
        self.client, self.app, self.runtime, self.manager = client, app, runtime, manager
        self.url = f"{manager.place.url}/webhooks"

    def set(self, **changes: Any) -> None:
        """Other settings from now on, for web and worker."""
        self.runtime = dataclasses.replace(self.runtime, settings=self.runtime.settings.model_copy(update=changes))
        self.app.state.runtime = self.runtime

    async def run_jobs(self) -> int:
        """Runs what waits side by side, as a worker does, and each job twice; how many there were.

        The sweeper also finds what tests before this one left waiting: other communities' jobs are not run.
        """
        jobs = 0
        while leases := await self.runtime.queue.take(8, wait_seconds=0):
            ours = [one for one in leases if one.job.community_id == self.manager.place.id]
            for more in (0, 1):
                again = [Lease(one.job, one.token + more, one.attempt + more) for one in ours]
                await asyncio.gather(*(HANDLERS[one.job.name](self.runtime, one) for one in again))
            for lease in leases:
                await self.runtime.queue.finish(lease)
            jobs += len(ours)
        return jobs

    async def ask(self, method: str, path: str, body: Any = None, *, status: int = 200, **headers: str) -> Any:
        given = {"If-Match": "*", **{name.replace("_", "-"): value for name, value in headers.items()}}
        reply = await self.client.request(method, self.url + path, json=body, headers=given, as_=self.manager)
        assert reply.status_code == status, reply.text
        return reply.json() if reply.content else None

    async def open(self, url: str, *events: EventKind) -> Any:
        body = {"name": "ERP", "url": url, "events": [str(one) for one in events or [EventKind.WORKORDER_CREATED]]}
        return await self.ask("POST", "", body, status=201)

    async def happens(self, event: EventKind = EventKind.WORKORDER_CREATED, times: int = 1) -> None:
        for _ in range(times):
            async with self.runtime.transaction(self.manager.tenant) as session:
                await webhooks.tell(session, self.runtime, self.manager.place.id, event, DATA)

    async def log(self, hook: Any, **filters: str) -> list[Any]:
        params = "&".join(f"filter[{name}]={value}" for name, value in filters.items())
        return list((await self.ask("GET", f"/{hook['id']}/deliveries?{params}"))["items"])

    async def later(self, clock: Clock, **time: float) -> int:
        """Time passes and the sweeper goes round; how many jobs it found."""
        clock.now += timedelta(**time)
        await webhook_jobs.sweep_webhooks(self.runtime)
        return await self.run_jobs()


@pytest.fixture
def desk(client: Client, web: tuple[str, FastAPI], runtime: Runtime, manager: Person) -> Desk:
    return Desk(client, web[1], runtime, manager)


async def test_what_happens_is_told_once_signed_and_logged(desk: Desk, receiver: Receiver, clock: Clock):
    hook = await desk.open(receiver.url)
    await desk.happens()
    assert await desk.run_jobs() == 1
    (seen,) = receiver.seen  # although the job ran twice
    told = json.loads(seen.body)
    assert (told["event"], told["data"], told["community_id"]) == (
        "workorder.created",
        DATA,
        str(desk.manager.place.id),
    )
    assert outgoing.check_signature(seen.headers["linli-signature"], seen.body, [hook["secret"]], now=clock())
    assert seen.headers["linli-event"] == "workorder.created"
    assert seen.headers["linli-event-id"] == told["id"]
    assert seen.headers["linli-work-order-id"] == DATA["work_order"]["id"]
    (logged,) = await desk.log(hook)
    assert (logged["status"], logged["attempts"], logged["next_at"], logged["answer"]) == ("delivered", 1, None, "ok")
    assert (logged["tries"][0]["status"], logged["id"]) == (200, seen.headers["linli-delivery-id"])
    assert (await desk.ask("GET", f"/{hook['id']}/deliveries/{logged['id']}"))["body"] == told


async def test_an_orders_life_is_told_and_never_whose_it_is(desk: Desk, make: Make, client: Client, receiver: Receiver):
    await desk.open(receiver.url, *(kind for kind in EventKind if kind.startswith("workorder.")))
    resident, engineer = await make.resident(), await make.staff(role=StaffRole.ENGINEER)
    words = {"text": "王师傅态度很差", "kind": "complaint", "contact_name": "李雷", "contact_phone": "13800138000"}
    made = await client.post("/api/v1/me/workorders", json=words, as_=resident)
    url = f"{desk.manager.place.url}/workorders/{made.json()['id']}"
    given = await client.post(f"{url}/dispatch", json={"assignee_id": str(engineer.id)}, as_=desk.manager)
    assert given.status_code == 200, given.text
    await desk.run_jobs()
    told = [json.loads(seen.body) for seen in receiver.seen]
    assert [one["event"] for one in told] == ["workorder.created", "workorder.state_changed", "workorder.assigned"]
    created, moved, assigned = (one["data"] for one in told)
    assert (created["work_order"]["status"], created["channel"]) == ("submitted", "self")
    assert (moved["from"], moved["to"], moved["work_order"]["version"]) == ("submitted", "dispatched", 2)
    assert assigned["assignee_id"] == str(engineer.id)
    for kind, one in zip(("created", "state_changed", "assigned"), told, strict=True):
        example = EVENTS[EventKind(f"workorder.{kind}")].example
        assert set(one["data"]) == set(example)
        assert set(one["data"]["work_order"]) == set(example["work_order"])
    sent = b"".join(seen.body for seen in receiver.seen).decode()
    assert not [word for word in ("李雷", "138001", "态度", str(resident.id)) if word in sent]


async def test_only_who_asked_for_it_is_told(desk: Desk, make: Make, client: Client, receiver: Receiver):
    rated = await desk.open(receiver.url, EventKind.WORKORDER_RATED, EventKind.INCIDENT_OPENED)
    other = await make.staff(place=await make.place())
    elsewhere = Desk(client, desk.app, desk.runtime, other)
    theirs = await elsewhere.open(receiver.url)
    await desk.happens()
    assert await desk.run_jobs() == 0
    await desk.happens(EventKind.INCIDENT_OPENED)
    await desk.run_jobs()
    assert [seen.headers["linli-event"] for seen in receiver.seen] == ["incident.opened"]
    assert await elsewhere.log(theirs) == []
    assert len(await desk.log(rated)) == 1


async def test_what_is_rolled_back_is_not_told(desk: Desk, receiver: Receiver):
    await desk.open(receiver.url)

    async def fails_afterwards() -> None:
        async with desk.runtime.transaction(desk.manager.tenant) as session:
            await webhooks.tell(session, desk.runtime, desk.manager.place.id, "workorder.created", DATA)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fails_afterwards()
    assert (await desk.run_jobs(), receiver.seen) == (0, [])


async def test_the_secret_is_shown_once_and_kept_sealed(desk: Desk, receiver: Receiver):
    hook = await desk.open(receiver.url)
    secret = hook["secret"].removeprefix("whsec_")
    shown = [await desk.ask("GET", ""), await desk.ask("GET", f"/{hook['id']}")]
    async with desk.runtime.transaction(desk.manager.tenant) as session:
        rows = (await session.execute(text("SELECT w::text FROM webhooks w"))).all()
    assert secret not in str(shown) + str(rows)
    assert len(secret) > 40


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://169.254.169.254/latest/meta-data", "address"), ("http://127.0.0.2/", "address"),
        ("http://[::1]/", "address"), ("http://10.0.0.1/", "address"), ("http://2130706433/", "host"),
        ("ftp://example.com/", "scheme"), ("http://user:pass@example.com/", "userinfo"),
        ("http://example.com:22/", "port"), ("https://exa mple.com/", "malformed"),
    ],
)  # fmt: skip
async def test_a_url_into_our_own_network_is_refused(desk: Desk, receiver: Receiver, url: str, reason: str):
    body = {"name": "x", "url": url, "events": ["workorder.created"]}
    refused = await desk.ask("POST", "", body, status=422)
    assert (refused["code"], refused["facts"]) == ("target_refused", {"reason": reason})
    hook = await desk.open(receiver.url)
    assert (await desk.ask("PATCH", f"/{hook['id']}", {"url": url}, status=422))["facts"] == {"reason": reason}


async def test_a_name_that_leads_inside_is_found_out_when_it_is_used(desk: Desk, receiver: Receiver):
    hook = await desk.open(f"http://localhost:{receiver.port}/")
    await desk.happens()
    desk.set(outgoing_private_hosts=[])
    await desk.run_jobs()
    (logged,) = await desk.log(hook)
    assert (logged["status"], logged["tries"][0]["error"]) == ("waiting", "refused_address")
    assert receiver.connections == 0


async def test_a_receiver_that_fails_is_tried_again_later_each_time(desk: Desk, receiver: Receiver, clock: Clock):
    receiver.say = lambda seen: answer(503, b"come back later")
    hook = await desk.open(receiver.url)
    await desk.happens()
    await desk.run_jobs()
    assert await desk.later(clock, seconds=1) == 0, "not yet"
    for _ in range(2):
        await desk.later(clock, minutes=5)
    (logged,) = await desk.log(hook, status="waiting")
    assert [one["status"] for one in logged["tries"]] == [503, 503, 503]
    assert logged["answer"] == "come back later"
    receiver.say = lambda seen: answer(204, b"")
    await desk.later(clock, minutes=5)
    assert len({seen.body for seen in receiver.seen}) == 1, "the same bytes every time"
    assert [seen.headers["linli-attempt"] for seen in receiver.seen] == ["1", "2", "3", "4"]
    (logged,) = await desk.log(hook, status="delivered", event="workorder.created")
    shown = await desk.ask("GET", f"/{hook['id']}")
    assert (shown["failures"], shown["failing_since"]) == (0, None)


def given_up() -> float:
    return REGISTRY.get_sample_value("linli_webhook_deliveries_total", {"outcome": "given_up"}) or 0


async def test_a_delivery_is_given_up_in_sight_of_everybody(desk: Desk, receiver: Receiver, clock: Clock):
    receiver.say = lambda seen: answer(400, b"no")
    hook = await desk.open(receiver.url)
    before = given_up()
    await desk.happens()
    await desk.run_jobs()
    for _ in range(5):
        await desk.later(clock, minutes=10)
    (logged,) = await desk.log(hook, status="given_up")
    assert (logged["attempts"], len(receiver.seen), given_up() - before) == (4, 4, 1)
    assert logged["ended_at"] is not None


async def test_a_dead_receiver_takes_one_try_and_delays_nobody(desk: Desk, receiver: Receiver, clock: Clock):
    async with receiving() as dead:
        dead.seconds = 60
        desk.set(outgoing_ports=[receiver.port, dead.port], outgoing_seconds=0.3)
        gone, well = await desk.open(dead.url), await desk.open(receiver.url)
        await desk.happens(times=10)
        await desk.run_jobs()
        assert (len(receiver.seen), receiver.at_once_max) == (10, 1)
        assert len(await desk.log(well, status="delivered")) == 10
        assert dead.connections == 1
        assert len(await desk.log(gone, status="waiting")) == 10
        # Back again: what was tried and what never was go at once.
        dead.seconds = 0
        await desk.later(clock, minutes=1)
        assert len(await desk.log(gone, status="delivered")) == 10


async def test_a_slow_receiver_rests_longer_than_it_took(desk: Desk, receiver: Receiver, clock: Clock):
    desk.set(webhook_slow_seconds=0.05)
    receiver.seconds = 0.1
    hook = await desk.open(receiver.url)
    await desk.happens(times=3)
    await desk.run_jobs()
    assert len(await desk.log(hook, status="delivered")) == 1
    assert await desk.later(clock, seconds=0.1) == 0
    await desk.later(clock, seconds=30)
    assert len(await desk.log(hook, status="delivered")) == 2


async def test_a_receiver_that_says_when_to_come_back_is_believed(desk: Desk, receiver: Receiver, clock: Clock):
    receiver.say = lambda seen: answer(429, b"", "Retry-After: 600")
    hook = await desk.open(receiver.url)
    await desk.happens()
    await desk.run_jobs()
    assert await desk.later(clock, seconds=500) == 0
    receiver.say = lambda seen: answer()
    await desk.later(clock, seconds=200)
    assert len(await desk.log(hook, status="delivered")) == 1


async def test_a_webhook_that_fails_for_days_is_switched_off_and_can_be_mended(desk: Desk, receiver, clock: Clock):
    receiver.say = lambda seen: answer(500)
    desk.set(webhook_attempts_max=100)
    hook = await desk.open(receiver.url)
    await desk.happens(times=2)
    await desk.run_jobs()
    for _ in range(4):
        await desk.later(clock, hours=25)
    shown = await desk.ask("GET", f"/{hook['id']}")
    assert (shown["enabled"], shown["switched_off"]) == (False, "failing")
    assert len(await desk.log(hook, status="given_up")) == 2
    told = (await desk.client.get("/api/v1/me/messages", as_=desk.manager)).json()["items"]
    assert [one["kind"] for one in told] == ["webhook_switched_off"]
    await desk.happens()
    assert await desk.later(clock, hours=1) == 0, "nobody is told who is off"
    for path in ("/test", f"/deliveries/{(await desk.log(hook))[0]['id']}/replay"):
        refused = await desk.ask("POST", f"/{hook['id']}{path}", status=409)
        assert refused["code"] == "webhook_disabled"
    receiver.say = lambda seen: answer()
    mended = await desk.ask("PATCH", f"/{hook['id']}", {"enabled": True})
    assert (mended["switched_off"], mended["failures"], mended["failing_since"]) == (None, 0, None)
    lost = await desk.log(hook, status="given_up")
    for one in lost:
        await desk.ask("POST", f"/{hook['id']}/deliveries/{one['id']}/replay", status=202)
    await desk.run_jobs()
    found = await desk.log(hook, status="delivered")
    assert {one["replay_of"] for one in found} == {one["id"] for one in lost}
    assert {one["event_id"] for one in found} == {one["event_id"] for one in lost}


async def test_a_server_that_says_gone_is_left_at_once(desk: Desk, receiver: Receiver):
    receiver.say = lambda seen: answer(410)
    hook = await desk.open(receiver.url)
    await desk.happens(times=3)
    await desk.run_jobs()
    assert len(receiver.seen) == 1
    assert (await desk.ask("GET", f"/{hook['id']}"))["switched_off"] == "gone"


async def test_the_test_button_and_a_replay_that_is_pressed_twice(desk: Desk, receiver: Receiver):
    hook = await desk.open(receiver.url)
    for _ in range(2):
        made = await desk.ask("POST", f"/{hook['id']}/test", status=202, Idempotency_Key="one")
    await desk.run_jobs()
    assert [seen.headers["linli-event"] for seen in receiver.seen] == ["webhook.test"]
    for _ in range(2):
        path = f"/{hook['id']}/deliveries/{made['id']}/replay"
        again = await desk.ask("POST", path, status=202, Idempotency_Key="two")
    await desk.run_jobs()
    assert (again["replay_of"], len(receiver.seen)) == (made["id"], 2)
    first, second = receiver.seen
    assert first.headers["linli-event-id"] == second.headers["linli-event-id"]
    assert first.headers["linli-delivery-id"] != second.headers["linli-delivery-id"]


async def test_while_a_secret_is_exchanged_both_sign(desk: Desk, receiver: Receiver, clock: Clock):
    old = await desk.open(receiver.url)
    new = await desk.ask("POST", f"/{old['id']}/rotate-secret")
    assert new["secret"] != old["secret"]
    await desk.happens()
    await desk.run_jobs()
    clock.now += timedelta(hours=25)
    await desk.happens()
    await desk.run_jobs()
    both, one = receiver.seen
    fits = {
        (number, name): outgoing.check_signature(
            seen.headers["linli-signature"], seen.body, [hook["secret"]], now=clock(), seconds=10**6
        )
        for number, seen in ((1, both), (2, one))
        for name, hook in (("old", old), ("new", new))
    }
    assert fits == {(1, "old"): True, (1, "new"): True, (2, "old"): False, (2, "new"): True}


async def test_with_another_key_of_the_house_the_secret_has_to_be_replaced(
    desk: Desk, receiver: Receiver, clock: Clock
):
    hook = await desk.open(receiver.url)
    token = desk.client.token(desk.manager)
    await desk.happens()
    before = desk.runtime
    key = SecretStr("a new secret of the tests, long enough to sign")
    desk.runtime = dataclasses.replace(before, settings=before.settings.model_copy(update={"secret_key": key}))
    await desk.run_jobs()
    (logged,) = await desk.log(hook)
    assert (logged["status"], logged["tries"][0]["error"]) == ("waiting", "secret_unreadable")
    assert (receiver.connections, bool(token)) == (0, True)


async def test_a_worker_that_dies_while_it_waits_loses_nothing(desk: Desk, receiver: Receiver, clock: Clock):
    receiver.seconds = 60
    hook = await desk.open(receiver.url)
    await desk.happens()
    (lease,) = await desk.runtime.queue.take(1, wait_seconds=0)
    dying = asyncio.ensure_future(HANDLERS[lease.job.name](desk.runtime, lease))
    while not receiver.seen:  # noqa: ASYNC110 (somebody else's server)
        await asyncio.sleep(0.01)
    dying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dying
    await desk.runtime.queue.finish(lease)
    (logged,) = await desk.log(hook)
    assert (logged["status"], logged["attempts"], logged["tries"]) == ("waiting", 1, [])
    receiver.seconds = 0
    await desk.later(clock, minutes=1)
    assert [one["attempts"] for one in await desk.log(hook, status="delivered")] == [2]


async def test_a_worker_that_was_thought_dead_writes_nothing_late(desk: Desk, receiver: Receiver, clock: Clock):
    receiver.seconds = 0.3
    hook = await desk.open(receiver.url)
    await desk.happens()
    (lease,) = await desk.runtime.queue.take(1, wait_seconds=0)
    late = asyncio.ensure_future(HANDLERS[lease.job.name](desk.runtime, lease))
    while not receiver.seen:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    clock.now += timedelta(minutes=1)
    receiver.seconds = 0
    await HANDLERS[lease.job.name](desk.runtime, Lease(lease.job, lease.token + 1, 2))
    await late
    (logged,) = await desk.log(hook)
    assert (logged["status"], len(logged["tries"]), logged["attempts"]) == ("delivered", 1, 2)


async def test_when_redis_forgets_everything_the_rows_remember(desk: Desk, receiver: Receiver, clock: Clock):
    hook = await desk.open(receiver.url)
    await desk.happens(times=2)
    await desk.runtime.redis.flushall()
    assert await desk.later(clock, seconds=5) == 1
    assert len(await desk.log(hook, status="delivered")) == 2


async def test_however_much_waits_one_job_stands_in_the_queue(desk: Desk, receiver: Receiver):
    await desk.open(receiver.url)
    await desk.happens(times=40)
    assert (await desk.runtime.queue.stats()).waiting == 1
    await desk.run_jobs()
    assert len(receiver.seen) == 40


async def test_changes_are_made_to_the_version_that_was_seen(desk: Desk, receiver: Receiver, client: Client):
    hook = await desk.open(receiver.url)
    changed = await desk.ask("PATCH", f"/{hook['id']}", {"name": "OA", "events": ["incident.opened"]})
    assert (changed["name"], changed["events"], changed["version"]) == ("OA", ["incident.opened"], 2)
    stale = await desk.ask("PATCH", f"/{hook['id']}", {"name": "x"}, status=412, If_Match='"1"')
    assert stale["code"] == "version_changed"
    off = await desk.ask("PATCH", f"/{hook['id']}", {"enabled": False})
    assert (off["enabled"], off["switched_off"]) == (False, "by_hand")
    await desk.ask("DELETE", f"/{hook['id']}", status=204)
    await desk.ask("GET", f"/{hook['id']}", status=404)
    assert (await desk.ask("GET", f"/{uuid4()}/deliveries", status=404))["code"] == "webhook_not_found"


async def test_a_community_has_so_many_webhooks_and_no_more(desk: Desk, receiver: Receiver):
    for _ in range(3):
        await desk.open(receiver.url)
    body = {"name": "x", "url": receiver.url, "events": ["incident.opened"]}
    assert (await desk.ask("POST", "", body, status=409))["code"] == "too_many_webhooks"


async def test_only_managers_look_after_webhooks(client: Client, make: Make, desk: Desk):
    engineer = await make.staff(role=StaffRole.ENGINEER)
    assert (await client.get(desk.url, as_=engineer)).status_code == 403


async def test_the_log_is_kept_for_its_time(desk: Desk, receiver: Receiver, clock: Clock):
    hook = await desk.open(receiver.url)
    await desk.happens()
    await desk.run_jobs()
    receiver.say = lambda seen: answer(400)
    await desk.happens()
    await desk.run_jobs()
    clock.now += timedelta(days=desk.runtime.settings.webhook_log_days + 1)
    await webhook_jobs.forget_webhook_log(desk.runtime)
    assert [one["status"] for one in await desk.log(hook)] == ["waiting"], "what waits is no log yet"


def test_every_event_is_described_in_openapi_with_an_example(web: tuple[str, FastAPI]):
    assert set(EVENTS) == set(EventKind)
    openapi = web[1].openapi()
    assert set(openapi["webhooks"]) == set(EventKind)
    for kind, spec in openapi["webhooks"].items():
        body = spec["post"]["requestBody"]["content"]["application/json"]["schema"]
        assert [example["event"] for example in body["examples"]] == [kind]
        assert any(one["name"] == outgoing.SIGNATURE for one in spec["post"]["parameters"])
    assert "HTTPValidationError" not in json.dumps(openapi)


def test_what_is_told_holds_nothing_personal():
    words = json.dumps([event.example for event in EVENTS.values()])
    assert not any(name in words for name in ("phone", "name", "text", "address"))
