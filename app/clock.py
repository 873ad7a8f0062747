"""The time of this process, set by the database: a machine whose clock is off must not write other times than the rest.

Leases, the feed and the limits live by the time of Redis. Rows, tokens and ids live by this one.
"""

import time
import uuid
from datetime import UTC, datetime, timedelta

import structlog
from prometheus_client import Gauge
from uuid_utils.compat import uuid7

log = structlog.get_logger(__name__)

OFFSET_SECONDS_MIN = 1.0
"""A smaller difference may as well come from a busy machine, and harms nothing."""
OFFSET_SECONDS = Gauge("linli_clock_offset_seconds", "How far this machine's clock is behind the database's.")


class Clock:
    """This machine's clock, put right."""

    def __init__(self) -> None:
        self.offset_seconds = 0.0

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.offset_seconds)

    def new_id(self) -> uuid.UUID:
        """A time-ordered id, so that a row's id is known before it is written."""
        if not self.offset_seconds:
            return uuid7()
        return uuid7(nanoseconds=time.time_ns() + round(self.offset_seconds * 1e9))

    def set_by(self, database_now: datetime, *, asked_at: float, told_at: float) -> None:
        """Follow a time that the database told between two readings of time.time()."""
        offset = database_now.timestamp() - (asked_at + told_at) / 2
        if abs(offset) < max(OFFSET_SECONDS_MIN, told_at - asked_at):
            offset = 0.0
        OFFSET_SECONDS.set(offset)
        if abs(offset - self.offset_seconds) >= OFFSET_SECONDS_MIN:
            log.warning("clock_put_right", offset_seconds=round(offset, 1))
            self.offset_seconds = offset


CLOCK = Clock()
