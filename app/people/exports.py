"""Spaces and residents as sheets that an import takes back: coming from here, they change nothing."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app.people import resident_import, space_import
from app.people.resident_import import LANGUAGE_WORDS, ROLE_WORDS
from app.people.space_import import STATE_WORDS
from app.people.space_index import Known, read_index
from app.people.spaces import by_number
from app.people.tables import Household, JobKind, Residency, Resident, SpaceKind

Cells = list[list[object]]


def headings(kind: JobKind) -> list[str]:
    columns = space_import.COLUMNS if kind is JobKind.EXPORT_SPACES else resident_import.COLUMNS
    return [column.zh for column in columns]


async def space_rows(session: AsyncSession, community_id: UUID) -> Cells:
    """Every space that has nothing below it, in the order of an address book."""
    spaces = {one.id: one for one in (await read_index(session, community_id)).values()}
    parents = {one.parent_id for one in spaces.values()}
    leaves = sorted((one for one in spaces.values() if one.id not in parents), key=lambda one: _order(spaces, one))
    return [[*_place(spaces, one), STATE_WORDS[one.state] if one.state else "", _number(one.area_m2)] for one in leaves]


async def resident_rows(session: AsyncSession, community_id: UUID) -> Cells:
    """A row for each resident and room; residents without a room have one, too."""
    spaces = {one.id: one for one in (await read_index(session, community_id)).values()}
    home, residency = aliased(Household), aliased(Residency)
    found = await session.execute(
        select(Resident, residency.role, residency.verified_at, home.room_id)
        .outerjoin(residency, residency.resident_id == Resident.id)
        .outerjoin(home, home.id == residency.household_id)
        .where(Resident.community_id == community_id)
        .order_by(Resident.id, residency.id)
    )
    rows: Cells = []
    for resident, role, verified_at, room_id in found:
        place: Sequence[object] = _place(spaces, spaces[room_id]) if room_id else ["", "", "", ""]
        lives = [ROLE_WORDS[role], "是" if verified_at else "否"] if role else ["", ""]
        language = LANGUAGE_WORDS.get(resident.language, resident.language)
        rows.append([resident.name, resident.phone, language, *place, *lives, resident.id])
    return rows


def _place(spaces: dict[UUID, Known], space: Known) -> list[str]:
    """Its names by kind, from the phase to the room."""
    names = {one.kind: one.name for one in _above(spaces, space)}
    return [names.get(kind, "") for kind in SpaceKind]


def _above(spaces: dict[UUID, Known], space: Known) -> list[Known]:
    """The space and all above it, the highest first."""
    path = [space]
    while (parent_id := path[0].parent_id) is not None:
        path.insert(0, spaces[parent_id])
    return path


def _order(spaces: dict[UUID, Known], space: Known) -> list[tuple[int, str]]:
    return [by_number(one.name) for one in _above(spaces, space)]


def _number(value: float | None) -> str:
    return "" if value is None else str(int(value)) if value.is_integer() else repr(value)
