"""Wire types of deadlines, areas and ringing."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from app.people.schemas import Body, FromRow
from app.people.tables import Skill
from app.service_desk.duty_tables import RingAnswer, RingState
from app.service_desk.staffing import Mode
from app.service_desk.tables import CategoryClass

Minutes = Annotated[int, Field(ge=1, le=525_600, description="Of working time; in emergencies, of the clock.")]
Notice = Annotated[int, Field(ge=0, le=525_600)]


class SlaRuleIn(Body):
    """Without a category, the rule is for every order of the class that has no other."""

    deadline_class: CategoryClass
    category_id: UUID | None = None
    respond_minutes: Minutes = Field(examples=[60])
    resolve_minutes: Minutes = Field(examples=[1_440])
    warn_minutes: Notice | None = Field(None, description="Before the end; null takes the community's share.")
    escalate_minutes: Notice | None = Field(None, description="After the end; null takes the community's.")


class SlaRuleChange(Body):
    respond_minutes: Minutes | None = None
    resolve_minutes: Minutes | None = None
    warn_minutes: Notice | None = None
    escalate_minutes: Notice | None = None


class SlaRuleOut(FromRow):
    model_config = ConfigDict(from_attributes=True, populate_by_name=True)

    id: UUID
    deadline_class: CategoryClass = Field(validation_alias="class_")
    category_id: UUID | None
    respond_minutes: int
    resolve_minutes: int
    warn_minutes: int | None
    escalate_minutes: int | None
    created_at: datetime


class AssignmentRuleIn(Body):
    """Who gets the orders of a category, with all below it, in a building; left out means every one."""

    category_id: UUID | None = None
    building_id: UUID | None = None
    skill: Skill | None = Field(None, description="In place of the category's.", examples=["plumbing"])
    staff_id: UUID | None = Field(None, description="Who gets them, as long as they are at work and able.")
    mode: Mode | None = Field(None, description="In place of the community's.")


class AssignmentRuleChange(Body):
    """What is left out stays; null takes a choice back."""

    skill: Skill | None = None
    staff_id: UUID | None = None
    mode: Mode | None = None


class AssignmentRuleOut(FromRow):
    id: UUID
    category_id: UUID | None
    building_id: UUID | None
    skill: str | None
    staff_id: UUID | None
    mode: Mode | None
    created_at: datetime


class AreasIn(Body):
    """An empty list lifts the limit."""

    space_ids: Annotated[list[UUID], Field(max_length=100)]


class AreasOut(BaseModel):
    space_ids: list[UUID] = Field(description="Spaces to which the work is limited; empty: the whole community.")


class RingAnswerIn(Body):
    note: Annotated[str, StringConstraints(strip_whitespace=True, max_length=500)] = ""


class RingCallOut(FromRow):
    staff_id: UUID
    step: int
    level: str = Field(examples=["rota:1"])
    rung_at: datetime


class RingOut(BaseModel):
    """`state` is null when nobody was rung about the order."""

    state: RingState | None = None
    step: int = Field(0, description="How many times somebody was rung.")
    next_at: datetime | None = Field(None, description="When the next level is rung, unless somebody answers.")
    answer: RingAnswer | None = None
    answered_by: UUID | None = None
    answered_at: datetime | None = None
    calls: list[RingCallOut] = []
