"""Wire types of incidents and of what an intended report matches."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field, StringConstraints

from app.people.callers import CallerKind
from app.people.personal import OfResident
from app.people.schemas import Body, FromRow
from app.rest.moments import Moment
from app.rest.texts import filled
from app.service_desk.incident_kinds import IncidentKind
from app.service_desk.incident_tables import FollowSource, IncidentStatus
from app.service_desk.tables import Status

Title = Annotated[str, filled(120)]
Text = Annotated[str, StringConstraints(strip_whitespace=True, max_length=2_000)]
Said = Annotated[str, filled(2_000)]
SpaceIds = Annotated[list[UUID], Field(max_length=200)]


class Words(BaseModel):
    """One text in both languages."""

    zh: str
    en: str


class IncidentIn(Body):
    """Without spaces it concerns the whole community; a space stands for everything below it."""

    kind: IncidentKind = IncidentKind.OTHER
    title: Title = Field(examples=["2栋1单元停水"])
    resident_text: Text = Field("", description="For residents, in Chinese.", examples=["水泵故障，正在抢修。"])
    resident_text_en: Text = Field("", description="For residents, in English.")
    space_ids: SpaceIds = Field(default_factory=list)
    category_id: UUID | None = None
    began_at: Moment | None = Field(None, description="Now, when left out.")
    expected_end_at: Moment | None = None


class IncidentChange(Body):
    """What is left out stays. A new text or expected end is told to the followers."""

    kind: IncidentKind | None = None
    title: Title | None = None
    resident_text: Text | None = None
    resident_text_en: Text | None = None
    space_ids: SpaceIds | None = None
    began_at: Moment | None = None
    expected_end_at: Moment | None = Field(None, description="null: not known any more.")


class NewsIn(Body):
    text: Said = Field(description="In Chinese.", examples=["水泵已更换，正在试水。"])
    text_en: Text = ""
    expected_end_at: Moment | None = Field(None, description="Left out: as before.")


class CloseIn(Body):
    note: Text = Field("", description="What residents are told, in Chinese.", examples=["感谢您的耐心等待。"])
    note_en: Text = ""
    ended_at: Moment | None = Field(None, description="Now, when left out.")


class DismissIn(Body):
    note: Text = ""


class LinkIn(Body):
    order_id: UUID


class PlaceOut(BaseModel):
    id: UUID
    label: str


class NewsOut(FromRow):
    number: int
    text: str
    text_en: str
    expected_end_at: datetime | None
    ends: bool
    created_at: datetime


class IncidentOut(BaseModel):
    id: UUID
    kind: IncidentKind
    status: IncidentStatus
    title: str
    resident_text: str
    resident_text_en: str
    category_id: UUID | None
    spaces: list[PlaceOut] = Field(description="Empty: the whole community.")
    began_at: datetime
    expected_end_at: datetime | None
    is_late: bool = Field(description="The expected end has passed, and no new one is known.")
    ended_at: datetime | None
    opened_by_kind: CallerKind = Field(description="`system`: Linli suspected it from like reports.")
    confirmed_at: datetime | None
    closed_at: datetime | None
    close_note: str
    followers_count: int
    workorders_count: int
    version: int
    created_at: datetime
    updated_at: datetime


class IncidentDetail(IncidentOut):
    news: list[NewsOut] = Field(description="Oldest first.")


class LinkedOrderOut(FromRow):
    id: UUID
    number: int
    status: Status
    title: str
    created_at: datetime


class FollowerOut(BaseModel):
    id: UUID
    resident_id: OfResident
    name: str
    rooms: list[str]
    source: FollowSource
    told_number: int = Field(description="The last news this follower was told.")
    created_at: datetime


class NoticeDraftOut(FromRow):
    """A draft. Nothing is published by it."""

    incident_id: UUID
    title: Words
    body: Words
    worded_by: Literal["template", "engine"]
    drafts_count: int
    created_at: datetime
    updated_at: datetime


# For residents


class MyIncidentOut(BaseModel):
    id: UUID
    kind: IncidentKind
    status: IncidentStatus
    title: str
    text: Words
    places: list[str]
    began_at: datetime
    expected_end_at: datetime | None
    is_late: bool = Field(description="The expected end has passed, and no new one is known.")
    ended_at: datetime | None
    following: bool
    followers_count: int
    news: list[NewsOut]


class MatchIn(Body):
    """A report before it is sent."""

    text: Said = Field(examples=["三单元没水"])
    space_id: UUID | None = Field(None, description="Where; for residents their home, when left out.")
    category_id: UUID | None = None


class IncidentMatch(BaseModel):
    incident_id: UUID
    kind: IncidentKind
    status: IncidentStatus
    title: str
    places: list[str]
    began_at: datetime
    expected_end_at: datetime | None
    likeness: float = Field(ge=0, le=1)
    following: bool
    offer: Words = Field(description="“Known since 08:10, expected 12:00; follow?”")


class OrderMatch(BaseModel):
    """A like order that the caller may see."""

    order_id: UUID
    number: int
    status: Status
    title: str
    created_at: datetime
    likeness: float = Field(ge=0, le=1)


class MatchesOut(BaseModel):
    """Empty lists: nothing is known of it, open the order."""

    incidents: list[IncidentMatch]
    workorders: list[OrderMatch] = Field(
        description="Like orders of the caller and their household; for staff all of them."
    )
    others_count: int = Field(description="Like orders of other homes near the place, lately.")
