"""What the desk's duties hear of an order: its clock changed, it may be given to somebody, somebody is to be rung.

Listeners of `happenings`: they set the row's next moment, which is the outbox, and send the job that comes sooner.
"""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.queue import Job, Lane, send_after_commit
from app.runtime import Runtime
from app.service_desk import deadlines
from app.service_desk.incident_tables import LIVE, Incident, IncidentStatus
from app.service_desk.tables import EventKind, OrderKind, Status, Urgency, WorkOrder, WorkOrderEvent

CHECK_DEADLINES = "service_desk.check_deadlines"
ASSIGN = "service_desk.assign"
RING = "service_desk.ring_on_call"

ASSIGNED = frozenset({OrderKind.REPAIR, OrderKind.COMPLAINT, OrderKind.INSPECTION})
"""Praise and suggestions are read, not driven to."""


HELD: dict[str, Any] = {
    "mode": None, "staff_id": None, "zh": "已关联突发事件，随事件统一处理。",
    "en": "It belongs to an incident and is dealt with together with it.",
}  # fmt: skip
"""Why nobody is sent about one order of many."""
SUSPICION_HOLDS = timedelta(minutes=30)
"""So long staff have to look at what Linli only suspects; then its orders go on one by one: it may be wrong."""


STAFFED_AFTER = frozenset({EventKind.TRIAGED, EventKind.CHANGED, EventKind.LINKED})


def ring_job(order_id: UUID, community_id: UUID) -> Job:
    return Job(RING, order_id, community_id, lane=Lane.INTERACTIVE)


def is_for_staffing(order: WorkOrder) -> bool:
    """Whether Linli finds somebody for this order. About an emergency somebody is rung instead."""
    return (
        order.status is Status.SUBMITTED
        and order.triage is not None
        and not order.needs_person
        and order.urgency is not Urgency.EMERGENCY
        and order.kind in ASSIGNED
        and order.duplicate_of_id is None
    )


async def may_be_given_at(session: AsyncSession, order: WorkOrder, *, now: datetime) -> datetime | None:
    """From when on somebody may be sent about this order; None while a confirmed incident has it."""
    if order.incident_id is None:
        return now
    known = select(Incident.status, Incident.created_at).where(Incident.id == order.incident_id)
    incident = (await session.execute(known)).one_or_none()
    if incident is None or incident.status not in LIVE:
        return now
    if incident.status is IncidentStatus.OPEN:
        return None
    at: datetime = max(now, incident.created_at + SUSPICION_HOLDS)
    return at


async def hear_of_clock(session: AsyncSession, runtime: Runtime, order: WorkOrder, event: WorkOrderEvent) -> None:
    """What changes when an order is due has it looked at anew. One that is done is found so when it would be late."""
    moved = (
        event.kind is EventKind.MOVED
        and event.to_status not in deadlines.DONE
        and _clock(event.from_status) != _clock(event.to_status)
    )
    if moved or event.kind in (EventKind.TRIAGED, EventKind.CHANGED):
        order.check_at = runtime.clock()
        send_after_commit(session, Job(CHECK_DEADLINES, order.id, order.community_id, lane=Lane.SERVICE))


def _clock(status: Status | None) -> str:
    if status in deadlines.DONE:
        return "done"
    return "standing" if status in deadlines.STANDING else "running"


async def hear_of_staffing(session: AsyncSession, runtime: Runtime, order: WorkOrder, event: WorkOrderEvent) -> None:
    """What was triaged, or opened again, or taken out of an incident, is to be given to somebody."""
    reopened = event.kind is EventKind.MOVED and event.to_status is Status.SUBMITTED
    if reopened:
        order.why = {name: value for name, value in (order.why or {}).items() if name != "staffing"}
    if not (reopened or event.kind in STAFFED_AFTER) or not is_for_staffing(order):
        return
    now = runtime.clock()
    order.assign_at = await may_be_given_at(session, order, now=now)
    if order.assign_at != now:
        order.why = {**(order.why or {}), "staffing": HELD}
    else:
        send_after_commit(session, Job(ASSIGN, order.id, order.community_id, lane=Lane.SERVICE))


async def hear_of_emergency(session: AsyncSession, runtime: Runtime, order: WorkOrder, event: WorkOrderEvent) -> None:
    """Whatever makes an order an emergency has somebody rung."""
    kinds = (EventKind.CREATED, EventKind.TRIAGED, EventKind.CHANGED)
    if event.kind in kinds and order.urgency is Urgency.EMERGENCY and order.status in deadlines.UNHEARD:
        send_after_commit(session, ring_job(order.id, order.community_id))
