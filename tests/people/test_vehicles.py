"""Vehicles by their plates, and what residents see of their own."""

from typing import Any

import pytest

from app.people.tables import PlateKind, StaffRole
from app.people.vehicles import PLATES, kind_of, plain
from tests.conftest import Client
from tests.make import Make, Person


async def register(client: Client, manager: Person, plate: str, **body: Any) -> Any:
    return await client.post(f"{manager.place.url}/vehicles", json={"plate": plate, **body}, as_=manager)


@pytest.mark.parametrize(
    ("written", "kept", "kind"),
    [
        ("沪A12345", "沪A12345", "ordinary"),
        ("沪a·12 34b", "沪A1234B", "ordinary"),
        ("京N8P8F8", "京N8P8F8", "ordinary"),
        ("沪AD12345", "沪AD12345", "new_energy"),
        ("粤B·DF1234", "粤BDF1234", "new_energy"),
        ("沪A12345F", "沪A12345F", "new_energy"),
        ("粤Z1234港", "粤Z1234港", "special"),
        ("京A1234警", "京A1234警", "special"),
        ("使014578", "使014578", "special"),
        ("WJ京12345", "WJ京12345", "special"),
    ],
)
async def test_plates_of_every_kind_are_kept_in_one_form(
    client: Client, manager: Person, written: str, kept: str, kind: str
):
    made = await register(client, manager, written)
    assert (made.status_code, made.json()["plate"], made.json()["plate_kind"]) == (201, kept, kind), made.text


@pytest.mark.parametrize(
    "plate",
    [
        "沪A1234",
        "沪A123456",
        "沪I12345",
        "沪A1234O",
        "A12345",
        "晋晋12345",
        "沪AX12345",
        "CAR 1",
        "·",
        "龙A12345",
    ],
)
async def test_what_is_no_plate_is_refused(client: Client, manager: Person, plate: str):
    refused = await register(client, manager, plate)
    assert (refused.status_code, refused.json()["code"]) == (422, "plate_invalid")


def test_every_kind_of_plate_has_its_rule():
    assert {kind for kind, _ in PLATES} | {PlateKind.UNCHECKED} == set(PlateKind)
    assert kind_of(plain(" 沪 A·D1 2345 ")) is PlateKind.NEW_ENERGY


async def test_a_community_elsewhere_takes_any_plate(client: Client, manager: Person):
    assert (await register(client, manager, "B-MW 1234")).status_code == 422
    settings = {"plate_rules": "any"}
    await client.patch(f"{manager.place.url}/settings", json=settings, as_=manager, headers={"If-Match": "*"})
    made = (await register(client, manager, "b-mw 1234")).json()
    assert (made["plate"], made["plate_kind"]) == ("BMW1234", "unchecked")


async def test_car_is_linked_found_by_its_plate_changed_and_taken_off(client: Client, make: Make, manager: Person):
    owner, guard = await make.resident(), await make.staff(role=StaffRole.SECURITY)
    household = await client.get(f"{manager.place.url}/households/{owner.household_id}", as_=manager)
    room_id = household.json()["room_id"]
    car = (await register(client, manager, "沪AD12345", resident_id=str(owner.id), room_id=room_id)).json()
    await register(client, manager, "沪B54321")
    url = f"{manager.place.url}/vehicles"
    for params in ({"filter[plate]": "d·123"}, {"filter[room_id]": room_id}, {"filter[resident_id]": str(owner.id)}):
        found = await client.get(url, params=params, as_=guard)
        assert [row["id"] for row in found.json()["items"]] == [car["id"]], params
    twice = await register(client, manager, "沪A D12345")
    assert (twice.status_code, twice.json()["facts"]["vehicle_id"]) == (409, car["id"])
    etag = (await client.get(f"{url}/{car['id']}", as_=guard)).headers["etag"]
    body = {"plate": "沪A54321", "room_id": None, "colour": "白"}
    changed = await client.patch(f"{url}/{car['id']}", json=body, as_=manager, headers={"If-Match": etag})
    assert changed.json() == car | body | {"plate_kind": "ordinary"}
    late = await client.patch(f"{url}/{car['id']}", json={}, as_=manager, headers={"If-Match": etag})
    assert late.status_code == 412
    taken = await client.patch(f"{url}/{car['id']}", json={"plate": "沪B54321"}, as_=manager, headers={"If-Match": "*"})
    assert (taken.status_code, taken.json()["code"]) == (409, "plate_taken")
    assert (await client.delete(f"{url}/{car['id']}", as_=guard)).status_code == 403
    assert (await client.delete(f"{url}/{car['id']}", as_=manager)).status_code == 204
    assert (await client.get(f"{url}/{car['id']}", as_=guard)).status_code == 404


