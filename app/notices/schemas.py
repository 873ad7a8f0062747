"""Wire types of messages, channels and deliveries."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, Field, StringConstraints

from app.notices.tables import ChannelAudience, ChannelKind, ChannelUse, DeliveryStatus
from app.people.schemas import Body, FromRow, Name

Url = Annotated[str, StringConstraints(strip_whitespace=True, max_length=2_000)]


class MessageOut(FromRow):
    """`title` and `body` have the texts under zh and en; a campaign's body also plain words: zh_plain, en_plain."""

    id: UUID
    kind: str = Field(examples=["workorder.assigned"])
    title: dict[str, str]
    body: dict[str, str]
    link: str
    created_at: datetime
    read_at: datetime | None


class UnreadOut(BaseModel):
    unread: int


class ReadIn(Body):
    """Mark everything up to and with this message; without it, everything there is."""

    up_to: UUID | None = None


class ReadOut(BaseModel):
    marked: int = Field(description="Messages that were unread until now.")


class ChannelIn(Body):
    kind: ChannelKind
    name: Name = Field(examples=["短信网关"])
    url: Url = Field("", description="Of the service that gets the signed webhook; none for e-mail.")
    use: ChannelUse = Field(ChannelUse.ALL, description="Whether everything goes through it or emergencies only.")
    audience: ChannelAudience = ChannelAudience.ALL
    enabled: bool = True


class ChannelChange(Body):
    name: Name | None = None
    url: Url | None = None
    use: ChannelUse | None = None
    audience: ChannelAudience | None = None
    enabled: bool | None = None


class ChannelOut(FromRow):
    id: UUID
    kind: ChannelKind
    name: str
    url: str
    use: ChannelUse
    audience: ChannelAudience
    enabled: bool
    created_at: datetime


class ChannelMade(ChannelOut):
    secret: str = Field(description="Signs what is sent (header Linli-Signature). Shown here and never again.")


class DeliveryOut(FromRow):
    id: UUID
    message_id: UUID
    channel_id: UUID
    kind: ChannelKind
    status: DeliveryStatus
    address: str = Field(description="Masked.", examples=["138****78"])
    attempts: int
    last_error: str
    due_at: datetime = Field(description="When it is tried next, as long as it waits.")
    created_at: datetime
    ended_at: datetime | None


class AttemptOut(FromRow):
    number: int
    succeeded: bool
    detail: str
    facts: dict[str, Any]
    started_at: datetime
    seconds: float


class DeliveryShown(DeliveryOut):
    tries: list[AttemptOut]
