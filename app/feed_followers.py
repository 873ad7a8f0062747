"""Those who follow feeds: a bounded buffer for each, one pub/sub connection for all of a process."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import structlog
from prometheus_client import Counter
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from app import tasks
from app.errors import AppError
from app.settings import Settings

log = structlog.get_logger(__name__)

CUT = Counter("linli_feed_followers_cut_total", "Followers given up because they read nothing for too long.")
PING_SECONDS = 10.0
"""Silence after which the followers' connection is tested; twice that, and it is taken for dead."""
REDIS_AWAY = (RedisError, OSError, TimeoutError)


class Event:
    """Something that happened in a turn. `id` sorts by time within the turn.

    It travels as JSON text, which is read only where it is looked into and written only once for all who follow.
    """

    __slots__ = ("_data", "_frame", "_text", "id", "name")

    def __init__(self, event_id: str, name: str, data: dict[str, Any] | None = None, *, text: str = "") -> None:
        self.id = event_id
        self.name = name
        self._data = data
        self._text = text
        self._frame = b""

    @property
    def data(self) -> dict[str, Any]:
        if self._data is None:
            self._data = json.loads(self._text)
        return self._data

    @property
    def frame(self) -> bytes:
        """The event in the text/event-stream format; without an id when it is not in the feed."""
        if not self._frame:
            head = f"id: {self.id}\n" if self.id else ""
            self._frame = f"{head}event: {self.name}\ndata: {self._text or to_json(self.data)}\n\n".encode()
        return self._frame

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Event) and (self.id, self.name, self.data) == (other.id, other.name, other.data)

    __hash__ = None  # type: ignore[assignment]  # its data may be changed

    def __repr__(self) -> str:
        return f"Event({self.id!r}, {self.name!r}, {self.data!r})"


