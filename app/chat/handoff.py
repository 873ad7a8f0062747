"""Who has the word in a conversation: the bot or a person. The moves are data, and made in the row, under its lock.

A question is taken in under the same lock (conversations.py), and an answer is saved only while its turn is running and
its conversation the bot's (claims.py): once a person has the word, the bot says nothing more, whatever was under way.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.chat import story, telling
from app.chat.desk import both, desk_of
from app.chat.tables import (
    Conversation,
    ConversationStatus,
    HandoffReason,
    MessageKind,
    Mode,
    Route,
    Turn,
    TurnStatus,
)
from app.chat.texts import Text
from app.chat.wishes import Wish
from app.clock import CLOCK
from app.errors import Conflict
from app.knowledge.language import language_of
from app.people.callers import Caller
from app.people.tables import Staff
from app.runtime import Runtime

BOT, PENDING, HUMAN, SNOOZED, RESOLVED = ConversationStatus


class Actor(StrEnum):
    """Who makes a move. LINLI is time passing, or the bot giving up."""

    RESIDENT = "resident"
    STAFF = "staff"
    LINLI = "linli"


ANYBODY = frozenset(Actor)
RESIDENT_OR_STAFF, STAFF_ONLY = frozenset({Actor.RESIDENT, Actor.STAFF}), frozenset({Actor.STAFF})

MOVES: dict[ConversationStatus, dict[ConversationStatus, frozenset[Actor]]] = {
    BOT: {PENDING: ANYBODY, HUMAN: STAFF_ONLY, RESOLVED: STAFF_ONLY},
    PENDING: {BOT: RESIDENT_OR_STAFF, HUMAN: STAFF_ONLY, RESOLVED: STAFF_ONLY},
    HUMAN: {
        BOT: STAFF_ONLY,
        PENDING: STAFF_ONLY,
        SNOOZED: STAFF_ONLY,
        RESOLVED: STAFF_ONLY,
    },
    SNOOZED: {BOT: STAFF_ONLY, HUMAN: ANYBODY, RESOLVED: STAFF_ONLY},
    RESOLVED: {BOT: RESIDENT_OR_STAFF, PENDING: ANYBODY, HUMAN: STAFF_ONLY},
}
"""From where to where, and who may."""

RESIDENT_WRITES: dict[ConversationStatus, ConversationStatus] = {
    BOT: BOT, PENDING: PENDING, HUMAN: HUMAN, SNOOZED: HUMAN, RESOLVED: BOT,
}  # fmt: skip
"""Where a conversation stands once its resident has written in it; start_turn's statement is built from this."""
WITH_PEOPLE = frozenset({PENDING, HUMAN, SNOOZED})
CHASES_MAX = 3
"""How often a resident who waits is told again; the last time with a promise to call back. Then promises chase it."""


class MoveNotAllowed(Conflict):
    code = "conversation_move_not_allowed"

    def __init__(self, current: ConversationStatus, wanted: ConversationStatus, allowed: Sequence[str]) -> None:
        super().__init__(
            f"A conversation that is {current} cannot become {wanted}.", "会话当前的状态不能这样变更。",
            current=current, wanted=wanted, allowed=allowed,
        )  # fmt: skip


class ConversationTaken(Conflict):
    """A colleague was faster."""

    code = "conversation_taken"

    def __init__(self, assignee_id: UUID | None, name: str) -> None:
        super().__init__(
            f"{name or 'A colleague'} has this conversation.", f"该会话已由{name or '其他同事'}接手。",
            assignee_id=str(assignee_id) if assignee_id else None, assignee_name=name,
        )  # fmt: skip


def check(current: ConversationStatus, wanted: ConversationStatus, actor: Actor) -> None:
    """Raises MoveNotAllowed, with the moves that this actor may make."""
    if actor not in MOVES[current].get(wanted, frozenset()):
        raise MoveNotAllowed(current, wanted, [to for to, who in MOVES[current].items() if actor in who])


async def _enter(
    session: AsyncSession, runtime: Runtime, conversation: Conversation, to: ConversationStatus, actor: Actor
) -> None:
    """Make the move. What the bot has under way is ended first: it is no answer any more."""
    check(conversation.status, to, actor)
    if conversation.status is BOT:
        await _silence(session, runtime, conversation)
    conversation.status, conversation.chase_at, conversation.chased = to, None, 0


async def _silence(session: AsyncSession, runtime: Runtime, conversation: Conversation) -> None:
    """Open turns are the person's now. Their worker may go on: what it writes is kept as a draft for staff."""
    ended = await session.scalars(
        update(Turn)
        .where(
            Turn.conversation_id == conversation.id, Turn.status.in_((TurnStatus.WAITING, TurnStatus.RUNNING))
        )
        .values(status=TurnStatus.PASSED_ON, finished_at=runtime.clock())
        .returning(Turn)
        .execution_options(populate_existing=True)
    )  # fmt: skip
    for turn in ended:
        story.tell_ended(session, turn)


