"""What conversations and turns look like on the wire."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from app.chat.tables import Conversation, ConversationStatus, HandoffReason, Mode, Route, Turn, TurnStatus


class ConversationIn(BaseModel):
    title: str = Field("", max_length=200, examples=["停车问题"])


class ConversationOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    id: UUID
    title: str
    status: ConversationStatus = Field(description="Only in `bot` the bot answers; else what is said goes to a person.")
    reason: HandoffReason | None = Field(description="Why a person was called last.")
    created_at: datetime


class TurnIn(BaseModel):
    text: str = Field(description="The question, in any words.", examples=["晚上几点以后不能装修？"])
    conversation_id: UUID | None = Field(None, description="Leave out to open a new conversation.")


class QuoteOut(BaseModel):
    """Words of a document, with where they stand."""

    n: int = Field(description="Number by which the answer may refer to it.", examples=[1])
    document_id: UUID
    document: str = Field(description="Title.", examples=["装修管理规定"])
    file: str = Field("", description="Name of the uploaded file.")
    section: str = Field(examples=["第三章 施工时间"])
    quote: str = Field(examples=["工作日施工时间为8:00至12:00、14:00至18:00。"])


class PositionOut(BaseModel):
    ahead: int = Field(description="Turns before this one.")
    expected_wait_seconds: float


class UsageOut(BaseModel):
    prompt_tokens: int
    cached_tokens: int = Field(description="Of the prompt, served from the engine's prefix cache.")
    completion_tokens: int


class TurnOut(BaseModel):
    id: UUID
    conversation_id: UUID
    status: TurnStatus
    messages: list[str]
    language: str
    answer: str
    route: Route | None
    mode: Mode | None
    quotes: list[QuoteOut]
    citations: list[QuoteOut]
    error: str | None
    created_at: datetime
    finished_at: datetime | None
    events_url: str = Field(examples=["/api/v1/turns/0197…/events"])
    usage: UsageOut
    position: PositionOut | None = None


class TraceOut(TurnOut):
    """A turn for staff: how the answer came about."""

    trace: dict[str, Any]
    attempts: int


def conversation_out(row: Conversation) -> ConversationOut:
    return ConversationOut.model_validate(row)


def turn_fields(turn: Turn) -> dict[str, Any]:
    """The fields of TurnOut from a row."""
    return {
        "id": turn.id,
        "conversation_id": turn.conversation_id,
        "status": turn.status,
        "messages": turn.messages,
        "language": turn.language,
        "answer": turn.answer,
        "route": turn.route,
        "mode": turn.mode,
        "quotes": turn.quotes,
        "citations": turn.citations,
        "error": turn.error,
        "created_at": turn.created_at,
        "finished_at": turn.finished_at,
        "usage": UsageOut(
            prompt_tokens=turn.prompt_tokens,
            cached_tokens=turn.cached_tokens,
            completion_tokens=turn.completion_tokens,
        ),
        "events_url": f"/api/v1/turns/{turn.id}/events",
    }


def turn_out(turn: Turn, position: PositionOut | None = None) -> TurnOut:
    return TurnOut(**turn_fields(turn), position=position)


def trace_out(turn: Turn) -> TraceOut:
    return TraceOut(**turn_fields(turn), trace=turn.trace, attempts=turn.attempts)
