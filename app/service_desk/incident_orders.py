"""Work orders that belong to an incident: linked, taken out again, and answered when it is over."""

from collections.abc import Collection, Sequence
from uuid import UUID

from sqlalchemy import Select, exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.errors import Conflict
from app.notices import deliveries
from app.people.callers import Caller, CallerKind, system_caller
from app.runtime import Runtime
from app.service_desk import effects, incident_words, incidents, work_orders
from app.service_desk.incident_errors import IncidentOver
from app.service_desk.incident_tables import INCIDENT_MOVES, FollowSource, Incident, IncidentStatus
from app.service_desk.tables import EventKind, Status, WorkOrder, WorkOrderEvent
from app.service_desk.transitions import ENDED

OVER = "incident_over"
"""The fact of the event by which a linked order knows that its incident ended."""


class LinkedElsewhere(Conflict):
    code = "work_order_linked_elsewhere"

    def __init__(self, incident_id: UUID) -> None:
        super().__init__(
            "This work order belongs to another incident.", "该工单已关联到其他事件。", incident_id=str(incident_id)
        )


def linked_to(caller: Caller, incident: Incident) -> Select[WorkOrder]:
    """The orders of an incident that this caller may see."""
    return work_orders.visible_to(caller).where(WorkOrder.incident_id == incident.id)


async def link(
    session: AsyncSession, runtime: Runtime, caller: Caller, incident: Incident, orders: Sequence[WorkOrder]
) -> None:
    """Link locked orders to an incident; their reporters follow it and are told so. Safe to repeat.

    Raises: IncidentOver, LinkedElsewhere.
    """
    if not INCIDENT_MOVES[incident.status]:
        raise IncidentOver
    for order in orders:
        if order.incident_id == incident.id:
            continue
        if order.incident_id is not None:
            raise LinkedElsewhere(order.incident_id)
        order.incident_id = incident.id
        effects.touch(order, runtime.clock())
        facts = {"incident_id": incident.id, "title": incident.title}
        await work_orders.record(session, runtime, caller, order, EventKind.LINKED, facts=facts)
    reporters = {order.reporter_id for order in orders if order.reporter_kind is CallerKind.RESIDENT}
    residents = [one for one in reporters if one is not None]
    for resident_id in await incidents.follow(session, runtime, incident, residents, source=FollowSource.ORDER):
        await deliveries.tell(
            session, runtime, community_id=incident.community_id, resident_id=resident_id, kind="incident.linked",
            title=incident_words.title(incident), body=incident_words.linked(incident),
            link=f"/me/incidents/{incident.id}", key=f"incident:{incident.id}:linked",
        )  # fmt: skip


async def unlink(session: AsyncSession, runtime: Runtime, caller: Caller, order: WorkOrder) -> None:
    """Take a locked order out of its incident; it goes on by itself. Its reporter goes on following."""
    if order.incident_id is None:
        return
    facts = {"former_incident_id": order.incident_id}
    order.incident_id = None
    effects.touch(order, runtime.clock())
    await work_orders.record(session, runtime, caller, order, EventKind.LINKED, facts=facts)


async def unlink_all(session: AsyncSession, runtime: Runtime, caller: Caller, incident: Incident) -> None:
    """Take every order out of a locked incident that will be no more."""
    linked = select(WorkOrder.id).where(
        WorkOrder.community_id == incident.community_id, WorkOrder.incident_id == incident.id
    )
    # Also those that this caller does not see: none may be left behind.
    system = system_caller(caller.tenant)
    for order in await lock_orders(session, system, list(await session.scalars(linked))):
        await unlink(session, runtime, caller, order)


async def lock_orders(session: AsyncSession, caller: Caller, order_ids: Collection[UUID]) -> list[WorkOrder]:
    """These orders, held until the transaction ends; always in one order, so that two never wait for each other.

    Raises WorkOrderNotFound.
    """
    return [await work_orders.lock(session, caller, order_id) for order_id in sorted(set(order_ids))]


async def unanswered(session: AsyncSession, incident: Incident, *, rows_max: int) -> list[UUID]:
    """Linked orders that were not yet told that the incident is over."""
    told = exists().where(
        WorkOrderEvent.community_id == incident.community_id,
        WorkOrderEvent.work_order_id == WorkOrder.id,
        WorkOrderEvent.kind == EventKind.LINKED,
        WorkOrderEvent.facts[OVER].astext == str(incident.id),
    )
    statement = (
        select(WorkOrder.id)
        .where(WorkOrder.community_id == incident.community_id, WorkOrder.incident_id == incident.id, ~told)
        .order_by(WorkOrder.id)
        .limit(rows_max)
    )
    return list(await session.scalars(statement))


async def answer(session: AsyncSession, runtime: Runtime, caller: Caller, incident: Incident, order_id: UUID) -> None:
    """Tell a linked order that its incident is over. One that nobody took is closed; one that somebody has is theirs to
    close. After a dismissal each goes on by itself.
    """
    order = await work_orders.lock(session, caller, order_id)
    if order.incident_id != incident.id:
        return
    facts = {OVER: incident.id, "status": incident.status}
    note = incident.close_note
    await work_orders.record(session, runtime, caller, order, EventKind.LINKED, note=note, facts=facts)
    if incident.status is IncidentStatus.DISMISSED:
        await unlink(session, runtime, caller, order)
    elif order.status is Status.SUBMITTED:
        await work_orders.move_locked(session, runtime, caller, order, to=Status.CLOSED, note=note)
    elif order.status not in ENDED and order.assignee_id is not None:
        await deliveries.tell(
            session, runtime, community_id=incident.community_id, staff_id=order.assignee_id, kind="incident.closed",
            title=incident_words.title(incident), body=incident_words.assignee(incident, order.number),
            link=f"/workorders/{order.id}", key=f"incident:{incident.id}:order:{order.id}",
        )  # fmt: skip
