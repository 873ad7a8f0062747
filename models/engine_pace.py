"""How long an engine may be silent before it counts as hung, learned from its own pace. Pure; no network here."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

TOKEN_TIMES = 20
LEARNED_TIMES = 2
TOKEN_SHARE = 0.1
"""Weight of the newest pause in the time per token lately seen."""
PACKET_SECONDS = 0.001
"""Tokens this close came in one packet and tell nothing of the time that each took."""
HALF_LIFE_SECONDS = 1_800.0
"""What was learned of slow moments counts half after this time."""
STEP_CHARS_MAX = 8_000
"""About what an engine reads between two signs of life: vLLM cuts longer prompts (2,048 tokens, unless it is told)."""
PROMPT_CHARS_MIN = 10
"""What any request makes an engine read, a test as well. Short prompts cost most per character, so they never teach too
little of a longer one."""
CACHED_SHARE_MAX = 0.5
"""A prompt that came from the prefix cache for more than this says nothing of the time that reading takes."""
LOOKS = 5
"""How often the engine's own counters are looked at while its patience runs out."""
LATE_SECONDS = 0.5
"""A process that wakes so much later than it meant to has stood still."""


class PaceSettings(Protocol):
    """The limits of the rule; `app.settings.Settings` has them."""

    @property
    def engine_stall_seconds_min(self) -> float: ...
    @property
    def engine_canary_wait_seconds(self) -> float: ...
    @property
    def engine_first_token_seconds(self) -> float: ...
    @property
    def engine_between_tokens_seconds(self) -> float: ...


class Attention:
    """`time.monotonic` less the time for which this process itself stood still: frozen, asleep, without a core.

    No token could be heard then, so the engine is neither hung nor slow for it. That it stood still shows when whoever
    watches wakes too late.
    """

    def __init__(self, real: Callable[[], float] = time.monotonic) -> None:
        self._real = real
        self._missed = 0.0
        self._due: float | None = None

    def __call__(self) -> float:
        now = self._real()
        if self._due is not None and now - self._due > LATE_SECONDS:
            self._missed += now - self._due
            self._due = now
        return now - self._missed

    def expect(self, seconds: float) -> None:
        """The next call of this or of `rest` comes within so many seconds, unless the process stands still."""
        self()
        self._due = self._real() + seconds

    def rest(self) -> None:
        """Nobody watches for now."""
        self()
        self._due = None


class Owed:
    """One request at the engine, or a test (`chars` 0). It listens from its start; telling a token ends that."""

    __slots__ = ("_char_seconds", "_pace", "_token_at", "chars", "is_cut", "listens_at", "timer")

    def __init__(self, pace: "Pace", chars: int) -> None:
        self._pace = pace
        self._token_at: float | None = None
        self._char_seconds = 0.0
        self.chars = chars
        self.listens_at: float | None = pace.now()
        self.timer: asyncio.Timeout | None = None
        self.is_cut = False

    @property
    def is_running(self) -> bool:
        """Whether its first token came."""
        return self._token_at is not None

    def listen(self) -> None:
        """From here on the engine is waited for. While a slow reader of ours holds things up, nobody listens."""
        if self.listens_at is None:
            self.listens_at = self._pace.now()

    def token(self) -> None:
        """A sign of progress came."""
        now = self._pace.now()
        if self._token_at is None:
            self._char_seconds = self._pace.first_token(now)
        else:
            self._pace.next_token(now, now - self._token_at)
        self._token_at, self.listens_at = now, None

    def was_read(self, *, cached_share: float) -> None:
        """The answer is whole, and so much of its prompt came from the prefix cache: the pace learns from it."""
        if cached_share <= CACHED_SHARE_MAX:
            self._pace.learn(self, self._char_seconds)

    def cut(self) -> None:
        """End the waiting now; whoever waits finds `is_cut`."""
        self.is_cut = True
        if self.timer is not None:
            with suppress(RuntimeError):  # nobody waits just now
                self.timer.reschedule(asyncio.get_running_loop().time())


