"""A house with units, rooms and the people in them, for tests of incidents and promises."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from app.people.tables import Account, Household, Residency, Resident, ResidentRole, Space, SpaceKind
from tests.conftest import NOW, Client
from tests.make import NUMBERS, Make, Person, Place


@dataclass(frozen=True)
class House:
    place: Place
    id: UUID
    units: list[UUID]
    people: list[list[Person]]
    """Per unit: one person a room."""

    def everybody(self) -> list[Person]:
        return [person for unit in self.people for person in unit]


async def build_house(
    make: Make, *, units: int = 1, rooms: int = 3, place: Place | None = None, name: str | None = None
) -> House:
    place = place or await make.home()
    name = name or f"{next(NUMBERS)}栋"
    house = Space(id=uuid4(), community_id=place.id, kind=SpaceKind.BUILDING, name=name, label=name)
    house.building_id = house.id
    unit_ids, people = [], []
    async with make._runtime.transaction(place.tenant) as session:
        session.add(house)
        await session.flush()
        for unit in range(1, units + 1):
            below = Space(
                id=uuid4(), community_id=place.id, kind=SpaceKind.UNIT, name=f"{unit}", label=f"{name}{unit}单元",
                parent_id=house.id, building_id=house.id,
            )  # fmt: skip
            session.add(below)
            await session.flush()
            unit_ids.append(below.id)
            people.append([await _settle(session, place, below, number) for number in range(1, rooms + 1)])
    return House(place, house.id, unit_ids, people)


async def _settle(session: Any, place: Place, unit: Space, number: int) -> Person:
    account, resident, household, room = uuid4(), uuid4(), uuid4(), uuid4()
    login = f"resident-{next(NUMBERS)}-{uuid4().hex[:6]}"
    session.add(Account(id=account, organisation_id=place.tenant.organisation_id, login=login, name="住户"))
    session.add(
        Space(
            id=room, community_id=place.id, parent_id=unit.id, building_id=unit.building_id, kind=SpaceKind.ROOM,
            name=f"{number}01", label=f"{unit.label}{number}01",
        )
    )  # fmt: skip
    await session.flush()
    session.add(Household(id=household, community_id=place.id, room_id=room))
    session.add(
        Resident(id=resident, community_id=place.id, account_id=account, name=f"住户{number}", phone="", language="zh")
    )
    await session.flush()
    session.add(
        Residency(
            community_id=place.id, resident_id=resident, household_id=household, building_id=unit.building_id,
            role=ResidentRole.OWNER, verified_at=NOW,
        )
    )  # fmt: skip
    await session.flush()
    return Person(place, account, resident, login, household)


async def report(client: Client, who: Person, text: str, **body: Any) -> dict[str, Any]:
    """An order that a resident opens, also where what they tell of is known."""
    body = {"text": text, "open_anyway": True, **body}
    answer = await client.post("/api/v1/me/workorders", json=body, as_=who)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def messages(client: Client, who: Person, kind: str = "") -> list[dict[str, Any]]:
    """What somebody was told, newest first."""
    answer = await client.get("/api/v1/me/messages?limit=100", as_=who)
    assert answer.status_code == 200, answer.text
    return [one for one in answer.json()["items"] if one["kind"].startswith(kind)]