async def _tell(
    session: AsyncSession, runtime: Runtime, conversation: Conversation, *, texts: Mapping[str, str],
    caller: Caller | None = None, **facts: Any,
) -> None:  # fmt: skip
    """The move in the story, with what the resident is told of it."""
    await story.add(
        session, runtime, conversation, kind=MessageKind.EVENT, text=texts.get("zh", ""), text_en=texts.get("en", ""),
        author_id=caller.id if caller else None, author_name=caller.name if caller else "",
        facts={"status": conversation.status, **facts},
    )  # fmt: skip


# A person is asked for


async def request(
    session: AsyncSession, runtime: Runtime, conversation: Conversation, *, actor: Actor, reason: HandoffReason,
    caller: Caller | None = None, note: str = "", told_elsewhere: bool = False,
) -> dict[str, str]:  # fmt: skip
    """Call a person, and what the resident is told, in both languages. The caller holds the conversation.

    Where somebody was called or has it already nothing changes: the same wish twice is one hand-off.
    """
    if conversation.status in WITH_PEOPLE:
        return both(Text.PERSON_CALLED_BEFORE if conversation.status is PENDING else Text.PERSON_IS_HERE)
    now = runtime.clock()
    await _enter(session, runtime, conversation, PENDING, actor)
    desk = await desk_of(session, conversation, now=now)
    conversation.reason, conversation.requested_at, conversation.assignee_id = reason, now, None
    conversation.chase_at = desk.look_again_at
    texts = both(Text.PERSON_CALLED if desk.is_open else Text.PERSON_CALLED_CLOSED, desk)
    await _tell(
        session, runtime, conversation, texts={} if told_elsewhere else texts, caller=caller, reason=reason, note=note,
        event="handoff_requested",
    )  # fmt: skip
    await telling.person_called(session, runtime, conversation, is_open=desk.is_open)
    if not desk.is_open:
        await telling.promise_call(session, runtime, conversation, texts=texts, due_at=desk.call_back_by)
    return texts


async def grant(
    session: AsyncSession, runtime: Runtime, caller: Caller, conversation: Conversation, *, wish: Wish, question: str
) -> Turn | None:
    """The turn that answers a resident's wish at once, without queue or engine.

    None when it is none here: to whom has a person, it is said like all else; the bot cannot be had back from nobody.
    """
    if wish is Wish.BOT and conversation.status is not PENDING:
        return None
    if wish is Wish.PERSON and conversation.status in (HUMAN, SNOOZED):
        return None
    language = language_of(question)
    # Before the move, so that it comes first in the story.
    number = await story.take_number(session, runtime, conversation)
    if wish is Wish.BOT:
        await back_to_bot(session, runtime, conversation, actor=Actor.RESIDENT, caller=caller, told_elsewhere=True)
        texts = both(Text.BOT_IS_BACK)
    else:
        reason = await _why(session, conversation)
        texts = await request(
            session, runtime, conversation, actor=Actor.RESIDENT, reason=reason, caller=caller, told_elsewhere=True
        )
    now = runtime.clock()
    turn = Turn(
        id=CLOCK.new_id(), community_id=conversation.community_id, conversation_id=conversation.id, number=number,
        status=TurnStatus.ANSWERED, messages=[question], language=language, answer=texts[language],
        route=Route.HANDOFF, mode=Mode.FIXED, created_at=now, started_at=now, finished_at=now,
    )  # fmt: skip
    session.add(turn)
    await session.flush()
    story.tell_ended(session, turn)
    return turn


async def request_by_button(
    session: AsyncSession, runtime: Runtime, caller: Caller, conversation: Conversation
) -> None:
    """As the resident's words "转人工"."""
    reason = await _why(session, conversation)
    await request(session, runtime, conversation, actor=Actor.RESIDENT, reason=reason, caller=caller)


async def _why(session: AsyncSession, conversation: Conversation) -> HandoffReason:
    """Why a resident wants a person, by how their last question ended."""
    last = await session.execute(
        select(Turn.status, Turn.route, Turn.trace["fixed"].astext)
        .where(Turn.conversation_id == conversation.id)
        .order_by(Turn.number.desc())
        .limit(1)
    )
    status, route, fixed = last.one_or_none() or (None, None, None)
    if status is TurnStatus.FAILED or fixed == Text.SEARCH_DOWN:
        return HandoffReason.TOOL_FAILURE
    if route is Route.REFUSAL:
        return HandoffReason.POLICY_RESTRICTION
    return HandoffReason.MISSING_KNOWLEDGE if fixed == Text.NOT_FOUND else HandoffReason.CUSTOMER_REQUEST


