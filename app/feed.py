"""The feed: per turn an append-only stream of events, relayed to whoever follows, never the record.

Events: accepted, position, started, retrieved, token, tool, receipt, citation, replaced, done, failed, restart.
The id of an event is its place in the stream, and what a returning client sends back as `Last-Event-ID`.
A follower subscribes first, then replays, then forwards. One Redis connection of the process serves all followers.
"""

import asyncio
import hashlib
import itertools
import math
import re
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import structlog
from prometheus_client import Counter
from redis.asyncio import Redis
from redis.exceptions import NoScriptError
from sqlalchemy.ext.asyncio import AsyncSession

from app.errors import Invalid, NotFound
from app.feed_followers import REDIS_AWAY, Event, Follower, FollowerTooSlow, Hub, text_of, to_json
from app.queue_gather import Gathered
from app.settings import Settings

__all__ = [
    "IDLE",
    "Event",
    "Feed",
    "FeedGone",
    "FollowerTooSlow",
    "InvalidEventId",
    "TokenFrames",
    "check_event_id",
    "publish_after_commit",
]

log = structlog.get_logger(__name__)

EVENTS = Counter("linli_feed_events_total", "Events published.")
BYTES = Counter("linli_feed_bytes_total", "Bytes of the events published.")
UNHEARD = Counter("linli_feed_events_unpublished_total", "Events given up because Redis was away.")

IDLE = "idle"
"""Name of the event, never stored, that a follower gets when nothing happened for `feed_idle_seconds`."""
LAST_EVENTS = frozenset({"done", "failed"})
EVENT_ID = re.compile(r"(\d{1,18})-(\d{1,18})", re.ASCII)
REPLAY_EVENTS = 500
"""Events fetched in one round trip of a replay."""

REPLAYS_AT_ONCE = 16
"""A crowd that comes back at the same moment must not take all connections of the process."""
RETRY_SECONDS = 0.1
AWAY_SECONDS = 1.0
"""How long the frames of an answer wait after Redis did not take one."""


class FeedGone(NotFound):
    """The events are not there (any more): expired, lost, or Redis is away. The saved message has the answer."""

    code = "feed_gone"

    def __init__(self, turn_id: UUID) -> None:
        super().__init__(
            "The live events of this answer are gone; read the saved message.",
            "该回答的实时内容已不可用，请查看已保存的消息。",
            turn_id=str(turn_id),
        )


class InvalidEventId(Invalid):
    """An id that this turn never gave out."""

    code = "invalid_event_id"

    def __init__(self, event_id: str) -> None:
        super().__init__("This is not an event of this answer.", "该事件编号不属于此回答。", event_id=event_id[:64])


def check_event_id(event_id: str) -> None:
    """Raises InvalidEventId for what looks like no id of any event."""
    if not EVENT_ID.fullmatch(event_id):
        raise InvalidEventId(event_id)


PUBLISH = """
local replies = {}
for i, stream in ipairs(KEYS) do
  local name, data, key, seconds, token = unpack(ARGV, 5 * i - 4, 5 * i)
  local last = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
  -- The key of a publication is kept in its event, so that a publication sent again after a lost reply is not doubled.
  if last and last[2][6] == key then
    replies[i] = last[1]
  -- A worker that lost its claim, and woke up late, is not heard any more.
  elseif last and tonumber(last[2][8]) > tonumber(token) then
    replies[i] = ''
  else
    replies[i] = redis.call('XADD', stream, '*', 'name', name, 'data', data, 'key', key, 'token', token)
    redis.call('EXPIRE', stream, seconds)
    redis.call('PUBLISH', stream, replies[i] .. ' ' .. name .. ' ' .. data)
  end
end
return replies
"""
"""Publications of several turns, in one call: five arguments each."""
PUBLISH_SHA = hashlib.sha1(PUBLISH.encode(), usedforsecurity=False).hexdigest()
PUBLICATION_VALUES = 6


