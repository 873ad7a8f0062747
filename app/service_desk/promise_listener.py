"""What happens to orders, as far as promises care: appointments are promises, work done keeps them."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.people.callers import CallerKind
from app.people.local_time import clock, zone_of
from app.runtime import Runtime
from app.service_desk import promise_ledger
from app.service_desk.promise_tables import Promise, PromiseSource, PromiseStatus
from app.service_desk.tables import EventKind, Status, Visibility, WorkOrder, WorkOrderComment, WorkOrderEvent
from app.service_desk.transitions import HANDLED

GIVEN_UP = frozenset({Status.CANCELLED, Status.CLOSED_UNHANDLED})
APPOINTED = frozenset({Status.ACCEPTED, Status.DISPATCHED, Status.TRANSFERRED, Status.IN_PROGRESS})
"""Somebody has the order, so a time window that stands on it is no wish any more."""


async def listen(session: AsyncSession, runtime: Runtime, order: WorkOrder, event: WorkOrderEvent) -> None:
    if event.kind is EventKind.COMMENTED:
        await _propose(session, runtime, order, event)
    elif event.kind in (EventKind.MOVED, EventKind.CHANGED):
        await _follow(session, runtime, order, event)


async def _propose(session: AsyncSession, runtime: Runtime, order: WorkOrder, event: WorkOrderEvent) -> None:
    """Staff who write to a resident may promise; what the rule finds waits for them to confirm it."""
    told = event.facts.get("visibility") == Visibility.RESIDENT and event.actor_kind is CallerKind.STAFF
    if not told or reporter_of(order) is None:
        return
    said = await session.get(WorkOrderComment, UUID(str(event.facts["comment_id"])))
    if said is None:
        return
    await promise_ledger.propose(
        session, runtime, community_id=order.community_id, zone=await zone_of(session, order.community_id),
        by_kind=event.actor_kind, by_id=event.actor_id, to_resident_id=reporter_of(order),
        text=said.text, source_id=said.id, work_order_id=order.id,
    )  # fmt: skip


def reporter_of(order: WorkOrder) -> UUID | None:
    return order.reporter_id if order.reporter_kind is CallerKind.RESIDENT else None


async def _follow(session: AsyncSession, runtime: Runtime, order: WorkOrder, event: WorkOrderEvent) -> None:
    now = runtime.clock()
    if order.status in GIVEN_UP:
        for promised in await promise_ledger.open_of_order(session, order):
            _end(promised, PromiseStatus.WITHDRAWN, now, reason="work_order_ended")
    elif order.status in HANDLED:
        for promised in await promise_ledger.open_of_order(session, order):
            _end(promised, PromiseStatus.KEPT if promised.due_at >= now else PromiseStatus.BROKEN, now)
    elif order.status in APPOINTED:
        await _appoint(session, runtime, order, event)
    if event.to_status is Status.IN_PROGRESS:
        for promised in await promise_ledger.open_of_order(session, order, sources=[PromiseSource.APPOINTMENT]):
            _end(promised, PromiseStatus.KEPT, now)


def _end(promised: Promise, status: PromiseStatus, now: datetime, *, reason: str = "") -> None:
    promised.status, promised.reason, promised.decided_at = status, reason, now
    promised.version += 1
    if status is PromiseStatus.KEPT:
        promised.kept_at = now


async def _appoint(session: AsyncSession, runtime: Runtime, order: WorkOrder, event: WorkOrderEvent) -> None:
    """An order that somebody has, with a time window: they come within it. A new window replaces the promise."""
    until, now = order.time_window_end or order.time_window_start, runtime.clock()
    if until is None or until <= now or reporter_of(order) is None:
        return
    standing = await promise_ledger.open_of_order(session, order, sources=[PromiseSource.APPOINTMENT])
    if any(promised.due_at == until for promised in standing):
        return
    kept = select(Promise.id).where(
        Promise.community_id == order.community_id, Promise.work_order_id == order.id,
        Promise.source == PromiseSource.APPOINTMENT, Promise.due_at == until, Promise.status == PromiseStatus.KEPT,
    )  # fmt: skip
    if await session.scalar(kept.limit(1)) is not None:
        return
    for promised in standing:
        _end(promised, PromiseStatus.WITHDRAWN, now, reason="rescheduled")
    zone = await zone_of(session, order.community_id)
    since = (
        f"{clock(order.time_window_start, zone, 'zh')}至" if order.time_window_start and order.time_window_end else ""
    )
    text = f"工单 {order.number}：{since}{clock(until, zone, 'zh')}上门"
    if order.language == "en":
        text = f"Work order {order.number}: somebody comes by {clock(until, zone, 'en')}"
    await promise_ledger.promise(
        session, runtime, community_id=order.community_id, by_kind=event.actor_kind, by_id=event.actor_id,
        to_resident_id=reporter_of(order), text=text, due_at=until, work_order_id=order.id,
        source=PromiseSource.APPOINTMENT, source_id=event.id,
    )  # fmt: skip
