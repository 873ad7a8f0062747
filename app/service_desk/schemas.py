"""Wire types of work orders."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field, StringConstraints

from app.people.callers import CallerKind
from app.people.personal import OfHousehold, OfResident
from app.people.schemas import Body, FromRow, Phone
from app.rest.moments import Moment
from app.rest.texts import filled
from app.service_desk.tables import (
    CategoryClass,
    Channel,
    EventKind,
    OrderKind,
    Status,
    Urgency,
    Visibility,
)

Text = Annotated[str, filled(4_000)]
Title = Annotated[str, StringConstraints(strip_whitespace=True, max_length=100)]
PlaceText = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200)]
ContactName = Annotated[str, StringConstraints(strip_whitespace=True, max_length=100)]
Note = Annotated[str, StringConstraints(strip_whitespace=True, max_length=1_000)]
Reason = Annotated[str, filled(1_000)]
Minutes = Annotated[int, Field(ge=1, le=525_600)]
Score = Annotated[int, Field(ge=1, le=5)]
Cents = Annotated[int, Field(ge=0, le=2_000_000_000)]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]


# Opening and changing


class Visit(Body):
    """When and how somebody may come."""

    entry_ok: bool | None = Field(None, description="Whether staff may go in with nobody at home.")
    time_window_start: Moment | None = None
    time_window_end: Moment | None = None


class ReportIn(Visit):
    text: Text = Field(examples=["厨房水管漏水"])
    kind: OrderKind | None = Field(None, description="Left out: what the category or triage says.")
    category_id: UUID | None = None
    space_id: UUID | None = Field(None, description="Left out: the home, for who has one.")
    place_text: PlaceText = Field("", examples=["三单元门口"])
    urgency: Urgency | None = None
    contact_name: ContactName = ""
    contact_phone: Phone = ""
    about_staff_id: UUID | None = Field(
        None, description="The member of staff whom a complaint is about; they never see it."
    )


class MyOrderIn(ReportIn):
    open_anyway: bool = Field(False, description="Also where a live incident is known of it, which is else offered.")


class OrderIn(ReportIn):
    channel: Literal[Channel.STAFF, Channel.PHONE, Channel.SENSOR] = Channel.STAFF
    title: Title = ""
    reporter_id: UUID | None = Field(None, description="The resident for whom this is opened.")


MAY_BE_EMPTY = frozenset(
    {"entry_ok", "time_window_start", "time_window_end", "category_id", "space_id", "about_staff_id"}
)


class MyOrderChange(Visit):
    """What is left out stays; null takes away what an order can be without."""

    contact_name: ContactName | None = None
    contact_phone: Phone | None = None

    def changes(self) -> dict[str, Any]:
        """The columns to change. Null for one that an order always has leaves it as it is."""
        given = self.model_dump(exclude_unset=True)
        return {name: value for name, value in given.items() if value is not None or name in MAY_BE_EMPTY}


class OrderChange(MyOrderChange):
    title: Title | None = None
    kind: OrderKind | None = None
    category_id: UUID | None = None
    urgency: Urgency | None = None
    space_id: UUID | None = None
    place_text: PlaceText | None = None
    about_staff_id: UUID | None = None
    needs_person: bool | None = None


# Moves


class NoteIn(Body):
    note: Note = ""


class ReasonIn(Body):
    note: Reason = Field(examples=["缺配件，周四到货"])


class AssignIn(NoteIn):
    assignee_id: UUID


class QuoteIn(NoteIn):
    quote_cents: Cents = Field(examples=[8_800])
    currency: Currency = "CNY"


class CompleteIn(NoteIn):
    payment_due: bool = Field(False, description="True: wait for the payment first.")


class RateIn(Body):
    """Three scores, 5 is best. A low one brings a return visit."""

    speed: Score
    quality: Score
    attitude: Score
    comment: Note = ""


class CommentIn(Body):
    text: Text


class StaffCommentIn(CommentIn):
    visibility: Visibility = Visibility.RESIDENT


# What is shown


class OrderBrief(BaseModel):
    """What both sides see of an order."""

    id: UUID
    number: int
    kind: OrderKind
    status: Status
    category_id: UUID | None
    category_name: str | None
    category_name_en: str | None
    urgency: Urgency
    title: str
    text: str
    language: str
    space_id: UUID | None
    place: str = Field(description="The address of the space, then what was said of the place.")
    channel: Channel
    entry_ok: bool | None
    time_window_start: datetime | None
    time_window_end: datetime | None
    contact_name: str
    contact_phone: str
    assignee_id: UUID | None
    assignee_name: str | None
    incident_id: UUID | None
    quote_cents: int | None
    currency: str | None
    rating_speed: int | None
    rating_quality: int | None
    rating_attitude: int | None
    rating_comment: str
    urged_count: int
    reopened_count: int
    respond_due_at: datetime | None
    due_at: datetime | None
    created_at: datetime
    updated_at: datetime
    accepted_at: datetime | None
    completed_at: datetime | None
    closed_at: datetime | None
    moves: list[Status] = Field(description="To which statuses the caller may bring it now.")


class MyOrderOut(OrderBrief):
    """An order as its reporter and their household see it."""

    mine: bool = Field(description="Whether the caller reported it; one of their household is theirs to read.")


class OrderOut(OrderBrief):
    """An order as staff see it. Who complains is left out for those who need not know."""

    building_id: UUID | None
    place_text: str
    reporter_kind: CallerKind
    reporter_id: OfResident | None
    reporter_hidden: bool
    household_id: OfHousehold | None
    about_staff_id: UUID | None
    needs_person: bool
    auto_classified: bool
    confidence: float | None
    triage: dict[str, Any] | None
    why: dict[str, Any] | None
    emergency_kind: str | None
    duplicate_of_id: UUID | None
    conversation_id: UUID | None
    turn_id: UUID | None
    overdue_at: datetime | None
    warned_at: datetime | None
    escalated_at: datetime | None
    paused_at: datetime | None
    paused_seconds: int
    version: int


class EventOut(FromRow):
    id: UUID
    kind: EventKind
    from_status: Status | None
    to_status: Status | None
    actor_kind: CallerKind
    actor_id: UUID | None
    note: str
    facts: dict[str, Any]
    created_at: datetime


class CommentOut(FromRow):
    id: UUID
    author_kind: CallerKind
    author_id: OfResident | None
    author_name: str
    visibility: Visibility
    text: str
    created_at: datetime


class FileOut(FromRow):
    id: UUID
    author_kind: CallerKind
    visibility: Visibility
    name: str
    media_type: str = Field(examples=["image/jpeg"])
    bytes_count: int
    width: int | None
    height: int | None
    created_at: datetime


# Categories


class CategoryFields(Body):
    parent_category_id: UUID | None = None
    name: Annotated[str, filled(100)]
    name_en: Annotated[str, StringConstraints(strip_whitespace=True, max_length=100)] = ""
    skill: Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,40}$")] = Field("general", examples=["plumbing"])
    respond_minutes: Minutes | None = Field(None, description="Working time until somebody answers.")
    resolve_minutes: Minutes | None = Field(None, description="Working time until it is done.")
    deadline_class: CategoryClass = CategoryClass.NORMAL


class CategoryIn(CategoryFields):
    code: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,40}$")] = Field(examples=["charging_pile"])
    order_kind: OrderKind


class CategoryChange(Body):
    """What is left out stays; null takes a deadline or the parent away."""

    parent_category_id: UUID | None = None
    name: Annotated[str, filled(100)] | None = None
    name_en: Annotated[str, StringConstraints(strip_whitespace=True, max_length=100)] | None = None
    skill: Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,40}$")] | None = None
    respond_minutes: Minutes | None = None
    resolve_minutes: Minutes | None = None
    deadline_class: CategoryClass | None = None


class CategoryOut(BaseModel):
    id: UUID
    parent_category_id: UUID | None
    code: str
    name: str
    name_en: str
    order_kind: OrderKind
    skill: str
    respond_minutes: int | None
    resolve_minutes: int | None
    deadline_class: CategoryClass
    archived_at: datetime | None
