"""The space tree: addresses, what may stand where, renaming."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from app.people.spaces import COUNTERS, PARENTS, grow, label_of
from app.people.tables import Space, SpaceKind
from tests.conftest import Client
from tests.make import Person


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
