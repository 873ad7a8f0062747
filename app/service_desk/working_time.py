"""Time that counts: minutes in the working hours of a community, on its clock, around its holidays. Pure.

A calendar of None means every minute of the day and night.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

DAYS_MAX = 1_500
"""How far ahead working time is looked for."""
DAY_MINUTES = 24 * 60

Spans = tuple[tuple[int, int], ...]
Stop = tuple[datetime, datetime | None]
"""From when to when the clock stood; it still stands when the end is None."""


class DayKind(StrEnum):
    ORDINARY = "ordinary"
    HOLIDAY = "holiday"
    ADJUSTED = "adjusted"
    """调休: a day of the weekend on which people work instead of another day."""


class NoWorkingTime(Exception):
    """The working hours never come."""


@dataclass(frozen=True)
class Calendar:
    """`hours` are minutes since local midnight, by ISO weekday; a day that is not in it is no working day."""

    zone: ZoneInfo
    hours: Mapping[int, Spans]
    kind_of: Callable[[date], DayKind]

    def spans(self, day: date) -> Spans:
        kind = self.kind_of(day)
        if kind is DayKind.HOLIDAY:
            return ()
        # A day of the weekend that is worked instead of another is worked as long as the days of the week.
        weekdays = (1, 2, 3, 4, 5) if kind is DayKind.ADJUSTED else ()
        return next((self.hours[one] for one in (*weekdays, day.isoweekday()) if self.hours.get(one)), ())


def intervals(calendar: Calendar, start: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Working time from `start` on, in UTC: a day on which the clock changes is as long as it is."""
    day = start.astimezone(calendar.zone).date()
    for _ in range(DAYS_MAX):
        for begin, end in calendar.spans(day):
            from_, to = max(start, _at(calendar, day, begin)), _at(calendar, day, end)
            if from_ < to:
                yield from_, to
        day += timedelta(days=1)


def _at(calendar: Calendar, day: date, minute: int) -> datetime:
    if minute >= DAY_MINUTES:
        day, minute = day + timedelta(days=1), 0
    return datetime.combine(day, time(minute // 60, minute % 60), tzinfo=calendar.zone).astimezone(UTC)


def add(start: datetime, worked: timedelta, calendar: Calendar | None) -> datetime:
    """When so much working time has passed since `start`. Raises NoWorkingTime."""
    if calendar is None or not worked:
        return start + worked
    left = worked
    for begin, end in intervals(calendar, start):
        if left <= end - begin:
            return begin + left
        left -= end - begin
    raise NoWorkingTime


def between(start: datetime, end: datetime, calendar: Calendar | None) -> timedelta:
    """Working time between two moments; none when they are the wrong way round."""
    if calendar is None:
        return max(end - start, timedelta())
    total = timedelta()
    for begin, over in intervals(calendar, start):
        if begin >= end:
            break
        total += min(over, end) - begin
    return total


def due_at(
    start: datetime, worked: timedelta, calendar: Calendar | None, stops: Sequence[Stop] = ()
) -> datetime | None:
    """When so much time has counted since `start`, without the stops; None while one lasts that is in the way.

    `stops` follow each other. Raises NoWorkingTime.
    """
    if not worked:
        return start
    left, at = worked, start
    for stopped, resumed in stops:
        counted = between(at, stopped, calendar)
        if counted >= left and stopped > at:
            break
        left -= counted
        if resumed is None:
            return None
        at = max(at, resumed)
    return add(at, left, calendar)
