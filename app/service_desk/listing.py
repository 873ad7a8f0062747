"""Lists of work orders: filters, sorts and pages by keyset, each along an index, so that a page costs the same among a
million orders as among a thousand.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, literal, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute, aliased

from app.people.callers import Caller
from app.rest import time_cursors
from app.rest.pages import PageQuery
from app.service_desk import categories
from app.service_desk.tables import Channel, OrderKind, Status, Urgency, WorkOrder, WorkOrderCategory
from app.service_desk.transitions import ENDED


class OrderSort(StrEnum):
    """`due` lists what is open and has a deadline, the most pressing first."""

    NEWEST = "-created"
    OLDEST = "created"
    DUE = "due"


@dataclass(frozen=True)
class Filters:
    """What a list is narrowed to; None and nothing narrow nothing."""

    status: list[Status] = field(default_factory=list)
    kind: list[OrderKind] = field(default_factory=list)
    urgency: list[Urgency] = field(default_factory=list)
    channel: list[Channel] = field(default_factory=list)
    category_id: UUID | None = None
    building_id: UUID | None = None
    space_id: UUID | None = None
    assignee_id: UUID | None = None
    reporter_id: UUID | None = None
    incident_id: UUID | None = None
    number: int | None = None
    is_open: bool | None = None
    overdue: bool | None = None
    needs_person: bool | None = None
    created_from: datetime | None = None
    created_to: datetime | None = None


async def narrowed(
    session: AsyncSession, caller: Caller, statement: Select[WorkOrder], wanted: Filters
) -> Select[WorkOrder]:
    """The orders of a statement that match all filters. A category stands for all below it, too."""
    if wanted.category_id is not None:
        statement = statement.where(_one_of(WorkOrder.category_id, await _at_or_below(session, caller, wanted)))
    return statement.where(*_conditions(wanted))


def _conditions(wanted: Filters) -> list[ColumnElement[bool]]:
    found = [
        _one_of(column, values)
        for column, values in (
            (WorkOrder.status, wanted.status), (WorkOrder.kind, wanted.kind), (WorkOrder.channel, wanted.channel),
        )
        if values
    ]  # fmt: skip
    found += [
        column == value
        for column, value in (
            (WorkOrder.building_id, wanted.building_id), (WorkOrder.space_id, wanted.space_id),
            (WorkOrder.assignee_id, wanted.assignee_id), (WorkOrder.reporter_id, wanted.reporter_id),
            (WorkOrder.incident_id, wanted.incident_id), (WorkOrder.number, wanted.number),
            (WorkOrder.needs_person, wanted.needs_person),
        )
        if value is not None
    ]  # fmt: skip
    # Said as the partial indexes say it, also where the statuses imply it: otherwise these are not used.
    if wanted.is_open or wanted.overdue or (wanted.status and not ENDED & set(wanted.status)):
        found.append(WorkOrder.closed_at.is_(None))
    if wanted.is_open is False:
        found.append(WorkOrder.closed_at.is_not(None))
    if wanted.overdue is not None:
        found.append(WorkOrder.overdue_at.is_not(None) if wanted.overdue else WorkOrder.overdue_at.is_(None))
    if wanted.urgency:
        # Written out, so that Postgres sees that an index without the routine ones will do.
        written = [literal(one, WorkOrder.urgency.type, literal_execute=True) for one in wanted.urgency]
        found.append(or_(*(WorkOrder.urgency == one for one in written)))
    if wanted.created_from is not None:
        found.append(WorkOrder.created_at >= wanted.created_from)
    if wanted.created_to is not None:
        found.append(WorkOrder.created_at < wanted.created_to)
    return found


def _one_of(column: InstrumentedAttribute[Any], values: list[Any]) -> ColumnElement[bool]:
    return column == values[0] if len(values) == 1 else column.in_(values)


async def _at_or_below(session: AsyncSession, caller: Caller, wanted: Filters) -> list[UUID]:
    """The category and all below it; itself alone when there is no such one, so that nothing is found."""
    assert wanted.category_id is not None
    ours = categories.visible_to(caller).with_only_columns(WorkOrderCategory.id)
    below = ours.where(WorkOrderCategory.id == wanted.category_id).cte("below", recursive=True)
    child = aliased(WorkOrderCategory)
    below = below.union(select(child.id).join(below, child.parent_id == below.c.id))
    return list(await session.scalars(select(below.c.id))) or [wanted.category_id]


# Pages


def _keys(sort: OrderSort, wanted: Filters) -> list[InstrumentedAttribute[Any]]:
    """The columns that a list is in the order of; ids are in the order of time."""
    if sort is OrderSort.DUE:
        return [WorkOrder.due_at, WorkOrder.id]
    # Orders of a time long ago must be found without going through all since.
    if wanted.created_from is not None or wanted.created_to is not None:
        return [WorkOrder.created_at, WorkOrder.id]
    return [WorkOrder.id]


async def fetch_page(
    session: AsyncSession, statement: Select[WorkOrder], *, sort: OrderSort, wanted: Filters, query: PageQuery
) -> tuple[list[WorkOrder], str | None]:
    """One page and the cursor of the next. Raises CursorInvalid."""
    keys = _keys(sort, wanted)
    if sort is OrderSort.DUE:
        statement = statement.where(WorkOrder.closed_at.is_(None), WorkOrder.due_at.is_not(None))
    if query.cursor:
        after = decode_cursor(query.cursor, keys)
        mine, theirs = tuple_(*keys), tuple_(*after)
        statement = statement.where(mine < theirs if sort is OrderSort.NEWEST else mine > theirs)
    ordered = [key.desc() if sort is OrderSort.NEWEST else key.asc() for key in keys]
    rows = list(await session.scalars(statement.order_by(*ordered).limit(query.limit + 1)))
    more = len(rows) > query.limit
    rows = rows[: query.limit]
    return rows, encode_cursor(rows[-1], keys) if more else None


def encode_cursor(last: WorkOrder, keys: list[InstrumentedAttribute[Any]]) -> str:
    """The place of a row in a list of this order."""
    at: datetime = getattr(last, keys[0].key) if len(keys) > 1 else time_cursors.START
    return time_cursors.encode(_mark(keys), at, last.id)


def decode_cursor(cursor: str, keys: list[InstrumentedAttribute[Any]]) -> list[Any]:
    """The values that the keys had in the last row of the page before. Raises CursorInvalid."""
    at, row_id = time_cursors.decode(_mark(keys), cursor)
    return [at, row_id] if len(keys) > 1 else [row_id]


def _mark(keys: list[InstrumentedAttribute[Any]]) -> bytes:
    return keys[0].key[0].encode()
