"""What happens to orders, as far as incidents care: a new one is matched soon after."""

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.queue import Job, Lane, send_after_commit
from app.runtime import Runtime
from app.service_desk.incident_tables import WorkOrderMatch
from app.service_desk.tables import EventKind, OrderKind, Urgency, WorkOrder, WorkOrderEvent

MATCH_ORDER = "service_desk.match_order"


def match_job(order_id: UUID, community_id: UUID) -> Job:
    return Job(MATCH_ORDER, order_id, community_id, lane=Lane.SERVICE)


async def listen(session: AsyncSession, runtime: Runtime, order: WorkOrder, event: WorkOrderEvent) -> None:
    """Emergencies are never counted into an incident by themselves: each has somebody in danger."""
    fits = order.kind in (OrderKind.REPAIR, OrderKind.COMPLAINT) and order.urgency is not Urgency.EMERGENCY
    if event.kind is EventKind.CREATED and fits and order.incident_id is None:
        session.add(WorkOrderMatch(work_order_id=order.id, community_id=order.community_id, created_at=runtime.clock()))
        send_after_commit(session, match_job(order.id, order.community_id))
