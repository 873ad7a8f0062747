"""What the inbox looks like on the wire."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from app.chat.schemas import QuoteOut
from app.chat.story import TURN, Entry
from app.chat.tables import (
    CannedReply,
    Conversation,
    ConversationDraft,
    ConversationStatus,
    DraftKind,
    DraftStatus,
    HandoffReason,
    MessageKind,
    Mode,
)
from app.people.callers import CallerKind
from app.people.personal import OfResident
from app.rest.moments import Moment
from app.rest.texts import cleaned

LABELS_MAX = 20
MESSAGE_CHARS_MAX = 4_000


Label = Annotated[str, StringConstraints(min_length=1, max_length=40), AfterValidator(cleaned)]
MessageText = Annotated[str, StringConstraints(min_length=1, max_length=MESSAGE_CHARS_MAX), AfterValidator(cleaned)]
AnyText = Annotated[str, StringConstraints(max_length=MESSAGE_CHARS_MAX), AfterValidator(cleaned)]
Code = Annotated[str, StringConstraints(min_length=1, max_length=40), AfterValidator(cleaned)]
Note = Annotated[str, StringConstraints(max_length=500), AfterValidator(cleaned)]


def no_truth_value(value: object) -> object:
    """`true` would pass for 1. Raises ValueError."""
    if isinstance(value, bool):
        raise ValueError("a number, not true or false")
    return value


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class InboxItem(BaseModel):
    """A conversation as staff see it in the list."""

    id: UUID
    title: str
    status: ConversationStatus
    reason: HandoffReason | None
    assignee_id: UUID | None
    assignee_name: str
    labels: list[str]
    caller_kind: CallerKind
    resident_id: OfResident | None = Field(description="Whose conversation it is.")
    caller_name: str = Field(description="Who opened it; empty for keys and for who is gone.")
    unread: int = Field(description="What the resident said to people since staff last read it.")
    last_number: int
    last_activity_at: datetime
    requested_at: datetime | None = Field(description="When a person was asked for last.")
    created_at: datetime


class FilterIn(Body):
    """All that is given must hold; of a list, one."""

    status: list[ConversationStatus] = Field([], max_length=len(ConversationStatus))
    reason: list[HandoffReason] = Field([], max_length=len(HandoffReason))
    assignee_id: list[UUID] = Field([], max_length=20)
    unassigned: bool = False
    labels: list[Label] = Field([], max_length=LABELS_MAX, description="All of them.")
    unread: bool = False
    active_after: Moment | None = None
    active_before: Moment | None = None
    cursor: Annotated[str, StringConstraints(max_length=100)] | None = None
    limit: Annotated[int, BeforeValidator(no_truth_value)] = Field(50, ge=1, le=200)


class EntryOut(BaseModel):
    """One thing said, by its place in the conversation. `turn`: a resident's words, with the bot's answer if any."""

    number: int
    kind: Literal["turn", "reply", "note", "event"]
    author_kind: Literal["resident", "staff", "linli"]
    author_name: str
    text: str
    answer: str = Field("", description="The bot's, to a turn.")
    turn_id: UUID | None = None
    turn_status: str | None = None
    route: str | None = None
    citations: list[QuoteOut] = Field(default_factory=list)
    facts: dict[str, Any] = Field(default_factory=dict, description="Of an event: what happened, and the new status.")
    created_at: datetime


class StoryOut(BaseModel):
    resident_id: OfResident | None = Field(description="Whose conversation it is.")
    items: list[EntryOut]
    next_after: int | None = Field(None, description="`after` of the next page; null on the last.")


class MessageIn(Body):
    text: MessageText
    kind: Literal["reply", "note"] = Field("reply", description="A note stays among staff.")


class HandoffIn(Body):
    reason: HandoffReason = HandoffReason.UNSUPPORTED_REQUEST
    note: Note = ""


class SnoozeIn(Body):
    until: Moment


class AssigneeIn(Body):
    assignee_id: UUID | None = Field(description="null puts it back: it waits for a person again.")


class LabelsIn(Body):
    labels: list[Label] = Field(max_length=LABELS_MAX)


class ReadIn(Body):
    number: int = Field(ge=0, le=2**31 - 1, description="The last entry that was read.")


class CannedReplyIn(Body):
    code: Code = Field(examples=["收到"])
    text: MessageText
    text_en: AnyText = ""


class CannedReplyChange(Body):
    code: Code | None = None
    text: MessageText | None = None
    text_en: AnyText | None = None


class CannedReplyOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    id: UUID
    code: str
    text: str
    text_en: str
    created_at: datetime


class DraftIn(Body):
    kind: Literal["reply", "rewrite", "summary", "translate", "suggest"] = "reply"
    text: AnyText = Field("", description="What to rewrite or translate; the others read the conversation.")
    language: Literal["zh", "en"] | None = Field(None, description="To write in; null takes the resident's.")


class DraftOut(BaseModel):
    """Words for staff to look at: nothing here was said to anybody."""

    model_config = ConfigDict(from_attributes=True)
    id: UUID
    conversation_id: UUID
    kind: DraftKind
    status: DraftStatus
    language: str
    text: str
    mode: Mode | None = Field(description="model, or where it could not be asked: quotes or a fixed extract.")
    citations: list[QuoteOut]
    facts: dict[str, Any]
    up_to_number: int
    error: str | None
    created_at: datetime
    finished_at: datetime | None


class SummaryOut(BaseModel):
    """`worded` is null until one was asked for (POST drafts, kind summary); the extract is there at once."""

    resident_id: OfResident | None
    extract: str
    worded: DraftOut | None
    is_current: bool = Field(description="Whether nothing was said since the worded one.")


def resident_of(row: Conversation) -> UUID | None:
    """Whose conversation it is; nobody's personally where a key or staff opened it."""
    return row.caller_id if row.caller_kind is CallerKind.RESIDENT else None


def inbox_item(row: Conversation, *, assignee: str, caller: str, unread: int) -> InboxItem:
    return InboxItem(
        id=row.id, title=row.title, status=row.status, reason=row.reason, assignee_id=row.assignee_id,
        assignee_name=assignee, labels=row.labels, caller_kind=row.caller_kind,
        resident_id=resident_of(row), caller_name=caller, unread=unread,
        last_number=row.last_number, last_activity_at=row.last_activity_at, requested_at=row.requested_at,
        created_at=row.created_at,
    )  # fmt: skip


def entry_out(entry: Entry, *, language: str) -> EntryOut:
    is_turn = entry.kind == TURN
    authors: dict[str, Literal["resident", "staff", "linli"]] = {TURN: "resident", MessageKind.EVENT: "linli"}
    return EntryOut.model_validate(
        {
            "number": entry.number, "kind": entry.kind, "author_kind": authors.get(entry.kind, "staff"),
            "author_name": entry.author_name, "text": entry.text_in(language), "answer": entry.answer,
            "turn_id": entry.id if is_turn else None, "turn_status": entry.status, "route": entry.route,
            "citations": entry.citations, "facts": entry.facts, "created_at": entry.at,
        }
    )  # fmt: skip


def draft_out(row: ConversationDraft) -> DraftOut:
    return DraftOut.model_validate(row)


def canned_reply_out(row: CannedReply) -> CannedReplyOut:
    return CannedReplyOut.model_validate(row)
