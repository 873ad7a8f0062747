"""What is done to an order besides moving it: changed, urged, rated, commented."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.errors import Conflict
from app.people import spaces, staff
from app.people.callers import Caller, CallerKind
from app.runtime import Runtime
from app.service_desk import categories, effects, transitions, work_orders
from app.service_desk.errors import CommentHidden, MoveNotAllowed, UrgedTooSoon
from app.service_desk.tables import (
    EventKind,
    Status,
    Visibility,
    WorkOrder,
    WorkOrderComment,
    WorkOrderEvent,
)

URGE_PAUSE = timedelta(minutes=30)
"""Between two urgings by residents: the first was passed on, and another says nothing new."""
TOLD = frozenset({"kind", "category_id", "urgency", "space_id", "needs_person"})
"""Changes whose values stand in the event; of names and telephone numbers only that they changed."""


class OrderSettled(Conflict):
    code = "work_order_settled"

    def __init__(self, current: Status) -> None:
        super().__init__("This work order is done or closed already.", "工单已处理完成或已结束。", current=current)


def check_unsettled(order: WorkOrder) -> None:
    """Raises OrderSettled."""
    if order.status in work_orders.SETTLED:
        raise OrderSettled(order.status)


async def change(
    session: AsyncSession, runtime: Runtime, caller: Caller, order: WorkOrder, changes: Mapping[str, Any]
) -> WorkOrder:
    """Change columns of a locked order. Raises: WindowInvalid, CategoryNotFound, SpaceNotFound, StaffNotFound."""
    values = dict(changes)
    if values.get("category_id"):
        await categories.get(session, caller, values["category_id"])
    if values.get("about_staff_id"):
        await staff.get(session, caller, values["about_staff_id"])
    if "space_id" in values:
        space = await spaces.get(session, caller, values["space_id"]) if values["space_id"] else None
        values["building_id"] = space.building_id if space else None
    now = {name: value for name, value in values.items() if getattr(order, name) != value}
    work_orders.check_window(
        now.get("time_window_start", order.time_window_start), now.get("time_window_end", order.time_window_end)
    )
    if not now:
        return order
    facts: dict[str, Any] = {"changed": sorted(now)}
    facts |= {name: value for name, value in now.items() if name in TOLD}
    if "category_id" in now and order.triage is not None:
        # What people put right is what the classifier learns from. They have looked, so nobody else needs to.
        facts["triage_said"] = order.triage.get("category_code")
        now.setdefault("needs_person", False)
    for name, value in now.items():
        setattr(order, name, value)
    effects.touch(order, runtime.clock())
    await work_orders.record(session, runtime, caller, order, EventKind.CHANGED, facts=facts)
    return order


async def urge(
    session: AsyncSession, runtime: Runtime, caller: Caller, order_id: UUID, *, note: str = "", own: bool = False
) -> WorkOrder:
    """Say that it is taking too long. Raises: WorkOrderNotFound, OrderSettled, UrgedTooSoon."""
    order = await work_orders.lock(session, caller, order_id, own=own)
    check_unsettled(order)
    if caller.kind is CallerKind.RESIDENT:
        urged = work_orders.events_of(caller, order).where(WorkOrderEvent.kind == EventKind.URGED)
        last = await session.scalar(urged.with_only_columns(func.max(WorkOrderEvent.created_at)))
        if last is not None and (left := last + URGE_PAUSE - runtime.clock()) > timedelta():
            raise UrgedTooSoon(retry_after_seconds=left.total_seconds())
    order.urged_count += 1
    effects.touch(order, runtime.clock())
    await work_orders.record(session, runtime, caller, order, EventKind.URGED, note=note)
    return order


async def rate(
    session: AsyncSession, runtime: Runtime, caller: Caller, order_id: UUID, *, speed: int, quality: int, attitude: int,
    comment: str = "", own: bool = False,
) -> WorkOrder:  # fmt: skip
    """Rate what was done, which closes the order, or brings a return visit when a score is low.

    Raises: WorkOrderNotFound, MoveNotAllowed.
    """
    order = await work_orders.lock(session, caller, order_id, own=own)
    movers = work_orders.movers_of(caller, order)
    if order.status is not Status.AWAITING_RATING or not transitions.is_allowed(order.status, Status.CLOSED, movers):
        raise MoveNotAllowed(order.status, Status.CLOSED, transitions.allowed(order.status, movers))
    order.rating_speed, order.rating_quality, order.rating_attitude = speed, quality, attitude
    order.rating_comment = comment
    scores = {"speed": speed, "quality": quality, "attitude": attitude}
    await work_orders.record(session, runtime, caller, order, EventKind.RATED, note=comment, facts=scores)
    low = await work_orders.setting(session, caller, "return_visit_score_max")
    to = Status.RETURN_VISIT if min(scores.values()) <= low else Status.CLOSED
    return await work_orders.move_locked(session, runtime, caller, order, to=to)


def comments_of(caller: Caller, order: WorkOrder, *, own: bool = False) -> Select[WorkOrderComment]:
    """What was said of an order that `get` gave; with `own`, what its reporter may read."""
    statement = select(WorkOrderComment).where(
        WorkOrderComment.community_id == caller.community_id, WorkOrderComment.work_order_id == order.id
    )
    return statement.where(WorkOrderComment.visibility == Visibility.RESIDENT) if own else statement


async def comment(
    session: AsyncSession, runtime: Runtime, caller: Caller, order: WorkOrder, *, text: str, visibility: Visibility
) -> WorkOrderComment:
    """Say something about a locked order. Raises CommentHidden."""
    if caller.kind is CallerKind.RESIDENT and visibility is not Visibility.RESIDENT:
        raise CommentHidden
    said = WorkOrderComment(
        community_id=caller.community_id, work_order_id=order.id, author_kind=caller.kind, author_id=caller.id,
        author_name=caller.name, visibility=visibility, text=text, created_at=runtime.clock(),
    )  # fmt: skip
    session.add(said)
    await session.flush()
    facts = {"comment_id": said.id, "visibility": visibility}
    await work_orders.record(session, runtime, caller, order, EventKind.COMMENTED, facts=facts)
    return said