class Feed:
    """Publishes and follows the events of turns."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._redis = redis
        self._settings = settings
        self._publications = Gathered(self._send_publications)
        self._publication_key = uuid.uuid4().hex[:12]
        self._publication_numbers = itertools.count()
        self._replays = asyncio.Semaphore(REPLAYS_AT_ONCE)
        self._hub = Hub(redis, settings)

    @property
    def followers(self) -> int:
        """Those who follow a turn through this process now."""
        return self._hub.followers

    @property
    def frame_seconds(self) -> float:
        return self._settings.frame_ms_max / 1000

    def new_key(self) -> str:
        """Names one publication, so that saying it again changes nothing while it is the last of its turn."""
        return f"{self._publication_key}-{next(self._publication_numbers)}"

    async def publish(
        self, turn_id: UUID, name: str, data: dict[str, Any], *, token: int = 0, key: str | None = None
    ) -> str:
        """The id of the new event; empty when Redis is away: an answer is worth finishing without an audience.

        Empty and unheard also when an event with a greater fencing `token` is there already. It may have been heard all
        the same when only the reply was late: who says it again gives the same `key`.
        """
        text, key = to_json(data), key or self.new_key()
        args = (_key(turn_id), name, text, key, round(self._settings.feed_hours * 3600), token)
        loop = asyncio.get_running_loop()
        give_up = loop.time() + self._settings.feed_publish_seconds
        while True:
            try:
                async with asyncio.timeout_at(give_up):
                    event_id = text_of(await self._publications.call(args))
                EVENTS.inc()
                BYTES.inc(len(text.encode()))
                return event_id
            except REDIS_AWAY as error:
                if loop.time() >= give_up - RETRY_SECONDS:
                    UNHEARD.inc()
                    log.warning("event_not_published", turn_id=str(turn_id), event_name=name, error=repr(error))
                    return ""
            await asyncio.sleep(RETRY_SECONDS)

    async def _send_publications(self, values: list[str | int]) -> list[Any]:
        """The ids of publications that travel together."""
        keys = values[::PUBLICATION_VALUES]
        args = [value for place, value in enumerate(values) if place % PUBLICATION_VALUES]
        try:
            replies = await self._redis.evalsha(PUBLISH_SHA, len(keys), *keys, *args)
        except NoScriptError:
            replies = await self._redis.eval(PUBLISH, len(keys), *keys, *args)
        return list(replies)

    async def follow(
        self,
        turn_id: UUID,
        *,
        after: str | None = None,
        idle_seconds: float | None = None,
        on_cut: Callable[[], object] | None = None,
    ) -> AsyncGenerator[Event, None]:
        """The events after `after`, or all of them, each once, until `done` or `failed`.

        When nothing happens for `idle_seconds` it yields an event named IDLE with the last id and no data: the time
        to send a comment and to look at the row. `on_cut` is called when a follower that stopped reading is given
        up: it cannot be told by an exception while its socket is stuck.
        Raises: InvalidEventId, FeedGone, FollowerTooSlow.
        """
        if after is not None:
            check_event_id(after)
        idle_seconds = idle_seconds or self._settings.feed_idle_seconds
        last, returning = after, after is not None
        follower = await self._hub.join(_key(turn_id), on_cut)
        try:
            while True:
                missed = follower.behind
                events = self._replay(turn_id, last, follower, returning=returning) if missed else follower.read()
                returning = False
                async for event in events:
                    if last is None or _order(event.id) > _order(last):
                        yield event
                        last = event.id
                        follower.touch()
                    if event.name in LAST_EVENTS:
                        return
                if not follower.behind and not await follower.wait(idle_seconds):
                    yield Event(last or "", IDLE, {})
                    follower.touch()
                    follower.behind = True  # a cheap look whether the stream is still there
        finally:
            self._hub.leave(follower)

    async def close(self) -> None:
        """End the connection that serves the followers."""
        await self._hub.close()

    async def _replay(
        self, turn_id: UUID, after: str | None, follower: Follower, *, returning: bool
    ) -> AsyncIterator[Event]:
        """The stream from `after` on, `after` itself included, so as to see that nothing was lost between."""
        key, start = _key(turn_id), after
        while True:
            # Whatever arrives from here on is in this page, or in the buffer, or marks the follower as behind.
            follower.start_over()
            page = [_stored(entry) for entry in await self._page(turn_id, key, start or "-")]
            if start == after:
                await self._check_start(turn_id, key, after, page, returning=returning)
            for event in page:
                yield event
            if len(page) < REPLAY_EVENTS:
                return
            start = page[-1].id

    async def _page(self, turn_id: UUID, key: str, start: str) -> list[Any]:
        """One page of the stream. Waits for Redis to come back, for a while."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + self._settings.feed_reconnect_seconds
        while True:
            try:
                async with asyncio.timeout_at(give_up), self._replays:
                    return list(await self._redis.xrange(key, start, "+", count=REPLAY_EVENTS) or [])
            except REDIS_AWAY as error:
                if loop.time() >= give_up - RETRY_SECONDS:
                    raise FeedGone(turn_id) from error
            await asyncio.sleep(RETRY_SECONDS)

    async def _check_start(
        self, turn_id: UUID, key: str, after: str | None, events: list[Event], *, returning: bool
    ) -> None:
        if not events and after is None:
            raise FeedGone(turn_id)
        if after is None:
            # A stream that was lost and went on starts in the middle of an answer.
            token = next((event for event in events if event.name == "token"), None)
            if token is not None and token.data.get("at", 0) > 0:
                raise FeedGone(turn_id)
        elif not events or _order(events[0].id) != _order(after):
            oldest = await self._redis.xrange(key, "-", "+", count=1)
            if returning and oldest and _order(text_of(oldest[0][0])) < _order(after):
                raise InvalidEventId(after)
            raise FeedGone(turn_id)


