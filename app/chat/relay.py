"""From the feed to a client: server-sent events that survive a lost feed, and the way to stop a turn."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog
from redis.exceptions import RedisError
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from app.chat.conversations import ANSWER_TURN, get_turn
from app.chat.publishing import END_TOKEN
from app.chat.schemas import turn_out
from app.chat.tables import AT_ONCE, FINAL, Turn, TurnStatus
from app.db import is_away
from app.feed import IDLE, Event, FeedGone, FollowerTooSlow, InvalidEventId
from app.people.callers import Caller
from app.rest.middleware import LATER
from app.runtime import Runtime

log = structlog.get_logger(__name__)

LOST_FEED_POLL_SECONDS = 1.0
CUT_AGAIN_SECONDS = 1.0


class EventStream(StreamingResponse):
    """Frames as they come, until the last one or until the client leaves.

    Thousands are open at once: they run when the handler's layers have ended, and in the request's own task, where the
    framework's streams start two more.
    """

    def __init__(self, frames: AsyncGenerator[bytes, None]) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(frames, media_type="text/event-stream", headers=headers)
        self._frames = frames

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[LATER].append(self._run)

    async def _run(self, receive: Receive, send: Send) -> None:
        """A stream that is cut, because its client left or reads nothing, just ends."""
        me, loop, ended = asyncio.current_task(), asyncio.get_running_loop(), False
        assert me is not None

        def cut(left: asyncio.Task[None]) -> None:
            if not left.cancelled() and not ended:
                me.cancel()
                # A library may swallow one, and nobody else ends a stream that nobody reads.
                loop.call_later(CUT_AGAIN_SECONDS, cut, left)

        leaving = asyncio.create_task(self.listen_for_disconnect(receive))
        leaving.add_done_callback(cut)
        try:
            async with aclosing(self._frames):
                await self.stream_response(send)
        except asyncio.CancelledError:
            while me.cancelling():
                me.uncancel()
        finally:
            ended = True
            leaving.cancel()


@dataclass(frozen=True)
class Seen:
    """A row as whoever follows it needs it: once it has ended its text and last event, and how often it was begun."""

    end: Event | None
    attempts: int
    text: str


Look = Callable[[AsyncSession], Awaitable[Seen]]


def look_at_turn(caller: Caller, turn_id: UUID) -> Look:
    async def look(session: AsyncSession) -> Seen:
        turn = await get_turn(session, caller, turn_id)
        return Seen(last_event(turn) if turn.status in FINAL else None, turn.attempts, turn.answer)

    return look


def events_of_turn(
    runtime: Runtime, caller: Caller, turn_id: UUID, *, after: str | None, on_cut: Callable[[], object] | None = None
) -> AsyncGenerator[Event, None]:
    """The events of a turn until its end. Raises FollowerTooSlow."""
    return events_of(runtime, caller, turn_id, look_at_turn(caller, turn_id), after=after, on_cut=on_cut)


async def events_of(
    runtime: Runtime, caller: Caller, row_id: UUID, look: Look, *, after: str | None,
    on_cut: Callable[[], object] | None = None,
) -> AsyncGenerator[Event, None]:  # fmt: skip
    """The events of a row until its end, whatever happens to the feed: the row has the last word.

    `on_cut` is called when the client has read nothing for too long. Raises FollowerTooSlow.
    """
    holds_text = after is not None
    while True:
        try:
            async with aclosing(runtime.feed.follow(row_id, after=after, on_cut=on_cut)) as events:
                async for event in events:
                    yield event
                    holds_text = holds_text or event.name == "token"
                    seen = await _read(runtime, caller, row_id, look) if event.name == IDLE else None
                    if seen is not None and seen.end is not None:
                        break
                    # Thousands wait here, and a row is larger than all else they hold.
                    seen = None
                else:
                    return
        except (FeedGone, InvalidEventId):
            # An id of what was lost, or of nothing: what the row says, or all of it from the start, is right for both.
            seen = await _read(runtime, caller, row_id, look)
        if seen is not None and seen.end is not None:
            if holds_text:
                # What the feed told last was not heard, and may have taken words back.
                yield Event("", "replaced", {"text": seen.text, "reason": "feed_missed"})
            yield seen.end
            return
        if after is not None and seen is not None:
            # What this client has may not be what comes now: it begins anew.
            after = None
            yield Event("", "restart", {"attempt": seen.attempts})
        yield Event("", IDLE, {})
        await asyncio.sleep(LOST_FEED_POLL_SECONDS)


async def _read(runtime: Runtime, caller: Caller, row_id: UUID, look: Look) -> Seen | None:
    """The row; None while Postgres is away, which is no reason to break off a stream."""
    try:
        async with runtime.transaction(caller.tenant) as session:
            return await look(session)
    except Exception as error:
        if not is_away(error):
            raise
        log.warning("row_not_read", row_id=str(row_id), error=type(error).__name__)
        return None


async def events_at_once(turn: Turn) -> AsyncGenerator[Event, None]:
    """The events of a turn that was answered where it was asked: no queue, and no feed, ever knew of it."""
    yield Event("", "accepted", _accepted(turn))
    yield Event("", "token", {"at": 0, "text": turn.answer})
    yield last_event(turn)


async def frames_at_once(turn: Turn) -> AsyncGenerator[bytes, None]:
    async for event in events_at_once(turn):
        yield event.frame


def last_event(turn: Turn) -> Event:
    """The end of a turn as its row tells it."""
    name = "failed" if turn.status is TurnStatus.FAILED else "done"
    return Event("", name, turn_out(turn).model_dump(mode="json"))


async def server_sent_events(
    runtime: Runtime, caller: Caller, row_id: UUID, look: Look, *, job: str, after: str | None
) -> AsyncGenerator[bytes, None]:
    """The same on the wire, with the place in the queue while the row's job waits and comments while all is quiet."""
    started = after is not None
    if not started:
        async for frame in _position(runtime, job, row_id):
            yield frame
    try:
        # A client that reads nothing blocks its socket: only ending its task frees what it holds.
        me = asyncio.current_task()
        events = events_of(runtime, caller, row_id, look, after=after, on_cut=me.cancel if me else None)
        async with aclosing(events):
            async for event in events:
                if event.name != IDLE:
                    started = started or event.name != "accepted"
                    yield event.frame
                    continue
                yield b": waiting\n\n"
                if not started:
                    async for frame in _position(runtime, job, row_id):
                        yield frame
    except FollowerTooSlow:
        log.info("follower_too_slow", row_id=str(row_id))


