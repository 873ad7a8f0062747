"""Wire types of shifts and the on-call rota."""

from datetime import date, datetime, time
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, Field, StringConstraints

from app.people.personal import OfStaff
from app.people.schemas import Body, FromRow, Short
from app.people.tables import Skill
from app.rest.moments import Day

TimeOfDay = Annotated[
    str,
    StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$"),
    BeforeValidator(lambda value: value.strftime("%H:%M") if isinstance(value, time) else value),
    Field(examples=["08:30"]),
]
"""By the wall clock of the community."""
Weekdays = Annotated[list[Annotated[int, Field(ge=1, le=7)]], Field(min_length=1, max_length=7, examples=[[1, 2, 3]])]
"""ISO numbers: 1 is Monday."""


class RecurringIn(Body):
    """When: on these weekdays (none: every day), from the first to the last date (none: no end), between two times.

    A time that does not end after it begins ends on the day after: 20:00 to 08:00 is a night, 00:00 to 00:00 all day.
    """

    weekdays: Weekdays | None = None
    from_date: Day | None = None
    to_date: Day | None = Field(None, description="The last day on which it begins.")
    from_time: TimeOfDay
    to_time: TimeOfDay
    note: Short = ""


class RecurringChange(Body):
    """What is left out stays; null takes weekdays or a date away."""

    weekdays: Weekdays | None = None
    from_date: Day | None = None
    to_date: Day | None = None
    from_time: TimeOfDay | None = None
    to_time: TimeOfDay | None = None
    note: Short | None = None


class RecurringOut(FromRow):
    weekdays: list[int] | None
    from_date: date | None
    to_date: date | None
    from_time: TimeOfDay
    to_time: TimeOfDay
    note: str


class ShiftIn(RecurringIn):
    staff_id: UUID
    off: bool = Field(False, description="Away at this time, although another shift says at work: leave, a swap.")


class ShiftChange(RecurringChange):
    off: bool | None = None


class ShiftOut(RecurringOut):
    id: UUID
    staff_id: UUID
    off: bool


Level = Annotated[int, Field(ge=1, le=9, description="1 is rung first.")]


class RotaIn(RecurringIn):
    staff_id: UUID
    level: Level = 1


class RotaChange(RecurringChange):
    level: Level | None = None


class RotaOut(RecurringOut):
    id: UUID
    staff_id: UUID
    level: int


class OnDutyOut(BaseModel):
    """A member of staff at work, or on call on a level of the rota."""

    staff_id: OfStaff
    name: str
    title: str
    phone: str
    skills: list[Skill]
    level: int | None = Field(None, description="Of the on-call rota.")


class OnDuty(BaseModel):
    at: datetime
    staff: list[OnDutyOut]
