"""When the office is staffed, from the community's own words ("周一至周五 08:30-12:00, 14:00-18:00"). Pure."""

import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

SPAN = re.compile(r"(\d{1,2})[:：点](\d{2})?\s*(?:-|–|—|~|～|至|到|to)\s*(\d{1,2})[:：点](\d{2})?", re.IGNORECASE)
DAYS = "一二三四五六日"
ENGLISH_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY = rf"(?:周|星期|礼拜)([{DAYS}天])|\b({'|'.join(ENGLISH_DAYS)})[a-z]*"
DAY_SPAN = re.compile(rf"(?:{DAY})\s*(?:-|–|—|~|～|至|到|to)\s*(?:{DAY})", re.IGNORECASE)
WORKDAYS = re.compile(r"工作日|weekdays|working days", re.IGNORECASE)
DAYS_LOOKED_AHEAD = 14


@dataclass(frozen=True)
class Opening:
    """Whether the office is staffed now, and from when on it is if not."""

    is_open: bool
    opens_at: datetime


@dataclass(frozen=True)
class Hours:
    """Spans of each day, on the given weekdays (Monday is 0). No spans: nobody said, so it counts as open."""

    spans: tuple[tuple[time, time], ...]
    weekdays: frozenset[int]


def read(text: str) -> Hours:
    """The hours that a text names; times it does not understand are left out."""
    spans = []
    for start_hour, start_minute, end_hour, end_minute in SPAN.findall(text):
        start, end = _time(start_hour, start_minute), _time(end_hour, end_minute)
        if start is not None and end is not None and start < end:
            spans.append((start, end))
    return Hours(tuple(sorted(spans)), _weekdays(text))


def opening(text: str, timezone: str, at: datetime) -> Opening:
    """Whether the office is open at a time, in the community's time zone, and when it opens next."""
    hours, local = read(text), at.astimezone(ZoneInfo(timezone))
    if not hours.spans:
        return Opening(True, at)
    for ahead in range(DAYS_LOOKED_AHEAD):
        day = (local + timedelta(days=ahead)).date()
        if day.weekday() not in hours.weekdays:
            continue
        for start, end in hours.spans:
            opens, closes = (datetime.combine(day, one, local.tzinfo) for one in (start, end))
            if opens <= local < closes:
                return Opening(True, at)
            if opens > local:
                return Opening(False, opens.astimezone(at.tzinfo))
    return Opening(True, at)


def _time(hour: str, minute: str) -> time | None:
    hours, minutes = int(hour), int(minute or 0)
    if (hours, minutes) == (24, 0):
        return time(23, 59, 59)
    return time(hours, minutes) if hours < 24 and minutes < 60 else None


def _weekdays(text: str) -> frozenset[int]:
    if WORKDAYS.search(text):
        return frozenset(range(5))
    found = DAY_SPAN.search(text)
    if found is None:
        return frozenset(range(7))
    first, last = (_weekday(*pair) for pair in (found.groups()[:2], found.groups()[2:]))
    return frozenset((first + n) % 7 for n in range((last - first) % 7 + 1))


def _weekday(chinese: str | None, english: str | None) -> int:
    if chinese:
        return DAYS.index("日" if chinese == "天" else chinese)
    return ENGLISH_DAYS.index((english or "").lower())
