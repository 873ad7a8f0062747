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


FINAL = frozenset({TurnStatus.ANSWERED, TurnStatus.STOPPED, TurnStatus.FAILED})


class Route(StrEnum):
    """How a question was answered."""

    APPROVED = "approved"
    KNOWLEDGE = "knowledge"
    SMALL_TALK = "small_talk"
    REFUSAL = "refusal"


class Mode(StrEnum):
    """Where the words of an answer come from: the model, quoted passages, or a fixed text of ours."""

    MODEL = "model"
    QUOTES = "quotes"
    FIXED = "fixed"


class Conversation(HasId, Base):
    """`caller_*` name who opened it; nobody else but staff with the right to read conversations sees it.

    `last_number` is the number last taken for a turn; a message that joined a waiting turn took one too.
    """

    __tablename__ = "conversations"
    __table_args__ = (
        Index("ix_conversations_caller", "community_id", "caller_id", "id"),
        Index("ix_conversations_community_id_id", "community_id", "id"),
    )
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"))
    caller_kind: Mapped[CallerKind] = mapped_column(enum_column(CallerKind))
    caller_id: Mapped[UUID]
    account_id: Mapped[UUID | None]
    title: Mapped[str] = mapped_column(default="")
    last_number: Mapped[int] = mapped_column(default=0, server_default="0")
    created_at: Mapped[datetime]


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
