"""Who at the desk is told of what no one person has: the managers and the front desk of a community."""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.people.tables import Staff, StaffRight, StaffRole

DESK = (StaffRole.MANAGER, StaffRole.FRONT_DESK)
PEOPLE_MAX = 50


async def people(session: AsyncSession, community_id: UUID, roles: Collection[StaffRole] = DESK) -> list[UUID]:
    """Ids of the members of staff with one of these roles here, at most 50."""
    found = await session.scalars(
        select(Staff.id)
        .join(StaffRight, StaffRight.staff_id == Staff.id)
        .where(StaffRight.community_id == community_id, StaffRight.role.in_(roles))
        .distinct()
        .order_by(Staff.id)
        .limit(PEOPLE_MAX)
    )
    return list(found)
