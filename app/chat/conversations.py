"""Opening conversations, taking questions in, stopping them: the part of a turn that runs in the web process."""

from functools import cache
from typing import Any
from uuid import UUID

import structlog
from redis.exceptions import RedisError
from sqlalchemy import (
    CTE,
    BindParameter,
    Insert,
    Integer,
    Select,
    Text,
    Update,
    bindparam,
    case,
    func,
    insert,
    literal,
    select,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.types import TypeEngine

from app.chat import handoff, story, wishes
from app.chat.tables import FINAL, Conversation, ConversationStatus, Turn, TurnStatus
from app.chat.wishes import Wish
from app.clock import CLOCK
from app.errors import Invalid, NotFound
from app.knowledge.language import language_of
from app.people.callers import Caller, CallerKind
from app.queue import Job, Lane, QueueFull, send_after_commit
from app.rest.texts import cleaned
from app.runtime import Runtime

log = structlog.get_logger(__name__)

ANSWER_TURN = "chat.answer_turn"
TITLE_CHARS = 30

NEW_TURN: dict[InstrumentedAttribute[Any], Any] = {
    Turn.status: TurnStatus.WAITING, Turn.claim_token: 0, Turn.attempts: 0, Turn.stop_requested: False,
    Turn.answer: "", Turn.quotes: [], Turn.citations: [], Turn.trace: {},
    Turn.prompt_tokens: 0, Turn.cached_tokens: 0, Turn.completion_tokens: 0, Turn.finished_at: None,
}  # fmt: skip
"""What a turn begins with. An insert from a select cannot take the columns' own defaults."""


class ConversationNotFound(NotFound):
    code = "conversation_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such conversation.", "没有这个会话。")


class TurnNotFound(NotFound):
    code = "turn_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such question.", "没有这条提问。")


class QuestionEmpty(Invalid):
    code = "question_empty"

    def __init__(self) -> None:
        super().__init__("The question is empty.", "问题不能为空。")


class QuestionTooLong(Invalid):
    code = "question_too_long"

    def __init__(self, chars_max: int) -> None:
        super().__init__(
            f"The question is longer than {chars_max} characters.", f"问题超过 {chars_max} 个字。", chars_max=chars_max
        )


def visible_to(caller: Caller) -> Select[Conversation]:
    """Conversations the caller may see: their own; all of the community for staff with `conversations:read`."""
    statement = select(Conversation).where(Conversation.community_id == caller.community_id)
    if caller.kind is CallerKind.STAFF and "conversations:read" in caller.scopes:
        return statement
    return statement.where(Conversation.caller_kind == caller.kind, Conversation.caller_id == caller.id)


def visible_turns(caller: Caller) -> Select[Turn]:
    """Turns of the conversations the caller may see."""
    return select(Turn).where(Turn.conversation_id.in_(visible_to(caller).with_only_columns(Conversation.id)))


async def open_conversation(session: AsyncSession, runtime: Runtime, caller: Caller, *, title: str) -> Conversation:
    values = _asked(runtime, caller, conversation_id=CLOCK.new_id(), title=title)
    opening = select(_opening(last_number=0).returning(Conversation).cte("opened"))
    opened: Conversation = (await session.scalars(select(Conversation).from_statement(opening), values)).one()
    return opened


def _opening(*, last_number: int) -> Insert:
    columns = (
        Conversation.community_id, Conversation.caller_kind, Conversation.caller_id, Conversation.account_id,
        Conversation.title, Conversation.created_at,
    )  # fmt: skip
    values = {column.key: _own(column) for column in columns}
    values["last_activity_at"] = _own(Conversation.created_at)
    conversation_id = _value("conversation_id", Conversation.id.type)
    return insert(Conversation).values(id=conversation_id, last_number=last_number, **values)


def _asked(runtime: Runtime, caller: Caller, **more: Any) -> dict[str, Any]:
    """Who asks, when and what, by the names in the statements below."""
    values = {
        "community_id": caller.community_id,
        "caller_kind": caller.kind,
        "caller_id": caller.id,
        "account_id": caller.account_id,
        "created_at": runtime.clock(),
    }
    return {f"asked_{name}": value for name, value in (values | more).items()}


def _value(name: str, type_: TypeEngine[Any]) -> BindParameter[Any]:
    # A value that bears the name of a column would be written into it, asked for or not.
    return bindparam(f"asked_{name}", type_=type_)


def _own(column: InstrumentedAttribute[Any]) -> BindParameter[Any]:
    """The value for a column."""
    return _value(column.key, column.type)


async def get_conversation(session: AsyncSession, caller: Caller, conversation_id: UUID) -> Conversation:
    """Raises ConversationNotFound, also for other people's."""
    found = await session.scalar(visible_to(caller).where(Conversation.id == conversation_id))
    if found is None:
        raise ConversationNotFound
    return found


async def get_turn(session: AsyncSession, caller: Caller, turn_id: UUID) -> Turn:
    """Raises TurnNotFound, also for other people's."""
    found = await session.scalar(visible_turns(caller).where(Turn.id == turn_id))
    if found is None:
        raise TurnNotFound
    return found


