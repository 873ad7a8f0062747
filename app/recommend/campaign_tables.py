"""Rows of campaigns: what is told to whom and when, in which words, who was told or held out, and their rules."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, ForeignKey, Index, String, UniqueConstraint, Uuid, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base, HasId, enum_column
from app.people.callers import CallerKind
from app.recommend.tables import FeedbackKind

ONCE = UUID(int=0)
"""The occasion of what a person is told once and never again."""


class CampaignKind(StrEnum):
    """To a whole audience at one time; or to one resident at a time, when a rule says so."""

    BROADCAST = "broadcast"
    TRIGGERED = "triggered"


class CampaignStatus(StrEnum):
    """草稿, 已排期, 发送中, 已暂停, 已发送, 已取消. A triggered one is `sending` as long as its rules may start it."""

    DRAFT = "draft"
    SCHEDULED = "scheduled"
    SENDING = "sending"
    PAUSED = "paused"
    SENT = "sent"
    CANCELLED = "cancelled"


CAMPAIGN_MOVES: dict[CampaignStatus, frozenset[CampaignStatus]] = {
    CampaignStatus.DRAFT: frozenset({CampaignStatus.SCHEDULED, CampaignStatus.SENDING, CampaignStatus.CANCELLED}),
    CampaignStatus.SCHEDULED: frozenset({CampaignStatus.SENDING, CampaignStatus.PAUSED, CampaignStatus.CANCELLED}),
    CampaignStatus.SENDING: frozenset({CampaignStatus.SENT, CampaignStatus.PAUSED, CampaignStatus.CANCELLED}),
    CampaignStatus.PAUSED: frozenset({CampaignStatus.SCHEDULED, CampaignStatus.SENDING, CampaignStatus.CANCELLED}),
    CampaignStatus.SENT: frozenset(),
    CampaignStatus.CANCELLED: frozenset(),
}
"""From each status, where to. A test proves it complete."""
UNFINISHED = tuple(status for status, moves in CAMPAIGN_MOVES.items() if moves)


class Hold(StrEnum):
    """Why Linli itself paused a campaign, or what it has to say of one that is over."""

    COPY_REFUSED = "copy_refused"
    COPY_NOT_APPROVED = "copy_not_approved"
    ITEM_NOT_AVAILABLE = "item_not_available"
    NOBODY_TOLD = "nobody_told"


class WordedBy(StrEnum):
    """Who wrote a copy as it stands."""

    NOBODY = "nobody"
    TEMPLATE = "template"
    ENGINE = "engine"
    PERSON = "person"


class RecipientStatus(StrEnum):
    """`held`: in the hold-out, eligible, and not told. `left_out`: see LeftOut."""

    SENT = "sent"
    HELD = "held"
    LEFT_OUT = "left_out"


class LeftOut(StrEnum):
    """Why somebody of the audience is not told; the same whether they are in the hold-out or not."""

    OPTED_OUT = "opted_out"
    REFUSED_ITEM = "refused_item"
    NOT_PERSONALISED = "not_personalised"
    CAPPED = "capped"
    NO_CHANNEL = "no_channel"


class RuleEvent(StrEnum):
    """What starts a rule: somebody did something with an item, an item was added, somebody moved in."""

    FEEDBACK = "feedback"
    ITEM_CREATED = "item_created"
    MOVED_IN = "moved_in"


class Campaign(HasId, Base):
    """What residents are told about some items. `goal` is the feedback on them that counts as success.

    `seed` decides who gets what (campaign_assignment.py). `next_at`: when the sender looks at it next, as long as it
    has to. Residents are gone through by id, `last_resident_id` being the last that was: a batch a transaction.
    """

    __tablename__ = "campaigns"
    __table_args__ = (
        Index("ix_campaigns_page", "community_id", "id"),
        Index("ix_campaigns_due", "next_at", postgresql_where=text("next_at IS NOT NULL")),
    )
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"))
    name: Mapped[str]
    kind: Mapped[CampaignKind] = mapped_column(enum_column(CampaignKind))
    status: Mapped[CampaignStatus] = mapped_column(enum_column(CampaignStatus))
    hold: Mapped[Hold | None] = mapped_column(enum_column(Hold))
    item_ids: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid))
    goal: Mapped[FeedbackKind] = mapped_column(enum_column(FeedbackKind))
    filter: Mapped[dict[str, Any]] = mapped_column(JSONB)
    holdout_percent: Mapped[int]
    attribution_days: Mapped[int]
    cap_messages: Mapped[int | None]
    cap_days: Mapped[int | None]
    seed: Mapped[str]
    send_at: Mapped[datetime | None]
    next_at: Mapped[datetime | None]
    last_resident_id: Mapped[UUID | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    version: Mapped[int]
    created_by_kind: Mapped[CallerKind] = mapped_column(enum_column(CallerKind))
    created_by: Mapped[UUID]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class CampaignVariant(HasId, Base):
    """One wording of a campaign, A to C. `texts` are of campaign_copy.py: TEXTS. Any change takes approval back."""

    __tablename__ = "campaign_variants"
    __table_args__ = (UniqueConstraint("campaign_id", "label"),)
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"), index=True)
    campaign_id: Mapped[UUID] = mapped_column(ForeignKey("campaigns.id", ondelete="CASCADE"))
    label: Mapped[str] = mapped_column(String(1))
    share: Mapped[int]
    texts: Mapped[dict[str, str]] = mapped_column(JSONB)
    worded_by: Mapped[WordedBy] = mapped_column(enum_column(WordedBy))
    approved_at: Mapped[datetime | None]
    approved_by: Mapped[UUID | None]
    updated_at: Mapped[datetime]


class CampaignRecipient(HasId, Base):
    """One resident of a campaign's audience and what became of it: told, held out or left out. Never twice.

    `occasion` is ONCE, or the new item that a triggered message was about. `household_id` is what was assigned.
    """

    __tablename__ = "campaign_recipients"
    __table_args__ = (
        UniqueConstraint("campaign_id", "resident_id", "occasion"),
        Index("ix_campaign_recipients_community_id", "community_id"),
        # For caps: what somebody was sent lately.
        Index("ix_campaign_recipients_sent", "resident_id", "at", postgresql_where=text("status = 'sent'")),
    )
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"))
    campaign_id: Mapped[UUID] = mapped_column(ForeignKey("campaigns.id", ondelete="CASCADE"))
    resident_id: Mapped[UUID] = mapped_column(ForeignKey("residents.id", ondelete="CASCADE"), index=True)
    household_id: Mapped[UUID]
    arm: Mapped[str]
    status: Mapped[RecipientStatus] = mapped_column(enum_column(RecipientStatus))
    left_out: Mapped[LeftOut | None] = mapped_column(enum_column(LeftOut))
    item_id: Mapped[UUID | None]
    occasion: Mapped[UUID]
    at: Mapped[datetime]


class CampaignRule(HasId, Base):
    """Some hours after an event its resident is told a triggered campaign, if its audience and the caps allow it.

    Of `feedback`: `what` kinds (none: any), on items of `category`; of `item_created`: who lately did something with
    that category.
    """

    __tablename__ = "campaign_rules"
    __table_args__ = (Index("ix_campaign_rules_page", "community_id", "id"),)
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"))
    campaign_id: Mapped[UUID] = mapped_column(ForeignKey("campaigns.id", ondelete="CASCADE"), index=True)
    event: Mapped[RuleEvent] = mapped_column(enum_column(RuleEvent))
    what: Mapped[list[str]] = mapped_column(ARRAY(String))
    category: Mapped[str]
    wait_hours: Mapped[int]
    enabled: Mapped[bool]
    version: Mapped[int]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class CampaignWait(HasId, Base):
    """An event that a rule heard: who is told at `due_at`. `outcome`: what came of it, in one word."""

    __tablename__ = "campaign_waits"
    __table_args__ = (
        UniqueConstraint("rule_id", "resident_id", "occasion"),
        # Of many new items at once a resident is told one.
        Index(
            "uq_campaign_waits_open", "rule_id", "resident_id", unique=True, postgresql_where=text("done_at IS NULL")
        ),
        Index("ix_campaign_waits_due", "due_at", postgresql_where=text("done_at IS NULL")),
        Index("ix_campaign_waits_campaign_id", "campaign_id"),
    )
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"), index=True)
    campaign_id: Mapped[UUID] = mapped_column(ForeignKey("campaigns.id", ondelete="CASCADE"))
    rule_id: Mapped[UUID] = mapped_column(ForeignKey("campaign_rules.id", ondelete="CASCADE"))
    resident_id: Mapped[UUID] = mapped_column(ForeignKey("residents.id", ondelete="CASCADE"), index=True)
    item_id: Mapped[UUID | None] = mapped_column(ForeignKey("items.id", ondelete="CASCADE"), index=True)
    occasion: Mapped[UUID]
    due_at: Mapped[datetime]
    done_at: Mapped[datetime | None]
    outcome: Mapped[str]
    created_at: Mapped[datetime]
