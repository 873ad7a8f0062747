"""An order is due when the community says; it is warned of, overdue and escalated, each once, whatever goes wrong."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import update

from app.people.tables import Community, StaffRole
from app.service_desk import deadlines, duty_jobs
from app.service_desk.tables import CategoryClass, Status, Urgency, WorkOrder
from tests.service_desk.duties import Desk

MONDAY_NINE = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)
"""09:00 in the practice community."""
OFFICE = {
    **{day: ["08:30-12:00", "13:30-17:30"] for day in ("mon", "tue", "wed", "thu", "fri")}, "sat": [], "sun": [],
}  # fmt: skip


async def rule(desk: Desk, **body: Any) -> dict[str, Any]:
    given = {"deadline_class": "normal", "respond_minutes": 30, "resolve_minutes": 120, **body}
    answer = await desk.client.post(f"{desk.manager.place.url}/sla-rules", json=given, as_=desk.manager)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def for_the_category(desk: Desk, code: str = "plumbing", **body: Any) -> dict[str, Any]:
    url = f"{desk.manager.place.url}/workorder-categories?limit=200"
    listed = (await desk.client.get(url, as_=desk.manager)).json()["items"]
    category = next(one["id"] for one in listed if one["code"] == code)
    return await rule(desk, category_id=category, **body)


async def office(desk: Desk) -> None:
    """Monday 09:00, with office hours; plumbing is answered in 30 and done in 120 minutes, warned of 30 before."""
    desk.clock.now = MONDAY_NINE
    await desk.setting(work_hours=OFFICE, deadline_escalate_minutes=60)
    await for_the_category(desk, warn_minutes=30)


def steps(events: list[dict[str, Any]]) -> list[str]:
    """The kinds of events."""
    return [event["kind"] for event in events]


async def sweep(desk: Desk) -> None:
    await duty_jobs.sweep_deadlines(desk.runtime)


async def test_a_report_is_due_in_working_time_and_says_how_that_was_counted(desk: Desk, run_jobs):
    await office(desk)
    desk.clock.now = MONDAY_NINE + timedelta(hours=2)
    order = await desk.triaged(needs_person=True)
    await run_jobs()
    row = await desk.row(order)
    assert (row.respond_due_at, row.due_at) == (
        datetime(2026, 11, 23, 3, 30, tzinfo=UTC), datetime(2026, 11, 23, 6, 30, tzinfo=UTC),
    )  # fmt: skip
    assert row.why is not None
    assert "120 分钟内办结（工作时间）" in row.why["deadline"]["zh"]
    assert (await desk.seen(order))["due_at"] == "2026-11-23T06:30:00Z"


async def test_each_step_is_made_once_and_the_right_people_are_told(desk: Desk, run_jobs):
    await office(desk)
    desk_person = await desk.make.staff(role=StaffRole.FRONT_DESK)
    order = await desk.triaged(needs_person=True)
    await run_jobs()
    for minutes in (29, 2, 60, 30, 60):
        desk.later(minutes=minutes)
        await sweep(desk)
        await sweep(desk)
    # 09:31 nobody answered, 10:31 warned, 11:01 overdue, 12:01 escalated.
    events = await desk.events(order, "warned", "overdue", "escalated")
    assert [(event["kind"], event["facts"]["part"]) for event in events] == [
        ("overdue", "respond_due"), ("warned", "warn"), ("overdue", "due"), ("escalated", "escalate"),
    ]  # fmt: skip
    assert await desk.told(desk_person) == ["workorder.overdue", "workorder.warned", "workorder.overdue"]
    assert (await desk.told(desk.manager))[-1] == "workorder.escalated"
    row = await desk.row(order)
    assert row.check_at is None, "there is nothing more to come"
    assert None not in (row.warned_at, row.overdue_at, row.escalated_at, row.respond_overdue_at)


async def test_what_was_answered_and_done_in_time_is_not_chased(desk: Desk, run_jobs):
    await office(desk)
    plumber = await desk.plumber()
    order = await desk.triaged()
    await run_jobs()
    assert (await desk.post(order, "accept", plumber)).status_code == 200
    assert (await desk.post(order, "start", plumber)).status_code == 200
    assert (await desk.post(order, "complete", plumber)).status_code == 200
    desk.later(days=3)
    await sweep(desk)
    assert await desk.events(order, "warned", "overdue", "escalated") == []
    assert (await desk.row(order)).check_at is None


async def test_whoever_has_the_order_is_warned_and_the_managers_hear_of_it_last(desk: Desk, run_jobs):
    await office(desk)
    plumber = await desk.plumber()
    order = await desk.triaged()
    await run_jobs()
    await desk.post(order, "accept", plumber)
    desk.later(minutes=95)
    await sweep(desk)
    assert (await desk.told(plumber))[-1] == "workorder.warned"
    assert await desk.told(desk.manager) == []
    desk.later(hours=5)
    await sweep(desk)
    assert await desk.told(desk.manager) == ["workorder.escalated"]


async def test_a_pause_stops_the_clock(desk: Desk, run_jobs):
    await office(desk)
    plumber = await desk.plumber()
    order = await desk.triaged()
    await run_jobs()
    await desk.post(order, "accept", plumber)
    desk.later(minutes=60)
    assert (await desk.post(order, "pause", plumber, note="等配件")).status_code == 200
    await run_jobs()
    assert (await desk.row(order)).due_at is None, "nobody knows when it will go on"
    desk.later(days=2)
    await sweep(desk)
    assert (await desk.post(order, "resume", plumber)).status_code == 200
    await run_jobs()
    row = await desk.row(order)
    assert row.due_at == datetime(2026, 11, 25, 3, 0, tzinfo=UTC), "60 minutes are left: 11:00 on Wednesday"
    assert await desk.events(order, "warned", "overdue", "escalated") == []


async def test_a_pause_whose_job_was_lost_is_noticed_by_the_sweep(desk: Desk, run_jobs):
    await office(desk)
    plumber = await desk.plumber()
    order = await desk.triaged()
    await run_jobs()
    await desk.post(order, "accept", plumber)
    await desk.post(order, "pause", plumber, note="等配件")
    await desk.runtime.redis.flushall()
    desk.later(days=1)
    await sweep(desk)
    assert await desk.events(order, "warned", "overdue", "escalated") == []


async def test_a_reopened_order_gets_its_time_anew(desk: Desk, run_jobs):
    await office(desk)
    plumber = await desk.plumber()
    order = await desk.triaged()
    await run_jobs()
    for verb in ("accept", "start"):
        await desk.post(order, verb, plumber)
    desk.later(hours=4)
    await sweep(desk)
    await desk.post(order, "complete", plumber)
    desk.clock.now = MONDAY_NINE + timedelta(days=1)
    assert (await desk.post(order, "reopen", desk.manager)).status_code == 200
    await run_jobs()
    row = await desk.row(order)
    assert (row.due_at, row.overdue_at) == (datetime(2026, 11, 24, 3, 0, tzinfo=UTC), None)
    desk.later(hours=4)
    await sweep(desk)
    overdue = await desk.events(order, "overdue")
    assert [event["facts"]["part"] for event in overdue] == ["due", "respond_due", "due"]


async def test_an_emergency_is_counted_by_the_clock_at_night_and_is_loud(desk: Desk):
    await office(desk)
    desk.clock.now = datetime(2026, 11, 21, 18, 0, tzinfo=UTC)
    order = await desk.triaged(urgency=Urgency.EMERGENCY)
    await sweep(desk)
    row = await desk.row(order)
    assert (row.respond_due_at, row.due_at) == (
        desk.clock.now + timedelta(minutes=5), desk.clock.now + timedelta(minutes=120),
    )  # fmt: skip
    desk.later(minutes=6)
    await sweep(desk)
    assert "emergency.overdue" in await desk.told(desk.manager)


async def test_summer_time_in_berlin_makes_the_night_an_hour_shorter(desk: Desk):
    await for_the_category(desk, resolve_minutes=180, respond_minutes=60)
    day = ["00:00-24:00"]
    await desk.setting(
        work_hours=dict.fromkeys(("mon", "tue", "wed", "thu", "fri", "sat", "sun"), day), holiday_calendar="DE"
    )
    url = desk.manager.place.url
    changed = await desk.client.patch(
        url, json={"timezone": "Europe/Berlin"}, headers={"If-Match": "*"}, as_=desk.manager
    )
    assert changed.status_code == 200
    desk.clock.now = datetime(2027, 3, 28, 0, 30, tzinfo=UTC)  # 01:30, half an hour before the clock is put forward
    order = await desk.triaged(needs_person=True)
    await sweep(desk)
    row = await desk.row(order)
    assert row.due_at == datetime(2027, 3, 28, 3, 30, tzinfo=UTC), "05:30 on the wall, three hours later all the same"


async def test_holidays_are_skipped_and_a_missing_list_is_said_and_stops_nothing(desk: Desk):
    await office(desk)
    desk.clock.now = datetime(2026, 9, 30, 9, 0, tzinfo=UTC)  # 17:00 on the last day before the national holiday
    order = await desk.triaged(needs_person=True)
    await sweep(desk)
    row = await desk.row(order)
    assert row.due_at == datetime(2026, 10, 8, 2, 0, tzinfo=UTC)
    desk.clock.now = datetime(2060, 9, 30, 9, 0, tzinfo=UTC)
    later = await desk.triaged(needs_person=True)
    await sweep(desk)
    row = await desk.row(later)
    assert row.due_at is not None
    assert row.why is not None
    assert "节假日安排缺失" in row.why["deadline"]["zh"]


async def test_hours_that_never_come_count_as_every_hour(desk: Desk):
    await office(desk)
    await desk.setting(work_hours={day: [] for day in ("mon", "tue", "wed", "thu", "fri", "sat", "sun")})
    order = await desk.triaged(needs_person=True)
    await sweep(desk)
    row = await desk.row(order)
    assert row.due_at == MONDAY_NINE + timedelta(minutes=120)
    assert row.why is not None
    assert "没有工作时间" in row.why["deadline"]["zh"]


async def test_two_workers_that_sweep_at_once_make_each_step_once(desk: Desk, run_jobs):
    await office(desk)
    orders = [await desk.triaged(needs_person=True) for _ in range(5)]
    await run_jobs()
    desk.later(hours=6)
    await asyncio.gather(*(sweep(desk) for _ in range(3)))
    for order in orders:
        events = steps(await desk.events(order, "warned", "overdue", "escalated"))
        assert sorted(events) == ["escalated", "overdue", "overdue", "warned"]


async def test_one_bad_row_blocks_no_other_and_is_looked_at_again_later(desk: Desk, run_jobs):
    await office(desk)
    bad, good = await desk.triaged(needs_person=True), await desk.triaged(needs_person=True)
    await run_jobs()
    async with desk.runtime.transaction(bad.place.tenant) as session:
        await session.execute(
            update(WorkOrder).where(WorkOrder.id == bad.id).values(why={"deadline": 1}, urgency=Urgency.EMERGENCY)
        )
    other = await desk.make.place()
    stranger = await desk.make.work_order(place=other)
    async with desk.runtime.transaction(other.tenant) as session:
        await session.execute(update(Community).where(Community.id == other.id).values(timezone="Mars/Olympus"))
    desk.later(hours=3)
    await sweep(desk)
    assert "overdue" in steps(await desk.events(good, "overdue"))
    assert "overdue" in steps(await desk.events(bad, "overdue"))
    row = await desk.row(stranger)
    assert row.check_at == desk.clock.now + timedelta(minutes=10), "the broken community's order is left alone a while"
    assert row.overdue_at is None
    async with desk.runtime.transaction(other.tenant) as session:
        await session.execute(update(Community).where(Community.id == other.id).values(timezone="Asia/Shanghai"))
    desk.later(minutes=11)
    await sweep(desk)
    assert (await desk.row(stranger)).due_at is not None


async def test_rules_are_kept_by_the_desk_and_the_nearest_one_holds(desk: Desk, run_jobs):
    await office(desk)
    general = await rule(desk, resolve_minutes=600)
    url = f"{desk.manager.place.url}/sla-rules"
    twice = await desk.client.post(
        url, json={"deadline_class": "normal", "respond_minutes": 1, "resolve_minutes": 2}, as_=desk.manager
    )
    assert (twice.status_code, twice.json()["code"]) == (409, "sla_rule_exists")
    reversed_ = await desk.client.post(
        url, json={"deadline_class": "paid", "respond_minutes": 3, "resolve_minutes": 2}, as_=desk.manager
    )
    assert (reversed_.status_code, reversed_.json()["code"]) == (422, "minutes_reversed")
    etag = (await desk.client.get(f"{url}/{general['id']}", as_=desk.manager)).headers["etag"]
    changed = await desk.client.patch(
        f"{url}/{general['id']}", json={"resolve_minutes": 60}, headers={"If-Match": etag}, as_=desk.manager
    )
    assert changed.json()["resolve_minutes"] == 60
    stale = await desk.client.patch(
        f"{url}/{general['id']}", json={"resolve_minutes": 61}, headers={"If-Match": etag}, as_=desk.manager
    )
    assert stale.status_code == 412
    engineer = await desk.make.staff(role=StaffRole.ENGINEER)
    assert (await desk.client.delete(f"{url}/{general['id']}", as_=engineer)).status_code == 403
    order = await desk.triaged(needs_person=True)
    await run_jobs()
    assert (await desk.row(order)).due_at == MONDAY_NINE + timedelta(minutes=120), "the category's rule is nearer"
    listed = (await desk.client.get(url, as_=engineer)).json()["items"]
    for one in listed:
        assert (await desk.client.delete(f"{url}/{one['id']}", as_=desk.manager)).status_code == 204
    assert (await desk.client.get(url, as_=desk.manager)).json()["items"] == []


def test_the_tables_are_complete():
    assert set(deadlines.MINUTES) == set(CategoryClass)
    assert set(Status) == deadlines.RUNNING | deadlines.STANDING | deadlines.DONE
    assert not deadlines.RUNNING & deadlines.STANDING
