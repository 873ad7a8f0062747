"""A circuit breaker: after too many failures nobody is sent to a broken engine; it is tried again by and by."""

import logging
import math
import time
from collections import deque
from collections.abc import Callable
from enum import StrEnum

logger = logging.getLogger(__name__)

OUTCOMES_MAX = 1_000
REST_DOUBLINGS_MAX = 4


class Position(StrEnum):
    """CLOSED: all go through. OPEN: none. HALF_OPEN: one at a time, to see."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Breaker:
    """Opens when, within the window, failures reach the limit and are at least half of all outcomes.

    The half keeps a busy engine with a rare failure in service. After a rest one caller is let through: its success
    closes the breaker, its failure doubles the rest (up to 16 times). Not thread-safe: one event loop uses it.
    """

    def __init__(
        self,
        *,
        failures_max: int,
        window_seconds: float,
        rest_seconds: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._failures_max = failures_max
        self._window_seconds = window_seconds
        self._rest_seconds = rest_seconds
        self._now = now
        self._outcomes: deque[tuple[float, bool]] = deque(maxlen=OUTCOMES_MAX)
        self._opened_at: float | None = None
        self._times_opened = 0
        self._probing = False
        self.detail = ""

    @property
    def position(self) -> Position:
        """Where it stands now; an open one becomes half open by time alone."""
        if self._opened_at is None:
            return Position.CLOSED
        return Position.OPEN if self.seconds_until_probe() > 0 else Position.HALF_OPEN

    def seconds_until_probe(self) -> float:
        """How long nobody will be let through; 0 when somebody may try."""
        if self._opened_at is None:
            return 0.0
        rest = self._rest_seconds * float(2 ** min(self._times_opened - 1, REST_DOUBLINGS_MAX))
        return max(0.0, self._opened_at + rest - self._now())

    def enter(self) -> bool:
        """Whether a caller may go through. In half-open the first one may; it must `leave` whatever happens."""
        position = self.position
        if position is Position.CLOSED:
            return True
        if position is Position.OPEN or self._probing:
            return False
        self._probing = True
        return True

    def ripen(self) -> None:
        """The rest is over at once: there is reason to think that the engine is another one now."""
        if self._opened_at is not None:
            self._opened_at = -math.inf

    def leave(self) -> None:
        """The caller is gone without telling how it went (it was cancelled, say); the next one may try."""
        self._probing = False

    def succeeded(self) -> None:
        self._probing = False
        self._outcomes.append((self._now(), True))
        if self._opened_at is not None:
            logger.info("The engine answers again.")
            self._opened_at, self._times_opened, self.detail = None, 0, ""
            self._outcomes.clear()

    def failed(self, detail: str, *, certain: bool = False) -> None:
        """Count one failure; `certain` opens at once (the canary saw a hung engine)."""
        now = self._now()
        self._probing = False
        self._outcomes.append((now, False))
        while self._outcomes and self._outcomes[0][0] < now - self._window_seconds:
            self._outcomes.popleft()
        failures = sum(1 for _, good in self._outcomes if not good)
        too_many = failures >= self._failures_max and failures * 2 >= len(self._outcomes)
        half_open = self.position is Position.HALF_OPEN
        if half_open or (self._opened_at is None and (too_many or certain)):
            self._opened_at = now
            self._times_opened += 1
            logger.warning("The engine is not used for now: %s", detail)
        self.detail = detail
