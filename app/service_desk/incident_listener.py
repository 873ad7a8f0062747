"""What happens to orders, as far as incidents care: a new one is matched soon after."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.queue import Job, Lane, send_after_commit
from app.runtime import Runtime
from app.service_desk.tables import EventKind, OrderKind, Urgency, WorkOrder, WorkOrderEvent

MATCH_ORDER = "service_desk.match_order"


def match_job(order_id: UUID, community_id: UUID) -> Job:
    return Job(MATCH_ORDER, order_id, community_id, lane=Lane.SERVICE)


def is_matched(kind: OrderKind, urgency: Urgency, incident_id: UUID | None) -> bool:
    """Whether a new order is compared with incidents. Emergencies are never counted into one by themselves: each has
    somebody in danger.
    """
    return kind in (OrderKind.REPAIR, OrderKind.COMPLAINT) and urgency is not Urgency.EMERGENCY and incident_id is None


async def listen(session: AsyncSession, runtime: Runtime, order: WorkOrder, event: WorkOrderEvent) -> None:
    """The order's place in the line was written with it."""
    if event.kind is EventKind.CREATED and is_matched(order.kind, order.urgency, order.incident_id):
        send_after_commit(session, match_job(order.id, order.community_id))
