"""Residents, rooms, households, verification, and their sign-in."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from app.people.tables import StaffRole
from tests.conftest import Client
from tests.make import Make, Person
from tests.people.conftest import PASSWORD
from tests.people.test_spaces import open_path


async def open_resident(client: Client, manager: Person, name: str = "沈书宁", **body: Any) -> dict[str, Any]:
    answer = await client.post(f"{manager.place.url}/residents", json={"name": name, **body}, as_=manager)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def put(client: Client, manager: Person, resident: Any, room: Any, **body: Any) -> Any:
    url = f"{manager.place.url}/residents/{resident['id']}/rooms/{room['id']}"
    return await client.put(url, json={"role": "owner", **body}, as_=manager)


async def test_resident_moves_in_is_verified_and_moves_out(client: Client, manager: Person):
    *_, room = await open_path(client, manager, "3期", "2栋", "1单元", "1502")
    resident = await open_resident(client, manager, phone="15400001234")
    moved = (await put(client, manager, resident, room)).json()
    assert [(place["label"], place["verified_at"]) for place in moved["rooms"]] == [("3期2栋1单元1502", None)]
    url = f"{manager.place.url}/residents/{resident['id']}"
    verified = (await client.post(f"{url}/verify", json={}, as_=manager)).json()
    assert verified["rooms"][0]["verified_at"] is not None
    # Saying the same again changes nothing; another role has to be shown on paper again.
    assert (await put(client, manager, resident, room)).json() == verified
    tenant = (await put(client, manager, resident, room, role="tenant")).json()
    assert (tenant["rooms"][0]["role"], tenant["rooms"][0]["verified_at"]) == ("tenant", None)
    assert (await client.delete(f"{url}/rooms/{room['id']}", as_=manager)).status_code == 204
    assert (await client.get(url, as_=manager)).json()["rooms"] == []
    assert (await client.delete(f"{url}/rooms/{room['id']}", as_=manager)).status_code == 404
    assert (await client.post(f"{url}/verify", json={}, as_=manager)).json()["code"] == "resident_without_room"


async def test_family_that_moves_in_at_once_is_one_household(client: Client, manager: Person):
    *_, room = await open_path(client, manager, "1期", "1栋", "1单元", "101")
    family = [await open_resident(client, manager, f"沈{n}") for n in range(4)]
    await asyncio.gather(*(put(client, manager, one, room, role="family") for one in family))
    households = await client.get(
        f"{manager.place.url}/households", params={"filter[room_id]": room["id"]}, as_=manager
    )
    assert [len(household["members"]) for household in households.json()["items"]] == [4]


async def test_room_with_two_households_asks_which(client: Client, manager: Person):
    *_, room = await open_path(client, manager, "1期", "1栋", "1单元", "101")
    url = f"{manager.place.url}/households"
    owner, tenant = [await open_resident(client, manager, name) for name in ("业主", "租户")]
    await put(client, manager, owner, room)
    second = (await client.post(url, json={"room_id": room["id"]}, as_=manager)).json()
    asked = await put(client, manager, tenant, room, role="tenant")
    assert (asked.status_code, asked.json()["code"]) == (409, "household_ambiguous")
    assert second["id"] in asked.json()["facts"]["household_ids"]
    named = await put(client, manager, tenant, room, role="tenant", household_id=second["id"])
    assert named.json()["rooms"][0]["household_id"] == second["id"]
    assert (await put(client, manager, owner, room)).status_code == 200
    unknown = await put(client, manager, tenant, room, household_id=str(uuid4()))
    assert (unknown.status_code, unknown.json()["code"]) == (404, "household_not_found")
    full = await client.delete(f"{url}/{second['id']}", as_=manager)
    assert (full.status_code, full.json()["code"]) == (409, "household_not_empty")
    await client.delete(f"{manager.place.url}/residents/{tenant['id']}/rooms/{room['id']}", as_=manager)
    assert (await client.delete(f"{url}/{second['id']}", as_=manager)).status_code == 204
    assert (await client.get(f"{url}/{second['id']}", as_=manager)).status_code == 404


async def test_list_filters_by_room_and_part_of_a_name(client: Client, manager: Person):
    *_, room = await open_path(client, manager, "1期", "1栋", "1单元", "101")
    found = await open_resident(client, manager, "沈100%书宁")
    await open_resident(client, manager, "顾明澜")
    await put(client, manager, found, room)
    url = f"{manager.place.url}/residents"
    for params in ({"filter[name]": "书"}, {"filter[name]": "0%书"}, {"filter[room_id]": room["id"]}):
        listed = await client.get(url, params=params, as_=manager)
        assert [row["id"] for row in listed.json()["items"]] == [found["id"]], params
    assert (await client.get(url, params={"filter[name]": "_"}, as_=manager)).json()["items"] == []


async def test_resident_is_changed_from_the_version_read(client: Client, manager: Person):
    resident = await open_resident(client, manager)
    url = f"{manager.place.url}/residents/{resident['id']}"
    etag = (await client.get(url, as_=manager)).headers["etag"]
    changed = await client.patch(url, json={"language": "en"}, as_=manager, headers={"If-Match": etag})
    assert (changed.status_code, changed.json()["language"]) == (200, "en")
    late = await client.patch(url, json={"phone": "1"}, as_=manager, headers={"If-Match": etag})
    assert late.status_code == 412


@pytest.mark.parametrize(
    "body", [{"name": ""}, {"name": "x", "phone": "call me"}, {"name": "x", "language": "fr"}, {"name": "x" * 101}, {}]
)
async def test_bad_residents_are_refused(client: Client, manager: Person, body: dict[str, str]):
    answer = await client.post(f"{manager.place.url}/residents", json=body, as_=manager)
    assert (answer.status_code, answer.json()["code"]) == (422, "request_invalid")


@pytest.mark.parametrize("name", ["a\\u0000b", "\\ud800"])
async def test_text_that_cannot_be_stored_is_refused(client: Client, manager: Person, name: str):
    answer = await client.post(
        f"{manager.place.url}/residents", content=f'{{"name": "{name}"}}'.encode(), as_=manager,
        headers={"content-type": "application/json"},
    )  # fmt: skip
    assert answer.status_code == 422, answer.text


async def test_resident_is_given_a_sign_in(client: Client, make: Make, manager: Person):
    desk = await make.staff(role=StaffRole.FRONT_DESK)
    resident = await open_resident(client, manager)
    url = f"{manager.place.url}/residents/{resident['id']}/account"
    assert (await client.put(url, json={"password": PASSWORD}, as_=desk)).json()["code"] == "account_not_found"
    short = await client.put(url, json={"login": "shen@home", "password": "short"}, as_=desk)
    assert (short.status_code, short.json()["code"]) == (422, "password_too_short")
    opened = await client.put(url, json={"login": "shen@home", "password": PASSWORD}, as_=desk)
    assert (opened.status_code, opened.json()["has_password"]) == (200, True)
    body = {"community": manager.place.slug, "login": "shen@home", "password": PASSWORD}
    signed_in = await client.post("/api/v1/auth/sign-in", json=body)
    assert signed_in.json()["me"]["id"] == resident["id"]
    twin = await open_resident(client, manager, "同名")
    taken = await client.put(
        f"{manager.place.url}/residents/{twin['id']}/account", json={"login": "shen@home"}, as_=desk
    )
    assert (taken.status_code, taken.json()["code"]) == (409, "login_taken")
    assert (await client.put(url, json={"disabled": True}, as_=desk)).json()["disabled_at"] is not None
    assert (await client.get("/api/v1/me", as_=signed_in.json()["access_token"])).status_code == 401


async def test_front_desk_cannot_take_over_a_managers_or_a_neighbours_account(
    client: Client, make: Make, manager: Person
):
    desk = await make.staff(role=StaffRole.FRONT_DESK)
    resident = await open_resident(client, manager)
    url = f"{manager.place.url}/residents/{resident['id']}/account"
    assert (await client.put(url, json={"login": manager.login, "password": PASSWORD}, as_=desk)).status_code == 403
    sibling = await make.place(organisation_id=manager.tenant.organisation_id)
    neighbour = await make.resident(place=sibling)
    stolen = await client.put(url, json={"login": neighbour.login, "password": PASSWORD}, as_=desk)
    assert (stolen.status_code, stolen.json()["code"]) == (403, "account_out_of_reach")
    # Refused as a whole: the resident has no account now.
    assert (await client.get(url.removesuffix("/account"), as_=desk)).json()["has_account"] is False
