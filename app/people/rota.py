"""Who is on call, in the order in which they are rung."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.errors import NotFound
from app.people import recurring, staff
from app.people.callers import Caller
from app.people.tables import RotaEntry, Staff, StaffRight, StaffRole


class RotaEntryNotFound(NotFound):
    code = "rota_entry_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such entry of the rota.", "没有这条值班安排。")


@dataclass(frozen=True, slots=True)
class OnCall:
    """A member of staff on a level of the rota. Those of one level are rung together."""

    level: int
    staff_id: UUID


def visible_to(caller: Caller, *, staff_id: UUID | None = None) -> Select[RotaEntry]:
    statement = select(RotaEntry).where(RotaEntry.community_id == caller.community_id)
    return statement if staff_id is None else statement.where(RotaEntry.staff_id == staff_id)


async def get(session: AsyncSession, caller: Caller, entry_id: UUID, *, locked: bool = False) -> RotaEntry:
    """Raises RotaEntryNotFound."""
    statement = visible_to(caller).where(RotaEntry.id == entry_id)
    entry = (await session.scalars(statement.with_for_update() if locked else statement)).one_or_none()
    if entry is None:
        raise RotaEntryNotFound
    return entry


async def open_entry(session: AsyncSession, caller: Caller, **given: Any) -> RotaEntry:
    """Put a member of staff on call, on the level given. Raises as `recurring.open_row`."""
    return await recurring.open_row(session, caller, RotaEntry, **given)


async def change(session: AsyncSession, entry: RotaEntry, changes: Mapping[str, Any]) -> None:
    """Raises DatesReversed."""
    recurring.apply(entry, changes)
    await session.flush()


async def delete(session: AsyncSession, entry: RotaEntry) -> None:
    await session.delete(entry)
    await session.flush()


async def on_call(session: AsyncSession, community_id: UUID, at: datetime) -> list[UUID]:
    """Ids of the staff on call at this moment, in the order of escalation."""
    return [one.staff_id for one in await levels(session, community_id, at)]


async def levels(session: AsyncSession, community_id: UUID, at: datetime) -> list[OnCall]:
    """Who is on call at this moment, by level; everybody once. A rota that has nobody rings the managers.

    The transaction's tenant names the company too (`callers.tenant_of_community`).
    """
    wall = await recurring.wall_clock(session, community_id, at)
    working = staff.working_in(community_id).with_only_columns(Staff.id)
    rows = await session.scalars(
        select(RotaEntry)
        .where(
            RotaEntry.community_id == community_id,
            recurring.around(RotaEntry, wall.date()),
            RotaEntry.staff_id.in_(working),
        )
        .order_by(RotaEntry.level, RotaEntry.id)
    )
    called: dict[UUID, OnCall] = {}
    for entry in rows:
        if recurring.covers(entry, wall):
            called.setdefault(entry.staff_id, OnCall(entry.level, entry.staff_id))
    return list(called.values()) or await _managers(session, community_id)


async def _managers(session: AsyncSession, community_id: UUID) -> list[OnCall]:
    right = select(StaffRight.staff_id).where(
        StaffRight.community_id == community_id, StaffRight.role == StaffRole.MANAGER
    )
    statement = staff.working_in(community_id).with_only_columns(Staff.id).where(Staff.id.in_(right))
    return [OnCall(1, staff_id) for staff_id in await session.scalars(statement.order_by(Staff.id))]
