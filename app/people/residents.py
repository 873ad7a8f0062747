"""Residents, their households and the rooms they belong to."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.errors import Conflict, NotFound
from app.people import communities, spaces
from app.people.callers import Caller
from app.people.schemas import HouseholdOut, MemberOut, ResidentOut, RoomOut
from app.people.tables import Household, Residency, Resident, ResidentRole, Space
from app.queue import Job, Lane, send_after_commit

MOVED_IN = "recommend.resident_moved_in"
"""Tells the feature above whose residency was verified by hand. A community that is imported did not move in."""


class ResidentNotFound(NotFound):
    code = "resident_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such resident.", "没有这位住户。")


class HouseholdNotFound(NotFound):
    code = "household_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such household.", "没有这个住户家庭。")


class ResidencyNotFound(NotFound):
    code = "residency_not_found"

    def __init__(self) -> None:
        super().__init__("The resident does not belong to this room.", "该住户不属于这个房间。")


class NoResidency(Conflict):
    code = "resident_without_room"

    def __init__(self) -> None:
        super().__init__("The resident belongs to no room yet.", "该住户还没有登记房间。")


class HouseholdAmbiguous(Conflict):
    code = "household_ambiguous"

    def __init__(self, household_ids: Sequence[UUID]) -> None:
        super().__init__(
            "This room has several households. Say which.", "该房间有多个住户家庭，请指明。",
            household_ids=[str(one) for one in household_ids],
        )  # fmt: skip


class HouseholdNotEmpty(Conflict):
    code = "household_not_empty"

    def __init__(self) -> None:
        super().__init__("The household still has members.", "该家庭仍有成员。")


def visible_to(caller: Caller) -> Select[Resident]:
    return select(Resident).where(Resident.community_id == caller.community_id)


def households_visible_to(caller: Caller) -> Select[Household]:
    return select(Household).where(Household.community_id == caller.community_id)


def households_of(caller: Caller) -> Select[Household]:
    """The households in which a resident is a verified member; their names are nobody else's matter."""
    mine = select(Residency.household_id).where(Residency.resident_id == caller.id, Residency.verified_at.is_not(None))
    return households_visible_to(caller).where(Household.id.in_(mine))


def list_statement(
    caller: Caller, *, room_id: UUID | None = None, name: str | None = None, phone: str | None = None
) -> Select[Resident]:
    statement = visible_to(caller)
    if phone is not None:
        statement = statement.where(Resident.phone.contains(phone, autoescape=True))
    if name is not None:
        statement = statement.where(Resident.name.icontains(name, autoescape=True))
    if room_id is not None:
        lives_there = (
            select(Residency.resident_id)
            .join(Household, Household.id == Residency.household_id)
            .where(Household.room_id == room_id)
        )
        statement = statement.where(Resident.id.in_(lives_there))
    return statement


async def get(session: AsyncSession, caller: Caller, resident_id: UUID, *, locked: bool = False) -> Resident:
    """Raises ResidentNotFound."""
    statement = visible_to(caller).where(Resident.id == resident_id)
    if locked:
        statement = statement.with_for_update(key_share=True)
    resident = (await session.scalars(statement)).one_or_none()
    if resident is None:
        raise ResidentNotFound
    return resident


async def open_resident(session: AsyncSession, caller: Caller, *, name: str, phone: str, language: str) -> Resident:
    resident = Resident(community_id=caller.community_id, name=name, phone=phone, language=language)
    session.add(resident)
    await session.flush()
    return resident


async def change(session: AsyncSession, resident: Resident, changes: Mapping[str, Any]) -> Resident:
    for name, value in changes.items():
        setattr(resident, name, value)
    await session.flush()
    return resident


async def rooms_of(session: AsyncSession, resident_ids: Sequence[UUID]) -> dict[UUID, list[RoomOut]]:
    """The rooms of each resident, verified or not."""
    rows = await session.execute(
        select(Residency, Space.id, Space.label)
        .join(Household, Household.id == Residency.household_id)
        .join(Space, Space.id == Household.room_id)
        .where(Residency.resident_id.in_(resident_ids))
        .order_by(Residency.id)
    )
    rooms = defaultdict(list)
    for residency, room_id, label in rows:
        rooms[residency.resident_id].append(
            RoomOut(
                room_id=room_id, household_id=residency.household_id, label=label, role=residency.role,
                verified_at=residency.verified_at,
            )
        )  # fmt: skip
    return rooms


async def show(session: AsyncSession, residents: Sequence[Resident]) -> list[ResidentOut]:
    rooms = await rooms_of(session, [resident.id for resident in residents])
    return [
        ResidentOut(
            id=resident.id, name=resident.name, phone=resident.phone, language=resident.language,
            has_account=resident.account_id is not None, rooms=rooms.get(resident.id, []),
        )
        for resident in residents
    ]  # fmt: skip


