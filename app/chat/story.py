"""What was said in a conversation, by whomever, in one order: turns and the messages of people share their numbers.

Whoever takes a number holds the conversation's row until the end of the transaction, so what has a greater number was
committed later: a reader that goes on after the last number it saw misses and repeats nothing. The rows are the truth;
the feed only wakes those who follow.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Select, Text, Uuid, cast, func, literal, null, select, union_all
from sqlalchemy.ext.asyncio import AsyncSession

from app.chat.publishing import END_TOKEN
from app.chat.schemas import turn_out
from app.chat.tables import Conversation, ConversationMessage, MessageKind, Turn, TurnStatus
from app.feed import publish_after_commit
from app.runtime import Runtime

CHANGED = "changed"
"""The event that wakes followers of a conversation."""
TURN = "turn"


class View(StrEnum):
    """RESIDENT: without notes. PEOPLE: only what passes between people, as the resident's stream tells it."""

    STAFF = "staff"
    RESIDENT = "resident"
    PEOPLE = "people"


@dataclass(frozen=True)
class Entry:
    """A turn (`kind` "turn", its answer with it) or a message of one of the other kinds."""

    number: int
    id: UUID
    kind: str
    at: datetime
    author_id: UUID | None
    author_name: str
    texts: list[str]
    text_en: str
    answer: str
    status: str | None
    route: str | None
    citations: list[dict[str, Any]]
    facts: dict[str, Any]

    @property
    def text(self) -> str:
        return "\n".join(self.texts)

    def text_in(self, language: str) -> str:
        """Ours in either language; what people wrote as they wrote it."""
        return self.text_en if language == "en" and self.text_en else self.text


async def add(
    session: AsyncSession, runtime: Runtime, conversation: Conversation, *, kind: MessageKind, text: str,
    text_en: str = "", author_id: UUID | None = None, author_name: str = "", facts: dict[str, Any] | None = None,
) -> ConversationMessage:  # fmt: skip
    """The next message of a conversation, which the caller holds; followers are woken after commit."""
    message = ConversationMessage(
        community_id=conversation.community_id, conversation_id=conversation.id,
        number=await take_number(session, runtime, conversation), kind=kind, text=text, text_en=text_en,
        author_id=author_id, author_name=author_name, facts=facts or {}, created_at=runtime.clock(),
    )  # fmt: skip
    session.add(message)
    await session.flush()
    tell_changed(session, conversation.id, message.number)
    return message


async def take_number(session: AsyncSession, runtime: Runtime, conversation: Conversation) -> int:
    """The next number of a conversation, which the caller holds."""
    # Conversations older than the counter have turns that it never counted.
    given = await session.scalar(select(func.max(Turn.number)).where(Turn.conversation_id == conversation.id))
    conversation.last_number = max(conversation.last_number, given or 0) + 1
    conversation.last_activity_at = runtime.clock()
    return conversation.last_number


def tell_changed(session: AsyncSession, conversation_id: UUID, number: int) -> None:
    """Wake those who follow the conversation, after commit."""
    publish_after_commit(session, conversation_id, CHANGED, {"number": number})


def tell_ended(session: AsyncSession, turn: Turn) -> None:
    """After commit: the turn's own followers read its end, those of the conversation read on."""
    publish_after_commit(session, turn.id, "done", turn_out(turn).model_dump(mode="json"), token=END_TOKEN)
    tell_changed(session, turn.conversation_id, turn.number)


async def read(
    session: AsyncSession, conversation_id: UUID, *, after: int = 0, rows_max: int, view: View
) -> list[Entry]:
    """The entries with greater numbers, in their order, in one statement. The caller was let in before."""
    turns = _turns(conversation_id, after, rows_max)
    if view is View.PEOPLE:
        turns = turns.where(Turn.status == TurnStatus.PASSED_ON)
    messages = _messages(conversation_id, after, rows_max)
    if view is not View.STAFF:
        messages = messages.where(ConversationMessage.kind != MessageKind.NOTE)
    # Each part is cut by itself, so that a long conversation is read along its index.
    both = union_all(select(turns.subquery()), select(messages.subquery())).subquery()
    rows = await session.execute(select(both).order_by(both.c.number).limit(rows_max))
    return [Entry(*row) for row in rows]


def _turns(conversation_id: UUID, after: int, rows_max: int) -> Select[Any]:
    nothing = literal("", Text())
    return (
        select(
            Turn.number,
            Turn.id,
            literal(TURN, Text()).label("kind"),
            Turn.created_at,
            cast(null(), Uuid()).label("author_id"),
            nothing.label("author_name"),
            Turn.messages.label("texts"),
            nothing.label("text_en"),
            Turn.answer,
            Turn.status.cast(Text()).label("status"),
            Turn.route.cast(Text()).label("route"),
            Turn.citations,
            func.jsonb_build_object().label("facts"),
        )
        .where(Turn.conversation_id == conversation_id, Turn.number > after)
        .order_by(Turn.number)
        .limit(rows_max)
    )


def _messages(conversation_id: UUID, after: int, rows_max: int) -> Select[Any]:
    row = ConversationMessage
    return (
        select(
            row.number,
            row.id,
            row.kind.cast(Text()).label("kind"),
            row.created_at,
            row.author_id,
            row.author_name,
            func.jsonb_build_array(row.text).label("texts"),
            row.text_en,
            literal("", Text()).label("answer"),
            cast(null(), Text()).label("status"),
            cast(null(), Text()).label("route"),
            func.jsonb_build_array().label("citations"),
            row.facts,
        )
        .where(row.conversation_id == conversation_id, row.number > after)
        .order_by(row.number)
        .limit(rows_max)
    )


def last_words(entries: Iterable[Entry]) -> list[str]:
    """What the resident said since anybody answered last."""
    words: list[str] = []
    for entry in entries:
        if entry.kind == TURN:
            words = [] if entry.answer else [*words, *entry.texts]
        elif entry.kind == MessageKind.REPLY:
            words = []
    return words
