"""The ledger of promises: made, proposed, kept, withdrawn, broken, and told as it is."""

from datetime import timedelta
from typing import Any

import pytest

from app.queue import PERIODIC
from app.service_desk.promise_tables import PROMISE_MOVES, PromiseStatus
from models.engine import State
from models.scripted_engine import ScriptedEngine
from tests.conftest import NOW, Client, Clock
from tests.make import Make, Person
from tests.service_desk.neighbourhood import build_house, messages, report

SWEEP = "app.service_desk.promise_jobs.sweep_pressing_promises"


@pytest.fixture(autouse=True)
def no_engine(engine: ScriptedEngine) -> None:
    engine.stand(State.OFF, "stopped")


def test_every_status_says_what_follows():
    assert set(PROMISE_MOVES) == set(PromiseStatus)


@pytest.fixture
def sweep(runtime: Any, run_jobs: Any) -> Any:
    async def swept() -> None:
        await PERIODIC[SWEEP][1](runtime)
        await run_jobs()

    return swept


async def people(make: Make) -> tuple[Person, Person]:
    return await make.staff(), (await build_house(make, rooms=1)).everybody()[0]


async def promised(client: Client, staff: Person, order: dict[str, Any], *, hours: float = 2) -> dict[str, Any]:
    body = {"text": "上门查看", "due_at": (NOW + timedelta(hours=hours)).isoformat(), "order_id": order["id"]}
    answer = await client.post(f"{staff.place.url}/promises", json=body, as_=staff)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def mine(client: Client, who: Person) -> list[dict[str, Any]]:
    return list((await client.get("/api/v1/me/promises", as_=who)).json()["items"])


async def test_a_promise_is_chased_before_it_runs_out_and_counted_when_broken(
    client: Client, make: Make, clock: Clock, sweep: Any
):
    staff, who = await people(make)
    promise = await promised(client, staff, await report(client, who, "墙皮掉了"))
    assert [one["status"] for one in await mine(client, who)] == ["open"]
    await sweep()
    assert await messages(client, staff, "promise.") == []
    clock.now = NOW + timedelta(minutes=91)
    await sweep()
    await sweep()
    assert [one["kind"] for one in await messages(client, staff, "promise.")] == ["promise.chased"]
    clock.now = NOW + timedelta(hours=2)
    await sweep()
    await sweep()
    [told] = await messages(client, who, "promise.")
    assert "没有做到" in told["body"]["zh"]
    assert "We did not keep it" in told["body"]["en"]
    assert [one["kind"] for one in await messages(client, staff, "promise.")] == ["promise.broken", "promise.chased"]
    url = f"{staff.place.url}/promises/{promise['id']}"
    clock.now += timedelta(hours=1)
    late = (await client.post(f"{url}/keep", as_=staff)).json()
    assert (late["status"], late["kept_at"] is not None) == ("broken", True)
    assert (await client.post(f"{url}/keep", as_=staff)).status_code == 409


async def test_kept_in_time_or_withdrawn_with_a_reason_is_not_broken(
    client: Client, make: Make, clock: Clock, sweep: Any
):
    staff, who = await people(make)
    order = await report(client, who, "墙皮掉了")
    kept, taken_back = await promised(client, staff, order), await promised(client, staff, order, hours=3)
    url = f"{staff.place.url}/promises"
    assert (await client.post(f"{url}/{kept['id']}/keep", as_=staff)).json()["status"] == "kept"
    assert (await client.post(f"{url}/{taken_back['id']}/withdraw", json={"reason": ""}, as_=staff)).status_code == 422
    reason = {"reason": "配件缺货"}
    assert (await client.post(f"{url}/{taken_back['id']}/withdraw", json=reason, as_=staff)).status_code == 200
    clock.now = NOW + timedelta(hours=4)
    await sweep()
    assert {(one["status"], one["reason"]) for one in await mine(client, who)} == {
        ("kept", ""),
        ("withdrawn", "配件缺货"),
    }
    refused = await client.post(f"{url}/{kept['id']}/withdraw", json=reason, as_=staff)
    assert (refused.status_code, refused.json()["facts"]["allowed"]) == (409, [])


