"""Who is told when something happens to a work order, in the transaction in which it happens.

Each part of the desk that cares adds one line. A listener imports tables, never work_orders: it may write rows of its
own and send jobs after commit. What it cannot write, the order does not do.
"""

from collections.abc import Awaitable, Callable

from sqlalchemy.ext.asyncio import AsyncSession

from app.runtime import Runtime
from app.service_desk import duty_hearing, incident_listener, promise_listener, tellings, webhooks
from app.service_desk.tables import WorkOrder, WorkOrderEvent

Listener = Callable[[AsyncSession, Runtime, WorkOrder, WorkOrderEvent], Awaitable[None]]

LISTENERS: tuple[Listener, ...] = (
    duty_hearing.hear_of_clock,
    duty_hearing.hear_of_staffing,
    duty_hearing.hear_of_emergency,
    tellings.hear,
    webhooks.hear_of_order,
    incident_listener.listen,
    promise_listener.listen,
)
"""In this order. One that runs later sees what the ones before wrote."""


async def tell(session: AsyncSession, runtime: Runtime, order: WorkOrder, event: WorkOrderEvent) -> None:
    """Tell every listener."""
    for listen in LISTENERS:
        await listen(session, runtime, order, event)
