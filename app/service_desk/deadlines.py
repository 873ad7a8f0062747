"""When an order is due, and what happens as that comes near and passes: each step once. Pure, but for its rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.people import communities
from app.people.community_settings import CommunitySettings
from app.people.tables import Community
from app.service_desk import holiday_lists, transitions, working_time
from app.service_desk.duty_tables import SlaRule
from app.service_desk.tables import (
    CategoryClass,
    EventKind,
    Status,
    Urgency,
    WorkOrder,
    WorkOrderCategory,
    WorkOrderEvent,
)
from app.service_desk.working_time import Calendar, DayKind, NoWorkingTime, Stop

DONE = transitions.HANDLED | transitions.ENDED
STANDING = transitions.STANDING
RUNNING = frozenset(Status) - DONE - STANDING
"""In these the clock of an order runs; in STANDING it stands; in DONE there is nothing more to be late with."""
UNHEARD = transitions.UNASSIGNED | {Status.DISPATCHED, Status.TRANSFERRED}
"""Nobody has said yet that they take it on."""


@dataclass(frozen=True)
class Terms:
    """How long an order may take, when it is warned of and, so long after its end, escalated.

    `clock`: every minute counts, not working time only.
    """

    class_: CategoryClass
    respond: timedelta
    resolve: timedelta
    warn: timedelta
    escalate: timedelta
    source: str
    clock: bool = False


MINUTES: dict[CategoryClass, tuple[int, int]] = {
    CategoryClass.NORMAL: (60, 1_440),
    CategoryClass.PAID: (60, 960),
    CategoryClass.EMERGENCY: (5, 120),
    CategoryClass.WARRANTY: (120, 2_880),
}
"""To be answered and to be done within so many, where a community and its categories say nothing."""
EMERGENCY_ESCALATE = timedelta(minutes=15)


@dataclass(frozen=True)
class Plan:
    """When an order is due; None while its clock stands. `why` explains it on the order."""

    respond_due_at: datetime | None
    due_at: datetime | None
    warn_at: datetime | None
    escalate_at: datetime | None
    why: dict[str, Any]


def class_of(urgency: Urgency, category: WorkOrderCategory | None) -> CategoryClass:
    if urgency is Urgency.EMERGENCY:
        return CategoryClass.EMERGENCY
    return category.class_ if category else CategoryClass.NORMAL


def choose_terms(
    class_: CategoryClass, category: WorkOrderCategory | None, rules: Sequence[SlaRule], settings: CommunitySettings
) -> Terms:
    """A rule for class and category, else the category's own minutes, else a rule for the class, else ours."""
    ours = {one.category_id: one for one in rules if one.class_ is class_}
    exact = ours.get(category.id) if category else None
    rule = exact or ours.get(None)
    source = f"rule:{rule.id}" if rule else "built_in"
    respond, resolve = (rule.respond_minutes, rule.resolve_minutes) if rule else MINUTES[class_]
    own = category is not None and exact is None and category.class_ is class_
    if own and category is not None and (category.respond_minutes or category.resolve_minutes):
        source = "category"
        respond, resolve = category.respond_minutes or respond, category.resolve_minutes or resolve
    emergency = class_ is CategoryClass.EMERGENCY
    warn = timedelta(minutes=resolve) * (100 - settings.deadline_warn_percent) / 100
    escalate = timedelta(minutes=settings.deadline_escalate_minutes)
    if rule and rule.warn_minutes is not None:
        warn = timedelta(minutes=rule.warn_minutes)
    if rule and rule.escalate_minutes is not None:
        escalate = timedelta(minutes=rule.escalate_minutes)
    elif emergency:
        escalate = min(escalate, EMERGENCY_ESCALATE)
    return Terms(
        class_, timedelta(minutes=respond), timedelta(minutes=resolve), warn, escalate, source, clock=emergency
    )


LIST_MISSING = ("节假日安排缺失，按星期和已知法定节日计算", "the list of holidays is missing, so weekdays count")
NO_HOURS = ("该小区没有工作时间，按自然时间计算", "the community has no working hours, so every hour counts")


def plan(start: datetime, terms: Terms, calendar: Calendar | None, stops: Sequence[Stop], *, code: str = "") -> Plan:
    """When an order that began at `start` is due under these terms. Hours that never come count as no hours at all."""
    notes: list[tuple[str, str]] = []
    counted = None if terms.clock else calendar
    try:
        respond, due = _dues(start, terms, counted, stops)
    except NoWorkingTime:
        counted = None
        notes.append(NO_HOURS)
        respond, due = _dues(start, terms, None, stops)
    if counted is not None:
        years = {start.year} | ({due.year} if due else set())
        if any(holiday_lists.missing(code, year) for year in years):
            notes.append(
                (
                    "节假日安排缺失，按星期和已知法定节日计算",
                    "the list of holidays is missing: weekdays and known days count",
                )
            )
    warn_at = max(start, due - terms.warn) if due and terms.warn is not None else None
    escalate_at = working_time.add(due, terms.escalate, counted) if due and terms.escalate is not None else None
    why = _why(terms, counted is None, notes)
    return Plan(respond, due, warn_at, escalate_at, why)


