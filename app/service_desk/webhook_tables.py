"""Rows of webhooks: who wants to be told of what, what happened, and how telling it went."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, ForeignKey, Index, String, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base, HasId, enum_column


class WebhookDeliveryStatus(StrEnum):
    """`given_up`: every try failed, or the webhook was switched off before."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"


class SwitchedOff(StrEnum):
    """Why a webhook is off: somebody did it, it failed for too long, or its server said 410."""

    BY_HAND = "by_hand"
    FAILING = "failing"
    GONE = "gone"


class Webhook(HasId, Base):
    """A receiver. Its secrets are sealed (notices/sealing.py): the old one signs, too, until `old_secret_until`.

    Nothing is sent before `rest_until`: a receiver that is dead or slow is left alone for a while, so that it takes no
    more than its share of the workers.
    """

    __tablename__ = "webhooks"
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"), index=True)
    name: Mapped[str]
    url: Mapped[str]
    events: Mapped[list[str]] = mapped_column(ARRAY(String))
    sealed_secret: Mapped[str]
    sealed_old_secret: Mapped[str | None]
    old_secret_until: Mapped[datetime | None]
    enabled: Mapped[bool] = mapped_column(default=True)
    switched_off: Mapped[SwitchedOff | None] = mapped_column(enum_column(SwitchedOff))
    failing_since: Mapped[datetime | None]
    failures: Mapped[int] = mapped_column(default=0)
    rest_until: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(default=1)
    created_by: Mapped[UUID | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class WebhookEvent(HasId, Base):
    """Something that happened and that somebody wanted to be told of: what all its deliveries say, byte for byte."""

    __tablename__ = "webhook_events"
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"), index=True)
    kind: Mapped[str]
    data: Mapped[dict[str, Any]] = mapped_column(JSONB)
    created_at: Mapped[datetime] = mapped_column(index=True)


class WebhookDelivery(HasId, Base):
    """One event on its way to one receiver: the outbox, and the log of what came of it.

    Who takes it counts a try and moves `next_at` to when the next one is due, so that it comes back by itself when its
    worker dies. `claim_token` is the lease of who tries: an older one writes nothing any more.
    """

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        Index("ix_webhook_deliveries_webhook_id_id", "webhook_id", "id"),
        Index("ix_webhook_deliveries_waiting", "webhook_id", "next_at", postgresql_where=text("status = 'waiting'")),
    )
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"), index=True)
    webhook_id: Mapped[UUID] = mapped_column(ForeignKey("webhooks.id", ondelete="CASCADE"))
    event_id: Mapped[UUID] = mapped_column(ForeignKey("webhook_events.id", ondelete="CASCADE"), index=True)
    kind: Mapped[str]
    status: Mapped[WebhookDeliveryStatus] = mapped_column(enum_column(WebhookDeliveryStatus))
    attempts: Mapped[int] = mapped_column(default=0)
    next_at: Mapped[datetime]
    claim_token: Mapped[int] = mapped_column(BigInteger, default=0)
    tries: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, default=list)
    answer: Mapped[str] = mapped_column(default="")
    replay_of: Mapped[UUID | None]
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