class Pace:
    """The rule that tells a hung engine from a slow one.

    An engine hangs when something is owed to us and for `patience_seconds` there was no sign of life at all: no token
    of any answer, and none of the engine's own counters (which include other processes' requests) moved. The patience
    is the longest of
      - `engine_stall_seconds_min` (5 s);
      - 20 times the time per token lately seen, while answers run;
      - twice the time its unread prompts should take at the slowest pace lately seen (before any was read: at the
        pace of the test token, which no prompt exceeds);
      - twice the longest silence from which it lately came back by itself with no prompt of ours to read.
    It is never longer than the limit of one answer (`engine_first_token_seconds`, once all run
    `engine_between_tokens_seconds`), and is that limit while there is no pace to go by; for a test alone before any
    token was seen it is `engine_canary_wait_seconds`.
    """

    def __init__(self, settings: PaceSettings, *, now: Callable[[], float]) -> None:
        self._settings = settings
        self.now = now
        self.owed: set[Owed] = set()
        self.sign_at = 0.0
        self.forget()

    def forget(self) -> None:
        """Another engine may be there now."""
        self._token_seconds: float | None = None
        self._char_seconds: tuple[float, float] | None = None
        self._longest: tuple[float, float] | None = None
        self._heard = False
        self._test_char_seconds: float | None = None

    def owe(self, chars: int) -> Owed:
        """A request with a prompt of so many characters was sent; `settle` it in the end."""
        owed = Owed(self, chars)
        self.owed.add(owed)
        return owed

    def settle(self, owed: Owed) -> None:
        self.owed.discard(owed)

    def sign(self, now: float | None = None) -> None:
        """The engine gave a sign of life."""
        now = self.now() if now is None else now
        # Rare, so that a token costs no walk over all that is owed. What unread prompts of ours explain is no news.
        if now - self.sign_at > self._settings.engine_stall_seconds_min / LOOKS and not self._awaits_reading():
            self._longest = _slowest(self._longest, self.silence_seconds(now), now)
        self.sign_at = now

    def first_token(self, now: float) -> float:
        """Seconds per character that somebody waited for this token."""
        char_seconds = self.silence_seconds(now) / self._unread_chars()
        self._heard = True
        self.sign(now)
        return char_seconds

    def next_token(self, now: float, pause: float) -> None:
        before = self._token_seconds
        if before is None:
            self._token_seconds = pause
        elif pause > PACKET_SECONDS:
            self._token_seconds = before + TOKEN_SHARE * (pause - before)
        self.sign(now)

    def learn(self, owed: Owed, char_seconds: float) -> None:
        """How long a prompt took to read; a test only tells as long as no prompt did."""
        if owed.chars:
            self._char_seconds = _slowest(self._char_seconds, char_seconds, self.now())
        else:
            self._test_char_seconds = char_seconds

    def silence_seconds(self, now: float | None = None) -> float:
        """How long somebody has listened in vain; 0 when nobody listens."""
        now = self.now() if now is None else now
        since = min((owed.listens_at for owed in self.owed if owed.listens_at is not None), default=now)
        return max(0.0, now - max(self.sign_at, since))

    def patience_seconds(self) -> float:
        """How long the present silence may last; see the rule above."""
        settings, now = self._settings, self.now()
        unread = self._unread_chars() if self._awaits_reading() else 0
        running = any(owed.is_running for owed in self.owed)
        limit = settings.engine_first_token_seconds if unread else settings.engine_between_tokens_seconds
        patience = max(settings.engine_stall_seconds_min, LEARNED_TIMES * _faded(self._longest, now))
        if unread:
            if self._char_seconds is not None:
                char_seconds = _faded(self._char_seconds, now)
            elif self._test_char_seconds is not None:
                char_seconds = self._test_char_seconds
            else:
                return limit
            patience = max(patience, LEARNED_TIMES * char_seconds * unread)
        if running:
            if self._token_seconds is None:
                return limit
            patience = max(patience, TOKEN_TIMES * self._token_seconds)
        if not (unread or running or self._heard):
            return settings.engine_canary_wait_seconds
        return min(patience, limit)

    def _awaits_reading(self) -> bool:
        return any(owed.chars and not owed.is_running for owed in self.owed)

    def _unread_chars(self) -> int:
        return min(STEP_CHARS_MAX, sum(max(PROMPT_CHARS_MIN, o.chars) for o in self.owed if not o.is_running))


def _faded(learned: tuple[float, float] | None, now: float) -> float:
    """A learned figure (value, when) as it counts now."""
    return 0.0 if learned is None else float(learned[0] * 0.5 ** ((now - learned[1]) / HALF_LIFE_SECONDS))


def _slowest(learned: tuple[float, float] | None, value: float, now: float) -> tuple[float, float]:
    return (value, now) if learned is None or value >= _faded(learned, now) else learned
