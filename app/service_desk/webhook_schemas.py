"""Wire types of webhooks."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, Field, StringConstraints

from app.notices.outgoing import URL_CHARS_MAX
from app.people.schemas import Body, FromRow, Name
from app.service_desk.webhook_events import EventKind
from app.service_desk.webhook_tables import SwitchedOff, WebhookDeliveryStatus

Url = Annotated[
    str, StringConstraints(min_length=1, max_length=URL_CHARS_MAX), Field(examples=["https://hooks.example.com/linli"])
]
Events = Annotated[list[EventKind], Field(min_length=1, max_length=len(EventKind))]


class WebhookIn(Body):
    name: Name = Field(examples=["ERP"])
    url: Url = Field(description="http or https, on the public Internet. Redirects are not followed.")
    events: Events


class WebhookChange(Body):
    """What is left out stays. `enabled: true` starts afresh after failures."""

    name: Name | None = None
    url: Url | None = None
    events: Events | None = None
    enabled: bool | None = None


class WebhookOut(FromRow):
    id: UUID
    name: str
    url: str
    events: list[str]
    enabled: bool
    switched_off: SwitchedOff | None = Field(description="Why it is off.")
    failing_since: datetime | None
    failures: int = Field(description="Failed tries since the last that went well.")
    old_secret_until: datetime | None = Field(description="Until then the secret before signs, too.")
    version: int
    created_at: datetime
    updated_at: datetime


class WebhookMade(WebhookOut):
    secret: str = Field(description="Signs what is sent. Shown this once.", examples=["whsec_…"])


class TryOut(BaseModel):
    at: datetime
    status: int | None = Field(description="Of the answer; null when there was none.")
    error: str = Field(description="lookup, connect, tls, timeout, protocol, refused_…", examples=["timeout"])
    seconds: float


class DeliveryOut(FromRow):
    id: UUID
    webhook_id: UUID
    event_id: UUID
    kind: str = Field(examples=["workorder.created"])
    status: WebhookDeliveryStatus
    attempts: int
    next_at: datetime | None = Field(description="When it is tried next, at the earliest; null when it ended.")
    tries: list[TryOut]
    answer: str = Field(description="How the last answer began.")
    replay_of: UUID | None
    created_at: datetime
    ended_at: datetime | None


class DeliveryWithBody(DeliveryOut):
    body: dict[str, Any] = Field(description="What was sent.")
