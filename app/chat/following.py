"""What passes between a resident and the staff, as server-sent events: message, status.

The id of an event is the number of its row, so `Last-Event-ID` needs nothing but the rows: a restarted web process or a
lost feed neither loses nor doubles a message. The feed says only when to look.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from uuid import UUID

import structlog

from app.chat import story
from app.chat.inbox_schemas import entry_out
from app.chat.story import Entry, View
from app.chat.tables import MessageKind
from app.db import is_away
from app.errors import Invalid
from app.feed import IDLE, Event, FeedGone, FollowerTooSlow, InvalidEventId
from app.people.callers import Caller
from app.runtime import Runtime

log = structlog.get_logger(__name__)

ROWS_AT_ONCE = 100
NUMBER_MAX = 2**31 - 1


class NumberInvalid(Invalid):
    code = "invalid_event_id"

    def __init__(self) -> None:
        super().__init__("This is not an event of this conversation.", "该事件编号不属于此会话。")


def number_of(event_id: str) -> int:
    """The number that a returning client names. Raises NumberInvalid."""
    if not (event_id.isascii() and event_id.isdecimal()) or int(event_id) > NUMBER_MAX:
        raise NumberInvalid
    return int(event_id)


async def server_sent_events(
    runtime: Runtime, caller: Caller, conversation_id: UUID, *, after: int
) -> AsyncGenerator[bytes, None]:
    """The entries after a number, then each as it comes, until `conversation_stream_seconds` are over."""
    last = looked = after
    yield b": following\n\n"
    try:
        async with aclosing(_looks(runtime, conversation_id)) as looks:
            async for number in looks:
                # Of events that are told again, and of those that were read along with others, nothing is left to read.
                if number is not None and number <= looked:
                    continue
                more = True
                while more:
                    entries = await _read(runtime, caller, conversation_id, last)
                    for entry in entries:
                        last = entry.number
                        yield event_of(entry, caller.language).frame
                    more = len(entries) == ROWS_AT_ONCE
                looked = max(looked, last, number or 0)
                yield b": waiting\n\n"
    except FollowerTooSlow:
        log.info("follower_too_slow", conversation_id=str(conversation_id))


async def _looks(runtime: Runtime, conversation_id: UUID) -> AsyncGenerator[int | None, None]:
    """One for each time to look: with the number of what was added, and without one now and then, in case nobody could
    say so.
    """
    me, clock = asyncio.current_task(), asyncio.get_running_loop().time
    end = clock() + runtime.settings.conversation_stream_seconds
    idle_seconds = min(runtime.settings.feed_idle_seconds, runtime.settings.conversation_stream_seconds)
    yield None
    while clock() < end:
        # So that there is something to follow.
        await runtime.feed.publish(conversation_id, story.CHANGED, {"number": 0})
        try:
            events = runtime.feed.follow(conversation_id, idle_seconds=idle_seconds, on_cut=me.cancel if me else None)
            async with aclosing(events):
                async for event in events:
                    yield None if event.name == IDLE else event.data["number"]
                    if clock() >= end:
                        return
        except (FeedGone, InvalidEventId):
            yield None
            await asyncio.sleep(idle_seconds)


async def _read(runtime: Runtime, caller: Caller, conversation_id: UUID, last: int) -> list[Entry]:
    """What came since; nothing while Postgres is away, which is no reason to break off a stream."""
    try:
        async with runtime.transaction(caller.tenant) as session:
            return await story.read(session, conversation_id, after=last, rows_max=ROWS_AT_ONCE, view=View.PEOPLE)
    except Exception as error:
        if not is_away(error):
            raise
        log.warning("story_not_read", conversation_id=str(conversation_id), error=type(error).__name__)
        return []


def event_of(entry: Entry, language: str) -> Event:
    name = "status" if entry.kind == MessageKind.EVENT else "message"
    return Event(str(entry.number), name, entry_out(entry, language=language).model_dump(mode="json"))
