"""Quiet hours: what can wait until the morning does."""

import re
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

LOUD = ("emergency.", "channel.test")
"""How the kinds begin that wake people at night. A test is wanted now by whoever asked for it."""
ADVERTISING = ("campaign.",)
"""Kinds for which nobody's telephone rings."""
HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d)")


def is_loud(kind: str) -> bool:
    return kind.startswith(LOUD)


def is_advertising(kind: str) -> bool:
    return kind.startswith(ADVERTISING)


def may_go_at(now: datetime, *, kind: str, hours: str, zone: ZoneInfo) -> datetime:
    """When a message of this kind may leave, at the earliest: `now`, or the end of the quiet hours it falls into.

    `hours` is local, 22:00-07:00; empty or the same twice means never quiet.
    """
    found = HOURS.fullmatch(hours)
    if is_loud(kind) or found is None:
        return now
    begin, end = time(int(found[1]), int(found[2])), time(int(found[3]) % 24, int(found[4]))
    here = now.astimezone(zone)
    over_midnight = begin > end
    quiet = (here.time() >= begin or here.time() < end) if over_midnight else begin <= here.time() < end
    if not quiet:
        return now
    day = here.date() + timedelta(days=1) if over_midnight and here.time() >= begin else here.date()
    over = datetime.combine(day, end, tzinfo=zone)
    # When the clock is put back, an hour comes twice: its first end may be over already.
    return (over if over > now else over.replace(fold=1)).astimezone(UTC)