async def put_in_room(
    session: AsyncSession, caller: Caller, resident: Resident, *, room_id: UUID, role: ResidentRole,
    household_id: UUID | None,
) -> None:  # fmt: skip
    """Make the resident a member of the room's household, opening one in an empty room. Safe to repeat.

    A changed role has to be verified again. Raises: SpaceNotFound, HouseholdNotFound, HouseholdAmbiguous.
    """
    # Two who move into an empty room at once must end in one household.
    await communities.lock(session, caller)
    room = await spaces.get_room(session, caller, room_id)
    household = await _choose_household(session, caller, resident, room, household_id)
    same = select(Residency).where(Residency.resident_id == resident.id, Residency.household_id == household.id)
    residency = (await session.scalars(same)).one_or_none()
    if residency is None:
        session.add(
            Residency(
                community_id=caller.community_id, resident_id=resident.id, household_id=household.id,
                building_id=room.building_id, role=role,
            )
        )  # fmt: skip
    elif residency.role is not role:
        residency.role, residency.verified_at = role, None
    await session.flush()


async def _choose_household(
    session: AsyncSession, caller: Caller, resident: Resident, room: Space, household_id: UUID | None
) -> Household:
    here = list(await session.scalars(households_visible_to(caller).where(Household.room_id == room.id)))
    if household_id is not None:
        named = [household for household in here if household.id == household_id]
        if not named:
            raise HouseholdNotFound
        return named[0]
    if len(here) > 1:
        already = set(await session.scalars(select(Residency.household_id).where(Residency.resident_id == resident.id)))
        here = [household for household in here if household.id in already] or here
    if len(here) > 1:
        raise HouseholdAmbiguous([household.id for household in here])
    return here[0] if here else await open_household(session, caller, room)


async def take_out_of_room(session: AsyncSession, caller: Caller, resident: Resident, *, room_id: UUID) -> None:
    """Raises ResidencyNotFound."""
    households = select(Household.id).where(Household.room_id == room_id, Household.community_id == caller.community_id)
    gone = await session.scalars(
        delete(Residency)
        .where(Residency.resident_id == resident.id, Residency.household_id.in_(households))
        .returning(Residency.id)
    )
    if not gone.all():
        raise ResidencyNotFound


async def verify(
    session: AsyncSession, resident: Resident, *, room_id: UUID | None, verified: bool, now: datetime
) -> None:
    """Mark one room of the resident, or all, as verified or not. Raises ResidencyNotFound, NoResidency."""
    statement = select(Residency).where(Residency.resident_id == resident.id)
    if room_id is not None:
        statement = statement.join(Household, Household.id == Residency.household_id).where(
            Household.room_id == room_id
        )
    found = list(await session.scalars(statement))
    if not found:
        raise NoResidency if room_id is None else ResidencyNotFound
    moved_in = [residency for residency in found if verified and residency.verified_at is None]
    for residency in found:
        residency.verified_at = (residency.verified_at or now) if verified else None
    await session.flush()
    for residency in moved_in:
        send_after_commit(session, Job(MOVED_IN, residency.id, residency.community_id, lane=Lane.BATCH))


# Households


async def get_household(session: AsyncSession, caller: Caller, household_id: UUID) -> Household:
    """Raises HouseholdNotFound."""
    statement = households_visible_to(caller).where(Household.id == household_id)
    household = (await session.scalars(statement)).one_or_none()
    if household is None:
        raise HouseholdNotFound
    return household


async def open_household(session: AsyncSession, caller: Caller, room: Space, *, name: str = "") -> Household:
    household = Household(community_id=caller.community_id, room_id=room.id, name=name)
    session.add(household)
    await session.flush()
    return household


async def change_household(
    session: AsyncSession, caller: Caller, household: Household, *, name: str | None, room: Space | None
) -> None:
    """Name a household, or move it with all its members, who have to be verified again."""
    if name is not None:
        household.name = name
    if room is not None and room.id != household.room_id:
        household.room_id = room.id
        moved = update(Residency).where(Residency.household_id == household.id)
        await session.execute(moved.values(building_id=room.building_id, verified_at=None))
    await session.flush()


async def close_household(session: AsyncSession, caller: Caller, household: Household) -> None:
    """Raises HouseholdNotEmpty."""
    await communities.lock(session, caller)
    if await session.scalar(select(Residency.id).where(Residency.household_id == household.id).limit(1)):
        raise HouseholdNotEmpty
    await session.delete(household)
    await session.flush()


async def show_households(session: AsyncSession, households: Sequence[Household]) -> list[HouseholdOut]:
    ids = [household.id for household in households]
    labels = await session.execute(
        select(Household.id, Space.label).join(Space, Space.id == Household.room_id).where(Household.id.in_(ids))
    )
    label_of: dict[UUID, str] = {row.id: row.label for row in labels}
    rows = await session.execute(
        select(Residency, Resident.name)
        .join(Resident, Resident.id == Residency.resident_id)
        .where(Residency.household_id.in_(ids))
        .order_by(Residency.id)
    )
    members = defaultdict(list)
    for residency, name in rows:
        members[residency.household_id].append(
            MemberOut(
                resident_id=residency.resident_id, name=name, role=residency.role, verified_at=residency.verified_at
            )
        )
    return [
        HouseholdOut(
            id=household.id, room_id=household.room_id, label=label_of[household.id], name=household.name,
            members=members[household.id],
        )
        for household in households
    ]  # fmt: skip
