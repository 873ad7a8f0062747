"""Who works when: weekly and dated shifts, in the time zone of the community."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.errors import NotFound
from app.people import recurring, staff
from app.people.callers import Caller
from app.people.tables import Staff, StaffShift


class ShiftNotFound(NotFound):
    code = "shift_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such shift.", "没有这个班次。")


def visible_to(caller: Caller, *, staff_id: UUID | None = None) -> Select[StaffShift]:
    statement = select(StaffShift).where(StaffShift.community_id == caller.community_id)
    return statement if staff_id is None else statement.where(StaffShift.staff_id == staff_id)


async def get(session: AsyncSession, caller: Caller, shift_id: UUID, *, locked: bool = False) -> StaffShift:
    """Raises ShiftNotFound."""
    statement = visible_to(caller).where(StaffShift.id == shift_id)
    shift = (await session.scalars(statement.with_for_update() if locked else statement)).one_or_none()
    if shift is None:
        raise ShiftNotFound
    return shift


async def open_shift(session: AsyncSession, caller: Caller, **given: Any) -> StaffShift:
    """A new shift of a member of staff. Raises as `recurring.open_row`."""
    return await recurring.open_row(session, caller, StaffShift, **given)


async def change(session: AsyncSession, shift: StaffShift, changes: Mapping[str, Any]) -> None:
    """Raises DatesReversed."""
    recurring.apply(shift, changes)
    await session.flush()


async def delete(session: AsyncSession, shift: StaffShift) -> None:
    await session.delete(shift)
    await session.flush()


async def on_shift(session: AsyncSession, community_id: UUID, at: datetime) -> frozenset[UUID]:
    """Staff who are at work in the community at this moment; see `are_kept` for communities without shifts.

    The transaction's tenant names the company too (`callers.tenant_of_community`).
    """
    wall = await recurring.wall_clock(session, community_id, at)
    working = staff.working_in(community_id).with_only_columns(Staff.id)
    rows = await session.scalars(
        select(StaffShift).where(
            StaffShift.community_id == community_id,
            recurring.around(StaffShift, wall.date()),
            StaffShift.staff_id.in_(working),
        )
    )
    now = [shift for shift in rows if recurring.covers(shift, wall)]
    away = {shift.staff_id for shift in now if shift.off}
    return frozenset(shift.staff_id for shift in now if shift.staff_id not in away)


async def are_kept(session: AsyncSession, community_id: UUID) -> bool:
    """Whether the community keeps shifts at all. In one that does not, nobody can be told to be away."""
    statement = select(StaffShift.id).where(StaffShift.community_id == community_id, ~StaffShift.off).limit(1)
    return await session.scalar(statement) is not None
