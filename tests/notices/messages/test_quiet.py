"""Quiet hours on the clock of the community, over midnight and over summer time."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.notices import quiet

BERLIN, SHANGHAI = ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Shanghai")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@pytest.mark.parametrize(
    ("now", "goes"),
    [
        ("2026-11-22T21:59:00+08:00", "2026-11-22T21:59:00+08:00"),
        ("2026-11-22T22:00:00+08:00", "2026-11-23T07:00:00+08:00"),
        ("2026-11-23T06:59:59+08:00", "2026-11-23T07:00:00+08:00"),
        ("2026-11-23T07:00:00+08:00", "2026-11-23T07:00:00+08:00"),
    ],
)
def test_the_night_reaches_over_midnight(now: str, goes: str):
    assert quiet.may_go_at(at(now), kind="x", hours="22:00-07:00", zone=SHANGHAI) == at(goes)
    assert quiet.may_go_at(at(now), kind="emergency.ring", hours="22:00-07:00", zone=SHANGHAI) == at(now)


def test_seven_in_the_morning_is_seven_on_the_wall_when_the_clock_changes():
    night = at("2026-03-28T23:00:00+01:00")
    assert quiet.may_go_at(night, kind="x", hours="22:00-07:00", zone=BERLIN) == at("2026-03-29T07:00:00+02:00")
    night = at("2026-10-24T23:00:00+02:00")
    assert quiet.may_go_at(night, kind="x", hours="22:00-07:00", zone=BERLIN) == at("2026-10-25T07:00:00+01:00")


@given(
    st.integers(0, 2 * 366 * 24 * 60).map(
        lambda minutes: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
    ),
    st.from_regex(quiet.HOURS, fullmatch=True) | st.just(""),
    st.sampled_from([BERLIN, SHANGHAI]),
)
def test_it_never_goes_too_early_nor_more_than_a_day_late(now: datetime, hours: str, zone: ZoneInfo):
    goes = quiet.may_go_at(now, kind="x", hours=hours, zone=zone)
    assert now <= goes <= now + timedelta(hours=25)
    again = quiet.may_go_at(goes, kind="x", hours=hours, zone=zone)
    assert again == goes, "what may go then is not held back then"
