"""Figures of the desk, worked out by hand, and nothing about a few homes."""

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.service_desk.measures import MEASURES, Metric
from app.service_desk.promise_tables import Promise, PromiseSource, PromiseStatus
from app.service_desk.tables import Status
from tests.conftest import NOW, Client
from tests.make import Make, Person
from tests.service_desk.neighbourhood import House, build_house

MONDAY = datetime(2026, 11, 9, 2, 0, tzinfo=UTC)
"""Ten in the morning of a Monday in the community; the tests' now is the Sunday after next."""


async def orders(make: Make, people: list[Person], minutes: list[float] | None = None, **columns: Any) -> list[Any]:
    """An order of each of these, opened on that Monday; done so many minutes later where `minutes` are given."""
    made = []
    for number, who in enumerate(people):
        values = {"created_at": MONDAY} | columns
        if minutes is not None:
            values["completed_at"] = values["created_at"] + timedelta(minutes=minutes[number])
        status = Status.AWAITING_RATING if minutes is not None else Status.SUBMITTED
        made.append(
            await make.work_order(reporter=who, text=f"墙皮掉了{number}", status=values.pop("status", status), **values)
        )
    return made


async def measured(client: Client, staff: Person, metric: str, **query: str) -> dict[str, Any]:
    answer = await client.get(f"{staff.place.url}/analytics/{metric}", params=query, as_=staff)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


@pytest.fixture
async def staff(make: Make) -> Person:
    return await make.staff()


@pytest.fixture
async def house(make: Make) -> House:
    return await build_house(make, rooms=6)


def test_every_metric_has_its_measure():
    assert set(MEASURES) == set(Metric)


async def test_resolution_is_the_middle_and_the_ninth_tenth_without_pauses(
    client: Client, make: Make, staff: Person, house: House
):
    # 10, 20, 30, 40, 50 and 130 minutes, of the last 60 paused: 10 20 30 40 50 70.
    people = house.everybody()
    await orders(make, people[:5], [10, 20, 30, 40, 50])
    await orders(make, people[5:], [130], paused_seconds=3600)
    total = (await measured(client, staff, "resolution"))["total"]
    # The middle of six is between 30 and 40; nine tenths lie at place 4.5 of 0 to 5: between 50 and 70.
    assert (total["count"], total["households"], total["values"]) == (6, 6, {"median": 35.0, "p90": 60.0})


async def test_counts_shares_and_ratings(client: Client, make: Make, staff: Person, house: House):
    people = house.everybody()
    await orders(make, people[:4])
    await orders(make, people[4:5], overdue_at=NOW)
    await orders(make, people[:5], [10] * 5, rating_speed=5, rating_quality=4, rating_attitude=3)
    await orders(make, people[5:], [10], rating_speed=2, rating_quality=1, rating_attitude=3, reopened_count=1)
    await orders(make, people[:5], [10] * 5, status=Status.CLOSED, closed_at=MONDAY + timedelta(days=1))
    seen = (await client.get(f"{staff.place.url}/analytics/overview", as_=staff)).json()
    figures = {name: (one["count"], one["values"]) for name, one in seen["metrics"].items()}
    assert figures["opened"] == (16, {})
    assert figures["open"] == (11, {})
    assert figures["closed"] == (5, {"unhandled": 0.0})
    assert figures["overdue"] == (16, {"overdue": 1.0, "share": 0.0625})
    assert figures["reopened"] == (11, {"reopened": 1.0, "share": 0.0909})
    assert figures["ratings"] == (6, {"speed": 4.5, "quality": 3.5, "attitude": 3.0})
    assert seen["metrics"]["broken_promises"]["suppressed"] is True
    assert (seen["from"], seen["to"], seen["timezone"]) == ("2026-10-26", "2026-11-22", "Asia/Shanghai")


async def test_the_first_response_is_the_first_time_staff_take_it_up_or_write(
    client: Client, make: Make, clock: Any, staff: Person, house: House
):
    opened = await orders(make, house.everybody(), created_at=NOW)
    for minutes, order in enumerate(opened[:5], 1):
        clock.now = NOW + timedelta(minutes=10 * minutes)
        if minutes % 2:
            answer = await client.post(f"{order.url}/accept", json={}, as_=staff)
        else:
            words = {"text": "收到", "visibility": "resident"}
            answer = await client.post(f"{order.url}/comments", json=words, as_=staff)
        assert answer.status_code in (200, 201), answer.text
    # To be sent somebody is no response, nor what colleagues write to each other.
    engineer = await make.staff()
    clock.now = NOW + timedelta(minutes=1)
    await client.post(f"{opened[5].url}/dispatch", json={"assignee_id": str(engineer.id)}, as_=staff)
    await client.post(f"{opened[5].url}/comments", json={"text": "急", "visibility": "internal"}, as_=staff)
    total = (await measured(client, staff, "first_response"))["total"]
    assert (total["count"], total["values"]) == (5, {"median": 30.0, "p90": 46.0})