class TokenFrames:
    """Gathers the tokens of one answer into events of at most `frame_ms_max`; the first leaves at once.

    Event `token`: {"text": …, "at": characters before it}, so that a reader can see that nothing is missing.
    `check` turns what came into what may be shown; it is asked once for each frame, not for each token.
    """

    def __init__(
        self, feed: Feed, turn_id: UUID, *, token: int = 0, check: Callable[[str], str] = lambda text: text
    ) -> None:
        self._check = check
        self._feed = feed
        self._turn_id = turn_id
        self._token = token
        self._came = ""
        self._ready = ""
        self._sent_chars = 0
        self._sent_at = 0.0
        self._begun = False
        self._unheard: tuple[str, str] | None = None
        """Text and key of a frame that got no reply in time. It is said again as it was: it may have been heard."""
        self._timer: asyncio.TimerHandle | None = None
        self._under_way: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Sends what is left, also when the answer was stopped: it is part of what is saved."""
        if self._under_way is not None:
            await asyncio.shield(self._under_way)
        if self._timer is not None:
            self._timer.cancel()
        while await self._send() and (self._came or self._ready):
            pass

    async def add(self, text: str) -> None:
        """Queue a piece of the answer. Waits for Redis only with the first piece, so a slow Redis slows no answer."""
        self._came += text
        if not self._begun:
            self.check()
            self._begun = bool(self._ready)
            await self._send()
        elif self._timer is None and self._under_way is None:
            self._wait()

    def check(self) -> None:
        """Have what came since the last frame checked now."""
        came, self._came = self._came, ""
        if came:
            self._ready += self._check(came)

    def say(self, text: str) -> None:
        """Add a text that needs no check; it leaves with the rest."""
        self._ready += text

    def _wait(self, seconds: float = 0.0) -> None:
        """Send what has gathered at the next beat: all answers of a process share the beat, so frames go together."""
        loop, beat = asyncio.get_running_loop(), self._feed.frame_seconds
        if not seconds and loop.time() - self._sent_at >= beat:
            self._start()  # a slow answer: nothing would gather
            return
        self._timer = loop.call_at((math.floor((loop.time() + seconds) / beat) + 1) * beat, self._start)

    def _start(self) -> None:
        self._timer = None
        self._under_way = asyncio.create_task(self._send_pending())

    async def _send_pending(self) -> None:
        sent = await self._send()
        self._under_way = None
        if self._came or self._ready or self._unheard:
            self._wait(0.0 if sent else AWAY_SECONDS)

    async def _send(self) -> bool:
        """False when Redis is away: the frame is said again before the next, so neither gap nor repeat comes of it."""
        if self._unheard is None:
            self.check()
            text, self._ready = self._ready, ""
            if not text:
                return True
            self._unheard = text, self._feed.new_key()
        text, key = self._unheard
        data = {"text": text, "at": self._sent_chars}
        if not await self._feed.publish(self._turn_id, "token", data, token=self._token, key=key):
            return False
        self._unheard = None
        self._sent_chars += len(text)
        self._sent_at = asyncio.get_running_loop().time()
        return True


def publish_after_commit(
    session: AsyncSession, row_id: UUID, name: str, data: dict[str, Any], *, token: int = 0
) -> None:
    """Publish when the transaction of `session` has committed, and not at all when it rolls back."""
    session.info.setdefault("events", []).append((row_id, name, data, token))


def _key(turn_id: UUID) -> str:
    return f"linli:feed:{{{turn_id}}}"


def _order(event_id: str) -> tuple[int, int]:
    ms, _, number = event_id.partition("-")
    return int(ms), int(number)


def _stored(entry: Any) -> Event:
    event_id, fields = entry
    values = {text_of(name): text_of(value) for name, value in fields.items()}
    return Event(text_of(event_id), values["name"], text=values["data"])