async def get_own_turn(session: AsyncSession, caller: Caller, turn_id: UUID) -> Turn:
    """A turn the caller may stop. Staff who may read a resident's question do not thereby stop its answer.

    Raises TurnNotFound, also for other people's.
    """
    asked_by_caller = (Conversation.caller_kind == caller.kind) & (Conversation.caller_id == caller.id)
    own = visible_to(caller).where(asked_by_caller).with_only_columns(Conversation.id)
    found = await session.scalar(select(Turn).where(Turn.id == turn_id, Turn.conversation_id.in_(own)))
    if found is None:
        raise TurnNotFound
    return found


async def _own_locked(
    session: AsyncSession, runtime: Runtime, caller: Caller, conversation_id: UUID | None, *, title: str
) -> Conversation:
    """The caller's own conversation, held until the transaction ends; a new one where none is named.

    Raises ConversationNotFound.
    """
    if conversation_id is None:
        return await open_conversation(session, runtime, caller, title=title)
    return await get_own(session, caller, conversation_id, locked=True)


async def get_own(
    session: AsyncSession, caller: Caller, conversation_id: UUID, *, locked: bool = False
) -> Conversation:
    """Raises ConversationNotFound, also for those the caller may only read."""
    own = visible_to(caller).where(
        Conversation.id == conversation_id,
        Conversation.caller_kind == caller.kind,
        Conversation.caller_id == caller.id,
    )
    if locked:
        own = own.with_for_update().execution_options(populate_existing=True)
    found = await session.scalar(own)
    if found is None:
        raise ConversationNotFound
    return found


async def take_number(
    session: AsyncSession, runtime: Runtime, caller: Caller, conversation_id: UUID | None, *, title: str
) -> tuple[UUID, int]:
    """A conversation of the caller's and the next number in it; a new one where none is named or it is not theirs."""
    for own_id in (conversation_id, None):
        own = own_id or (await open_conversation(session, runtime, caller, title=title)).id
        values = _asked(runtime, caller, conversation_id=own)
        number = await session.scalar(_taking_number().returning(Conversation.last_number), values)
        if number is not None:
            return own, number
    raise ConversationNotFound


def new_turn(runtime: Runtime, caller: Caller, conversation_id: UUID, number: int, *, question: str) -> Turn:
    """A turn that is not yet written down."""
    given = {column.key: value for column, value in NEW_TURN.items()}
    return Turn(
        **given, id=CLOCK.new_id(), community_id=caller.community_id, conversation_id=conversation_id, number=number,
        messages=[question], language=language_of(question), created_at=runtime.clock(),
    )  # fmt: skip


def check_text(text: str, *, chars_max: int) -> str:
    """The question without outer blanks and unprintable marks. Raises QuestionEmpty, QuestionTooLong."""
    if len(text) > chars_max:
        raise QuestionTooLong(chars_max)
    question = cleaned(text)
    if not question:
        raise QuestionEmpty
    return question


async def start_turn(
    session: AsyncSession,
    runtime: Runtime,
    caller: Caller,
    *,
    text: str,
    conversation_id: UUID | None = None,
    history: list[dict[str, str]] | None = None,
) -> Turn:
    """A question becomes a waiting turn, or joins the one that still waits in its conversation (a burst).

    Where a person has the conversation it is passed on to them, and where it asks for a person they are called.
    One statement. The job leaves after commit. `history` comes from callers that keep it themselves.
    Raises QuestionEmpty, QuestionTooLong, ConversationNotFound, QueueFull (a burst joins even then).
    """
    question = check_text(text, chars_max=runtime.settings.turn_text_chars_max)
    wish = wishes.find(question) if history is None else None
    if wish is not None and (wish is Wish.PERSON or conversation_id is not None):
        own = await _own_locked(session, runtime, caller, conversation_id, title=question[:TITLE_CHARS])
        if granted := await handoff.grant(session, runtime, caller, own, wish=wish, question=question):
            return granted
    full = await _find_full(runtime, caller.community_id)
    if full and conversation_id is None:
        raise full
    values = _asked(
        runtime,
        caller,
        id=CLOCK.new_id(),
        conversation_id=conversation_id or CLOCK.new_id(),
        title=question[:TITLE_CHARS],
        question=question,
        messages=[question],
        history=history,
        language=language_of(question),
        chars_before_max=runtime.settings.turn_text_chars_max - len(question),
    )
    statement = _starting() if conversation_id is None else _continuing(full=full is not None)
    turn: Turn | None = (await session.scalars(statement, values)).one_or_none()
    if turn is None:
        raise full or ConversationNotFound
    if turn.status is TurnStatus.PASSED_ON:
        story.tell_ended(session, turn)
    elif len(turn.messages) == 1:
        send_after_commit(session, job_of(turn.id, turn.community_id, turn.conversation_id))
    return turn


@cache
def _starting() -> Any:
    """A conversation and its first turn. Built once, as the next: that takes longer than to run it."""
    return select(Turn).from_statement(select(_added(_numbered(_opening(last_number=1)))))