async def test_weeks_begin_on_monday_where_the_community_is(client: Client, make: Make, staff: Person, house: House):
    people = house.everybody()
    # Sunday 15 November 23:59 and Monday 16 November 00:00 in Shanghai.
    await orders(make, people[:5], created_at=datetime(2026, 11, 15, 15, 59, tzinfo=UTC))
    await orders(make, people, created_at=datetime(2026, 11, 15, 16, 0, tzinfo=UTC))
    groups = (await measured(client, staff, "opened", group_by="week"))["groups"]
    assert [(one["key"], one["label"], one["count"]) for one in groups] == [
        ("2026-11-09", "2026-W46", 5),
        ("2026-11-16", "2026-W47", 6),
    ]
    only = await measured(client, staff, "opened", **{"from": "2026-11-16", "to": "2026-11-16"})
    assert only["total"]["count"] == 6


async def test_a_small_house_cannot_be_computed_from_the_total(client: Client, make: Make, staff: Person, house: House):
    few, many = await build_house(make, rooms=3), await build_house(make, rooms=7)
    for one in (house, few, many):
        await orders(make, one.everybody())
    shown = await measured(client, staff, "opened", group_by="building")
    assert (shown["total"]["count"], shown["total"]["households"]) == (16, 16)
    by_key = {one["key"]: one for one in shown["groups"]}
    assert {key for key, one in by_key.items() if one["suppressed"]} == {str(few.id), str(house.id)}
    hidden = by_key[str(few.id)]
    assert (hidden["count"], hidden["households"], hidden["values"]) == (None, None, {})
    assert by_key[str(many.id)]["count"] == 7


async def test_four_homes_are_too_few_for_any_figure(client: Client, make: Make, staff: Person, house: House):
    four = house.everybody()[:4]
    for _ in range(3):
        await orders(make, four, [10] * 4)
    shown = await measured(client, staff, "resolution", group_by="building")
    assert all(one["suppressed"] and one["count"] is None for one in [shown["total"], *shown["groups"]])
    assert shown["total"]["values"] == {"median": None, "p90": None}


async def test_promises_due_in_the_period_kept_and_broken(
    client: Client, make: Make, runtime: Any, staff: Person, house: House
):
    statuses = [PromiseStatus.KEPT] * 3 + [PromiseStatus.BROKEN] * 2 + [PromiseStatus.WITHDRAWN]
    made = await orders(make, house.everybody())
    async with runtime.transaction(staff.tenant) as session:
        session.add_all(
            Promise(
                community_id=staff.place.id, status=status, source=PromiseSource.STATED, by_kind="staff",
                by_id=staff.id, to_resident_id=order.reporter.id, text="上门", due_at=MONDAY, chase_at=MONDAY,
                work_order_id=order.id, created_at=MONDAY,
            )
            for status, order in zip(statuses, made, strict=True)
        )  # fmt: skip
    shown = await measured(client, staff, "broken_promises", group_by="building")
    assert (shown["total"]["count"], shown["total"]["values"]) == (5, {"broken": 2.0, "share": 0.4})
    assert [one["key"] for one in shown["groups"]] == [str(house.id)]


async def test_as_csv_no_name_becomes_a_formula(client: Client, make: Make, staff: Person):
    evil = await build_house(make, rooms=5, name="=HYPERLINK(1)")
    await orders(make, evil.everybody(), [10, 20, 30, 40, 50])
    url = f"{staff.place.url}/analytics/resolution"
    for answer in (
        await client.get(url, params={"group_by": "building"}, headers={"Accept": "text/csv"}, as_=staff),
        await client.get(url, params={"group_by": "building", "format": "csv"}, as_=staff),
    ):
        assert answer.headers["Content-Type"].startswith("text/csv")
        rows = list(csv.DictReader(io.StringIO(answer.text.removeprefix("\ufeff"))))
        assert rows[0]["label"] == "'=HYPERLINK(1)"
        assert [(row["count"], row["median"], row["suppressed"]) for row in rows] == [("5", "30.0", "no")] * 2
    overview = await client.get(f"{staff.place.url}/analytics/overview?format=csv", as_=staff)
    assert "resolution,minutes,median,30.0,5,no" in overview.text


@pytest.mark.parametrize(
    "query", [{"from": "2026-11-20", "to": "2026-11-19"}, {"from": "2025-01-01", "to": "2026-11-19"}, {"from": "soon"},
    {"to": "0001-01-01"}, {"to": "9999-12-31"}, {"group_by": "resident"}],
)  # fmt: skip
async def test_a_period_that_makes_no_sense_is_refused(client: Client, staff: Person, query: dict[str, str]):
    answer = await client.get(f"{staff.place.url}/analytics/opened", params=query, as_=staff)
    assert answer.status_code == 422


async def test_only_who_runs_the_desk_sees_figures(client: Client, make: Make):
    from app.people.tables import StaffRole

    engineer = await make.staff(role=StaffRole.ENGINEER)
    assert (await client.get(f"{engineer.place.url}/analytics/opened", as_=engineer)).status_code == 403