async def chase(session: AsyncSession, runtime: Runtime, conversation: Conversation) -> None:
    """A snooze is over, or nobody came: the resident is told again. Twice at one time does it once."""
    now = runtime.clock()
    if conversation.chase_at is None or conversation.chase_at > now:
        return
    if conversation.status is SNOOZED:
        await _enter(session, runtime, conversation, HUMAN, Actor.LINLI)
        await _tell(session, runtime, conversation, texts={}, event="woken")
        return
    if conversation.status is not PENDING:
        conversation.chase_at = None
        return
    desk = await desk_of(session, conversation, now=now)
    conversation.chased += 1
    last = conversation.chased >= CHASES_MAX
    conversation.chase_at = None if last else desk.look_again_at
    text = Text.STILL_CLOSED if not desk.is_open else Text.WILL_CALL_BACK if last else Text.STILL_WAITING
    texts = both(text, desk)
    await _tell(session, runtime, conversation, texts=texts, event="still_waiting")
    await telling.still_waiting(session, runtime, conversation, texts=texts)
    if last or not desk.is_open:
        await telling.promise_call(session, runtime, conversation, texts=texts, due_at=desk.call_back_by)


# Staff have it, and give it back


async def take_over(session: AsyncSession, runtime: Runtime, caller: Caller, conversation: Conversation) -> None:
    """The caller has the conversation from now on. Twice is once. Raises ConversationTaken, MoveNotAllowed."""
    if conversation.status in (HUMAN, SNOOZED):
        if conversation.assignee_id != caller.id:
            raise await taken(session, conversation)
        if conversation.status is HUMAN:
            return
    await give_to(session, runtime, caller, conversation, staff_id=caller.id, name=caller.name)


async def give_to(
    session: AsyncSession, runtime: Runtime, caller: Caller, conversation: Conversation, *, staff_id: UUID, name: str
) -> None:
    """A member of staff has it from now on; the resident is told who."""
    if conversation.status is not HUMAN:
        await _enter(session, runtime, conversation, HUMAN, Actor.STAFF)
    conversation.assignee_id = staff_id
    await _tell(
        session, runtime, conversation, texts=both(Text.PERSON_CAME, name=name), caller=caller, event="taken_over",
        assignee_id=str(staff_id), assignee_name=name,
    )  # fmt: skip
    await telling.taken_over(session, runtime, conversation, by=caller.id)


async def put_back(session: AsyncSession, runtime: Runtime, caller: Caller, conversation: Conversation) -> None:
    """Nobody has it any more; it waits for a person again, and is chased again."""
    if conversation.status is PENDING:
        conversation.assignee_id = None
        return
    now = runtime.clock()
    await _enter(session, runtime, conversation, PENDING, Actor.STAFF)
    desk = await desk_of(session, conversation, now=now)
    conversation.assignee_id, conversation.requested_at = None, now
    conversation.chase_at = desk.look_again_at
    await _tell(session, runtime, conversation, texts=both(Text.PERSON_LEFT), caller=caller, event="put_back")
    await telling.person_called(session, runtime, conversation, is_open=desk.is_open)


async def back_to_bot(
    session: AsyncSession, runtime: Runtime, conversation: Conversation, *, actor: Actor, caller: Caller,
    told_elsewhere: bool = False,
) -> None:  # fmt: skip
    """The bot has the word again, and knows what people said. Twice is once. Raises MoveNotAllowed."""
    if conversation.status is BOT:
        return
    await _enter(session, runtime, conversation, BOT, actor)
    conversation.assignee_id = None
    texts = {} if told_elsewhere else both(Text.BOT_IS_BACK)
    await _tell(session, runtime, conversation, texts=texts, caller=caller, event="returned_to_bot")


async def resolve(session: AsyncSession, runtime: Runtime, caller: Caller, conversation: Conversation) -> None:
    """Done. A new message of the resident begins with the bot again. Twice is once. Raises MoveNotAllowed."""
    if conversation.status is RESOLVED:
        return
    await _enter(session, runtime, conversation, RESOLVED, Actor.STAFF)
    await _tell(session, runtime, conversation, texts=both(Text.CASE_CLOSED), caller=caller, event="resolved")
    await telling.resolved(session, runtime, conversation)


async def snooze(
    session: AsyncSession, runtime: Runtime, caller: Caller, conversation: Conversation, *, until: datetime
) -> None:
    """Out of the way until then, or until the resident writes. Raises MoveNotAllowed."""
    if conversation.status is not SNOOZED:
        await _enter(session, runtime, conversation, SNOOZED, Actor.STAFF)
    conversation.chase_at = until
    await _tell(session, runtime, conversation, texts={}, caller=caller, event="snoozed", until=until.isoformat())


async def taken(session: AsyncSession, conversation: Conversation) -> ConversationTaken:
    """The error that says who has it."""
    name = await session.scalar(select(Staff.name).where(Staff.id == conversation.assignee_id))
    return ConversationTaken(conversation.assignee_id, name or "")