@cache
def _continuing(*, full: bool) -> Any:
    """The question joins the turn that still waits or becomes one; while the queue is full, only one to a person."""
    own = _numbered(_taking_number())
    joined = _joined(own)
    added = _added(own, unless=joined, only_to_a_person=full)
    return select(Turn).from_statement(union_all(select(joined), select(added)))


async def _find_full(runtime: Runtime, community_id: UUID) -> QueueFull | None:
    """Why no turn can be taken in now. Without Redis it is: its row is kept, and the sweeper sends it later."""
    try:
        await runtime.queue.check_admission(community_id)
    except QueueFull as full:
        return full
    except (RedisError, OSError) as error:
        log.warning("admission_not_checked", community_id=str(community_id), error=repr(error))
    return None


def _taking_number() -> Update:
    """Takes the next number of a conversation the caller may write to, and locks it: messages come in one by one.

    Staff who may read a resident's conversation do not thereby speak in it.
    """
    conversation_id = _value("conversation_id", Conversation.id.type)
    # While an older release is still running, its turns have numbers that were not taken here.
    given = select(func.coalesce(func.max(Turn.number), 0)).where(Turn.conversation_id == conversation_id)
    return (
        update(Conversation)
        .where(
            Conversation.id == conversation_id,
            Conversation.community_id == _own(Conversation.community_id),
            Conversation.caller_kind == _own(Conversation.caller_kind),
            Conversation.caller_id == _own(Conversation.caller_id),
        )
        .values(
            last_number=func.greatest(Conversation.last_number, given.scalar_subquery()) + 1,
            last_activity_at=_own(Conversation.created_at),
            status=case(
                *(
                    (Conversation.status == now, literal(then, Conversation.status.type))
                    for now, then in handoff.RESIDENT_WRITES.items()
                )
            ),
            assignee_id=case(
                (Conversation.status == ConversationStatus.RESOLVED, None), else_=Conversation.assignee_id
            ),
            chase_at=case((Conversation.status == ConversationStatus.SNOOZED, None), else_=Conversation.chase_at),
        )
    )


def _numbered(statement: Insert | Update) -> CTE:
    return statement.returning(Conversation.id, Conversation.last_number, Conversation.status).cte("own")


def _joined(own: CTE) -> CTE:
    """The turn that still waits, with the question added to it."""
    chars = func.length(Turn.messages.cast(JSONB).cast(Turn.answer.type))
    return (
        update(Turn)
        .where(
            Turn.conversation_id == select(own.c.id).scalar_subquery(),
            Turn.status == TurnStatus.WAITING,
            chars <= _value("chars_before_max", Integer()),
        )
        .values(messages=Turn.messages.op("||")(func.to_jsonb(_value("question", Text()))))
        .returning(Turn)
        .cte("joined")
    )


def _added(own: CTE, *, unless: CTE | None = None, only_to_a_person: bool = False) -> CTE:
    """A new turn with the number taken, unless the question has joined another: waiting, or passed on to a person."""
    given = (Turn.id, Turn.community_id, Turn.messages, Turn.history, Turn.language, Turn.created_at)
    values: dict[InstrumentedAttribute[Any], Any] = {column: _own(column) for column in given}
    values |= {column: literal(value, column.type) for column, value in NEW_TURN.items()}
    to_a_person, of = own.c.status != ConversationStatus.BOT, Turn.status.type
    values[Turn.status] = case((to_a_person, literal(TurnStatus.PASSED_ON, of)), else_=literal(TurnStatus.WAITING, of))
    values[Turn.finished_at] = case((to_a_person, _own(Turn.created_at)))
    row = select(*values.values(), own.c.id, own.c.last_number)
    if unless is not None:
        row = row.where(~select(unless).exists())
    if only_to_a_person:
        row = row.where(to_a_person)
    columns = [column.key for column in (*values, Turn.conversation_id, Turn.number)]
    return insert(Turn).from_select(columns, row, include_defaults=False).returning(Turn).cte("added")


def job_of(turn_id: UUID, community_id: UUID, conversation_id: UUID) -> Job:
    """The job that answers a turn. One turn at a time per conversation."""
    return Job(
        name=ANSWER_TURN,
        row_id=turn_id,
        community_id=community_id,
        lane=Lane.INTERACTIVE,
        group=str(conversation_id),
    )


async def stop_turn(session: AsyncSession, runtime: Runtime, turn: Turn) -> bool:
    """Ask for the turn to end. True when it ended right here, because no worker had begun it.

    A running one is ended by its worker, which keeps what was said so far.
    """
    if turn.status in FINAL:
        return False
    ended = await session.execute(
        update(Turn)
        .where(Turn.id == turn.id, Turn.status == TurnStatus.WAITING)
        .values(status=TurnStatus.STOPPED, stop_requested=True, finished_at=runtime.clock())
    )
    if ended.rowcount:  # type: ignore[attr-defined]
        return True
    await session.execute(update(Turn).where(Turn.id == turn.id).values(stop_requested=True))
    return False