async def test_a_car_is_not_linked_to_what_is_no_room_or_belongs_to_others(client: Client, make: Make, manager: Person):
    elsewhere = await make.resident(place=await make.place())
    refused = await register(client, manager, "沪A12345", resident_id=str(elsewhere.id))
    assert (refused.status_code, refused.json()["code"]) == (404, "resident_not_found")
    building = await make.building()
    refused = await register(client, manager, "沪A12345", room_id=str(building))
    assert (refused.status_code, refused.json()["code"]) == (404, "space_not_found")


async def test_resident_sees_own_household_and_cars_once_verified(client: Client, make: Make, manager: Person):
    mine, stranger = await make.resident(), await make.resident(verified=False)
    rooms = {}
    for who in (mine, stranger):
        household = await client.get(f"{manager.place.url}/households/{who.household_id}", as_=manager)
        rooms[who.id] = household.json()["room_id"]
    await register(client, manager, "沪A11111", room_id=rooms[mine.id])
    await register(client, manager, "沪A22222", room_id=rooms[stranger.id])
    await register(client, manager, "沪A33333", resident_id=str(stranger.id))
    homes = (await client.get("/api/v1/me/households", as_=mine)).json()["items"]
    assert [[member["resident_id"] for member in home["members"]] for home in homes] == [[str(mine.id)]]
    cars = (await client.get("/api/v1/me/vehicles", as_=mine)).json()["items"]
    assert [car["plate"] for car in cars] == ["沪A11111"]
    # Who is not verified sees what is their own, and nothing of the room they say is theirs.
    assert (await client.get("/api/v1/me/households", as_=stranger)).json()["items"] == []
    cars = (await client.get("/api/v1/me/vehicles", as_=stranger)).json()["items"]
    assert [car["plate"] for car in cars] == ["沪A33333"]


async def test_resident_changes_own_phone_and_language_but_not_the_name(client: Client, make: Make, manager: Person):
    resident = await make.resident()
    seen = await client.get("/api/v1/me/resident", as_=resident)
    etag = {"If-Match": seen.headers["etag"]}
    body = {"phone": "154 0000 1234", "language": "en"}
    changed = await client.patch("/api/v1/me/resident", json=body, as_=resident, headers=etag)
    assert changed.json() == seen.json() | body
    assert (await client.patch("/api/v1/me/resident", json=body, as_=resident, headers=etag)).status_code == 412
    named = await client.patch("/api/v1/me/resident", json={"name": "x"}, as_=resident, headers={"If-Match": "*"})
    assert named.status_code == 422
    assert (await client.get("/api/v1/me/resident", as_=manager)).json()["code"] == "resident_not_found"


async def test_household_is_named_and_moves_as_a_whole(client: Client, make: Make, manager: Person):
    family, other = await make.resident(), await make.resident()
    url = f"{manager.place.url}/households"
    target = (await client.get(f"{url}/{other.household_id}", as_=manager)).json()["room_id"]
    seen = await client.get(f"{url}/{family.household_id}", as_=manager)
    etag = {"If-Match": seen.headers["etag"]}
    body = {"name": "沈家", "room_id": target}
    moved = await client.patch(f"{url}/{family.household_id}", json=body, as_=manager, headers=etag)
    assert (moved.json()["name"], moved.json()["room_id"]) == ("沈家", target)
    assert [member["verified_at"] for member in moved.json()["members"]] == [None], "of the new room they saw no papers"
    late = await client.patch(f"{url}/{family.household_id}", json={}, as_=manager, headers=etag)
    assert late.status_code == 412
    # The room has two households now.
    listed = await client.get(url, params={"filter[room_id]": target}, as_=manager)
    assert {row["id"] for row in listed.json()["items"]} == {str(family.household_id), str(other.household_id)}


@pytest.mark.parametrize("role", ["owner", "tenant", "family", "member", "other"])
async def test_residents_belong_to_a_room_in_any_role(client: Client, make: Make, manager: Person, role: str):
    resident = await make.resident()
    household = await client.get(f"{manager.place.url}/households/{resident.household_id}", as_=manager)
    url = f"{manager.place.url}/residents/{resident.id}/rooms/{household.json()['room_id']}"
    put = await client.put(url, json={"role": role}, as_=manager)
    assert put.json()["rooms"][0]["role"] == role


async def test_residents_are_found_by_part_of_a_phone_number(client: Client, manager: Person):
    url = f"{manager.place.url}/residents"
    for phone in ("15400001234", "15400009999"):
        await client.post(url, json={"name": phone, "phone": phone}, as_=manager)
    found = await client.get(url, params={"filter[phone]": "1234"}, as_=manager)
    assert [row["name"] for row in found.json()["items"]] == ["15400001234"]
