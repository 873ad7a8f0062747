"""Orders and what belongs to them, as a caller may see them."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.people.callers import Caller, CallerKind
from app.people.tables import Space, Staff
from app.service_desk import transitions, work_orders
from app.service_desk.schemas import CategoryOut, CommentOut, EventOut, MyOrderOut, OrderBrief, OrderOut
from app.service_desk.tables import (
    EventKind,
    Status,
    WorkOrder,
    WorkOrderCategory,
    WorkOrderComment,
    WorkOrderEvent,
)

WORDS_FOR_RESIDENTS = frozenset(
    {Status.PAUSED, Status.QUOTED, Status.CANCELLED, Status.CLOSED_UNHANDLED, Status.AWAITING_RATING, Status.CLOSED}
)
"""Moves whose note is meant for the resident, too; why an order was handed back is the desk's own matter."""
EVENTS_FOR_RESIDENTS = frozenset(
    {
        EventKind.CREATED,
        EventKind.MOVED,
        EventKind.URGED,
        EventKind.RATED,
        EventKind.CHANGED,
        EventKind.FILE_ADDED,
        EventKind.FILE_REMOVED,
    }
)
FACTS_FOR_RESIDENTS = frozenset({"quote_cents", "currency", "speed", "quality", "attitude"})


def etag_of(order: WorkOrder) -> str:
    return f'"{order.version}"'


async def show(session: AsyncSession, caller: Caller, orders: Sequence[WorkOrder]) -> list[OrderOut]:
    """As staff see them. Who complains is left out for those who need not know."""
    return [OrderOut(**_staff_fields(caller, order, brief)) for order, brief in await _briefs(session, caller, orders)]


async def show_own(session: AsyncSession, caller: Caller, orders: Sequence[WorkOrder]) -> list[MyOrderOut]:
    """As their reporter and their household see them."""
    return [
        MyOrderOut(**brief, mine=work_orders.is_own(caller, order))
        for order, brief in await _briefs(session, caller, orders)
    ]


async def _briefs(
    session: AsyncSession, caller: Caller, orders: Sequence[WorkOrder]
) -> list[tuple[WorkOrder, dict[str, Any]]]:
    labels = await _by_id(session, [one.space_id for one in orders], Space.id, Space.label)
    names = await _by_id(session, [one.assignee_id for one in orders], Staff.id, Staff.name)
    of_category = (WorkOrderCategory.id, WorkOrderCategory.name, WorkOrderCategory.name_en)
    kinds = await _by_id(session, [one.category_id for one in orders], *of_category)
    return [(order, _brief(caller, order, labels, names, kinds)) for order in orders]


async def _by_id(session: AsyncSession, ids: Sequence[UUID | None], *columns: Any) -> dict[UUID, Any]:
    """Rows of these columns, the first of which is the id."""
    wanted = {one for one in ids if one is not None}
    if not wanted:
        return {}
    return {row[0]: row for row in await session.execute(select(*columns).where(columns[0].in_(wanted)))}


def _brief(
    caller: Caller, order: WorkOrder, labels: dict[UUID, Any], names: dict[UUID, Any], kinds: dict[UUID, Any]
) -> dict[str, Any]:
    label = labels[order.space_id].label if order.space_id in labels else ""
    category = kinds.get(order.category_id) if order.category_id else None
    assignee = names.get(order.assignee_id) if order.assignee_id else None
    made = {
        "category_name": category.name if category else None,
        "category_name_en": category.name_en if category else None,
        "assignee_name": assignee.name if assignee else None,
        "place": " ".join(part for part in (label, order.place_text) if part),
        "moves": transitions.allowed(order.status, work_orders.movers_of(caller, order)),
    }
    return {name: made[name] if name in made else getattr(order, name) for name in OrderBrief.model_fields}


HIDDEN = {"reporter_id": None, "household_id": None, "contact_name": "", "contact_phone": "", "conversation_id": None,
          "turn_id": None}  # fmt: skip
"""Of somebody who complains."""


def _staff_fields(caller: Caller, order: WorkOrder, brief: dict[str, Any]) -> dict[str, Any]:
    knows = work_orders.knows_reporter(caller, order)
    more = {name: getattr(order, name, None) for name in OrderOut.model_fields if name not in brief}
    return brief | more | {"reporter_hidden": not knows} | ({} if knows else HIDDEN)


def show_event(caller: Caller, order: WorkOrder, event: WorkOrderEvent) -> EventOut:
    shown = EventOut.model_validate(event)
    if event.actor_kind is CallerKind.RESIDENT and not work_orders.knows_reporter(caller, order):
        return shown.model_copy(update={"actor_id": None})
    return shown


def own_events(caller: Caller, order: WorkOrder) -> Select[WorkOrderEvent]:
    """What the reporter is told of what happened."""
    return work_orders.events_of(caller, order).where(WorkOrderEvent.kind.in_(EVENTS_FOR_RESIDENTS))


def show_own_event(caller: Caller, event: WorkOrderEvent) -> EventOut:
    """Without the desk's own notes and reasons."""
    shown = EventOut.model_validate(event)
    if event.actor_id == caller.id:
        return shown
    return shown.model_copy(
        update={
            "note": event.note if event.to_status in WORDS_FOR_RESIDENTS else "",
            "facts": {name: value for name, value in event.facts.items() if name in FACTS_FOR_RESIDENTS},
        }
    )


def show_comment(caller: Caller, order: WorkOrder, comment: WorkOrderComment) -> CommentOut:
    shown = CommentOut.model_validate(comment)
    if comment.author_kind is CallerKind.RESIDENT and not work_orders.knows_reporter(caller, order):
        return shown.model_copy(update={"author_id": None, "author_name": ""})
    return shown


def show_category(category: WorkOrderCategory) -> CategoryOut:
    return CategoryOut(
        id=category.id, parent_category_id=category.parent_id, code=category.code, name=category.name,
        name_en=category.name_en, order_kind=category.order_kind, skill=category.skill,
        respond_minutes=category.respond_minutes, resolve_minutes=category.resolve_minutes,
        deadline_class=category.class_, archived_at=category.archived_at,
    )  # fmt: skip
