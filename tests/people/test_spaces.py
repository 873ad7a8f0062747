"""The space tree: addresses, what may stand where, renaming."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import update

from app.people.spaces import COUNTERS, PARENTS, grow, label_of
from app.people.tables import Space, SpaceKind
from app.runtime import Runtime
from app.service_desk.tables import WorkOrder
from tests.conftest import Client
from tests.make import Make, Person


async def open_space(client: Client, manager: Person, kind: str, name: str, parent: Any = None) -> dict[str, Any]:
    body = {"kind": kind, "name": name, "parent_id": parent["id"] if parent else None}
    answer = await client.post(f"{manager.place.url}/spaces", json=body, as_=manager)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def open_path(client: Client, manager: Person, *names: str) -> list[dict[str, Any]]:
    path: list[dict[str, Any]] = []
    for kind, name in zip(SpaceKind, names, strict=True):
        path.append(await open_space(client, manager, kind, name, path[-1] if path else None))
    return path


def test_tables_know_every_kind():
    assert set(PARENTS) == set(COUNTERS) == set(SpaceKind)


@pytest.mark.parametrize(
    ("kind", "name", "label"),
    [("phase", "3", "3期"), ("building", "2", "2栋"), ("unit", "1单元", "1单元"), ("room", "1502", "1502"),
     ("building", "A座", "A座")],
)  # fmt: skip
def test_bare_numbers_read_as_addresses(kind: str, name: str, label: str):
    assert label_of(SpaceKind(kind), name) == label


def test_tree_grows_in_the_order_of_an_address_book():
    phase = Space(id=uuid4(), kind=SpaceKind.PHASE, name="1期", label="1期")
    buildings = [
        Space(id=uuid4(), parent_id=phase.id, kind=SpaceKind.BUILDING, name=name, label=f"1期{name}")
        for name in ("10栋", "2栋", "会所", "1栋")
    ]
    roots = grow([*buildings, phase])
    assert [root.name for root in roots] == ["1期"]
    assert [child.name for child in roots[0].children] == ["1栋", "2栋", "10栋", "会所"]


async def test_address_is_derived_and_shown_in_the_tree(client: Client, manager: Person):
    phase, building, unit, room = await open_path(client, manager, "3期", "2", "1单元", "1502")
    assert room["label"] == "3期2栋1单元1502"
    assert (phase["building_id"], unit["building_id"], room["building_id"]) == (None, building["id"], building["id"])
    tree = (await client.get(f"{manager.place.url}/spaces/tree", as_=manager)).json()["spaces"]
    assert tree[0]["children"][0]["children"][0]["children"][0]["id"] == room["id"]
    short = await client.get(f"{manager.place.url}/spaces/tree?down_to=building", as_=manager)
    assert short.json()["spaces"][0]["children"][0]["children"] == []


async def test_rename_carries_through_all_addresses_below(client: Client, manager: Person):
    phase, building, _, room = await open_path(client, manager, "3期", "2栋", "1单元", "1502")
    other = await open_space(client, manager, "building", "20栋", phase)
    url = f"{manager.place.url}/spaces"
    etag = (await client.get(f"{url}/{building['id']}", as_=manager)).headers["etag"]
    renamed = await client.patch(
        f"{url}/{building['id']}", json={"name": "八栋"}, as_=manager, headers={"If-Match": etag}
    )
    assert (renamed.status_code, renamed.json()["label"]) == (200, "3期八栋")
    assert (await client.get(f"{url}/{room['id']}", as_=manager)).json()["label"] == "3期八栋1单元1502"
    assert (await client.get(f"{url}/{other['id']}", as_=manager)).json()["label"] == "3期20栋"
    stale = await client.patch(
        f"{url}/{building['id']}", json={"name": "九栋"}, as_=manager, headers={"If-Match": etag}
    )
    assert stale.status_code == 412
    taken = await client.patch(f"{url}/{other['id']}", json={"name": "八栋"}, as_=manager, headers={"If-Match": "*"})
    assert (taken.status_code, taken.json()["code"]) == (409, "space_exists")


@pytest.mark.parametrize(("kind", "parent"), [("phase", "phase"), ("room", None), ("unit", "phase"), ("room", "room"),
                                              ("building", "unit"), ("unit", None)])  # fmt: skip
async def test_what_stands_in_the_wrong_place_is_refused(
    client: Client, manager: Person, kind: str, parent: str | None
):
    path = await open_path(client, manager, "1期", "1栋", "1单元", "101")
    parent_id = next((space["id"] for space in path if space["kind"] == parent), None)
    answer = await client.post(
        f"{manager.place.url}/spaces", json={"kind": kind, "name": "x", "parent_id": parent_id}, as_=manager
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "parent_not_allowed")


async def test_one_address_is_given_once_even_at_the_same_moment(client: Client, manager: Person):
    body = {"kind": "building", "name": "1栋"}
    answers = await asyncio.gather(
        *(client.post(f"{manager.place.url}/spaces", json=body, as_=manager) for _ in range(4))
    )
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]


async def test_list_filters_and_pages(client: Client, manager: Person):
    building = await open_space(client, manager, "building", "1栋")
    rooms = [await open_space(client, manager, "room", f"10{n}", building) for n in range(1, 6)]
    url = f"{manager.place.url}/spaces"
    seen, cursor = [], ""
    while cursor is not None:
        page = await client.get(
            url, params={"filter[kind]": "room", "limit": 2, **({"cursor": cursor} if cursor else {})}, as_=manager
        )
        seen += [row["id"] for row in page.json()["items"]]
        cursor = page.json()["next_cursor"]
    assert seen == [room["id"] for room in rooms]
    below = await client.get(url, params={"filter[parent_id]": building["id"]}, as_=manager)
    assert len(below.json()["items"]) == 5


@pytest.mark.parametrize("cursor", ["x", "AAAA", "龙", "' OR 1=1", "A" * 22 + "=", "A" * 200])
async def test_forged_cursor_is_refused(client: Client, manager: Person, cursor: str):
    answer = await client.get(f"{manager.place.url}/spaces", params={"cursor": cursor}, as_=manager)
    assert answer.status_code == 422
    assert answer.json()["code"] in ("cursor_invalid", "request_invalid")


async def patch(client: Client, manager: Person, space: Any, **body: Any) -> Any:
    url = f"{manager.place.url}/spaces/{space['id']}"
    return await client.patch(url, json=body, as_=manager, headers={"If-Match": "*"})


async def test_rooms_have_a_state_and_an_area_and_nothing_else_has(client: Client, manager: Person):
    *_, unit, room = await open_path(client, manager, "3期", "2栋", "1单元", "1502")
    changed = (await patch(client, manager, room, state="renovating", area_m2=89.5)).json()
    assert (changed["state"], changed["area_m2"], changed["label"]) == ("renovating", 89.5, "3期2栋1单元1502")
    named = (await patch(client, manager, room, name="1503")).json()
    assert (named["state"], named["area_m2"]) == ("renovating", 89.5)
    assert (await patch(client, manager, room, state=None)).json()["state"] is None
    refused = await patch(client, manager, unit, state="occupied")
    assert (refused.status_code, refused.json()["code"]) == (422, "not_a_room")
    for body in ({"area_m2": 0}, {"area_m2": "big"}, {"state": "haunted"}):
        assert (await patch(client, manager, room, **body)).status_code == 422
    opened = await client.post(
        f"{manager.place.url}/spaces", as_=manager,
        json={"kind": "room", "name": "101", "parent_id": unit["id"], "state": "vacant", "area_m2": 60},
    )  # fmt: skip
    assert (opened.json()["state"], opened.json()["area_m2"]) == ("vacant", 60)
    tree = (await client.get(f"{manager.place.url}/spaces/tree", as_=manager)).json()["spaces"]
    rooms = tree[0]["children"][0]["children"][0]["children"]
    assert [(one["name"], one["state"]) for one in rooms] == [("101", "vacant"), ("1503", None)]


async def test_unit_moves_to_another_building_with_all_its_rooms_and_people(
    client: Client, make: Make, manager: Person
):
    phase, building, unit, room = await open_path(client, manager, "3期", "2栋", "1单元", "1502")
    other = await open_space(client, manager, "building", "9栋", phase)
    resident = await make.resident()
    url = f"{manager.place.url}/residents/{resident.id}"
    await client.put(f"{url}/rooms/{room['id']}", json={"role": "owner"}, as_=manager)
    await client.post(f"{url}/verify", json={}, as_=manager)
    moved = (await patch(client, manager, unit, parent_id=other["id"], name="2单元")).json()
    assert (moved["label"], moved["parent_id"], moved["building_id"]) == ("3期9栋2单元", other["id"], other["id"])
    below = (await client.get(f"{manager.place.url}/spaces/{room['id']}", as_=manager)).json()
    assert (below["label"], below["building_id"]) == ("3期9栋2单元1502", other["id"])
    # What is meant for a building follows its residents.
    assert other["id"] in {str(one) for one in (await make.caller(resident)).building_ids}
    assert building["id"] not in {str(one) for one in (await make.caller(resident)).building_ids}
    out = await patch(client, manager, other, parent_id=None)
    assert (out.json()["label"], out.json()["parent_id"]) == ("9栋", None)
    below = (await client.get(f"{manager.place.url}/spaces/{room['id']}", as_=manager)).json()
    assert below["label"] == "9栋2单元1502"


async def test_nothing_moves_to_where_it_cannot_stand_or_is_taken(client: Client, make: Make, manager: Person):
    phase, building, unit, room = await open_path(client, manager, "3期", "2栋", "1单元", "1502")
    other = await open_space(client, manager, "building", "9栋", phase)
    await open_space(client, manager, "unit", "1", other)
    for space, parent in ((building, unit), (phase, building), (unit, phase), (room, phase), (unit, unit)):
        refused = await patch(client, manager, space, parent_id=parent["id"])
        assert (refused.status_code, refused.json()["code"]) == (422, "parent_not_allowed")
    # 1 and 1单元 are one address.
    taken = await patch(client, manager, unit, parent_id=other["id"])
    assert (taken.status_code, taken.json()["code"]) == (409, "space_exists")
    elsewhere = await make.place()
    theirs = await make.building(place=elsewhere)
    foreign = await patch(client, manager, unit, parent_id=str(theirs))
    assert (foreign.status_code, foreign.json()["code"]) == (404, "space_not_found")
    kept = (await client.get(f"{manager.place.url}/spaces/{room['id']}", as_=manager)).json()
    assert kept["label"] == "3期2栋1单元1502"


async def test_space_is_deleted_when_nothing_uses_it_any_more(
    client: Client, make: Make, manager: Person, runtime: Runtime
):
    *_, unit, room = await open_path(client, manager, "3期", "2栋", "1单元", "1502")
    url = f"{manager.place.url}/spaces"
    resident = await make.resident()
    person = f"{manager.place.url}/residents/{resident.id}/rooms/{room['id']}"
    await client.put(person, json={"role": "tenant"}, as_=manager)
    car = {"plate": "沪A12345", "room_id": room["id"]}
    vehicle = (await client.post(f"{manager.place.url}/vehicles", json=car, as_=manager)).json()
    for space, used in ((unit, {"spaces": 1}), (room, {"residents": 1, "vehicles": 1})):
        refused = await client.delete(f"{url}/{space['id']}", as_=manager)
        assert (refused.status_code, refused.json()["code"]) == (409, "space_in_use")
        assert refused.json()["facts"]["used"] == used
    await client.delete(person, as_=manager)
    await client.delete(f"{manager.place.url}/vehicles/{vehicle['id']}", as_=manager)
    order = await make.work_order(space_id=room["id"])
    refused = await client.delete(f"{url}/{room['id']}", as_=manager)
    assert refused.json()["facts"]["used"] == {"work_orders": 1}, "what was repaired where is not forgotten"
    async with runtime.transaction(manager.tenant) as session:
        await session.execute(update(WorkOrder).where(WorkOrder.id == order.id).values(space_id=None))
    for space in (room, unit):
        assert (await client.delete(f"{url}/{space['id']}", as_=manager)).status_code == 204
        assert (await client.get(f"{url}/{space['id']}", as_=manager)).status_code == 404