async def _position(runtime: Runtime, job: str, row_id: UUID) -> AsyncIterator[bytes]:
    try:
        position = await runtime.queue.position(job, row_id)
    except (RedisError, OSError):
        return
    if position is not None:
        data = {"ahead": position.ahead, "expected_wait_seconds": position.expected_wait_seconds}
        yield Event("", "position", data).frame


async def cancel(runtime: Runtime, turn_id: UUID) -> None:
    """Take a waiting turn out of the queue or tell its worker at once; the row already says that it shall end."""
    try:
        await runtime.queue.cancel(ANSWER_TURN, turn_id)
    except (RedisError, OSError) as error:
        log.warning("cancel_not_sent", turn_id=str(turn_id), error=repr(error))


async def tell_stopped(runtime: Runtime, turn: Turn) -> None:
    """For a turn that ended before any worker began it."""
    event = last_event(turn)
    await runtime.feed.publish(turn.id, event.name, event.data, token=END_TOKEN)


async def tell_accepted(runtime: Runtime, turn: Turn) -> None:
    """The first event, so that the feed is there before anyone follows it."""
    if turn.route not in AT_ONCE:
        await runtime.feed.publish(turn.id, "accepted", _accepted(turn), token=0)


def _accepted(turn: Turn) -> dict[str, Any]:
    return {"turn_id": str(turn.id), "conversation_id": str(turn.conversation_id)}
