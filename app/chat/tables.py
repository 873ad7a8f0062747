"""Conversations and turns. A turn's row is the truth of a question and its answer; queue and feed only carry it."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base, HasId, enum_column
from app.people.callers import CallerKind


class TurnStatus(StrEnum):
    """WAITING and RUNNING turns belong to the queue; the others are final."""

    WAITING = "waiting"
    RUNNING = "running"
    ANSWERED = "answered"
    STOPPED = "stopped"
    FAILED = "failed"
    PASSED_ON = "passed_on"
    """For a person: the bot says nothing to it."""


FINAL = frozenset({TurnStatus.ANSWERED, TurnStatus.STOPPED, TurnStatus.FAILED, TurnStatus.PASSED_ON})


class Route(StrEnum):
    """How a question was answered."""

    APPROVED = "approved"
    KNOWLEDGE = "knowledge"
    SMALL_TALK = "small_talk"
    REFUSAL = "refusal"
    INCIDENT = "incident"
    """A known incident was offered, or what the resident made of the offer."""
    HANDOFF = "handoff"
    EMERGENCY = "emergency"
    RECOMMENDATION = "recommendation"


class Mode(StrEnum):
    """Where the words of an answer come from: the model, quoted passages, or a fixed text of ours."""

    MODEL = "model"
    QUOTES = "quotes"
    FIXED = "fixed"


AT_ONCE = frozenset({Route.EMERGENCY, Route.INCIDENT})
"""Answered where they were asked: queue and feed never know of them."""


class ConversationStatus(StrEnum):
    """Whose word it is. The bot speaks only in BOT; PENDING waits for a person, HUMAN has one."""

    BOT = "bot"
    PENDING = "pending"
    HUMAN = "human"
    SNOOZED = "snoozed"
    RESOLVED = "resolved"


class HandoffReason(StrEnum):
    """Why a person is needed."""

    CUSTOMER_REQUEST = "customer_request"
    MISSING_KNOWLEDGE = "missing_knowledge"
    UNSUPPORTED_REQUEST = "unsupported_request"
    POLICY_RESTRICTION = "policy_restriction"
    TOOL_FAILURE = "tool_failure"
    PENDING_CLARIFICATION = "pending_clarification"
    USAGE_LIMIT = "usage_limit"
    EMERGENCY = "emergency"


class MessageKind(StrEnum):
    """REPLY is staff's word to the resident, NOTE stays among staff, EVENT tells of a move (handoff.py)."""

    REPLY = "reply"
    NOTE = "note"
    EVENT = "event"


class DraftKind(StrEnum):
    """What staff may ask for; BOT_ANSWER is what the bot was saying when a person took over."""

    REPLY = "reply"
    REWRITE = "rewrite"
    SUMMARY = "summary"
    TRANSLATE = "translate"
    SUGGEST = "suggest"
    BOT_ANSWER = "bot_answer"


