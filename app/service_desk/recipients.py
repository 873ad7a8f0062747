"""Who of the staff is told what the desk has to say."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.notices import deliveries
from app.people import staff
from app.people.scopes import ROLE_SCOPES
from app.people.tables import Staff, StaffRight, StaffRole
from app.runtime import Runtime
from app.service_desk.tables import WorkOrder

DISPATCHING = frozenset(role for role in StaffRole if "workorders:dispatch" in ROLE_SCOPES[role])
MANAGING = frozenset({StaffRole.MANAGER})


async def with_roles(session: AsyncSession, community_id: UUID, roles: frozenset[StaffRole]) -> list[UUID]:
    """Staff of the community whose account is open and who have one of these roles there."""
    right = select(StaffRight.staff_id).where(StaffRight.community_id == community_id, StaffRight.role.in_(roles))
    statement = staff.working_in(community_id).with_only_columns(Staff.id).where(Staff.id.in_(right))
    return list(await session.scalars(statement.order_by(Staff.id)))


async def tell_staff(
    session: AsyncSession, runtime: Runtime, order: WorkOrder, staff_ids: Sequence[UUID], *, kind: str,
    title: dict[str, str], body: dict[str, str], key: str, link: str = "",
) -> None:  # fmt: skip
    """Tell these about an order; nobody is told of a complaint about themselves."""
    for staff_id in staff_ids:
        if staff_id != order.about_staff_id:
            await deliveries.tell(
                session, runtime, community_id=order.community_id, staff_id=staff_id, kind=kind, title=title,
                body=body, link=link or link_to(order), key=f"order:{order.id}:{key}",
            )  # fmt: skip


def link_to(order: WorkOrder) -> str:
    """Where the order is found, for programs: the console makes its own address of it."""
    return f"/communities/{order.community_id}/workorders/{order.id}"


def name_of(order: WorkOrder) -> dict[str, str]:
    """Its number and title in a message."""
    return {"zh": f"工单 {order.number}“{order.title}”", "en": f'Order {order.number} "{order.title}"'}
