"""What emergencies and their cards look like on the wire."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from app.rest.texts import cleaned
from app.safety.emergencies import EmergencyKind

CardText = Annotated[str, Field(min_length=10, max_length=2_000)]
Cleaned = Annotated[str, AfterValidator(cleaned)]
Line = Annotated[str, Field(max_length=200), AfterValidator(cleaned)]


class CardChange(BaseModel):
    """Short numbered lines read best. `{ambulance_phone}` and the like become the community's numbers."""

    text_zh: CardText | None = Field(None, examples=["先打 {ambulance_phone}。\n1. 不要搬动伤者。"])
    text_en: CardText | None = Field(None, examples=["Call {ambulance_phone}.\n1. Do not move the person."])


class CardOut(BaseModel):
    id: UUID
    kind: str = Field(examples=["trapped"], description="An emergency's kind, or `other`.")
    title_zh: str
    title_en: str
    text_zh: str
    text_en: str
    version: int = Field(description="0 until somebody words it anew.")
    built_in: bool
    changed_at: datetime | None


class CardVersionOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    version: int
    text_zh: str
    text_en: str
    created_by: UUID | None
    created_at: datetime


class EmergencyIn(BaseModel):
    """Only `text` is needed. Say as much as you can of where it is and how to reach you.

    What cannot be stored is left out: nobody in need is refused for a stray character.
    """

    community: Cleaned = Field(
        min_length=1, max_length=63, description="Short name of the community.", examples=["tinglan"]
    )
    text: Cleaned = Field(min_length=1, max_length=4_000, examples=["3栋2单元电梯里有人被困"])
    kind: EmergencyKind | None = Field(None, description="Where somebody chose it; else it is read from the text.")
    place: Line = Field("", examples=["3栋2单元"])
    contact_name: Line = ""
    contact_phone: Cleaned = Field("", max_length=40)


class EmergencyOut(BaseModel):
    kind: str = Field(description="What it was understood to be; `other` when nobody can tell.")
    card: str = Field(description="What to do now, and whom to call.")
    language: str
    reported: bool = Field(description="Whether the staff on duty have it as a work order.")
    number: int | None = Field(description="Of that work order.")
