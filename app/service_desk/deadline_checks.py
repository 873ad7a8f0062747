"""The sweep over deadlines: each order is looked at when `check_at` says so, by itself, and each step is made once.

`check_at` is the next moment at which something is to be done; None says that nothing is. What changes the clock of an
order (a move, a category, its urgency) sets it to now, so a job that is lost only makes the look come later.
"""

from collections.abc import Mapping
from datetime import timedelta
from uuid import UUID

import structlog
from prometheus_client import Counter
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.db import Tenant
from app.people.callers import system_caller
from app.runtime import Runtime
from app.service_desk import deadlines, recipients, work_orders
from app.service_desk.deadlines import House, Step
from app.service_desk.tables import EventKind, Urgency, WorkOrder

log = structlog.get_logger(__name__)

BAD_ROW_MINUTES = 10
"""How long an order that could not be looked at is left alone, so that it cannot stand before the others."""

Houses = dict[UUID, House]

STEPS_MADE = Counter("linli_deadline_steps_total", "Orders warned of, overdue and escalated.", ["step"])
BAD_ROWS = Counter("linli_deadline_bad_rows_total", "Orders whose deadline could not be looked at.")


async def check_safely(runtime: Runtime, tenant: Tenant, order_id: UUID, houses: Houses) -> None:
    """As `check`; one that fails is logged, counted, and left alone for a while. It blocks no other."""
    try:
        await check(runtime, tenant, order_id, houses)
    except Exception:
        # The sweep's boundary: whatever is wrong with one order must not keep all others from being looked at.
        BAD_ROWS.inc()
        log.exception("deadline_check_failed", work_order_id=str(order_id))
        later = runtime.clock() + timedelta(minutes=BAD_ROW_MINUTES)
        async with runtime.transaction(tenant) as session:
            await session.execute(update(WorkOrder).where(WorkOrder.id == order_id).values(check_at=later))


async def check(runtime: Runtime, tenant: Tenant, order_id: UUID, houses: Houses) -> None:
    """Work out when an order is due, make the steps whose time has come, and say when to look again.

    Safe to run twice and by two at once: who does not get the row leaves it to who has it. `houses` keeps what was
    read of communities, for as long as the caller sweeps.
    """
    now = runtime.clock()
    async with runtime.transaction(tenant) as session:
        locked = (
            select(WorkOrder)
            .where(WorkOrder.id == order_id, WorkOrder.check_at <= now)
            .with_for_update(skip_locked=True)
        )
        order = (await session.scalars(locked)).one_or_none()
        if order is None:
            return
        if order.status in deadlines.DONE:
            order.check_at = None
            return
        house = houses.get(order.community_id) or await deadlines.house_of(session, order.community_id)
        houses[order.community_id] = house
        planned = await deadlines.plan_of(session, order, house)
        order.respond_due_at, order.due_at = planned.respond_due_at, planned.due_at
        order.why = {**(order.why or {}), "deadline": planned.why}
        for at, step in deadlines.open_steps(order, planned):
            if at <= now:
                await _make(session, runtime, tenant, order, step)
        coming = deadlines.open_steps(order, planned)
        order.check_at = min((at for at, _ in coming), default=None)


async def _make(session: AsyncSession, runtime: Runtime, tenant: Tenant, order: WorkOrder, step: Step) -> None:
    """Mark one step, write its event, and tell whom it concerns."""
    setattr(order, step.mark, runtime.clock())
    STEPS_MADE.labels(step.mark.removesuffix("_at")).inc()
    words = WORDS[step.mark]
    facts = {"part": step.part.removesuffix("_at"), "due_at": order.due_at, "respond_due_at": order.respond_due_at}
    await work_orders.record(session, runtime, system_caller(tenant), order, step.kind, note=words["zh"], facts=facts)
    whom = [order.assignee_id] if order.assignee_id else []
    if step.kind is EventKind.ESCALATED:
        whom += await recipients.with_roles(session, order.community_id, recipients.MANAGING)
    elif not whom:
        whom = await recipients.with_roles(session, order.community_id, recipients.DISPATCHING)
    name = recipients.name_of(order)
    loud = order.urgency is Urgency.EMERGENCY
    await recipients.tell_staff(
        session, runtime, order, list(dict.fromkeys(whom)),
        kind=f"emergency.{step.kind.value}" if loud else f"workorder.{step.kind.value}",
        title=words,
        body={"zh": f"{name['zh']}{words['zh']}。", "en": f"{name['en']}: {words['en']}."},
        # A reopened order is told of again.
        key=f"{step.mark}:{order.reopened_count}",
    )  # fmt: skip


WORDS: Mapping[str, dict[str, str]] = {
    "respond_overdue_at": {"zh": "超时未响应", "en": "nobody has answered in time"},
    "warned_at": {"zh": "即将超时", "en": "due soon"},
    "overdue_at": {"zh": "已超时", "en": "overdue"},
    "escalated_at": {"zh": "严重超时，已上报经理", "en": "long overdue, and the managers were told"},
}
"""What each step says, by its mark."""