def _dues(
    start: datetime, terms: Terms, calendar: Calendar | None, stops: Sequence[Stop]
) -> tuple[datetime | None, datetime | None]:
    return (
        working_time.due_at(start, terms.respond, calendar, stops),
        working_time.due_at(start, terms.resolve, calendar, stops),
    )


def _why(terms: Terms, clock: bool, notes: Sequence[tuple[str, str]]) -> dict[str, Any]:
    respond, resolve = (round(one.total_seconds() / 60) for one in (terms.respond, terms.resolve))
    counted_zh, counted_en = ("自然时间", "the clock") if clock else ("工作时间", "working time")
    zh = [f"{respond} 分钟内响应，{resolve} 分钟内办结（{counted_zh}）", *(one for one, _ in notes)]
    en = [f"to be answered in {respond} and done in {resolve} minutes of {counted_en}", *(one for _, one in notes)]
    return {
        "class": terms.class_.value, "source": terms.source, "respond_minutes": respond, "resolve_minutes": resolve,
        "clock": "clock" if clock else "working_hours", "zh": "；".join(zh) + "。", "en": "; ".join(en) + ".",
    }  # fmt: skip


@dataclass(frozen=True)
class Step:
    """Something that is done once when its time has come: the mark on the row says that it was."""

    kind: EventKind
    mark: str
    part: str


STEPS: tuple[Step, ...] = (
    Step(EventKind.OVERDUE, "respond_overdue_at", "respond_due_at"),
    Step(EventKind.WARNED, "warned_at", "warn_at"),
    Step(EventKind.OVERDUE, "overdue_at", "due_at"),
    Step(EventKind.ESCALATED, "escalated_at", "escalate_at"),
)


def open_steps(order: WorkOrder, planned: Plan) -> list[tuple[datetime, Step]]:
    """What is still to come, or has come, in order of time. A standing clock has no steps ahead."""
    if order.status in DONE:
        return []
    found = []
    for step in STEPS:
        at = getattr(planned, step.part)
        answered = step.part == "respond_due_at" and order.status not in UNHEARD
        # A warning after the time is over warns of nothing.
        pointless = step.mark == "warned_at" and order.overdue_at is not None
        if at is not None and getattr(order, step.mark) is None and not answered and not pointless:
            found.append((at, step))
    return sorted(found, key=lambda one: (one[0], STEPS.index(one[1])))


def stops_of(moves: Sequence[WorkOrderEvent]) -> tuple[datetime | None, list[Stop]]:
    """(when it was opened again last, the stops since), from the moves of an order, oldest first."""
    begun: datetime | None = None
    stops: list[Stop] = []
    stopped: datetime | None = None
    for event in moves:
        if event.to_status is Status.SUBMITTED and event.from_status in DONE:
            begun, stops, stopped = event.created_at, [], None
        elif event.to_status in STANDING:
            stopped = stopped or event.created_at
        elif stopped is not None:
            stops.append((stopped, event.created_at))
            stopped = None
    if stopped is not None:
        stops.append((stopped, None))
    return begun, stops


@dataclass(frozen=True)
class House:
    """What the deadlines of a community come from; a sweep reads it once for all of its orders."""

    settings: CommunitySettings
    calendar: Calendar
    rules: Sequence[SlaRule]
    categories: Mapping[UUID, WorkOrderCategory]


async def house_of(session: AsyncSession, community_id: UUID) -> House:
    settings = await communities.read_settings(session, community_id)
    community = await session.get_one(Community, community_id)
    rules = await session.scalars(select(SlaRule).where(SlaRule.community_id == community_id))
    kinds = await session.scalars(select(WorkOrderCategory).where(WorkOrderCategory.community_id == community_id))
    return House(settings, calendar_of(community.timezone, settings), rules.all(), {one.id: one for one in kinds.all()})


async def plan_of(session: AsyncSession, order: WorkOrder, house: House) -> Plan:
    """The plan of an order, from what its community says and the moves there were."""
    category = house.categories.get(order.category_id) if order.category_id else None
    terms = choose_terms(class_of(order.urgency, category), category, house.rules, house.settings)
    moves = (
        await session.scalars(
            select(WorkOrderEvent)
            .where(
                WorkOrderEvent.community_id == order.community_id,
                WorkOrderEvent.work_order_id == order.id,
                WorkOrderEvent.kind == EventKind.MOVED,
            )
            .order_by(WorkOrderEvent.id)
        )
    ).all()
    begun, stops = stops_of(moves)
    start = begun or order.created_at
    return plan(start, terms, house.calendar, stops, code=house.settings.holiday_calendar)


def calendar_of(timezone: str, settings: CommunitySettings) -> Calendar:
    """The working time of a community: its hours, the holidays of its country, and its own exceptions."""
    hours = {
        weekday: tuple((_minute(begin), _minute(end)) for begin, end in settings.work_hours.of(weekday))
        for weekday in range(1, 8)
    }
    off, on = frozenset(settings.extra_holidays), frozenset(settings.extra_workdays)

    def kind_of(day: date) -> DayKind:
        if day in on:
            return DayKind.ADJUSTED
        return DayKind.HOLIDAY if day in off else holiday_lists.kind_of(settings.holiday_calendar, day)

    return Calendar(ZoneInfo(timezone), hours, kind_of)


def _minute(since_midnight: timedelta) -> int:
    return round(since_midnight.total_seconds() / 60)
