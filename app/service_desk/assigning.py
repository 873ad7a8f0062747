"""Orders find their staff: after triage, by the community's mode, once; who cannot be found is said so.

`assign_at` is the next moment at which this looks at an order; None says that nothing is to be done here.
"""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.db import Tenant
from app.people import communities
from app.people.callers import system_caller
from app.runtime import Runtime
from app.service_desk import (
    assignment_rules,
    candidates,
    duty_hearing,
    proposing,
    recipients,
    staffing,
    transitions,
    work_orders,
)
from app.service_desk.duty_tables import StaffTurn
from app.service_desk.staffing import Choice, Mode
from app.service_desk.tables import (
    EventKind,
    Status,
    WorkOrder,
    WorkOrderCategory,
)

log = structlog.get_logger(__name__)


async def assign(runtime: Runtime, tenant: Tenant, order_id: UUID) -> None:
    """Find somebody for one order, or say why nobody was found. Safe to run twice: the second finds nothing to do."""
    now = runtime.clock()
    # Nobody is sent about an order that turns out to belong to an incident a moment later.
    await proposing.match_order(runtime, tenant, order_id)
    async with runtime.transaction(tenant) as session:
        waiting = select(WorkOrder).where(WorkOrder.id == order_id, WorkOrder.assign_at <= now)
        order = (await session.scalars(waiting.with_for_update())).one_or_none()
        if order is None:
            return
        order.assign_at = None
        if not duty_hearing.is_for_staffing(order):
            return
        at = await duty_hearing.may_be_given_at(session, order, now=now)
        if at != now:
            order.assign_at = at
            order.why = {**(order.why or {}), "staffing": duty_hearing.HELD}
            return
        settings = await communities.read_settings(session, order.community_id)
        category = await session.get(WorkOrderCategory, order.category_id) if order.category_id else None
        if category is None:
            await _wait_for_a_person(session, runtime, tenant, order, UNSORTED)
            return
        rule = await assignment_rules.find(session, order)
        facts = await candidates.facts_of(session, order, category, rule)
        everybody = await candidates.find(session, order.community_id, now=now)
        # What was offered and nobody took is given to somebody.
        offered = (order.why or {}).get("staffing", {}).get("offered_to") is not None
        mode = (rule and rule.mode) or Mode(settings.dispatch_mode)
        mode = Mode.DISPATCH if mode is Mode.GRAB and offered else mode
        choice = staffing.choose(facts, everybody, mode=mode)
        order.why = {**(order.why or {}), "staffing": choice.why}
        if choice.staff_id is not None:
            await work_orders.move_locked(
                session, runtime, system_caller(tenant), order, to=Status.DISPATCHED, note=choice.why["zh"],
                assignee_id=choice.staff_id,
            )  # fmt: skip
            await _note_turn(session, order.community_id, choice.staff_id, now)
        elif choice.offered_to:
            await _offer(session, runtime, tenant, order, choice, minutes=settings.grab_minutes)
        else:
            await _wait_for_a_person(session, runtime, tenant, order, choice.why)


async def _note_turn(session: AsyncSession, community_id: UUID, staff_id: UUID, at: datetime) -> None:
    row = insert(StaffTurn).values(community_id=community_id, staff_id=staff_id, last_assigned_at=at)
    keys = [StaffTurn.community_id, StaffTurn.staff_id]
    await session.execute(row.on_conflict_do_update(index_elements=keys, set_={"last_assigned_at": at}))


UNSORTED: dict[str, Any] = {
    "mode": None, "staff_id": None, "zh": "尚未归类，等待人工派单。", "en": "It has no category: a person decides.",
}  # fmt: skip


async def _offer(
    session: AsyncSession, runtime: Runtime, tenant: Tenant, order: WorkOrder, choice: Choice, *, minutes: int
) -> None:
    """Tell everybody who could take it; look again when nobody did."""
    order.assign_at = runtime.clock() + timedelta(minutes=minutes)
    facts = {"offered_to": choice.why["offered_to"], "minutes": minutes}
    await work_orders.record(
        session, runtime, system_caller(tenant), order, EventKind.OFFERED, note=choice.why["zh"], facts=facts
    )
    name = recipients.name_of(order)
    await recipients.tell_staff(
        session, runtime, order, choice.offered_to, kind="workorder.offered",
        title={"zh": "有新工单可抢", "en": "A new order to take"},
        body={"zh": f"{name['zh']}，{minutes} 分钟内可抢。", "en": f"{name['en']}, for {minutes} minutes."},
        key=f"offered:{order.reopened_count}",
    )  # fmt: skip


async def _wait_for_a_person(
    session: AsyncSession, runtime: Runtime, tenant: Tenant, order: WorkOrder, why: dict[str, Any]
) -> None:
    """Say on the order, in its events and to who dispatches that nobody was found."""
    assert order.status in transitions.UNASSIGNED
    order.needs_person = True
    order.why = {**(order.why or {}), "staffing": why}
    await work_orders.record(session, runtime, system_caller(tenant), order, EventKind.LEFT_TO_PERSON, note=why["zh"])
    name = recipients.name_of(order)
    await recipients.tell_staff(
        session, runtime, order,
        await recipients.with_roles(session, order.community_id, recipients.DISPATCHING),
        kind="workorder.left_to_person", title={"zh": "工单等待人工派单", "en": "An order waits for a person"},
        body={"zh": f"{name['zh']}：{why['zh']}", "en": f"{name['en']}: {why['en']}"},
        key=f"left_to_person:{order.reopened_count}",
    )  # fmt: skip
