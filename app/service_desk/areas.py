"""Where the work of staff is limited to."""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.clock import CLOCK
from app.people import communities, staff
from app.people.callers import Caller
from app.people.spaces import SpaceNotFound
from app.people.tables import Space
from app.service_desk import candidates
from app.service_desk.duty_tables import StaffArea


async def of(session: AsyncSession, caller: Caller, staff_id: UUID) -> list[UUID]:
    """The spaces, none when there is no limit. Raises StaffNotFound."""
    member = await staff.get(session, caller, staff_id)
    return (await candidates.areas_of(session, caller.community_id, [member.id]))[member.id]


async def put(session: AsyncSession, caller: Caller, staff_id: UUID, space_ids: Collection[UUID]) -> list[UUID]:
    """Make these the limits. Raises: StaffNotFound, SpaceNotFound."""
    await communities.lock(session, caller)
    member = await staff.get(session, caller, staff_id)
    wanted = set(space_ids)
    here = select(func.count()).where(Space.community_id == caller.community_id, Space.id.in_(wanted))
    if await session.scalar(here) != len(wanted):
        raise SpaceNotFound
    mine = (StaffArea.community_id == caller.community_id, StaffArea.staff_id == member.id)
    await session.execute(delete(StaffArea).where(*mine))
    session.add_all(
        StaffArea(id=CLOCK.new_id(), community_id=caller.community_id, staff_id=member.id, space_id=space_id)
        for space_id in sorted(wanted)
    )
    await session.flush()
    return sorted(wanted)
