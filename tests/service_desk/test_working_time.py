"""Time that counts: working hours, holidays, shifted working days, clock changes, pauses."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.service_desk import holiday_lists, working_time
from app.service_desk.working_time import Calendar, DayKind, NoWorkingTime, Spans

BERLIN, SHANGHAI = ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Shanghai")
OFFICE: dict[int, Spans] = dict.fromkeys(range(1, 6), ((510, 720), (810, 1050)))
"""Monday to Friday 08:30 to 12:00 and 13:30 to 17:30."""


def daily(*span: int) -> dict[int, Spans]:
    return dict.fromkeys(range(1, 8), ((span[0], span[1]),))


def calendar(hours: dict[int, Spans], zone: ZoneInfo = SHANGHAI, code: str = "") -> Calendar:
    return Calendar(zone, hours, lambda day: holiday_lists.kind_of(code, day))


def due(start: str, minutes: int, hours: Calendar, *stops: tuple[str, str]) -> str:
    """Local to local."""
    found = working_time.due_at(
        at(start, hours), timedelta(minutes=minutes), hours, [(at(a, hours), at(b, hours)) for a, b in stops]
    )
    assert found is not None
    return found.astimezone(hours.zone).strftime("%Y-%m-%d %H:%M")


def at(text: str, hours: Calendar) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=hours.zone).astimezone(UTC)


def test_a_report_on_friday_evening_is_due_on_monday():
    office = calendar(OFFICE)
    assert due("2026-11-20 17:00", 60, office) == "2026-11-23 09:00"
    assert due("2026-11-20 11:45", 30, office) == "2026-11-20 13:45"
    assert due("2026-11-21 03:00", 450, office) == "2026-11-23 17:30"
    assert due("2026-11-20 20:00", 0, office) == "2026-11-20 20:00"


def test_the_national_holiday_is_skipped_and_the_weekend_worked_instead_counts():
    """2026: off 1 to 7 October, worked on Sunday 20 September and Saturday 10 October."""
    office = calendar(OFFICE, code="CN")
    assert due("2026-09-30 17:00", 60, office) == "2026-10-08 09:00"
    assert due("2026-10-09 17:00", 60, office) == "2026-10-10 09:00"
    assert due("2026-09-19 09:00", 60, office) == "2026-09-20 09:30"
    assert due("2026-10-09 17:00", 60, calendar(OFFICE)) == "2026-10-12 09:00", "without a list, by weekdays"


def test_germany_has_other_holidays_and_its_states_more():
    assert holiday_lists.kind_of("DE", date(2026, 10, 3)) is DayKind.HOLIDAY
    assert holiday_lists.kind_of("DE", date(2026, 3, 8)) is DayKind.ORDINARY
    assert holiday_lists.kind_of("DE-BE", date(2026, 3, 8)) is DayKind.HOLIDAY
    assert not holiday_lists.missing("DE", 2040)


def test_a_year_whose_list_is_not_out_yet_is_known_to_be_missing_and_counted_all_the_same():
    assert not holiday_lists.missing("CN", 2026)
    assert holiday_lists.missing("CN", 2060)
    assert holiday_lists.kind_of("CN", date(2060, 10, 1)) is DayKind.HOLIDAY
    assert holiday_lists.missing("XX", 2026)
    assert holiday_lists.kind_of("XX", date(2026, 10, 1)) is DayKind.ORDINARY
    assert not holiday_lists.missing("", 2026)


def test_when_the_clock_changes_a_night_shift_is_an_hour_shorter_or_longer():
    round_the_clock = calendar(daily(0, 1440), BERLIN)
    assert due("2026-03-29 00:00", 23 * 60, round_the_clock) == "2026-03-30 00:00"
    assert due("2026-10-25 00:00", 25 * 60, round_the_clock) == "2026-10-26 00:00"
    night = calendar(daily(0, 360), BERLIN)
    assert due("2026-03-28 12:00", 5 * 60, night) == "2026-03-29 06:00"
    assert due("2026-10-24 12:00", 6 * 60, night) == "2026-10-25 05:00"
    within = calendar(daily(150, 240), BERLIN)
    assert due("2026-03-28 12:00", 30, within) == "2026-03-29 04:00", "02:30 is never on the clock that night"


def test_a_pause_stops_the_clock():
    office = calendar(OFFICE)
    assert due("2026-11-23 09:00", 120, office, ("2026-11-23 10:00", "2026-11-23 15:00")) == "2026-11-23 16:00"
    assert due("2026-11-23 09:00", 60, office, ("2026-11-23 10:30", "2026-11-24 15:00")) == "2026-11-23 10:00"
    start = at("2026-11-23 09:00", office)
    assert working_time.due_at(start, timedelta(hours=2), office, [(start, None)]) is None
    over = working_time.due_at(start, timedelta(hours=1), office, [(start + timedelta(hours=3), None)])
    assert over == start + timedelta(hours=1), "what was late before the pause stays late"


def test_hours_that_never_come_are_told_as_such():
    with pytest.raises(NoWorkingTime):
        working_time.add(datetime(2026, 1, 1, tzinfo=UTC), timedelta(minutes=1), calendar({}))


def test_a_saturday_worked_instead_of_a_monday_is_as_long_as_a_monday():
    hours = {**OFFICE, 6: ((540, 600),)}
    assert due("2026-10-10 09:00", 60, calendar(hours, code="CN")) == "2026-10-10 10:00"
    assert due("2026-10-10 09:00", 90, calendar(hours, code="CN")) == "2026-10-10 10:30"
    assert due("2026-10-17 09:00", 90, calendar(hours, code="CN")) == "2026-10-19 09:00"


MOMENTS = st.integers(0, 700_000).map(lambda minutes: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes))
CALENDARS = st.sampled_from(
    [calendar(OFFICE, code="CN"), calendar(OFFICE, BERLIN, "DE"), calendar(daily(0, 1440), BERLIN)]
)


@given(MOMENTS, st.integers(1, 6_000), CALENDARS)
def test_what_is_due_after_so_many_minutes_is_so_many_minutes_away(start, minutes, hours):
    worked = timedelta(minutes=minutes)
    end = working_time.add(start, worked, hours)
    assert working_time.between(start, end, hours) == worked
    assert working_time.between(start, end - timedelta(minutes=1), hours) == worked - timedelta(minutes=1)


@given(MOMENTS, st.integers(1, 3_000), st.integers(0, 5_000), st.integers(1, 5_000), CALENDARS)
def test_a_pause_costs_exactly_its_own_working_time(start, minutes, before, long, hours):
    stop = (start + timedelta(minutes=before), start + timedelta(minutes=before + long))
    worked = timedelta(minutes=minutes)
    end = working_time.due_at(start, worked, hours, [stop])
    assert end is not None
    paused = working_time.between(stop[0], min(stop[1], max(end, stop[0])), hours)
    assert working_time.between(start, end, hours) == worked + (paused if end > stop[0] else timedelta())
