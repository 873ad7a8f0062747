"""One failure, many reports: one incident, a follower for each home, one notice, and everybody hears of the end once."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.people.tables import StaffRole
from app.queue import HANDLERS
from app.service_desk import duty_jobs, incident_jobs
from app.service_desk.incident_tables import INCIDENT_MOVES, IncidentStatus
from models.engine import State
from models.scripted_engine import ScriptedEngine
from tests.conftest import NOW, Client, Clock
from tests.make import Make, Order, Person
from tests.service_desk.duties import Desk
from tests.service_desk.neighbourhood import build_house, messages, report

NO_WATER = (
    "三单元没水", "家里水龙头不出水了", "停水了吗？", "怎么突然没水", "厨房和卫生间都没水", "我家水停了，做不了饭", "No water in our unit since this morning",
    "单元里断水了，什么时候来",
)  # fmt: skip
OPEN = {
    "kind": "water",
    "title": "1栋停水",
    "resident_text": "水泵故障，正在抢修。",
    "resident_text_en": "The pump failed.",
}


@pytest.fixture(autouse=True)
def no_engine(engine: ScriptedEngine) -> None:
    engine.stand(State.OFF, "stopped")


async def open_incident(client: Client, staff: Person, **body: Any) -> dict[str, Any]:
    answer = await client.post(f"{staff.place.url}/incidents", json=OPEN | body, as_=staff)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def listed(client: Client, staff: Person, **query: Any) -> list[dict[str, Any]]:
    return list((await client.get(f"{staff.place.url}/incidents", params=query, as_=staff)).json()["items"])


def test_every_status_says_what_follows():
    assert set(INCIDENT_MOVES) == set(IncidentStatus)


async def test_eight_reports_at_once_are_one_incident_with_eight_followers_and_one_notice(
    client: Client, make: Make, run_jobs: Any, clock: Clock
):
    staff = await make.staff()
    house = await build_house(make, units=3, rooms=8)
    unit = house.people[2]
    orders = await asyncio.gather(*(report(client, who, text) for who, text in zip(unit, NO_WATER, strict=True)))
    await report(client, house.people[0][0], "楼道灯不亮")
    clock.now += timedelta(minutes=10)
    await run_jobs()
    [incident] = await listed(client, staff)
    assert (incident["status"], incident["kind"], incident["opened_by_kind"]) == ("suspected", "water", "system")
    assert [space["id"] for space in incident["spaces"]] == [str(house.units[2])]
    assert (incident["followers_count"], incident["workorders_count"]) == (8, 8)
    url = f"{staff.place.url}/incidents/{incident['id']}"
    followers = (await client.get(f"{url}/followers", as_=staff)).json()["items"]
    assert {one["resident_id"] for one in followers} == {str(who.id) for who in unit}
    linked = (await client.get(f"{url}/workorders", as_=staff)).json()["items"]
    assert {one["id"] for one in linked} == {order["id"] for order in orders}
    draft = (await client.get(f"{url}/draft-notice", as_=staff)).json()
    assert (draft["drafts_count"], draft["worded_by"]) == (1, "template")
    assert "3单元" in draft["title"]["zh"]
    for who in unit:
        assert len(await messages(client, who, "incident.")) == 1
    assert len(await messages(client, staff, "incident.suspected")) == 1


async def test_jobs_that_run_at_once_make_one_incident(client: Client, make: Make, runtime: Any):
    """Eight workers take the eight orders in the same moment."""
    staff = await make.staff()
    house = await build_house(make, rooms=8)
    for who, text in zip(house.everybody(), NO_WATER, strict=True):
        await report(client, who, text)
    leases = await runtime.queue.take(100, wait_seconds=0)
    matching = [lease for lease in leases if lease.job.name == "service_desk.match_order"]
    assert len(matching) == 8
    await asyncio.gather(*(HANDLERS[lease.job.name](runtime, lease) for lease in matching + matching))
    [incident] = await listed(client, staff)
    assert (incident["followers_count"], incident["workorders_count"]) == (8, 8)


async def test_two_reports_or_one_home_three_times_are_no_incident(client: Client, make: Make, run_jobs: Any):
    staff = await make.staff()
    house = await build_house(make, rooms=2)
    one, other = house.everybody()
    for who, text in ((one, "没水"), (one, "还是没水"), (one, "水还没来，没水"), (other, "停水了")):
        await report(client, who, text)
    await run_jobs()
    assert await listed(client, staff) == []


async def test_reports_of_different_matters_or_places_or_days_are_not_counted_together(
    client: Client, make: Make, run_jobs: Any, clock: Clock
):
    staff = await make.staff()
    house, far = await build_house(make, rooms=6), await build_house(make, rooms=2)
    people = house.everybody()
    for who, text in zip(people[:3], ("没水", "停电了", "电梯坏了"), strict=True):
        await report(client, who, text)
    for who in far.everybody():
        await report(client, who, "停电了")
    await run_jobs()
    clock.now += timedelta(hours=7)
    for who in people[3:5]:
        await report(client, who, "没水")
    await run_jobs()
    assert await listed(client, staff) == []


async def test_three_units_of_a_house_make_the_house_and_three_houses_the_community(
    client: Client, make: Make, run_jobs: Any
):
    staff = await make.staff()
    house = await build_house(make, units=3, rooms=1)
    for who in house.everybody():
        await report(client, who, "停电了")
    await run_jobs()
    [incident] = await listed(client, staff)
    assert [space["id"] for space in incident["spaces"]] == [str(house.id)]
    others = [await build_house(make, rooms=1) for _ in range(3)]
    for other in others:
        await report(client, other.everybody()[0], "断网了")
    await run_jobs()
    [network] = await listed(client, staff, **{"filter[kind]": "network"})
    assert network["spaces"] == []


async def test_the_next_unit_widens_what_is_only_suspected(client: Client, make: Make, run_jobs: Any):
    staff = await make.staff()
    house = await build_house(make, units=2, rooms=3)
    for unit in house.people:
        for who in unit:
            await report(client, who, "没水")
        await run_jobs()
    [incident] = await listed(client, staff)
    assert {space["id"] for space in incident["spaces"]} == {str(unit) for unit in house.units}
    assert incident["followers_count"] == 6


async def test_a_report_of_a_known_incident_is_linked_and_its_reporter_told(client: Client, make: Make, run_jobs: Any):
    staff = await make.staff()
    house = await build_house(make, units=2, rooms=1)
    (here,), (there,) = house.people
    incident = await open_incident(client, staff, space_ids=[str(house.units[0])])
    mine = await report(client, here, "龙头放不出水")
    await report(client, there, "龙头放不出水")
    await run_jobs()
    shown = (await client.get(f"{staff.place.url}/incidents/{incident['id']}", as_=staff)).json()
    assert (shown["followers_count"], shown["workorders_count"]) == (1, 1)
    [told] = await messages(client, here, "incident.linked")
    assert "水泵故障" in told["body"]["zh"]
    assert await messages(client, there, "incident.") == []
    events = (await client.get(f"{staff.place.url}/workorders/{mine['id']}/events", as_=staff)).json()["items"]
    assert any(event["kind"] == "linked" for event in events)


async def test_an_emergency_is_never_counted_into_an_incident(client: Client, make: Make, run_jobs: Any):
    staff = await make.staff()
    house = await build_house(make, rooms=3)
    incident = await open_incident(client, staff, kind="lift", title="电梯停运", space_ids=[str(house.id)])
    body = {
        "kind": "repair",
        "text": "电梯停了，我被困在里面",
        "urgency": "emergency",
        "reporter_id": str(house.everybody()[0].id),
    }
    assert (await client.post(f"{staff.place.url}/workorders", json=body, as_=staff)).status_code == 201
    await run_jobs()
    shown = (await client.get(f"{staff.place.url}/incidents/{incident['id']}", as_=staff)).json()
    assert shown["workorders_count"] == 0


async def test_closing_tells_every_follower_once_and_answers_the_orders(
    client: Client, make: Make, run_jobs: Any, clock: Clock
):
    staff, engineer = await make.staff(), await make.staff()
    house = await build_house(make, rooms=4)
    people = house.everybody()
    orders = [await report(client, who, "没水") for who in people[:3]]
    await run_jobs()
    [incident] = await listed(client, staff)
    url = f"{staff.place.url}/incidents/{incident['id']}"
    assert (await client.post(f"/api/v1/me/incidents/{incident['id']}/follow", as_=people[3])).status_code == 200
    dispatched = await client.post(
        f"{staff.place.url}/workorders/{orders[0]['id']}/dispatch", json={"assignee_id": str(engineer.id)}, as_=staff
    )
    assert dispatched.status_code == 200, dispatched.text
    assert (await client.post(f"{url}/confirm", as_=staff)).json()["status"] == "open"
    await run_jobs()
    clock.now += timedelta(hours=2)
    closed = await client.post(
        f"{url}/close", json={"note": "水泵已更换。", "note_en": "The pump was replaced."}, as_=staff
    )
    assert (closed.status_code, closed.json()["status"]) == (200, "closed")
    await run_jobs()
    for who in people:
        [told] = await messages(client, who, "incident.closed")
        assert "水泵已更换" in told["body"]["zh"]
        assert "The pump was replaced." in told["body"]["en"]
    statuses = [
        (await client.get(f"/api/v1/me/workorders/{one['id']}", as_=who)).json()["status"]
        for one, who in zip(orders, people, strict=False)
    ]
    assert statuses == ["dispatched", "closed", "closed"]
    assert len(await messages(client, engineer, "incident.closed")) == 1
    again = await client.post(f"{url}/close", json={}, as_=staff)
    assert (again.status_code, again.json()["code"], again.json()["facts"]["allowed"]) == (
        409,
        "incident_move_not_allowed",
        [],
    )
    assert (await client.post(f"/api/v1/me/incidents/{incident['id']}/follow", as_=people[0])).status_code == 409


async def test_a_dismissed_suspicion_lets_each_order_go_on(client: Client, make: Make, run_jobs: Any):
    staff = await make.staff()
    people = (await build_house(make, rooms=3)).everybody()
    orders = [await report(client, who, "没水") for who in people]
    await run_jobs()
    [incident] = await listed(client, staff)
    url = f"{staff.place.url}/incidents/{incident['id']}"
    assert (await client.post(f"{url}/dismiss", json={"note": "是各户阀门问题。"}, as_=staff)).status_code == 200
    await run_jobs()
    for who, order in zip(people, orders, strict=True):
        assert "阀门" in (await messages(client, who, "incident.closed"))[0]["body"]["zh"]
        shown = (await client.get(f"{staff.place.url}/workorders/{order['id']}", as_=staff)).json()
        assert (shown["status"], shown["incident_id"]) == ("submitted", None)


async def test_followers_hear_of_a_new_expected_end_and_never_keep_an_old_one(
    client: Client, make: Make, run_jobs: Any
):
    staff = await make.staff()
    who = (await build_house(make, rooms=1)).everybody()[0]
    incident = await open_incident(client, staff, expected_end_at=(NOW + timedelta(hours=2)).isoformat())
    await client.post(f"/api/v1/me/incidents/{incident['id']}/follow", as_=who)
    url = f"{staff.place.url}/incidents/{incident['id']}"
    later = (NOW + timedelta(hours=4)).isoformat()
    stale = await client.patch(url, json={"expected_end_at": later}, headers={"If-Match": '"99"'}, as_=staff)
    assert stale.status_code == 412
    assert (await client.patch(url, json={"expected_end_at": later}, as_=staff)).status_code == 428
    changed = await client.patch(url, json={"expected_end_at": later}, headers={"If-Match": '"1"'}, as_=staff)
    assert (changed.status_code, changed.headers["ETag"]) == (200, '"2"')
    posted = await client.post(f"{url}/news", json={"text": "水泵已到货。"}, as_=staff)
    assert [news["number"] for news in posted.json()["news"]] == [1, 2]
    await run_jobs()
    [told] = await messages(client, who, "incident.news")
    assert "水泵已到货" in told["body"]["zh"]
    assert "11月22日14:00" in told["body"]["zh"]
    mine = (await client.get(f"/api/v1/me/incidents/{incident['id']}", as_=who)).json()
    assert (mine["following"], len(mine["news"])) == (True, 2)
    assert (await client.delete(f"/api/v1/me/incidents/{incident['id']}/follow", as_=who)).status_code == 204
    await client.post(f"{url}/news", json={"text": "快好了。"}, as_=staff)
    await run_jobs()
    assert len(await messages(client, who, "incident.news")) == 1


async def test_residents_see_what_concerns_where_they_live(client: Client, make: Make):
    staff = await make.staff()
    house, far = await build_house(make, units=2, rooms=1), await build_house(make, rooms=1)
    (here,), (next_door,) = house.people
    stranger = await make.resident(verified=False, building_id=house.id)
    whole = await open_incident(client, staff, title="全小区停气", kind="gas")
    building = await open_incident(client, staff, space_ids=[str(house.id)])
    unit = await open_incident(client, staff, space_ids=[str(house.units[0])])

    async def seen(who: Person) -> set[str]:
        return {one["id"] for one in (await client.get("/api/v1/me/incidents", as_=who)).json()["items"]}

    assert await seen(here) == {whole["id"], building["id"], unit["id"]}
    assert await seen(next_door) == {whole["id"], building["id"]}
    assert await seen(far.everybody()[0]) == {whole["id"]}
    assert await seen(stranger) == {whole["id"]}
    assert (await client.get(f"/api/v1/me/incidents/{unit['id']}", as_=next_door)).status_code == 404


@pytest.mark.parametrize(
    "body", [{"expected_end_at": "2026-11-20T00:00:00Z"}, {"space_ids": [str(uuid4())]}, {"title": ""}, {"colour": 1}]
)
async def test_what_makes_no_sense_is_refused(client: Client, make: Make, body: dict[str, Any]):
    staff = await make.staff()
    answer = await client.post(f"{staff.place.url}/incidents", json=OPEN | body, as_=staff)
    assert answer.status_code in (404, 422)


async def test_a_mistake_can_be_deleted_until_somebody_follows(client: Client, make: Make):
    staff = await make.staff()
    who = (await build_house(make, rooms=1)).everybody()[0]
    first, second = await open_incident(client, staff), await open_incident(client, staff)
    await client.post(f"/api/v1/me/incidents/{second['id']}/follow", as_=who)
    assert (await client.delete(f"{staff.place.url}/incidents/{first['id']}", as_=staff)).status_code == 204
    refused = await client.delete(f"{staff.place.url}/incidents/{second['id']}", as_=staff)
    assert (refused.status_code, refused.json()["code"]) == (409, "incident_followed")


async def test_staff_link_and_unlink_and_an_order_belongs_to_one(client: Client, make: Make):
    staff = await make.staff()
    who = (await build_house(make, rooms=1)).everybody()[0]
    first, second = await open_incident(client, staff), await open_incident(client, staff, kind="gas", title="停气")
    order = await report(client, who, "墙皮掉了")
    url = f"{staff.place.url}/incidents"
    body = {"order_id": order["id"]}
    for _ in range(2):
        linked = await client.post(f"{url}/{first['id']}/workorders", json=body, as_=staff)
        assert (linked.status_code, linked.json()["workorders_count"], linked.json()["followers_count"]) == (200, 1, 1)
    elsewhere = await client.post(f"{url}/{second['id']}/workorders", json=body, as_=staff)
    assert (elsewhere.status_code, elsewhere.json()["code"]) == (409, "work_order_linked_elsewhere")
    assert (await client.delete(f"{url}/{first['id']}/workorders/{order['id']}", as_=staff)).status_code == 204
    assert (await client.post(f"{url}/{second['id']}/workorders", json=body, as_=staff)).status_code == 200


async def test_an_expected_end_that_passes_is_chased_until_somebody_says_something_new(
    client: Client, make: Make, run_jobs: Any, clock: Clock, runtime: Any
):
    staff, engineer = await make.staff(), await make.staff(role=StaffRole.ENGINEER)
    who = (await build_house(make, rooms=1)).everybody()[0]
    soon = {"expected_end_at": (NOW + timedelta(hours=2)).isoformat()}
    incident = await open_incident(client, staff, **soon)
    mine, url = f"/api/v1/me/incidents/{incident['id']}", f"{staff.place.url}/incidents/{incident['id']}"
    await client.post(f"{mine}/follow", as_=who)

    async def swept(**time: float) -> tuple[int, int]:
        """How often the desk and the follower were told that it lasts longer."""
        clock.now += timedelta(**time)
        await incident_jobs.sweep_late_incidents(runtime)
        await run_jobs()
        told = [one for one in await messages(client, who, "incident.news") if "现已超过" in one["body"]["zh"]]
        return len(await messages(client, staff, "incident.late")), len(told)

    assert await swept(hours=1) == (0, 0)
    assert await swept(hours=1, minutes=1) == (1, 1)
    assert await swept(minutes=29) == (1, 1)
    assert await swept(minutes=1) == (2, 1)
    assert await swept(minutes=59) == (2, 1), "the pause doubles"
    assert await messages(client, engineer, "incident.late") == []
    shown = (await client.get(mine, as_=who)).json()
    assert (shown["is_late"], shown["news"][-1]["expected_end_at"]) == (True, None)
    offer = await client.post("/api/v1/me/workorders/matches", json={"text": "没水"}, as_=who)
    assert "原预计11月22日12:00恢复，现已超过" in offer.json()["incidents"][0]["offer"]["zh"]
    later = {"text": "水泵明早到货。", "expected_end_at": (clock.now + timedelta(hours=5)).isoformat()}
    assert (await client.post(f"{url}/news", json=later, as_=staff)).json()["is_late"] is False
    assert await swept(hours=4) == (2, 1)
    assert await swept(hours=2) == (3, 2)
    await client.post(f"{url}/close", json={}, as_=staff)
    assert await swept(days=3) == (3, 2)


async def test_orders_of_a_live_incident_are_given_to_nobody_until_it_lets_them_go(desk: Desk, run_jobs: Any):
    client, staff, plumber = desk.client, desk.manager, await desk.plumber()
    people = (await build_house(desk.make, rooms=3)).everybody()
    incident = await open_incident(client, staff)
    url = f"{staff.place.url}/incidents/{incident['id']}"
    orders = [await report(client, who, "厨房水龙头没水") for who in people]
    await run_jobs()

    async def seen(number: int) -> dict[str, Any]:
        return dict((await client.get(f"{staff.place.url}/workorders/{orders[number]['id']}", as_=staff)).json())

    for number in range(3):
        order = await seen(number)
        assert (order["status"], order["incident_id"]) == ("submitted", incident["id"])
        assert "随事件统一处理" in order["why"]["staffing"]["zh"]
    assert (await client.delete(f"{url}/workorders/{orders[0]['id']}", as_=staff)).status_code == 204
    await run_jobs()
    assert (await seen(0))["assignee_id"] == str(plumber.id)
    assert (await client.post(f"{url}/close", json={}, as_=staff)).status_code == 200
    await run_jobs()
    assert [(await seen(number))["status"] for number in (1, 2)] == ["closed", "closed"]
    reopened = await client.post(f"/api/v1/me/workorders/{orders[1]['id']}/reopen", json={}, as_=people[1])
    assert reopened.status_code == 200, reopened.text
    await run_jobs()
    assert (await seen(1))["assignee_id"] == str(plumber.id), "the incident is over: it goes on by itself"


async def test_a_suspicion_that_nobody_looks_at_holds_orders_for_half_an_hour(desk: Desk, run_jobs: Any):
    client, staff, plumber = desk.client, desk.manager, await desk.plumber()
    orders = [
        await report(client, who, "厨房水龙头没水") for who in (await build_house(desk.make, rooms=3)).everybody()
    ]
    await run_jobs()

    async def given() -> set[str | None]:
        urls = [f"{staff.place.url}/workorders/{order['id']}" for order in orders]
        return {(await client.get(url, as_=staff)).json()["assignee_id"] for url in urls}

    assert len(await listed(client, staff, **{"filter[status]": "suspected"})) == 1
    before = await given()
    assert None in before
    desk.later(minutes=30)
    await duty_jobs.sweep_unassigned(desk.runtime)
    await run_jobs()
    assert await given() == {str(plumber.id)}


async def test_orders_of_an_incident_that_was_a_mistake_go_on_when_it_is_deleted(desk: Desk, run_jobs: Any):
    client, staff, plumber = desk.client, desk.manager, await desk.plumber()
    incident = await open_incident(client, staff)
    body = {"text": "大堂水管漏水", "kind": "repair"}
    order = (await client.post(f"{staff.place.url}/workorders", json=body, as_=staff)).json()
    await desk.triage(Order(staff.place, UUID(order["id"]), order["number"], staff))
    url = f"{staff.place.url}/incidents/{incident['id']}"
    assert (await client.post(f"{url}/workorders", json={"order_id": order["id"]}, as_=staff)).status_code == 200
    await run_jobs()
    assert (await client.delete(url, as_=staff)).status_code == 204
    await run_jobs()
    shown = (await client.get(f"{staff.place.url}/workorders/{order['id']}", as_=staff)).json()
    assert (shown["incident_id"], shown["assignee_id"]) == (None, str(plumber.id)), shown