async def test_what_staff_write_is_proposed_and_never_promised_silently(client: Client, make: Make, run_jobs: Any):
    staff, who = await people(make)
    order = await report(client, who, "墙皮掉了")
    comments = f"{staff.place.url}/workorders/{order['id']}/comments"

    async def say(text: str, visibility: str, as_: Person) -> None:
        answer = await client.post(comments, json={"text": text, "visibility": visibility}, as_=as_)
        assert answer.status_code == 201, answer.text

    await say("师傅明天上午10点前上门。", "resident", staff)
    await say("明天下午3点前上门", "internal", staff)
    await say("收到，谢谢反馈", "resident", staff)
    url = f"{staff.place.url}/promises"
    [found] = (await client.get(url, params={"filter[status]": "proposed"}, as_=staff)).json()["items"]
    assert (found["text"], found["due_at"], found["source"]) == (
        "师傅明天上午10点前上门。",
        "2026-11-23T02:00:00Z",
        "comment",
    )
    assert await mine(client, who) == []
    confirmed = await client.post(f"{url}/{found['id']}/confirm", json={"text": "王师傅明天上午10点前上门"}, as_=staff)
    assert (confirmed.status_code, confirmed.json()["status"]) == (200, "open")
    assert [one["text"] for one in await mine(client, who)] == ["王师傅明天上午10点前上门"]
    await say("后天下午给您答复", "resident", staff)
    [other] = (await client.get(url, params={"filter[status]": "proposed"}, as_=staff)).json()["items"]
    assert (await client.post(f"{url}/{other['id']}/decline", as_=staff)).json()["status"] == "declined"
    assert len(await mine(client, who)) == 1


async def test_an_appointment_is_a_promise_from_the_moment_somebody_has_the_order(
    client: Client, make: Make, clock: Clock
):
    staff, who = await people(make)
    engineer = await make.staff()
    window = {
        "time_window_start": (NOW + timedelta(hours=3)).isoformat(),
        "time_window_end": (NOW + timedelta(hours=5)).isoformat(),
    }
    order = await report(client, who, "墙皮掉了", **window)
    assert await mine(client, who) == []
    url = f"{staff.place.url}/workorders/{order['id']}"
    await client.post(f"{url}/dispatch", json={"assignee_id": str(engineer.id)}, as_=staff)
    [promise] = await mine(client, who)
    assert (promise["status"], promise["due_at"]) == ("open", "2026-11-22T07:00:00Z")
    etag = (await client.get(url, as_=staff)).headers["ETag"]
    later = {"time_window_end": (NOW + timedelta(hours=6)).isoformat()}
    assert (await client.patch(url, json=later, headers={"If-Match": etag}, as_=staff)).status_code == 200
    assert {(one["status"], one["reason"]) for one in await mine(client, who)} == {
        ("open", ""),
        ("withdrawn", "rescheduled"),
    }
    clock.now = NOW + timedelta(hours=4)
    assert (await client.post(f"{url}/start", json={}, as_=engineer)).status_code == 200
    assert {one["status"] for one in await mine(client, who)} == {"kept", "withdrawn"}


async def test_a_cancelled_order_withdraws_its_promises(client: Client, make: Make):
    staff, who = await people(make)
    order = await report(client, who, "墙皮掉了")
    await promised(client, staff, order)
    assert (await client.post(f"/api/v1/me/workorders/{order['id']}/cancel", json={}, as_=who)).status_code == 200
    assert [(one["status"], one["reason"]) for one in await mine(client, who)] == [("withdrawn", "work_order_ended")]


async def test_a_promise_needs_a_time_to_come_and_somebody_it_is_made_to(client: Client, make: Make):
    staff, who = await people(make)
    url = f"{staff.place.url}/promises"
    past = {"text": "上门", "due_at": NOW.isoformat(), "resident_id": str(who.id)}
    refused = await client.post(url, json=past, as_=staff)
    assert (refused.status_code, refused.json()["code"]) == (422, "promise_due_past")
    nobody = {"text": "上门", "due_at": (NOW + timedelta(hours=1)).isoformat()}
    assert (await client.post(url, json=nobody, as_=staff)).json()["code"] == "promise_for_nobody"
    for naive in ("2026-11-23T10:00:00", "tomorrow"):
        assert (await client.post(url, json=past | {"due_at": naive}, as_=staff)).status_code == 422


async def test_staff_filter_and_residents_see_only_their_own(client: Client, make: Make):
    staff, who = await people(make)
    other = (await build_house(make, rooms=1)).everybody()[0]
    first = await promised(client, staff, await report(client, who, "墙皮掉了"))
    second = await promised(client, staff, await report(client, other, "窗户坏了"), hours=9)
    url = f"{staff.place.url}/promises"

    async def found(**query: str) -> list[str]:
        return [one["id"] for one in (await client.get(url, params=query, as_=staff)).json()["items"]]

    assert await found() == [second["id"], first["id"]]
    assert await found(**{"filter[resident_id]": str(who.id)}) == [first["id"]]
    assert await found(**{"filter[due_before]": (NOW + timedelta(hours=3)).isoformat()}) == [first["id"]]
    assert await found(**{"filter[order_id]": second["order_id"]}) == [second["id"]]
    assert await found(**{"filter[staff_id]": str(staff.id)}) == [second["id"], first["id"]]
    assert [one["id"] for one in await mine(client, who)] == [first["id"]]
    assert (await client.get(f"{url}/{first['id']}", as_=who)).status_code == 403
