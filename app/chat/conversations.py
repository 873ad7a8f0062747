"""Opening conversations, taking questions in, stopping them: the part of a turn that runs in the web process."""

from uuid import UUID

import structlog
from redis.exceptions import RedisError
from sqlalchemy import Select, func, select, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession
from uuid_utils.compat import uuid7

from app.chat.tables import FINAL, Conversation, Turn, TurnStatus
from app.errors import Invalid, NotFound
from app.knowledge.language import language_of
from app.people.callers import Caller, CallerKind
from app.queue import Job, Lane, send_after_commit
from app.runtime import Runtime

log = structlog.get_logger(__name__)

ANSWER_TURN = "chat.answer_turn"
TITLE_CHARS = 30


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
    conversation = Conversation(
        id=uuid7(),
        community_id=caller.community_id,
        caller_kind=caller.kind,
        caller_id=caller.id,
        account_id=caller.account_id,
        title=title,
        created_at=runtime.clock(),
    )
    session.add(conversation)
    await session.flush()
    return conversation


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


def check_text(text: str, *, chars_max: int) -> str:
    """The question without outer blanks and unprintable marks. Raises QuestionEmpty, QuestionTooLong."""
    if len(text) > chars_max:
        raise QuestionTooLong(chars_max)
    cleaned = "".join(c for c in text if c.isprintable() or c in "\n\t").strip()
    if not cleaned:
        raise QuestionEmpty
    return cleaned


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

    Its job leaves after commit. `history` comes from callers that keep it themselves.
    Raises QuestionEmpty, QuestionTooLong, ConversationNotFound, QueueFull.
    """
    question = check_text(text, chars_max=runtime.settings.turn_text_chars_max)
    if conversation_id is None:
        conversation_id = (await open_conversation(session, runtime, caller, title=question[:TITLE_CHARS])).id
    else:
        conversation = await get_own_conversation(session, caller, conversation_id)
        if joined := await _join_waiting(session, runtime, conversation.id, question):
            return joined
    await _check_admission(runtime, caller.community_id)
    turn = Turn(
        id=uuid7(),
        community_id=caller.community_id,
        conversation_id=conversation_id,
        number=await _next_number(session, conversation_id),
        messages=[question],
        history=history,
        language=language_of(question),
        created_at=runtime.clock(),
    )
    session.add(turn)
    await session.flush()
    send_after_commit(session, job_of(turn.id, turn.community_id, conversation_id))
    return turn


async def _check_admission(runtime: Runtime, community_id: UUID) -> None:
    """Raises QueueFull. Without Redis the question is taken in: its row is kept, and the sweeper sends it later."""
    try:
        await runtime.queue.check_admission(community_id)
    except (RedisError, OSError) as error:
        log.warning("admission_not_checked", community_id=str(community_id), error=repr(error))


async def get_own_conversation(session: AsyncSession, caller: Caller, conversation_id: UUID) -> Conversation:
    """A conversation the caller may write to, locked so that its turns get their numbers one by one.

    Staff who may read a resident's conversation do not thereby speak in it.
    """
    found = await session.scalar(
        visible_to(caller)
        .where(
            Conversation.id == conversation_id,
            Conversation.caller_kind == caller.kind,
            Conversation.caller_id == caller.id,
        )
        .with_for_update()
    )
    if found is None:
        raise ConversationNotFound
    return found


async def _join_waiting(session: AsyncSession, runtime: Runtime, conversation_id: UUID, question: str) -> Turn | None:
    chars = func.length(Turn.messages.cast(JSONB).cast(Turn.answer.type))
    statement = (
        update(Turn)
        .where(
            Turn.conversation_id == conversation_id,
            Turn.status == TurnStatus.WAITING,
            chars + len(question) <= runtime.settings.turn_text_chars_max,
        )
        .values(messages=Turn.messages.op("||")(func.to_jsonb(question)))
        .returning(Turn)
    )
    return (await session.scalars(statement)).first()


async def _next_number(session: AsyncSession, conversation_id: UUID) -> int:
    last = await session.scalar(select(func.max(Turn.number)).where(Turn.conversation_id == conversation_id))
    return (last or 0) + 1


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
