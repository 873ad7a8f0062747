"""When the office is staffed."""

from datetime import UTC, datetime

import pytest

from app.chat.hours import opening

SHANGHAI, BERLIN = "Asia/Shanghai", "Europe/Berlin"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("hours", "zone", "now", "is_open", "opens_at"),
    [
        ("08:30-18:00", SHANGHAI, "2026-11-22T02:00", True, "2026-11-22T02:00"),
        ("08:30-18:00", SHANGHAI, "2026-11-22T10:00", False, "2026-11-23T00:30"),
        ("08:30-18:00", SHANGHAI, "2026-11-21T23:00", False, "2026-11-22T00:30"),
        ("8:30至12:00，14:00至18:00", SHANGHAI, "2026-11-22T05:00", False, "2026-11-22T06:00"),
        ("周一至周五 08:30-18:00", SHANGHAI, "2026-11-22T02:00", False, "2026-11-23T00:30"),
        ("Mon-Fri 9:00 to 17:00", SHANGHAI, "2026-11-21T02:00", False, "2026-11-23T01:00"),
        ("工作日 9点-17点", SHANGHAI, "2026-11-22T02:00", False, "2026-11-23T01:00"),
        ("00:00-24:00", SHANGHAI, "2026-11-22T15:59", True, "2026-11-22T15:59"),
        ("", SHANGHAI, "2026-11-22T18:00", True, "2026-11-22T18:00"),
        ("by appointment", SHANGHAI, "2026-11-22T18:00", True, "2026-11-22T18:00"),
        # The night in which the clocks go forward: 09:00 is an hour earlier in UTC.
        ("09:00-17:00", BERLIN, "2027-03-27T20:00", False, "2027-03-28T07:00"),
        ("09:00-17:00", BERLIN, "2027-03-26T20:00", False, "2027-03-27T08:00"),
    ],
)
def test_opening(hours, zone, now, is_open, opens_at):
    found = opening(hours, zone, at(now))
    assert (found.is_open, found.opens_at) == (is_open, at(opens_at))
