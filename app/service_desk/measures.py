"""What is measured of orders and promises: each a population, the time that places it, and its figures. Data."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Float, FromClause, and_, case, cast, func, join, or_, outerjoin, select, true
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql.functions import coalesce

from app.people.callers import CallerKind
from app.service_desk.promise_tables import Promise, PromiseStatus
from app.service_desk.tables import EventKind, Status, Visibility, WorkOrder, WorkOrderEvent


class Metric(StrEnum):
    OPENED = "opened"
    OPEN = "open"
    CLOSED = "closed"
    OVERDUE = "overdue"
    FIRST_RESPONSE = "first_response"
    RESOLUTION = "resolution"
    REOPENED = "reopened"
    RATINGS = "ratings"
    BROKEN_PROMISES = "broken_promises"


class GroupBy(StrEnum):
    BUILDING = "building"
    CATEGORY = "category"
    WEEK = "week"


Expression = ColumnElement[Any] | InstrumentedAttribute[Any]


@dataclass(frozen=True)
class Measure:
    """`population` are the rows, placed in time by `at`; `figures` are aggregates over them, by name.

    `unit` and `about` are for people. `home` tells households apart; rows of nobody's home count for none.
    """

    about: str
    unit: str
    at: Expression
    population: Expression
    figures: Mapping[str, Expression]
    source: FromClause
    home: Expression
    backlog: bool = False
    """Whether the population is what stood at the end of the period, whenever it began."""


def _quantiles(minutes: Expression) -> dict[str, Expression]:
    """The middle one and the one that nine in ten do not exceed, interpolated between neighbours."""
    return {
        "median": func.percentile_cont(0.5).within_group(minutes),
        "p90": func.percentile_cont(0.9).within_group(minutes),
    }


def _share(part: Expression, whole: Expression) -> Expression:
    return cast(part, Float) / func.nullif(whole, 0)


def _minutes(later: Expression, earlier: Expression) -> Expression:
    return func.extract("epoch", later - earlier) / 60


_taken = (
    Status.ACCEPTED, Status.IN_PROGRESS, Status.PAUSED, Status.QUOTED, Status.AWAITING_PAYMENT, Status.AWAITING_RATING,
    Status.RETURN_VISIT, Status.CLOSED, Status.CLOSED_UNHANDLED,
)  # fmt: skip
_responses = (
    select(func.min(WorkOrderEvent.created_at).label("at"))
    .where(
        WorkOrderEvent.community_id == WorkOrder.community_id,
        WorkOrderEvent.work_order_id == WorkOrder.id,
        WorkOrderEvent.actor_kind.in_((CallerKind.STAFF, CallerKind.API_KEY)),
        or_(
            and_(WorkOrderEvent.kind == EventKind.MOVED, WorkOrderEvent.to_status.in_(_taken)),
            and_(
                WorkOrderEvent.kind == EventKind.COMMENTED,
                WorkOrderEvent.facts["visibility"].astext == Visibility.RESIDENT.value,
            ),
        ),
    )
    .correlate(WorkOrder)
    .lateral("response")
)
"""The first time that somebody of the staff took the order up or wrote to the resident. To be sent is none."""

_home = coalesce(
    WorkOrder.household_id, case((WorkOrder.reporter_kind == CallerKind.RESIDENT, WorkOrder.reporter_id), else_=None)
)
_orders: Any = WorkOrder.__table__
_with_response: Any = join(_orders, _responses, _responses.c.at.is_not(None))
_promised: Any = outerjoin(Promise.__table__, _orders, WorkOrder.id == Promise.work_order_id)
_everything = true()
_handled = or_(WorkOrder.completed_at.is_not(None), WorkOrder.reopened_count > 0)
_reopened = func.count().filter(WorkOrder.reopened_count > 0)
_overdue = func.count().filter(WorkOrder.overdue_at.is_not(None))
_broken = func.count().filter(Promise.status == PromiseStatus.BROKEN)

MEASURES: dict[Metric, Measure] = {
    Metric.OPENED: Measure(
        "Orders opened in the period.", "orders", WorkOrder.created_at, _everything, {}, _orders, _home
    ),
    Metric.OPEN: Measure(
        "Orders opened before the end of the period and not closed by then.", "orders", WorkOrder.created_at,
        _everything, {}, _orders, _home, backlog=True,
    ),
    Metric.CLOSED: Measure(
        "Orders closed in the period; `unhandled`: closed without being dealt with.", "orders", WorkOrder.closed_at,
        WorkOrder.status != Status.CANCELLED,
        {"unhandled": func.count().filter(WorkOrder.status == Status.CLOSED_UNHANDLED)}, _orders, _home,
    ),
    Metric.OVERDUE: Measure(
        "Of the orders opened in the period, how many ran over their deadline.", "orders", WorkOrder.created_at,
        _everything, {"overdue": _overdue, "share": _share(_overdue, func.count())}, _orders, _home,
    ),
    Metric.FIRST_RESPONSE: Measure(
        "Orders opened in the period: minutes until staff took the order up or wrote to the resident.", "minutes",
        WorkOrder.created_at, _everything, _quantiles(_minutes(_responses.c.at, WorkOrder.created_at)),
        _with_response, _home,
    ),
    Metric.RESOLUTION: Measure(
        "Orders done in the period: minutes from opening until done, pauses not counted.", "minutes",
        WorkOrder.completed_at, _everything,
        _quantiles(_minutes(WorkOrder.completed_at, WorkOrder.created_at) - cast(WorkOrder.paused_seconds, Float) / 60),
        _orders, _home,
    ),
    Metric.REOPENED: Measure(
        "Of the orders opened in the period and done at least once, how many were reopened.", "orders",
        WorkOrder.created_at, _handled, {"reopened": _reopened, "share": _share(_reopened, func.count())}, _orders,
        _home,
    ),
    Metric.RATINGS: Measure(
        "Ratings of orders done in the period, means of 1 to 5.", "points", WorkOrder.completed_at,
        WorkOrder.rating_speed.is_not(None),
        {
            name: func.avg(cast(column, Float))
            for name, column in (
                ("speed", WorkOrder.rating_speed), ("quality", WorkOrder.rating_quality),
                ("attitude", WorkOrder.rating_attitude),
            )
        },
        _orders, _home,
    ),
    Metric.BROKEN_PROMISES: Measure(
        "Of the promises due in the period and kept or broken, how many were broken.", "promises", Promise.due_at,
        Promise.status.in_((PromiseStatus.KEPT, PromiseStatus.BROKEN)),
        {"broken": _broken, "share": _share(_broken, func.count())}, _promised,
        coalesce(_home, Promise.to_resident_id),
    ),
}  # fmt: skip
"""A test proves it complete."""
