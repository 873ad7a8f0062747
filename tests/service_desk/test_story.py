"""An order's whole life, as a resident, an engineer and the front desk live it."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import asyncpg
import httpx
import pytest

from app.people.tables import StaffRole
from app.service_desk.tables import Status
from app.settings import Settings
from tests.conftest import Client, Clock
from tests.make import Make, Person

MINE = "/api/v1/me/workorders"


def told(answer: httpx.Response, status: int = 200) -> Any:
    assert answer.status_code == status, answer.text
    return answer.json()


@pytest.fixture
async def resident(make: Make) -> Person:
    return await make.resident()


@pytest.fixture
async def desk(make: Make) -> Person:
    return await make.staff(role=StaffRole.FRONT_DESK)


@pytest.fixture
async def engineer(make: Make) -> Person:
    return await make.staff(role=StaffRole.ENGINEER)


async def test_a_leak_from_the_report_to_the_rating(
    client: Client, clock: Clock, resident: Person, desk: Person, engineer: Person
):
    report = {"text": "厨房水管漏水，滋滋响", "entry_ok": False, "time_window_start": "2026-11-22T06:00:00Z"}
    order = told(await client.post(MINE, json=report, as_=resident), 201)
    assert (order["number"], order["status"], order["kind"], order["moves"]) == (
        1,
        "submitted",
        "repair",
        ["cancelled"],
    )
    assert order["place"].endswith("室"), "who has one home means that one"
    mine, url = f"{MINE}/{order['id']}", f"{desk.place.url}/workorders/{order['id']}"

    async def by(who: Person, verb: str, **body: Any) -> Any:
        return told(await client.post(f"{url}/{verb}", json=body, as_=who))

    assert (await by(desk, "dispatch", assignee_id=str(engineer.id)))["assignee_name"] == "员工"
    await by(engineer, "accept")
    await by(engineer, "start")
    await by(engineer, "pause", note="等配件")
    clock.now += timedelta(hours=2)
    assert (await by(engineer, "resume"))["paused_seconds"] == 7200
    await by(engineer, "quote", quote_cents=8800, note="换角阀")
    seen = told(await client.get(mine, as_=resident))
    assert (seen["quote_cents"], seen["currency"], seen["moves"]) == (8800, "CNY", ["in_progress", "cancelled"])
    told(await client.post(f"{mine}/confirm-quote", json={}, as_=resident))
    assert (await by(engineer, "complete", note="已换阀"))["status"] == "awaiting_rating"
    rated = told(await client.post(f"{mine}/rate", json={"speed": 4, "quality": 5, "attitude": 5}, as_=resident))
    assert (rated["status"], rated["rating_quality"]) == ("closed", 5)

    events = told(await client.get(f"{url}/events", as_=desk))["items"]
    assert [event["to_status"] for event in events if event["to_status"]] == [
        "submitted", "dispatched", "accepted", "in_progress", "paused", "in_progress", "quoted", "in_progress",
        "awaiting_rating", "closed",
    ]  # fmt: skip
    assert [event["kind"] for event in events][-2:] == ["rated", "moved"]
    own = told(await client.get(f"{mine}/events", as_=resident))["items"]
    assert "等配件" in {event["note"] for event in own}


async def test_a_low_rating_brings_a_return_visit_and_the_order_can_be_reopened_for_a_week(
    client: Client, clock: Clock, make: Make, engineer: Person, desk: Person
):
    order = await make.work_order(status=Status.AWAITING_RATING, assignee=engineer)
    mine = f"{MINE}/{order.id}"
    low = {"speed": 5, "quality": 1, "attitude": 5, "comment": "又漏了"}
    assert told(await client.post(f"{mine}/rate", json=low, as_=order.reporter))["status"] == "return_visit"
    assert told(await client.post(f"{order.url}/close", json={"note": "已回访"}, as_=desk))["status"] == "closed"
    clock.now += timedelta(days=6)
    again = told(await client.post(f"{mine}/reopen", json={"note": "又漏了"}, as_=order.reporter))
    assert (again["status"], again["reopened_count"], again["assignee_id"]) == ("submitted", 1, None)
    late = await make.work_order(status=Status.CLOSED, reporter=order.reporter, text="卧室插座没电")
    clock.now += timedelta(days=8)
    refused = await client.post(f"{MINE}/{late.id}/reopen", json={}, as_=order.reporter)
    assert (refused.status_code, refused.json()["code"]) == (409, "work_order_reopen_window_over")
    assert refused.json()["facts"] == {"days": 7}


async def test_the_front_desk_opens_an_order_for_a_resident_who_calls(
    client: Client, resident: Person, desk: Person, make: Make
):
    body = {"text": "电梯抖得厉害", "channel": "phone", "reporter_id": str(resident.id), "place_text": "2号楼电梯"}
    order = told(await client.post(f"{desk.place.url}/workorders", json=body, as_=desk), 201)
    assert (order["channel"], order["reporter_kind"], order["place"]) == ("phone", "resident", "2号楼电梯")
    assert told(await client.get(f"{MINE}/{order['id']}", as_=resident))["text"] == "电梯抖得厉害"
    neighbour = await make.resident()
    assert (await client.get(f"{MINE}/{order['id']}", as_=neighbour)).status_code == 404
    assert told(await client.get(MINE, as_=neighbour))["items"] == []


async def test_what_colleagues_say_among_themselves_the_resident_does_not_read(
    client: Client, make: Make, engineer: Person
):
    order = await make.work_order()
    for text, visibility in (("请先关总阀", "resident"), ("这家上次拖欠工费", "internal")):
        told(
            await client.post(
                f"{order.url}/comments", json={"text": text, "visibility": visibility}, as_=engineer
            ), 201,
        )  # fmt: skip
    mine = f"{MINE}/{order.id}/comments"
    told(await client.post(mine, json={"text": "好的"}, as_=order.reporter), 201)
    read = told(await client.get(mine, as_=order.reporter))["items"]
    assert [one["text"] for one in read] == ["请先关总阀", "好的"]
    assert len(told(await client.get(f"{order.url}/comments", as_=engineer))["items"]) == 3
    assert str(order.id) in (await client.get("/api/v1/me/access-log", as_=order.reporter)).text


async def test_urging_is_passed_on_once_in_half_an_hour(client: Client, clock: Clock, make: Make):
    order = await make.work_order()
    url = f"{MINE}/{order.id}/urge"
    assert told(await client.post(url, json={"note": "都三天了"}, as_=order.reporter))["urged_count"] == 1
    refused = await client.post(url, json={}, as_=order.reporter)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1800")
    clock.now += timedelta(minutes=31)
    assert told(await client.post(url, json={}, as_=order.reporter))["urged_count"] == 2


async def test_a_change_is_made_to_the_version_its_author_saw(client: Client, make: Make, desk: Person):
    order = await make.work_order()
    read = await client.get(order.url, as_=desk)
    tag = {"If-Match": read.headers["etag"]}
    changed = await client.patch(order.url, json={"urgency": "urgent"}, headers=tag, as_=desk)
    assert (told(changed)["urgency"], changed.headers["etag"] != tag["If-Match"]) == ("urgent", True)
    stale = await client.patch(order.url, json={"urgency": "routine"}, headers=tag, as_=desk)
    assert (stale.status_code, stale.json()["code"]) == (412, "version_changed")
    mine = f"{MINE}/{order.id}"
    window = {"entry_ok": True, "time_window_start": "2026-11-22T08:00:00Z", "time_window_end": "2026-11-22T07:00:00Z"}
    wrong = await client.patch(mine, json=window, headers={"If-Match": "*"}, as_=order.reporter)
    assert wrong.json()["code"] == "time_window_invalid"
    window["time_window_end"] = "2026-11-22T09:00:00Z"
    right = told(await client.patch(mine, json=window, headers={"If-Match": "*"}, as_=order.reporter))
    assert right["entry_ok"] is True


async def test_a_report_sent_twice_is_one_order(client: Client, resident: Person):
    key = {"Idempotency-Key": "tap-tap"}
    first = await client.post(MINE, json={"text": "灯不亮"}, headers=key, as_=resident)
    second = await client.post(MINE, json={"text": "灯不亮"}, headers=key, as_=resident)
    assert told(first, 201)["id"] == told(second, 201)["id"]
    assert len(told(await client.get(MINE, as_=resident))["items"]) == 1


async def test_the_same_report_again_is_taken_and_linked(client: Client, clock: Clock, resident: Person, desk: Person):
    async def report(text: str) -> Any:
        order = told(await client.post(MINE, json={"text": text}, as_=resident), 201)
        return told(await client.get(f"{desk.place.url}/workorders/{order['id']}", as_=desk))

    first = await report("厨房水管漏水")
    again, other, third = await report("厨房的水管漏水了"), await report("卧室插座没电"), await report("厨房水管漏水！")
    assert (again["duplicate_of_id"], third["duplicate_of_id"]) == (first["id"], first["id"])
    assert other["duplicate_of_id"] is None
    clock.now += timedelta(hours=25)
    assert (await report("厨房水管漏水"))["duplicate_of_id"] is None


async def test_too_many_orders_a_day_are_refused_with_when_but_never_an_emergency(
    client: Client, clock: Clock, resident: Person, desk: Person, make: Make
):
    manager = await make.staff()
    settings = {"work_orders_per_day_max": 2}
    etag = (await client.get(f"{desk.place.url}/settings", as_=manager)).headers["etag"]
    told(await client.patch(f"{desk.place.url}/settings", json=settings, headers={"If-Match": etag}, as_=manager))
    told(await client.post(MINE, json={"text": "一"}, as_=resident), 201)
    clock.now += timedelta(hours=1)
    told(await client.post(MINE, json={"text": "二"}, as_=resident), 201)
    refused = await client.post(MINE, json={"text": "三"}, as_=resident)
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_work_orders")
    assert refused.headers["retry-after"] == str(23 * 3600)
    told(await client.post(MINE, json={"text": "煤气味很重", "urgency": "emergency"}, as_=resident), 201)
    body = {"text": "三", "reporter_id": str(resident.id)}
    told(await client.post(f"{desk.place.url}/workorders", json=body, as_=desk), 201)


async def test_an_order_that_nothing_classified_waits_for_a_person(
    client: Client, resident: Person, desk: Person, run_jobs: Callable[[], Awaitable[int]]
):
    order = told(await client.post(MINE, json={"text": "那个东西又那样了"}, as_=resident), 201)
    assert await run_jobs() >= 1
    shown = told(await client.get(f"{desk.place.url}/workorders/{order['id']}", as_=desk))
    assert shown["triage"] is not None


async def test_what_happened_cannot_be_rewritten(make: Make, settings: Settings):
    order = await make.work_order()
    app = await asyncpg.connect(settings.database_url.replace("+asyncpg", ""))
    try:
        await app.execute(f"SET app.community_id = '{order.place.id}'")
        assert await app.fetchval("SELECT count(*) FROM work_order_events WHERE work_order_id = $1", order.id) == 1
        for statement in (
            "UPDATE work_order_events SET note = ''",
            "DELETE FROM work_order_events",
            "DELETE FROM work_orders",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await app.execute(statement)
    finally:
        await app.close()
