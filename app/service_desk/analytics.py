"""Figures of the desk by building, category and week. Groups of few households are hidden, also from subtraction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Date, Select, String, cast, func, null, or_, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.elements import Grouping

from app.errors import Invalid
from app.people import communities
from app.people.callers import Caller
from app.people.local_time import zone_of
from app.people.suppression import hidden_groups
from app.people.tables import Space
from app.service_desk.measures import MEASURES, GroupBy, Measure, Metric
from app.service_desk.promise_tables import Promise
from app.service_desk.tables import WorkOrder, WorkOrderCategory

DAYS_DEFAULT, DAYS_MAX = 28, 366


class PeriodInvalid(Invalid):
    code = "period_invalid"

    def __init__(self) -> None:
        super().__init__(
            f"The period must end after it begins and last {DAYS_MAX} days at most.",
            f"结束日期不能早于开始日期，且不超过 {DAYS_MAX} 天。", days_max=DAYS_MAX,
        )  # fmt: skip


@dataclass(frozen=True)
class Period:
    """Whole days of the community, both included."""

    first: date
    last: date
    zone: ZoneInfo

    @property
    def begins(self) -> datetime:
        return datetime.combine(self.first, time(), tzinfo=self.zone)

    @property
    def ends(self) -> datetime:
        return datetime.combine(self.last + timedelta(days=1), time(), tzinfo=self.zone)


@dataclass(frozen=True)
class Figures:
    """Of one group, or of all: `key` is an id, the Monday of a week, or None for what belongs to none."""

    key: str | None
    label: str
    label_en: str
    households: int | None
    rows: int | None
    values: dict[str, float | None]
    hidden: bool


async def period_of(
    session: AsyncSession, caller: Caller, first: date | None, last: date | None, *, now: datetime
) -> Period:
    """The period asked for; the last four weeks when left out. Raises PeriodInvalid."""
    zone = await zone_of(session, caller.community_id)
    until = last or now.astimezone(zone).date()
    try:
        since = first or until - timedelta(days=DAYS_DEFAULT - 1)
        too_long = since > until or (until - since).days >= DAYS_MAX
        period = Period(since, until, zone)
        # Postgres keeps times in UTC, where the first and the last days of the calendar are none everywhere.
        period.begins.astimezone(UTC), period.ends.astimezone(UTC)
    except OverflowError:
        raise PeriodInvalid from None
    if too_long:
        raise PeriodInvalid
    return period


async def measure(
    session: AsyncSession, caller: Caller, metric: Metric, period: Period, *, group_by: GroupBy | None
) -> tuple[Figures, list[Figures]]:
    """The figures of all, and of each group in the order of their labels."""
    least = (await communities.read_settings(session, caller.community_id)).analytics_households_min
    [total] = (await session.execute(_statement(caller, metric, period, None, least))).all()
    few = len(total.homes or []) < least
    whole = _figures(metric, total, "", "", hidden=few)
    if group_by is None:
        return whole, []
    rows = (await session.execute(_statement(caller, metric, period, group_by, least))).all()
    hidden = hidden_groups(
        {row.key: row.homes or [] for row in rows}, sizes={row.key: row.households for row in rows}, least=least
    )
    labels = await _labels(session, caller, group_by, [row.key for row in rows])
    found = [_figures(metric, row, *labels.get(row.key, ("", "")), hidden=few or row.key in hidden) for row in rows]
    return whole, sorted(found, key=lambda one: (one.key is None, one.label, one.key or ""))


def _statement(caller: Caller, metric: Metric, period: Period, group_by: GroupBy | None, least: int) -> Select[Any]:
    """Per group: its key, its households and some of them, its rows, and the metric's figures."""
    what = MEASURES[metric]
    homes = func.array_agg(what.home.distinct()).filter(what.home.is_not(None))
    key = _key(what, period, group_by).label("key")
    of_promises = metric is Metric.BROKEN_PROMISES
    community = Promise.community_id if of_promises else WorkOrder.community_id
    statement = (
        select(
            key,
            func.count(what.home.distinct()).label("households"),
            # Some are enough to tell whether few stand behind what is hidden.
            Grouping(cast(homes, ARRAY(String)))[1:least].label("homes"),
            func.count().label("rows"),
            *(figure.label(name) for name, figure in what.figures.items()),
        )
        .select_from(what.source)
        .where(community == caller.community_id, what.population, what.at < period.ends)
    )
    if what.backlog:
        statement = statement.where(or_(WorkOrder.closed_at.is_(None), WorkOrder.closed_at >= period.ends))
    else:
        statement = statement.where(what.at >= period.begins)
    return statement.group_by(key) if group_by is not None else statement


def _key(what: Measure, period: Period, group_by: GroupBy | None) -> ColumnElement[Any]:
    if group_by is None:
        return null()
    if group_by is GroupBy.WEEK:
        # Weeks begin on Monday where the community is.
        here = func.timezone(period.zone.key, what.at)
        return cast(cast(func.date_trunc("week", here), Date), String)
    column = WorkOrder.building_id if group_by is GroupBy.BUILDING else WorkOrder.category_id
    return cast(column, String)


def _figures(metric: Metric, row: Any, label: str, label_en: str, *, hidden: bool) -> Figures:
    names = MEASURES[metric].figures
    if hidden:
        return Figures(row.key, label, label_en, None, None, dict.fromkeys(names), hidden=True)
    values = {name: _rounded(getattr(row, name)) for name in names}
    return Figures(row.key, label, label_en, row.households, row.rows, values, hidden=False)


def _rounded(value: Any) -> float | None:
    return None if value is None else round(float(value), 4)


async def _labels(
    session: AsyncSession, caller: Caller, group_by: GroupBy, keys: Sequence[str | None]
) -> dict[str | None, tuple[str, str]]:
    named: dict[str | None, tuple[str, str]] = {None: ("未归类", "none")}
    if group_by is GroupBy.WEEK:
        return named | {key: (_week(key), _week(key)) for key in keys if key is not None}
    ids = [UUID(key) for key in keys if key is not None]
    if group_by is GroupBy.BUILDING:
        found = select(Space.id, Space.label, Space.label).where(Space.id.in_(ids))
    else:
        found = select(WorkOrderCategory.id, WorkOrderCategory.name, WorkOrderCategory.name_en).where(
            WorkOrderCategory.id.in_(ids)
        )
    rows = (await session.execute(found)).all()
    return named | {str(row[0]): (row[1], row[2]) for row in rows}


def _week(monday: str) -> str:
    year, week, _ = date.fromisoformat(monday).isocalendar()
    return f"{year}-W{week:02}"
