"""Analytics over REST, as JSON or CSV. Each metric has its own address: `/analytics/resolution?group_by=week`."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import date
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Query, Response
from pydantic import BaseModel, Field

from app.people.callers import Caller, SessionDep, require_in_community
from app.people.cells import write_csv
from app.people.doors import DoorRoute
from app.rest.moments import Day
from app.runtime import RuntimeDep
from app.service_desk import analytics
from app.service_desk.analytics import Figures, Period
from app.service_desk.measures import MEASURES, GroupBy, Metric

router = APIRouter(prefix="/communities/{cid}/analytics", tags=["analytics"], route_class=DoorRoute)

Reader = Annotated[Caller, Depends(require_in_community("analytics:read"))]
First = Annotated[Day | None, Query(alias="from", description="First day, in the community's time zone.")]
Last = Annotated[Day | None, Query(alias="to", description="Last day, included; today when left out.")]
Format = Annotated[Literal["json", "csv"] | None, Query(description="Also by `Accept: text/csv`.")]
Accept = Annotated[str | None, Header(max_length=500, include_in_schema=False)]
CSV = "text/csv"


class FiguresOut(BaseModel):
    """Figures of one group. Those of few households are null, as are those by which they could be computed."""

    key: str | None = Field(description="An id, the Monday of a week, or null for what belongs to none.")
    label: str
    label_en: str
    households: int | None
    count: int | None = Field(description="Orders or promises counted.")
    values: dict[str, float | None]
    suppressed: bool


class MetricOut(BaseModel):
    metric: Metric
    about: str
    unit: str
    first: date = Field(serialization_alias="from")
    last: date = Field(serialization_alias="to")
    timezone: str
    group_by: GroupBy | None
    total: FiguresOut
    groups: list[FiguresOut]


class OverviewOut(BaseModel):
    """The total of every metric."""

    first: date = Field(serialization_alias="from")
    last: date = Field(serialization_alias="to")
    timezone: str
    metrics: dict[Metric, FiguresOut]


AS_CSV: dict[int | str, dict[str, Any]] = {
    200: {"content": {CSV: {"schema": {"type": "string"}}}, "description": "Also as CSV."}
}


@router.get("/overview", response_model=OverviewOut, responses=AS_CSV)
async def get_overview(
    caller: Reader,
    session: SessionDep,
    runtime: RuntimeDep,
    first: First = None,
    last: Last = None,
    format_: Annotated[Format, Query(alias="format")] = None,
    accept: Accept = None,
) -> OverviewOut | Response:
    """All metrics over the period, four weeks when left out; groups under the least number of households hidden."""
    period = await analytics.period_of(session, caller, first, last, now=runtime.clock())
    totals = {metric: (await analytics.measure(session, caller, metric, period, group_by=None))[0] for metric in Metric}
    if _wants_csv(format_, accept):
        header = ["metric", "unit", "figure", "value", "households", "suppressed"]
        return _csv("overview", period, header, [row for name, one in totals.items() for row in _long(name, one)])
    return OverviewOut(
        first=period.first, last=period.last, timezone=period.zone.key,
        metrics={metric: _out(one) for metric, one in totals.items()},
    )  # fmt: skip


def _make(metric: Metric) -> Callable[..., Awaitable[MetricOut | Response]]:
    async def get_metric(
        caller: Reader,
        session: SessionDep,
        runtime: RuntimeDep,
        group_by: GroupBy | None = None,
        first: First = None,
        last: Last = None,
        format_: Annotated[Format, Query(alias="format")] = None,
        accept: Accept = None,
    ) -> MetricOut | Response:
        period = await analytics.period_of(session, caller, first, last, now=runtime.clock())
        total, groups = await analytics.measure(session, caller, metric, period, group_by=group_by)
        if _wants_csv(format_, accept):
            names = list(MEASURES[metric].figures)
            header = ["key", "label", "label_en", "households", "count", *names, "suppressed"]
            return _csv(metric, period, header, [_wide(one, names) for one in [*groups, total]])
        return MetricOut(
            metric=metric, about=MEASURES[metric].about, unit=MEASURES[metric].unit, first=period.first,
            last=period.last, timezone=period.zone.key, group_by=group_by, total=_out(total),
            groups=[_out(one) for one in groups],
        )  # fmt: skip

    # The name is the operation's id, in OpenAPI and in the audit log.
    get_metric.__name__ = f"get_{metric}"
    return get_metric


for _metric in Metric:
    router.add_api_route(
        f"/{_metric}", _make(_metric), methods=["GET"], name=f"get_{_metric}", response_model=MetricOut,
        responses=AS_CSV, description=MEASURES[_metric].about,
    )  # fmt: skip


def _out(one: Figures) -> FiguresOut:
    return FiguresOut(
        key=one.key, label=one.label, label_en=one.label_en, households=one.households, count=one.rows,
        values=one.values, suppressed=one.hidden,
    )  # fmt: skip


def _wants_csv(asked: str | None, accept: str | None) -> bool:
    return asked == "csv" or (asked is None and (accept or "").lower().startswith(CSV))


def _wide(one: Figures, names: Sequence[str]) -> list[object]:
    figures = [one.values[name] for name in names]
    return [one.key, one.label, one.label_en, one.households, one.rows, *figures, _told(hidden=one.hidden)]


def _long(metric: Metric, one: Figures) -> list[list[object]]:
    figures = {"count": one.rows, **one.values}
    unit = MEASURES[metric].unit
    return [
        [metric.value, unit, name, value, one.households, _told(hidden=one.hidden)] for name, value in figures.items()
    ]


def _told(*, hidden: bool) -> str:
    return "yes" if hidden else "no"


def _csv(name: str, period: Period, header: Sequence[str], rows: Sequence[Sequence[object]]) -> Response:
    file_name = f"{name}-{period.first}-{period.last}.csv"
    return Response(
        write_csv(header, rows), media_type=CSV, headers={"Content-Disposition": f'attachment; filename="{file_name}"'}
    )
