"""Rows of recommendations: items, what people did with them, profiles, lists that were shown, trained rankers."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import (
    REAL,
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    String,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, deferred, mapped_column

from app.db import Base, HasId, enum_column
from app.people.callers import CallerKind


class ItemKind(StrEnum):
    """活动, 服务, 设施, 优惠, 值得看的公告, 文章, 邻里小组."""

    ACTIVITY = "activity"
    SERVICE = "service"
    FACILITY = "facility"
    OFFER = "offer"
    NOTICE = "notice"
    ARTICLE = "article"
    GROUP = "group"


class ItemAudience(StrEnum):
    """Whom an item is for, by a verified residency. Its `building_ids` narrow it further; none means all of them."""

    ALL = "all"
    OWNERS = "owners"
    TENANTS = "tenants"


class FeedbackKind(StrEnum):
    """What a person did with an item; feedback.py: MEANINGS says what each means."""

    SEEN = "seen"
    CLICKED = "clicked"
    JOINED = "joined"
    BOUGHT = "bought"
    LIKED = "liked"
    HIDDEN = "hidden"
    SHOW_LESS = "show_less"


class ListPurpose(StrEnum):
    """Where a list was shown, or that it only was looked at by staff."""

    HOME = "home"
    CHAT = "chat"


class RankerStatus(StrEnum):
    """`candidate`: trained, and not better than the live one. `retired`: was live."""

    WAITING = "waiting"
    TRAINING = "training"
    CANDIDATE = "candidate"
    LIVE = "live"
    RETIRED = "retired"
    FAILED = "failed"


class RecommendationState(Base):
    """Counters of a community. `catalogue_number` counts changes of its items, so that a cache reads those after its
    own number; `ranker_number` is the live ranker's, 0 for none.
    """

    __tablename__ = "recommendation_states"
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"), primary_key=True)
    catalogue_number: Mapped[int] = mapped_column(BigInteger, default=0)
    ranker_number: Mapped[int] = mapped_column(default=0)


class Item(HasId, Base):
    """Something to recommend. `external_id` is its id in the system that it came from.

    `building_id` is its space's. `expires_at`: from then on it is shown to nobody. `joined_count` counts residents who
    joined. `catalogue_number` is the state's at its last change; a deleted item stays, so that caches learn of it.
    """

    __tablename__ = "items"
    __table_args__ = (
        Index("ix_items_page", "community_id", "id", postgresql_where=text("deleted_at IS NULL")),
        Index("ix_items_catalogue", "community_id", "catalogue_number"),
        Index(
            "uq_items_external_id", "community_id", "external_id", unique=True,
            postgresql_where=text("deleted_at IS NULL AND external_id IS NOT NULL"),
        ),
        Index(
            "ix_items_full", "community_id", "id",
            postgresql_where=text("joined_count >= capacity AND deleted_at IS NULL"),
        ),
        Index(
            "ix_items_unembedded", "community_id", postgresql_where=text("embedder IS NULL AND deleted_at IS NULL")
        ),
        Index("ix_items_embedder", "embedder", "community_id", postgresql_where=text("deleted_at IS NULL")),
        Index("ix_items_space_id", "space_id", postgresql_where=text("space_id IS NOT NULL")),
        Index(
            "ix_items_owner_resident_id", "owner_resident_id", postgresql_where=text("owner_resident_id IS NOT NULL")
        ),
    )  # fmt: skip
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"))
    external_id: Mapped[str | None]
    kind: Mapped[ItemKind] = mapped_column(enum_column(ItemKind))
    title: Mapped[str]
    title_en: Mapped[str] = mapped_column(default="")
    text: Mapped[str] = mapped_column(default="")
    text_en: Mapped[str] = mapped_column(default="")
    categories: Mapped[list[str]] = mapped_column(ARRAY(String), default=list)
    provider: Mapped[str] = mapped_column(default="")
    owner_resident_id: Mapped[UUID | None] = mapped_column(ForeignKey("residents.id", ondelete="SET NULL"))
    space_id: Mapped[UUID | None] = mapped_column(ForeignKey("spaces.id", ondelete="SET NULL"))
    building_id: Mapped[UUID | None]
    place: Mapped[str] = mapped_column(default="")
    audience: Mapped[ItemAudience] = mapped_column(enum_column(ItemAudience), default=ItemAudience.ALL)
    building_ids: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid), default=list)
    price_cents: Mapped[int] = mapped_column(BigInteger, default=0)
    capacity: Mapped[int | None]
    joined_count: Mapped[int] = mapped_column(default=0)
    starts_at: Mapped[datetime | None]
    ends_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    enabled: Mapped[bool] = mapped_column(default=True)
    deleted_at: Mapped[datetime | None]
    embedder: Mapped[str | None]
    embedding: Mapped[Any | None] = deferred(mapped_column(HALFVEC))
    catalogue_number: Mapped[int] = mapped_column(BigInteger)
    version: Mapped[int] = mapped_column(default=1)
    created_by: Mapped[UUID | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class ItemFeedback(HasId, Base):
    """What one person did with one item. `occasion` tells one time from another; of what counts once it is empty.

    `outside_person` is who it was in a system that it was imported from, where no resident is known by that name.
    `list_id` is the list it answers, without being tied to it: lists are forgotten sooner.
    """

    __tablename__ = "item_feedback"
    __table_args__ = (
        UniqueConstraint(
            "resident_id", "outside_person", "item_id", "kind", "occasion", name="uq_item_feedback_once",
            postgresql_nulls_not_distinct=True,
        ),
        CheckConstraint("(resident_id IS NULL) <> (outside_person IS NULL)", name="person"),
        Index("ix_item_feedback_resident", "community_id", "resident_id", "at"),
        Index("ix_item_feedback_at", "community_id", "at"),
        Index("ix_item_feedback_list_id", "list_id", postgresql_where=text("list_id IS NOT NULL")),
    )  # fmt: skip
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"))
    item_id: Mapped[UUID] = mapped_column(ForeignKey("items.id", ondelete="CASCADE"), index=True)
    resident_id: Mapped[UUID | None] = mapped_column(ForeignKey("residents.id", ondelete="CASCADE"))
    outside_person: Mapped[str | None]
    kind: Mapped[FeedbackKind] = mapped_column(enum_column(FeedbackKind))
    occasion: Mapped[str] = mapped_column(default="")
    rating: Mapped[float | None] = mapped_column(REAL)
    list_id: Mapped[UUID | None]
    at: Mapped[datetime]
    created_at: Mapped[datetime]


class RecommendationProfile(Base):
    """What a resident said of themselves, and what they want: theirs to see and to change. No row: all as by default.

    `personalised` off: the same list for everybody of the same audience. `opted_out`: no recommendations at all.
    `marketing_opted_out`: no campaigns. `embedding` is of `about` and `interests`.
    """

    __tablename__ = "recommendation_profiles"
    resident_id: Mapped[UUID] = mapped_column(ForeignKey("residents.id", ondelete="CASCADE"), primary_key=True)
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"), index=True)
    interests: Mapped[list[str]] = mapped_column(ARRAY(String), default=list)
    about: Mapped[str] = mapped_column(default="")
    hidden_categories: Mapped[list[str]] = mapped_column(ARRAY(String), default=list)
    personalised: Mapped[bool] = mapped_column(default=True)
    opted_out: Mapped[bool] = mapped_column(default=False)
    marketing_opted_out: Mapped[bool] = mapped_column(default=False)
    embedder: Mapped[str | None]
    embedding: Mapped[Any | None] = deferred(mapped_column(HALFVEC))
    version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class RecommendationList(HasId, Base):
    """A list that a resident was shown: an impression of each of its items, position by position in the arrays.

    `propensities`: how likely the item was to stand at its place, by the random numbers of exploration.
    `ranker_number` 0: none, and then `ranked` is false.
    """

    __tablename__ = "recommendation_lists"
    __table_args__ = (
        Index("ix_recommendation_lists_resident", "community_id", "resident_id", "created_at"),
        Index("ix_recommendation_lists_at", "community_id", "created_at"),
        Index("ix_recommendation_lists_created_at", "created_at"),
    )
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"))
    resident_id: Mapped[UUID] = mapped_column(ForeignKey("residents.id", ondelete="CASCADE"))
    purpose: Mapped[ListPurpose] = mapped_column(enum_column(ListPurpose))
    personalised: Mapped[bool]
    ranked: Mapped[bool]
    ranker_number: Mapped[int]
    item_ids: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid))
    sources: Mapped[list[str]] = mapped_column(ARRAY(String))
    scores: Mapped[list[float]] = mapped_column(ARRAY(REAL))
    propensities: Mapped[list[float]] = mapped_column(ARRAY(REAL))
    created_at: Mapped[datetime]


class RankerVersion(HasId, Base):
    """A ranker that was trained, or is to be. The file lies in the file storage under `file_key`.

    Only who holds `claim_token` may write while it trains: it is the lease's, and only grows.
    """

    __tablename__ = "ranker_versions"
    __table_args__ = (
        UniqueConstraint("community_id", "number"),
        Index("ix_ranker_versions_page", "community_id", "id"),
        Index("uq_ranker_versions_live", "community_id", unique=True, postgresql_where=text("status = 'live'")),
        Index(
            "uq_ranker_versions_unfinished", "community_id", unique=True,
            postgresql_where=text("status IN ('waiting', 'training')"),
        ),
        Index("ix_ranker_versions_waiting", "touched_at", postgresql_where=text("status IN ('waiting', 'training')")),
    )  # fmt: skip
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"))
    number: Mapped[int]
    status: Mapped[RankerStatus] = mapped_column(enum_column(RankerStatus))
    reason: Mapped[str] = mapped_column(default="")
    seed: Mapped[int] = mapped_column(BigInteger)
    events_count: Mapped[int] = mapped_column(default=0)
    metrics: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict)
    file_key: Mapped[str | None]
    sha256: Mapped[str | None]
    bytes_count: Mapped[int | None]
    claim_token: Mapped[int] = mapped_column(BigInteger, default=0)
    created_by_kind: Mapped[CallerKind] = mapped_column(enum_column(CallerKind))
    created_by: Mapped[UUID]
    created_at: Mapped[datetime]
    touched_at: Mapped[datetime]
    trained_at: Mapped[datetime | None]
    promoted_at: Mapped[datetime | None]


def blank_profile(community_id: UUID, resident_id: UUID, *, now: datetime) -> dict[str, Any]:
    """The columns of a profile in which nobody has said anything yet."""
    return {
        "resident_id": resident_id, "community_id": community_id, "interests": [], "about": "", "hidden_categories": [],
        "personalised": True, "opted_out": False, "marketing_opted_out": False, "version": 0, "created_at": now,
        "updated_at": now,
    }  # fmt: skip
