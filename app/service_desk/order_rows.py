"""Orders and their events as they are written: row and event in one statement each, built once.

The unit of work would write them one by one and build its statements anew; every column is known here.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import BindParameter, Executable, Select, Uuid, bindparam, insert, inspect, select, true, update
from sqlalchemy.dialects.postgresql import insert as insert_or_update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute, make_transient_to_detached
from sqlalchemy.orm.attributes import set_committed_value

from app.db import Base
from app.service_desk.incident_tables import WorkOrderMatch
from app.service_desk.tables import WorkOrder, WorkOrderCounter, WorkOrderEvent

Row = dict[str, Any]


async def open_(session: AsyncSession, order: Row, event: Row, *, matched: bool) -> WorkOrder:
    """The order with its number, its first event and, where it is to be `matched` with incidents, its place in that
    line. `order` holds every column but the number.
    """
    statement = _opening(tuple(order), tuple(event), matched=matched)
    number = await session.scalar(statement, _given("order", order) | _given("event", event))
    written = WorkOrder()
    for name, value in (order | {"number": number}).items():
        set_committed_value(written, name, value)
    make_transient_to_detached(written)
    session.add(written)
    return written


@cache
def _opening(order: tuple[str, ...], event: tuple[str, ...], *, matched: bool) -> Select[tuple[int]]:
    counted = insert_or_update(WorkOrderCounter).values(
        community_id=bindparam("order_community_id", type_=Uuid), last_number=1
    )
    numbered = (
        counted.on_conflict_do_update(
            index_elements=[WorkOrderCounter.community_id], set_={"last_number": WorkOrderCounter.last_number + 1}
        )
        .returning(WorkOrderCounter.last_number)
        .cte("numbered")
    )
    opened = insert(WorkOrder).from_select(
        [*order, "number"],
        select(*_values(WorkOrder, "order", order), numbered.c.last_number),
        include_defaults=False,
    )
    parts = [opened.cte("opened"), _telling(event).cte("told")]
    if matched:
        columns = ("work_order_id", "community_id", "created_at")
        line = select(*_values(WorkOrderEvent, "event", columns))
        parts.append(insert(WorkOrderMatch).from_select(list(columns), line, include_defaults=False).cte("in_line"))
    return select(numbered.c.last_number).add_cte(*parts)


async def record(session: AsyncSession, order: WorkOrder, event: Row) -> None:
    """What changed of a locked order since it was read or written last, and the event of it."""
    state = inspect(order)
    changed = tuple(sorted(state.committed_state))
    values = {name: getattr(order, name) for name in changed}
    await session.execute(_recording(changed, tuple(event)), _given("order", values) | _given("event", event))
    for name, value in values.items():
        set_committed_value(order, name, value)


@cache
def _recording(changed: tuple[str, ...], event: tuple[str, ...]) -> Executable:
    parts = [_telling(event).cte("told")]
    if changed:
        values = dict(zip(changed, _values(WorkOrder, "order", changed), strict=True))
        same = WorkOrder.id == bindparam("event_work_order_id", type_=Uuid)
        parts.append(update(WorkOrder).where(same).values(values).cte("changed"))
    return select(true()).add_cte(*parts)


def _telling(event: tuple[str, ...]) -> Any:
    return insert(WorkOrderEvent).from_select(
        list(event), select(*_values(WorkOrderEvent, "event", event)), include_defaults=False
    )


def _given(prefix: str, row: Row) -> Row:
    return {f"{prefix}_{name}": value for name, value in row.items()}


def _values(table: type[Base], prefix: str, columns: Sequence[str]) -> list[BindParameter[Any]]:
    # A value that bears the name of a column would be written into it, asked for or not.
    attributes: list[InstrumentedAttribute[Any]] = [getattr(table, column) for column in columns]
    return [bindparam(f"{prefix}_{one.key}", type_=one.type) for one in attributes]
