"""Which days are holidays, by the `holidays` package: statutory days of a country, and China's shifted working days."""

from datetime import date
from functools import cache
from typing import Any

import structlog

from app.service_desk.working_time import DayKind

log = structlog.get_logger(__name__)


def kind_of(code: str, day: date) -> DayKind:
    """What a day is where `code` (CN, DE-BE; empty for nowhere) holds. Where nothing is known, a day is ordinary."""
    days = _days(code) if code else None
    if days is None:
        return DayKind.ORDINARY
    if day in days:
        return DayKind.HOLIDAY
    return DayKind.ADJUSTED if day in days.weekend_workdays else DayKind.ORDINARY


@cache
def missing(code: str, year: int) -> bool:
    """Whether the list of a year is not there, or not whole.

    China tells each autumn which weekends are worked in the next year: until then its statutory days are known and the
    shifted ones are not. Logged once for each year.
    """
    if not code:
        return False
    days = _days(code)
    if days is None:
        log.warning("holidays_unknown", code=code)
        return True
    known = not getattr(days, "has_substituted_holidays", False) or year <= max(days.special_public_holidays)
    if not known:
        log.warning("holiday_list_missing", code=code, year=year)
    return not known


@cache
def _days(code: str) -> Any:
    """The holidays of a country; None when the package has none. It reads a year when it is first asked for."""
    import holidays

    country, _, part = code.partition("-")
    try:
        return holidays.country_holidays(country, subdiv=part or None)
    except NotImplementedError:
        return None