class DraftStatus(StrEnum):
    """WAITING and RUNNING drafts belong to the queue."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class Conversation(HasId, Base):
    """`caller_*` name who opened it; nobody else but staff with the right to read conversations sees it.

    `last_number` is the number last taken for a turn or a message, so both stand in one order; a message that joined
    a waiting turn took one too. Whoever takes a number holds the row, so numbers are committed in their order.
    `chase_at`: when to look again whether a person has come, or whether a snooze is over.
    """

    __tablename__ = "conversations"
    __table_args__ = (
        Index("ix_conversations_caller", "community_id", "caller_id", "id"),
        Index("ix_conversations_community_id_id", "community_id", "id"),
        Index("ix_conversations_activity", "community_id", "last_activity_at", "id"),
        Index("ix_conversations_status_activity", "community_id", "status", "last_activity_at", "id"),
        Index(
            "ix_conversations_assignee_activity", "community_id", "assignee_id", "last_activity_at", "id",
            postgresql_where=text("assignee_id IS NOT NULL"),
        ),
        Index("ix_conversations_chase_at", "chase_at", postgresql_where=text("chase_at IS NOT NULL")),
    )  # fmt: skip
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"))
    caller_kind: Mapped[CallerKind] = mapped_column(enum_column(CallerKind))
    caller_id: Mapped[UUID]
    account_id: Mapped[UUID | None]
    title: Mapped[str] = mapped_column(default="")
    last_number: Mapped[int] = mapped_column(default=0, server_default="0")
    created_at: Mapped[datetime]
    status: Mapped[ConversationStatus] = mapped_column(enum_column(ConversationStatus), server_default="bot")
    reason: Mapped[HandoffReason | None] = mapped_column(enum_column(HandoffReason))
    assignee_id: Mapped[UUID | None]
    labels: Mapped[list[str]] = mapped_column(JSONB, server_default=text("'[]'"))
    last_activity_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    read_number: Mapped[int] = mapped_column(server_default="0")
    requested_at: Mapped[datetime | None]
    chase_at: Mapped[datetime | None]
    chased: Mapped[int] = mapped_column(server_default="0")


class Turn(HasId, Base):
    """`messages` are the resident's words, more than one when they came in a burst before the answer began.

    `claim_token` is the fencing token of the worker that may write; a later claim has a greater one.
    """

    __tablename__ = "turns"
    __table_args__ = (
        UniqueConstraint("conversation_id", "number"),
        Index("ix_turns_open", "created_at", postgresql_where=text("status IN ('waiting', 'running')")),
    )
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"), index=True)
    conversation_id: Mapped[UUID] = mapped_column(ForeignKey("conversations.id", ondelete="CASCADE"))
    number: Mapped[int]
    status: Mapped[TurnStatus] = mapped_column(enum_column(TurnStatus), default=TurnStatus.WAITING)
    messages: Mapped[list[str]] = mapped_column(JSONB)
    history: Mapped[list[dict[str, str]] | None] = mapped_column(JSONB)
    language: Mapped[str]
    claim_token: Mapped[int] = mapped_column(BigInteger, default=0)
    attempts: Mapped[int] = mapped_column(default=0)
    stop_requested: Mapped[bool] = mapped_column(default=False)
    answer: Mapped[str] = mapped_column(default="")
    route: Mapped[Route | None] = mapped_column(enum_column(Route))
    mode: Mapped[Mode | None] = mapped_column(enum_column(Mode))
    quotes: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, default=list)
    citations: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, default=list)
    trace: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict)
    prompt_tokens: Mapped[int] = mapped_column(default=0)
    cached_tokens: Mapped[int] = mapped_column(default=0)
    completion_tokens: Mapped[int] = mapped_column(default=0)
    error: Mapped[str | None]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]

    @property
    def question(self) -> str:
        return "\n".join(self.messages)


class ConversationMessage(HasId, Base):
    """What a person of the staff said, and every move of the conversation, in one order with its turns by `number`.

    A resident's words to a person are a turn that was passed on. `text_en` is set where the text is ours. `facts` of an
    event: status, and what else it is about.
    """

    __tablename__ = "conversation_messages"
    __table_args__ = (UniqueConstraint("conversation_id", "number"),)
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"), index=True)
    conversation_id: Mapped[UUID] = mapped_column(ForeignKey("conversations.id", ondelete="CASCADE"))
    number: Mapped[int]
    kind: Mapped[MessageKind] = mapped_column(enum_column(MessageKind))
    author_id: Mapped[UUID | None]
    author_name: Mapped[str] = mapped_column(default="")
    text: Mapped[str] = mapped_column(default="")
    text_en: Mapped[str] = mapped_column(default="")
    facts: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict)
    created_at: Mapped[datetime]


class ConversationDraft(HasId, Base):
    """Words for staff to look at, never sent by themselves. `turn_id` is the question that the bot was answering.

    `text_given` is what it was made from, where that is not the conversation.
    """

    __tablename__ = "conversation_drafts"
    __table_args__ = (
        UniqueConstraint("turn_id"),
        Index("ix_conversation_drafts_conversation_id_id", "conversation_id", "id"),
        Index("ix_conversation_drafts_open", "created_at", postgresql_where=text("status IN ('waiting', 'running')")),
    )
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"), index=True)
    conversation_id: Mapped[UUID] = mapped_column(ForeignKey("conversations.id", ondelete="CASCADE"))
    turn_id: Mapped[UUID | None]
    asked_by: Mapped[UUID | None]
    kind: Mapped[DraftKind] = mapped_column(enum_column(DraftKind))
    status: Mapped[DraftStatus] = mapped_column(enum_column(DraftStatus), default=DraftStatus.WAITING)
    language: Mapped[str] = mapped_column(default="zh")
    text_given: Mapped[str] = mapped_column(default="")
    up_to_number: Mapped[int] = mapped_column(default=0)
    text: Mapped[str] = mapped_column(default="")
    mode: Mapped[Mode | None] = mapped_column(enum_column(Mode))
    citations: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, default=list)
    facts: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict)
    claim_token: Mapped[int] = mapped_column(BigInteger, default=0)
    attempts: Mapped[int] = mapped_column(default=0)
    error: Mapped[str | None]
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class CannedReply(HasId, Base):
    """A text that staff send often. `code` is what they type to find it."""

    __tablename__ = "canned_replies"
    __table_args__ = (UniqueConstraint("community_id", "code"),)
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"))
    code: Mapped[str]
    text: Mapped[str]
    text_en: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime]
