"""Rows of what one person is told, and of how it reached them."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base, HasId, enum_column


class PersonKind(StrEnum):
    RESIDENT = "resident"
    STAFF = "staff"


class ChannelKind(StrEnum):
    """Ways out of the house. SMS and phone calls are made by a service of the community's that gets a webhook."""

    EMAIL = "email"
    WEBHOOK = "webhook"
    SMS = "sms"
    PHONE = "phone"


class ChannelUse(StrEnum):
    ALL = "all"
    EMERGENCIES = "emergencies"


class ChannelAudience(StrEnum):
    ALL = "all"
    STAFF = "staff"
    RESIDENTS = "residents"


class DeliveryStatus(StrEnum):
    """`skipped`: there was no address to send to. `given_up`: every attempt failed."""

    WAITING = "waiting"
    SENT = "sent"
    SKIPPED = "skipped"
    GIVEN_UP = "given_up"


class Message(HasId, Base):
    """One person is told one thing once: `key` says what, for as many calls as there may be."""

    __tablename__ = "personal_messages"
    __table_args__ = (
        UniqueConstraint("community_id", "person_id", "key"),
        Index("ix_personal_messages_person", "community_id", "person_id", "id"),
        Index("ix_personal_messages_unread", "community_id", "person_id", postgresql_where=text("read_at IS NULL")),
    )
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"))
    person_kind: Mapped[PersonKind] = mapped_column(enum_column(PersonKind))
    person_id: Mapped[UUID]
    kind: Mapped[str] = mapped_column(String(60))
    key: Mapped[str] = mapped_column(String(200))
    title: Mapped[dict[str, str]] = mapped_column(JSONB)
    body: Mapped[dict[str, str]] = mapped_column(JSONB)
    link: Mapped[str]
    leave_link: Mapped[str] = mapped_column(default="", server_default="")
    created_at: Mapped[datetime]
    read_at: Mapped[datetime | None]


class NoticeChannel(HasId, Base):
    """A way out that a community set up. E-mail goes by the SMTP server of the process and has no `url`.

    `sealed_secret` signs what is sent; it is shown once, when the channel is made.
    """

    __tablename__ = "notice_channels"
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"), index=True)
    kind: Mapped[ChannelKind] = mapped_column(enum_column(ChannelKind))
    name: Mapped[str]
    url: Mapped[str]
    sealed_secret: Mapped[str]
    use: Mapped[ChannelUse] = mapped_column(enum_column(ChannelUse))
    audience: Mapped[ChannelAudience] = mapped_column(enum_column(ChannelAudience))
    enabled: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Delivery(HasId, Base):
    """A message on its way through one channel. `address` is kept masked; the real one is read when it is used.

    The row is the outbox. Who takes it moves `due_at` to when a try must be over, so that nobody else takes it until
    then, and it comes back by itself when its worker dies.
    """

    __tablename__ = "message_deliveries"
    __table_args__ = (
        UniqueConstraint("message_id", "channel_id"),
        Index("ix_message_deliveries_community_id_id", "community_id", "id"),
        Index("ix_message_deliveries_due", "loud", "due_at", postgresql_where=text("status = 'waiting'")),
    )
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"))
    message_id: Mapped[UUID] = mapped_column(ForeignKey("personal_messages.id", ondelete="CASCADE"))
    channel_id: Mapped[UUID] = mapped_column(ForeignKey("notice_channels.id", ondelete="CASCADE"), index=True)
    kind: Mapped[ChannelKind] = mapped_column(enum_column(ChannelKind))
    status: Mapped[DeliveryStatus] = mapped_column(enum_column(DeliveryStatus))
    loud: Mapped[bool]
    address: Mapped[str]
    attempts: Mapped[int]
    last_error: Mapped[str]
    due_at: Mapped[datetime]
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class DeliveryAttempt(HasId, Base):
    """One try of a delivery: what came of it, in words for staff. Never changed afterwards."""

    __tablename__ = "delivery_attempts"
    __table_args__ = (UniqueConstraint("delivery_id", "number"),)
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"), index=True)
    delivery_id: Mapped[UUID] = mapped_column(ForeignKey("message_deliveries.id", ondelete="CASCADE"))
    number: Mapped[int]
    succeeded: Mapped[bool]
    detail: Mapped[str]
    facts: Mapped[dict[str, Any]] = mapped_column(JSONB)
    started_at: Mapped[datetime]
    seconds: Mapped[float]
