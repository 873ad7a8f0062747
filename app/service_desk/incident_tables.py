"""Incidents 突发/停供: what failed for many, where, who follows, what was told; and how reports were compared."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, REAL, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base, HasId, enum_column
from app.people.callers import CallerKind
from app.service_desk.incident_kinds import IncidentKind


class IncidentStatus(StrEnum):
    """疑似, 进行中, 已结束, 已排除."""

    SUSPECTED = "suspected"
    OPEN = "open"
    CLOSED = "closed"
    DISMISSED = "dismissed"


INCIDENT_MOVES: dict[IncidentStatus, frozenset[IncidentStatus]] = {
    IncidentStatus.SUSPECTED: frozenset({IncidentStatus.OPEN, IncidentStatus.CLOSED, IncidentStatus.DISMISSED}),
    IncidentStatus.OPEN: frozenset({IncidentStatus.CLOSED}),
    IncidentStatus.CLOSED: frozenset(),
    IncidentStatus.DISMISSED: frozenset(),
}
"""From each status, where to. A test proves it complete."""
LIVE = (IncidentStatus.SUSPECTED, IncidentStatus.OPEN)


class FollowSource(StrEnum):
    """Why somebody follows: their own order was linked, or they asked to."""

    ORDER = "order"
    ASKED = "asked"


class Incident(HasId, Base):
    """One failure that concerns many. Suspected ones were opened by Linli from like reports and wait for staff.

    Without rows in `incident_spaces` it concerns the whole community. `news_number` counts what was told of it;
    a job brings followers up to it, and `told_number` then follows. `chase_at`: when somebody is told that the expected
    end has passed, and again as long as nobody says anything new; `chased_count` since when.
    """

    __tablename__ = "incidents"
    __table_args__ = (
        Index("ix_incidents_page", "community_id", "id"),
        Index(
            "ix_incidents_live", "community_id", "id", postgresql_where=text("status IN ('suspected', 'open')")
        ),
        Index("ix_incidents_untold", "updated_at", postgresql_where=text("told_number < news_number")),
        Index("ix_incidents_chase", "chase_at", postgresql_where=text("chase_at IS NOT NULL")),
    )  # fmt: skip
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"))
    kind: Mapped[IncidentKind] = mapped_column(enum_column(IncidentKind))
    status: Mapped[IncidentStatus] = mapped_column(enum_column(IncidentStatus))
    title: Mapped[str]
    resident_text: Mapped[str] = mapped_column(default="")
    resident_text_en: Mapped[str] = mapped_column(default="")
    category_id: Mapped[UUID | None] = mapped_column(ForeignKey("work_order_categories.id", ondelete="SET NULL"))
    began_at: Mapped[datetime]
    expected_end_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    opened_by_kind: Mapped[CallerKind] = mapped_column(enum_column(CallerKind))
    opened_by_id: Mapped[UUID | None]
    confirmed_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]
    close_note: Mapped[str] = mapped_column(default="")
    news_number: Mapped[int] = mapped_column(default=0)
    told_number: Mapped[int] = mapped_column(default=0)
    chase_at: Mapped[datetime | None]
    chased_count: Mapped[int] = mapped_column(default=0, server_default="0")
    version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]

    @property
    def is_late(self) -> bool:
        """Whether it was found to last longer than was said, and nothing new was said since."""
        return self.chased_count > 0

    def expect_end(self, at: datetime | None) -> None:
        """When it should be over; whoever must say something new is chased from then on."""
        self.expected_end_at = self.chase_at = at
        self.chased_count = 0


class IncidentSpace(Base):
    """A node of the space tree that an incident concerns, with everything below it."""

    __tablename__ = "incident_spaces"
    incident_id: Mapped[UUID] = mapped_column(ForeignKey("incidents.id", ondelete="CASCADE"), primary_key=True)
    space_id: Mapped[UUID] = mapped_column(ForeignKey("spaces.id", ondelete="CASCADE"), primary_key=True, index=True)
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"), index=True)


class IncidentNews(HasId, Base):
    """What was told of an incident, in order: `number` counts from 1 within it."""

    __tablename__ = "incident_news"
    __table_args__ = (UniqueConstraint("incident_id", "number"),)
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"), index=True)
    incident_id: Mapped[UUID] = mapped_column(ForeignKey("incidents.id", ondelete="CASCADE"))
    number: Mapped[int]
    text: Mapped[str]
    text_en: Mapped[str] = mapped_column(default="")
    expected_end_at: Mapped[datetime | None]
    ends: Mapped[bool] = mapped_column(default=False)
    by_kind: Mapped[CallerKind] = mapped_column(enum_column(CallerKind))
    by_id: Mapped[UUID | None]
    created_at: Mapped[datetime]


class IncidentFollower(HasId, Base):
    """A resident who is told how it goes on. `told_number`: the last news they were told."""

    __tablename__ = "incident_followers"
    __table_args__ = (UniqueConstraint("incident_id", "resident_id"),)
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"), index=True)
    incident_id: Mapped[UUID] = mapped_column(ForeignKey("incidents.id", ondelete="CASCADE"))
    resident_id: Mapped[UUID] = mapped_column(ForeignKey("residents.id", ondelete="CASCADE"), index=True)
    source: Mapped[FollowSource] = mapped_column(enum_column(FollowSource))
    told_number: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime]


class IncidentNotice(Base):
    """The one draft of a notice about an incident, in both languages: {"zh": …, "en": …}.

    `facts` is what it was filled from. `worded_by` is "template" or "engine"; people decide whether it is published.
    """

    __tablename__ = "incident_notices"
    incident_id: Mapped[UUID] = mapped_column(ForeignKey("incidents.id", ondelete="CASCADE"), primary_key=True)
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"), index=True)
    title: Mapped[dict[str, str]] = mapped_column(JSONB)
    body: Mapped[dict[str, str]] = mapped_column(JSONB)
    facts: Mapped[dict[str, Any]] = mapped_column(JSONB)
    worded_by: Mapped[str]
    drafts_count: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class WorkOrderMatch(Base):
    """Written with an order that may belong to an incident; a job compares it and sets `matched_at`."""

    __tablename__ = "work_order_matches"
    __table_args__ = (
        Index("ix_work_order_matches_waiting", "created_at", postgresql_where=text("matched_at IS NULL")),
    )
    work_order_id: Mapped[UUID] = mapped_column(ForeignKey("work_orders.id", ondelete="CASCADE"), primary_key=True)
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"), index=True)
    embedder: Mapped[str | None]
    vector: Mapped[list[float] | None] = mapped_column(ARRAY(REAL))
    created_at: Mapped[datetime]
    matched_at: Mapped[datetime | None]
