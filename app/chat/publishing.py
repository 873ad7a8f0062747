"""A worker's voice in the feed of one turn: every event carries the claim, so that an older claim falls silent."""

import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

from app.feed import Feed, TokenFrames

END_TOKEN = 2**53 - 1
"""Above every claim, and exact in Lua: an end that no worker wrote is the last word."""


class Stopwatch:
    """Milliseconds since the turn was claimed, by name; the first mark of a name counts."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self.marks: dict[str, int] = {}

    def mark(self, name: str) -> None:
        self.marks.setdefault(f"{name}_ms", round((time.perf_counter() - self._started) * 1000))


class TurnFeed:
    """Publishes the events of one claim of one turn."""

    def __init__(self, feed: Feed, turn_id: UUID, *, token: int) -> None:
        self._feed = feed
        self._turn_id = turn_id
        self._token = token
        self.watch = Stopwatch()

    async def publish(self, name: str, data: dict[str, Any]) -> None:
        await self._feed.publish(self._turn_id, name, data, token=self._token)

    def frames(self, check: Callable[[str], str] = lambda text: text) -> TokenFrames:
        """Gathers tokens into frames, each of them checked; use as a context manager."""
        return TokenFrames(self._feed, self._turn_id, token=self._token, check=check)

    async def text(self, text: str) -> None:
        """A text that is there at once."""
        async with self.frames() as frames:
            await frames.add(text)