def to_json(data: dict[str, Any]) -> str:
    """JSON on one line, as short as it gets."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


class FollowerTooSlow(AppError):
    """The follower read nothing for too long and was cut; coming back with its last id loses nothing."""

    status, code = 408, "follower_too_slow"

    def __init__(self, stall_seconds: float) -> None:
        super().__init__(
            f"Nothing was read for {stall_seconds:.0f} s; connect again.",
            f"连接已 {stall_seconds:.0f} 秒没有读取数据，请重新连接。",
        )


class Follower:
    """The bounded buffer of one follower. What does not fit is read from the stream again.

    Thousands of them wait in one process, so it holds nothing that a waiting one does not need.
    """

    __slots__ = (
        *("_buffer", "_cut", "_events_max", "_loop", "_news", "_on_cut", "_read_at", "_stall_seconds", "_stall_timer"),
        *("_waiting", "behind", "key", "subscribed"),
    )

    def __init__(self, key: str, settings: Settings, on_cut: Callable[[], object] | None) -> None:
        self.key = key
        self.behind = True
        self.subscribed: asyncio.Future[None] | None = None
        """Set while it waits for the subscription to its channel."""
        self._loop = asyncio.get_running_loop()
        self._events_max = settings.follower_buffer_events_max
        self._stall_seconds = settings.follower_stall_seconds
        self._buffer: list[Event] = []
        self._news = False
        self._waiting: asyncio.Future[None] | None = None
        self._on_cut = on_cut
        self._cut = False
        self._read_at = self._loop.time()
        self._stall_timer: asyncio.TimerHandle | None = None

    def offer(self, event: Event) -> None:
        if self._cut:
            return
        if len(self._buffer) < self._events_max:
            self._buffer.append(event)
            self._wake()
            return
        self.fall_behind()
        if self._stall_timer is None:
            self._stall_timer = self._loop.call_later(self._stall_seconds, self._check_stall)

    def fall_behind(self) -> None:
        """Events are missing from the buffer: it was full, or the connection was away."""
        self.behind = True
        self._wake()

    def touch(self) -> None:
        """The follower reads. Raises FollowerTooSlow when that comes too late."""
        self._read_at = self._loop.time()
        if self._cut:
            raise FollowerTooSlow(self._stall_seconds)

    def start_over(self) -> None:
        self.touch()
        self.behind = False
        self._buffer.clear()
        self._news = False

    async def read(self) -> AsyncIterator[Event]:
        """What is in the buffer, as long as nothing is missing from it."""
        while self._buffer and not self.behind:
            yield self._buffer.pop(0)
        if not self._buffer and not self.behind:
            self._news = False

    async def wait(self, seconds: float) -> bool:
        """False when nothing came within `seconds`."""
        if not self._news:
            self._waiting = self._loop.create_future()
            timer = self._loop.call_later(seconds, _release, self._waiting)
            try:
                await self._waiting
            finally:
                timer.cancel()
                self._waiting = None
        return self._news

    def _wake(self) -> None:
        self._news = True
        _release(self._waiting)

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
        self._wake()
        CUT.inc()
        log.info("follower_cut", key=self.key)
        if self._on_cut is not None:
            self._on_cut()


def _release(waiting: "asyncio.Future[None] | None") -> None:
    """Let whoever waits go on."""
    if waiting is not None and not waiting.done():
        waiting.set_result(None)


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
        self._changed: set[str] = set()
        self._changing: asyncio.Task[None] | None = None

    @property
    def followers(self) -> int:
        return sum(map(len, self._followers.values()))

    async def join(self, key: str, on_cut: Callable[[], object] | None) -> Follower:
        """A follower of the channel, subscribed unless Redis is away (then the replay waits for Redis)."""
        follower = Follower(key, self._settings, on_cut)
        newcomers = self._followers.setdefault(key, set())
        newcomers.add(follower)
        if key in self._confirmed:
            return follower
        follower.subscribed = asyncio.get_running_loop().create_future()
        if self._reader is None or self._reader.done():
            self._reader = asyncio.create_task(self._read(), name="feed-reader")
        elif len(newcomers) == 1:
            self._change(key)
        try:
            async with asyncio.timeout(self._settings.feed_publish_seconds):
                await follower.subscribed
        except TimeoutError:
            pass
        except BaseException:
            self.leave(follower)
            raise
        finally:
            follower.subscribed = None
        return follower

    def leave(self, follower: Follower) -> None:
        follower.leave()
        others = self._followers.get(follower.key, set())
        others.discard(follower)
        if not others and self._followers.pop(follower.key, None) is not None:
            self._confirmed.discard(follower.key)
            self._change(follower.key)

    async def close(self) -> None:
        await tasks.cancel(task for task in (self._changing, self._reader) if task is not None)
        self._reader = None
        await self._client.connection_pool.disconnect()

    def _change(self, key: str) -> None:
        """Subscribe to the channel or leave it, together with all others of this moment."""
        self._changed.add(key)
        if self._changing is None or self._changing.done():
            self._changing = asyncio.create_task(self._send_changes(), name="feed-subscriptions")

    async def _send_changes(self) -> None:
        """Best effort: after a failure the reader connects again and subscribes to all that is followed then."""
        while self._changed and (pubsub := self._pubsub) is not None:
            changed, self._changed = self._changed, set()
            wanted = {key for key in changed if key in self._followers}
            # The client has no error of its own for a connection that was closed in the meantime.
            with suppress(*REDIS_AWAY, AttributeError):
                async with asyncio.timeout(self._settings.feed_publish_seconds):
                    if unwanted := changed - wanted:
                        await pubsub.unsubscribe(*unwanted)
                    if wanted:
                        await pubsub.subscribe(*wanted)
        self._changed.clear()

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
        followers = self._followers.get(key)
        if not followers:
            return
        if message["type"] == "subscribe":
            # The first one, or the client connected again by itself: then something may be missing.
            self._confirmed.add(key)
            for follower in followers:
                _release(follower.subscribed)
                follower.fall_behind()
        elif message["type"] == "message":
            event_id, name, data = text_of(message["data"]).split(" ", 2)
            event = Event(event_id, name, text=data)
            for follower in followers:
                follower.offer(event)


def text_of(value: Any) -> str:
    """Text of a reply, whether or not the client decodes replies itself."""
    return value.decode() if isinstance(value, bytes) else str(value)
