"""Those who follow feeds: a bounded buffer for each, one pub/sub connection for all of a process."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog
from prometheus_client import Counter
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from app.errors import AppError
from app.settings import Settings

log = structlog.get_logger(__name__)

CUT = Counter("linli_feed_followers_cut_total", "Followers given up because they read nothing for too long.")
PING_SECONDS = 10.0
"""Silence after which the followers' connection is tested; twice that, and it is taken for dead."""
REDIS_AWAY = (RedisError, OSError, TimeoutError)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in a turn. `id` sorts by time within the turn."""

    id: str
    name: str
    data: dict[str, Any]


class FollowerTooSlow(AppError):
    """The follower read nothing for too long and was cut; coming back with its last id loses nothing."""

    status, code = 408, "follower_too_slow"

    def __init__(self, stall_seconds: float) -> None:
        super().__init__(
            f"Nothing was read for {stall_seconds:.0f} s; connect again.",
            f"连接已 {stall_seconds:.0f} 秒没有读取数据，请重新连接。",
        )


class Follower:
    """The bounded buffer of one follower. What does not fit is read from the stream again."""

    def __init__(self, key: str, settings: Settings, on_cut: Callable[[], object] | None) -> None:
        self.key = key
        self.behind = True
        self.subscribed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._events_max = settings.follower_buffer_events_max
        self._stall_seconds = settings.follower_stall_seconds
        self._buffer: deque[Event] = deque()
        self._news = asyncio.Event()
        self._on_cut = on_cut
        self._cut = False
        self._read_at = self._loop.time()
        self._stall_timer: asyncio.TimerHandle | None = None

    def offer(self, event: Event) -> None:
        if self._cut:
            return
        if len(self._buffer) < self._events_max:
            self._buffer.append(event)
            self._news.set()
            return
        self.fall_behind()
        if self._stall_timer is None:
            self._stall_timer = self._loop.call_later(self._stall_seconds, self._check_stall)

    def fall_behind(self) -> None:
        """Events are missing from the buffer: it was full, or the connection was away."""
        self.behind = True
        self._news.set()

    def touch(self) -> None:
        """The follower reads. Raises FollowerTooSlow when that comes too late."""
        self._read_at = self._loop.time()
        if self._cut:
            raise FollowerTooSlow(self._stall_seconds)

    def start_over(self) -> None:
        self.touch()
        self.behind = False
        self._buffer.clear()
        self._news.clear()

    async def read(self) -> AsyncIterator[Event]:
        """What is in the buffer, as long as nothing is missing from it."""
        while self._buffer and not self.behind:
            yield self._buffer.popleft()
        if not self._buffer and not self.behind:
            self._news.clear()

    async def wait(self, seconds: float) -> bool:
        """False when nothing came within `seconds`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()
        return self._news.is_set()

    def leave(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()

    def _check_stall(self) -> None:
        """A timer of the loop, because a follower whose socket is stuck runs no code of its own."""
        self._stall_timer = None
        left = self._read_at + self._stall_seconds - self._loop.time()
        if len(self._buffer) < self._events_max:
            return
        if left > 0:
            self._stall_timer = self._loop.call_later(left, self._check_stall)
            return
        self._cut = True
        self._buffer.clear()
        self._news.set()
        CUT.inc()
        log.info("follower_cut", key=self.key)
        if self._on_cut is not None:
            self._on_cut()


class Hub:
    """One pub/sub connection that hands each message to the followers of its channel."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        # Without the client's own retries, so that every break of the connection is seen here and its gap replayed.
        options = redis.connection_pool.connection_kwargs | {"retry": Retry(NoBackoff(), 0)}
        pool = ConnectionPool(connection_class=redis.connection_pool.connection_class, **options)
        self._client = Redis(connection_pool=pool)
        self._settings = settings
        self._followers: dict[str, set[Follower]] = {}
        self._confirmed: set[str] = set()
        self._pubsub: PubSub | None = None
        self._reader: asyncio.Task[None] | None = None
        self._commands = asyncio.Lock()

    @property
    def followers(self) -> int:
        return sum(map(len, self._followers.values()))

    async def join(self, key: str, on_cut: Callable[[], object] | None) -> Follower:
        """A follower of the channel, subscribed unless Redis is away (then the replay waits for Redis)."""
        follower = Follower(key, self._settings, on_cut)
        newcomers = self._followers.setdefault(key, set())
        newcomers.add(follower)
        if self._reader is None or self._reader.done():
            self._reader = asyncio.create_task(self._read(), name="feed-reader")
        elif key in self._confirmed:
            follower.subscribed.set()
        elif len(newcomers) == 1:
            await self._command("subscribe", key)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.feed_publish_seconds):
                await follower.subscribed.wait()
        return follower

    async def leave(self, follower: Follower) -> None:
        follower.leave()
        others = self._followers.get(follower.key, set())
        others.discard(follower)
        if not others and self._followers.pop(follower.key, None) is not None:
            self._confirmed.discard(follower.key)
            await self._command("unsubscribe", follower.key)

    async def close(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
            with suppress(asyncio.CancelledError):
                await self._reader
            self._reader = None
        await self._client.connection_pool.disconnect()

    async def _command(self, verb: str, key: str) -> None:
        """Best effort: after a failure the reader connects again and subscribes to all that is followed then."""
        pubsub = self._pubsub
        if pubsub is None:
            return
        with suppress(*REDIS_AWAY):
            async with self._commands, asyncio.timeout(self._settings.feed_publish_seconds):
                if verb == "unsubscribe" and key not in self._followers:
                    await pubsub.unsubscribe(key)
                elif key in self._followers:
                    await pubsub.subscribe(key)

    async def _read(self) -> None:
        pause = 0.05
        while True:
            pubsub = self._client.pubsub()
            try:
                await self._subscribe_all(pubsub)
                silent = False
                while True:
                    message = await pubsub.get_message(timeout=PING_SECONDS)
                    if message is not None:
                        silent, pause = False, 0.05
                        self._dispatch(message)
                    elif silent:
                        raise TimeoutError("no answer to a ping")
                    else:
                        silent = True
                        await pubsub.ping()
            except REDIS_AWAY as error:
                log.warning("feed_reconnects", error=repr(error))
            finally:
                self._pubsub = None
                self._confirmed.clear()
                await pubsub.aclose()  # type: ignore[no-untyped-call]
            await asyncio.sleep(pause)
            pause = min(1.0, pause * 2)

    async def _subscribe_all(self, pubsub: PubSub) -> None:
        """Subscribe to all that is followed, newcomers during the subscribing included."""
        # A channel of our own keeps the connection in use while nobody follows.
        wanted = {f"linli:feed:hub:{id(self)}", *self._followers}
        subscribed: set[str] = set()
        while wanted - subscribed:
            await pubsub.subscribe(*(wanted - subscribed))
            subscribed |= wanted
            wanted = set(self._followers)
        self._pubsub = pubsub

    def _dispatch(self, message: dict[str, Any]) -> None:
        key = text_of(message["channel"])
        followers = self._followers.get(key, ())
        if message["type"] == "subscribe":
            # The first one, or the client connected again by itself: then something may be missing.
            self._confirmed.add(key)
            for follower in followers:
                follower.subscribed.set()
                follower.fall_behind()
        elif message["type"] == "message" and followers:
            event_id, name, data = text_of(message["data"]).split(" ", 2)
            event = Event(event_id, name, json.loads(data))
            for follower in followers:
                follower.offer(event)


def text_of(value: Any) -> str:
    """Text of a reply, whether or not the client decodes replies itself."""
    return value.decode() if isinstance(value, bytes) else str(value)
