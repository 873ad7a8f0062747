"""Lists of work orders, and the tree of categories."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from app.people.tables import StaffRole
from app.service_desk import categories, duplicates
from app.service_desk.tables import Channel, OrderKind, Status, Urgency
from tests.conftest import Client, Clock
from tests.make import Make, Person

SKILLS = {
    "plumbing",
    "electrical",
    "lift",
    "locks",
    "civil",
    "cleaning",
    "security",
    "front_desk",
    "finance",
    "general",
}


@pytest.fixture
async def desk(make: Make) -> Person:
    return await make.staff(role=StaffRole.FRONT_DESK)


async def numbers(client: Client, who: Person, **query: Any) -> list[int]:
    answer = await client.get(f"{who.place.url}/workorders", params=query, as_=who)
    assert answer.status_code == 200, answer.text
    return [item["number"] for item in answer.json()["items"]]


async def test_every_filter_finds_its_orders(client: Client, clock: Clock, make: Make, desk: Person):
    engineer, resident = await make.staff(role=StaffRole.ENGINEER), await make.resident()
    start = clock.now
    await make.work_order(reporter=resident)
    clock.now += timedelta(hours=1)
    await make.work_order(status=Status.IN_PROGRESS, assignee=engineer, urgency=Urgency.EMERGENCY, due_at=clock.now)
    clock.now += timedelta(hours=1)
    await make.work_order(status=Status.CLOSED, kind=OrderKind.PRAISE, channel=Channel.AI)
    await make.work_order(status=Status.PAUSED, assignee=engineer, overdue_at=clock.now, due_at=start)
    found = {
        "filter[status]": (["submitted", "closed"], [3, 1]),
        "filter[kind]": ("praise", [3]),
        "filter[urgency]": ("emergency", [2]),
        "filter[channel]": ("ai", [3]),
        "filter[assignee_id]": (str(engineer.id), [4, 2]),
        "filter[reporter_id]": (str(resident.id), [1]),
        "filter[open]": ("true", [4, 2, 1]),
        "filter[overdue]": ("true", [4]),
        "filter[number]": ("3", [3]),
        "filter[created_to]": ((start + timedelta(minutes=30)).isoformat(), [1]),
        "filter[created_from]": ((start + timedelta(minutes=90)).isoformat(), [4, 3]),
    }
    for name, (value, expected) in found.items():
        assert await numbers(client, desk, **{name: value}) == expected, name
    assert await numbers(client, desk, sort="due") == [4, 2]
    assert await numbers(client, desk, sort="created") == [1, 2, 3, 4]
    assert await numbers(client, desk, **{"filter[status]": "paused", "filter[kind]": "praise"}) == []


@pytest.mark.parametrize("sort", ["-created", "created", "due"])
async def test_pages_follow_each_other_without_a_gap_while_orders_come_in(
    client: Client, make: Make, desk: Person, sort: str, clock: Clock
):
    resident = await make.resident()
    for hour in range(5):
        await make.work_order(reporter=resident, due_at=clock.now + timedelta(hours=hour // 2))
    url = f"{desk.place.url}/workorders"
    first = (await client.get(url, params={"sort": sort, "limit": 2}, as_=desk)).json()
    seen, cursor = [item["number"] for item in first["items"]], first["next_cursor"]
    await make.work_order(reporter=resident, due_at=clock.now - timedelta(hours=1))
    while cursor:
        page = (await client.get(url, params={"sort": sort, "limit": 2, "cursor": cursor}, as_=desk)).json()
        seen, cursor = seen + [item["number"] for item in page["items"]], page["next_cursor"]
    assert seen in ([5, 4, 3, 2, 1], [1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 6])
    of_another_order = {"sort": "due" if sort != "due" else "created", "cursor": first["next_cursor"]}
    refused = await client.get(url, params=of_another_order, as_=desk)
    if (sort == "due") != (of_another_order["sort"] == "due"):
        assert (refused.status_code, refused.json()["code"]) == (422, "cursor_invalid")


async def test_a_manager_makes_the_default_categories_their_own(client: Client, make: Make):
    manager, resident = await make.staff(), await make.resident()
    url = f"{manager.place.url}/workorder-categories"
    listed = {
        item["code"]: item for item in (await client.get(url, params={"limit": 100}, as_=manager)).json()["items"]
    }
    assert len(listed) == len(categories.defaults())
    assert (listed["plumbing"]["skill"], listed["plumbing"]["respond_minutes"]) == ("plumbing", 30)
    body = {"code": "charging_pile", "name": "充电桩", "order_kind": "repair", "skill": "electrical",
            "parent_category_id": listed["repair_public"]["id"], "resolve_minutes": 600}  # fmt: skip
    made = (await client.post(url, json=body, as_=manager)).json()
    assert (await client.post(url, json=body, as_=manager)).json()["code"] == "work_order_category_exists"
    anyhow = {"If-Match": "*"}
    loop = {"parent_category_id": made["id"]}
    refused = await client.patch(f"{url}/{listed['repair']['id']}", json=loop, headers=anyhow, as_=manager)
    assert (refused.status_code, refused.json()["code"]) == (409, "work_order_category_loop")
    changed = await client.patch(f"{url}/{made['id']}", json={"resolve_minutes": None}, headers=anyhow, as_=manager)
    assert changed.json()["resolve_minutes"] is None
    order = {"text": "充电桩没反应", "category_id": made["id"]}
    opened = await client.post("/api/v1/me/workorders", json=order, as_=resident)
    assert (opened.json()["category_name"], opened.json()["kind"]) == ("充电桩", "repair")
    above = {"filter[category_id]": listed["repair"]["id"]}
    assert await numbers(client, manager, **above) == [opened.json()["number"]]
    assert (await client.delete(f"{url}/{made['id']}", as_=manager)).status_code == 204
    gone = await client.post("/api/v1/me/workorders", json=order, as_=resident)
    assert (gone.status_code, gone.json()["code"]) == (404, "work_order_category_not_found")


async def test_two_who_look_at_once_find_the_default_categories_once(client: Client, make: Make):
    manager = await make.staff()
    url = f"{manager.place.url}/workorder-categories"
    answers = await asyncio.gather(*(client.get(url, params={"limit": 200}, as_=manager) for _ in range(4)))
    assert [len(answer.json()["items"]) for answer in answers] == [len(categories.defaults())] * 4


def test_the_default_categories_name_only_skills_and_parents_that_there_are():
    rows = categories.defaults()
    codes = [row["code"] for row in rows]
    assert len(set(codes)) == len(codes)
    for place, row in enumerate(rows):
        assert row["skill"] in SKILLS
        assert row.get("under") in {None, *codes[:place]}
        assert {row["kind"]} <= set(OrderKind)
        assert row["respond"] < row["resolve"]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("厨房水管漏水", "厨房的水管漏水了", True),
        ("卫生间马桶堵了", "卫生间马桶堵了，水漫出来了", True),
        ("My sink is leaking", "my kitchen sink is leaking!", True),
        ("厨房灯不亮", "卧室灯不亮", False),
        ("灯", "灯", True),
        ("？", "。", False),
    ],
)
def test_texts_that_say_the_same(one: str, other: str, same: bool):
    assert (duplicates.similarity(one, other) >= duplicates.SIMILARITY_MIN) is same


async def test_a_household_reads_each_others_orders_and_only_the_reporter_acts(client: Client, make: Make):
    mother = await make.resident()
    child = await make.resident(household_id=mother.household_id)
    guest = await make.resident(household_id=mother.household_id, verified=False)
    stranger, url = await make.resident(), "/api/v1/me/workorders"

    async def opened(who: Person, text: str, **body: Any) -> str:
        answer = await client.post(url, json={"text": text, **body}, as_=who)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    async def seen(who: Person) -> dict[str, bool]:
        return {one["id"]: one["mine"] for one in (await client.get(url, as_=who)).json()["items"]}

    leak, complaint = await opened(mother, "厨房漏水"), await opened(mother, "楼上太吵", kind="complaint")
    fight = await client.post("/api/v1/me/turns", json={"text": "有人拿刀要砍人，救命"}, as_=mother)
    assert fight.json()["route"] == "emergency"
    own = await opened(child, "灯不亮")
    by_guest = await opened(guest, "门锁坏了")
    assert await seen(child) == {leak: False, own: True}
    assert await seen(guest) == {by_guest: True}
    assert await seen(stranger) == {}
    assert len(await seen(mother)) == 4
    shown = await client.get(f"{url}/{leak}", as_=child)
    assert (shown.status_code, shown.json()["text"], shown.json()["moves"]) == (200, "厨房漏水", [])
    for path in ("events", "comments", "files"):
        assert (await client.get(f"{url}/{leak}/{path}", as_=child)).status_code == 200
    for verb in ("urge", "cancel", "comments"):
        assert (await client.post(f"{url}/{leak}/{verb}", json={"text": "x"}, as_=child)).status_code in (404, 422)
    assert (await client.post(f"{url}/{leak}/files", files={"file": ("a.txt", b"x")}, as_=child)).status_code == 404
    for order_id, who in ((complaint, child), (leak, guest), (leak, stranger), (by_guest, mother)):
        assert (await client.get(f"{url}/{order_id}", as_=who)).status_code == 404
