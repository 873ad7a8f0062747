"""Work orders 工单, what happened to them, what was said and attached, and the tree of categories."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base, HasId, enum_column
from app.people.callers import CallerKind


class OrderKind(StrEnum):
    """报修, 投诉, 建议, 表扬, 巡检."""

    REPAIR = "repair"
    COMPLAINT = "complaint"
    SUGGESTION = "suggestion"
    PRAISE = "praise"
    INSPECTION = "inspection"


class Status(StrEnum):
    """待受理, 已接单, 已派单, 处理中, 挂起, 待确认报价, 待支付, 待评价, 待回访, 已完成; then the ways out: 退单, 转单,
    支付失败, 未处理结单, 已取消.

    `transitions.MOVES` says which follows which.
    """

    SUBMITTED = "submitted"
    ACCEPTED = "accepted"
    DISPATCHED = "dispatched"
    IN_PROGRESS = "in_progress"
    PAUSED = "paused"
    QUOTED = "quoted"
    AWAITING_PAYMENT = "awaiting_payment"
    AWAITING_RATING = "awaiting_rating"
    RETURN_VISIT = "return_visit"
    CLOSED = "closed"
    RETURNED = "returned"
    TRANSFERRED = "transferred"
    PAYMENT_FAILED = "payment_failed"
    CLOSED_UNHANDLED = "closed_unhandled"
    CANCELLED = "cancelled"


class Urgency(StrEnum):
    EMERGENCY = "emergency"
    URGENT = "urgent"
    ROUTINE = "routine"


class Channel(StrEnum):
    """How an order came in: the resident's own hand, a member of staff, the telephone, the assistant, a device."""

    SELF = "self"
    STAFF = "staff"
    PHONE = "phone"
    AI = "ai"
    SENSOR = "sensor"


class CategoryClass(StrEnum):
    """Which deadlines and which price list a category falls under."""

    NORMAL = "normal"
    PAID = "paid"
    EMERGENCY = "emergency"
    WARRANTY = "warranty"


class EventKind(StrEnum):
    """What can happen to an order. A move is one event, whoever it brings in or lets go."""

    CREATED = "created"
    MOVED = "moved"
    CHANGED = "changed"
    COMMENTED = "commented"
    FILE_ADDED = "file_added"
    FILE_REMOVED = "file_removed"
    URGED = "urged"
    RATED = "rated"
    TRIAGED = "triaged"
    LINKED = "linked"
    WARNED = "warned"
    OVERDUE = "overdue"
    ESCALATED = "escalated"
    OFFERED = "offered"
    LEFT_TO_PERSON = "left_to_person"
    RUNG = "rung"
    RING_ANSWERED = "ring_answered"


class Visibility(StrEnum):
    """Whether the resident reads it too, or staff alone."""

    RESIDENT = "resident"
    INTERNAL = "internal"


class WorkOrderCategory(HasId, Base):
    """A node of the tree of categories, with the deadlines of what falls under it, in minutes of working time.

    `code` is what programs know it by. An archived one is offered no more; its orders keep it.
    """

    __tablename__ = "work_order_categories"
    __table_args__ = (UniqueConstraint("community_id", "code"),)
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"))
    parent_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("work_order_categories.id", ondelete="CASCADE"), index=True
    )
    code: Mapped[str]
    name: Mapped[str]
    name_en: Mapped[str] = mapped_column(default="")
    order_kind: Mapped[OrderKind] = mapped_column(enum_column(OrderKind))
    skill: Mapped[str] = mapped_column(default="general")
    respond_minutes: Mapped[int | None]
    resolve_minutes: Mapped[int | None]
    class_: Mapped[CategoryClass] = mapped_column("class", enum_column(CategoryClass), default=CategoryClass.NORMAL)
    archived_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(default=1)


class WorkOrderCounter(Base):
    """The number last given to an order of a community."""

    __tablename__ = "work_order_counters"
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"), primary_key=True)
    last_number: Mapped[int]


OPEN = text("closed_at IS NULL")


class WorkOrder(HasId, Base):
    """One thing to be done. `work_orders.py` is the only door to its rows.

    `closed_at` is set exactly in the statuses that end an order (`transitions.ENDED`). `triage` is null until triage
    has looked at it. A complaint's `about_staff_id` never sees it. `check_at` and `assign_at` say when deadlines and
    staffing look at it next; none when they need not.
    """

    __tablename__ = "work_orders"
    __table_args__ = (
        UniqueConstraint("community_id", "number"),
        # Pages are "of this community, with this, before this id": each common filter has its index in page order.
        Index("ix_work_orders_page", "community_id", "id"),
        Index("ix_work_orders_created", "community_id", "created_at", "id"),
        Index("ix_work_orders_open", "community_id", "id", postgresql_where=OPEN),
        Index("ix_work_orders_status", "community_id", "status", "id"),
        Index("ix_work_orders_building", "community_id", "building_id", "id"),
        Index("ix_work_orders_category", "community_id", "category_id", "id"),
        Index("ix_work_orders_reporter", "community_id", "reporter_id", "id"),
        Index("ix_work_orders_space", "community_id", "space_id", "id"),
        Index(
            "ix_work_orders_assignee", "community_id", "assignee_id", "id",
            postgresql_where=text("assignee_id IS NOT NULL"),
        ),
        Index(
            "ix_work_orders_pressing", "community_id", "urgency", "id", postgresql_where=text("urgency <> 'routine'")
        ),
        Index(
            "ix_work_orders_overdue", "community_id", "id",
            postgresql_where=text("overdue_at IS NOT NULL AND closed_at IS NULL"),
        ),
        Index(
            "ix_work_orders_due", "community_id", "due_at", "id",
            postgresql_where=text("closed_at IS NULL AND due_at IS NOT NULL"),
        ),
        Index("ix_work_orders_check_at", "check_at", postgresql_where=text("check_at IS NOT NULL")),
        Index("ix_work_orders_assign_at", "assign_at", postgresql_where=text("assign_at IS NOT NULL")),
        Index(
            "ix_work_orders_emergencies", "created_at",
            postgresql_where=text("urgency = 'emergency' AND closed_at IS NULL"),
        ),
        Index("ix_work_orders_untriaged", "created_at", postgresql_where=text("triage IS NULL")),
        Index(
            "ix_work_orders_incident", "community_id", "incident_id", postgresql_where=text("incident_id IS NOT NULL")
        ),
        Index(
            "ix_work_orders_duplicate", "community_id", "duplicate_of_id",
            postgresql_where=text("duplicate_of_id IS NOT NULL"),
        ),
        Index(
            "ix_work_orders_conversation", "community_id", "conversation_id",
            postgresql_where=text("conversation_id IS NOT NULL"),
        ),
    )  # fmt: skip
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"))
    number: Mapped[int]
    kind: Mapped[OrderKind] = mapped_column(enum_column(OrderKind))
    status: Mapped[Status] = mapped_column(enum_column(Status), default=Status.SUBMITTED)
    category_id: Mapped[UUID | None] = mapped_column(ForeignKey("work_order_categories.id", ondelete="SET NULL"))
    urgency: Mapped[Urgency] = mapped_column(enum_column(Urgency), default=Urgency.ROUTINE)
    title: Mapped[str] = mapped_column(default="")
    text: Mapped[str]
    language: Mapped[str] = mapped_column(default="zh")
    space_id: Mapped[UUID | None] = mapped_column(ForeignKey("spaces.id", ondelete="SET NULL"))
    building_id: Mapped[UUID | None]
    place_text: Mapped[str] = mapped_column(default="")
    channel: Mapped[Channel] = mapped_column(enum_column(Channel))
    reporter_kind: Mapped[CallerKind] = mapped_column(enum_column(CallerKind))
    reporter_id: Mapped[UUID | None]
    household_id: Mapped[UUID | None] = mapped_column(ForeignKey("households.id", ondelete="SET NULL"))
    contact_name: Mapped[str] = mapped_column(default="")
    contact_phone: Mapped[str] = mapped_column(default="")
    entry_ok: Mapped[bool | None]
    time_window_start: Mapped[datetime | None]
    time_window_end: Mapped[datetime | None]
    assignee_id: Mapped[UUID | None]
    about_staff_id: Mapped[UUID | None]
    needs_person: Mapped[bool] = mapped_column(default=False)
    auto_classified: Mapped[bool] = mapped_column(default=False)
    confidence: Mapped[float | None]
    triage: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    why: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    emergency_kind: Mapped[str | None]
    incident_id: Mapped[UUID | None]
    duplicate_of_id: Mapped[UUID | None]
    conversation_id: Mapped[UUID | None]
    turn_id: Mapped[UUID | None]
    quote_cents: Mapped[int | None]
    currency: Mapped[str | None]
    rating_speed: Mapped[int | None]
    rating_quality: Mapped[int | None]
    rating_attitude: Mapped[int | None]
    rating_comment: Mapped[str] = mapped_column(default="")
    urged_count: Mapped[int] = mapped_column(default=0)
    reopened_count: Mapped[int] = mapped_column(default=0)
    respond_due_at: Mapped[datetime | None]
    due_at: Mapped[datetime | None]
    warned_at: Mapped[datetime | None]
    overdue_at: Mapped[datetime | None]
    escalated_at: Mapped[datetime | None]
    respond_overdue_at: Mapped[datetime | None]
    check_at: Mapped[datetime | None]
    assign_at: Mapped[datetime | None]
    paused_at: Mapped[datetime | None]
    paused_seconds: Mapped[int] = mapped_column(default=0)
    version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    accepted_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]


class WorkOrderEvent(HasId, Base):
    """Something that happened to an order. The app's role may add such rows and never change or delete one."""

    __tablename__ = "work_order_events"
    __table_args__ = (Index("ix_work_order_events_order", "community_id", "work_order_id", "id"),)
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"))
    work_order_id: Mapped[UUID] = mapped_column(ForeignKey("work_orders.id", ondelete="CASCADE"))
    kind: Mapped[EventKind] = mapped_column(enum_column(EventKind))
    from_status: Mapped[Status | None] = mapped_column(enum_column(Status))
    to_status: Mapped[Status | None] = mapped_column(enum_column(Status))
    actor_kind: Mapped[CallerKind] = mapped_column(enum_column(CallerKind))
    actor_id: Mapped[UUID | None]
    note: Mapped[str] = mapped_column(default="")
    facts: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict)
    created_at: Mapped[datetime]


class WorkOrderComment(HasId, Base):
    __tablename__ = "work_order_comments"
    __table_args__ = (Index("ix_work_order_comments_order", "community_id", "work_order_id", "id"),)
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"))
    work_order_id: Mapped[UUID] = mapped_column(ForeignKey("work_orders.id", ondelete="CASCADE"))
    author_kind: Mapped[CallerKind] = mapped_column(enum_column(CallerKind))
    author_id: Mapped[UUID]
    author_name: Mapped[str]
    visibility: Mapped[Visibility] = mapped_column(enum_column(Visibility))
    text: Mapped[str]
    created_at: Mapped[datetime]


class WorkOrderFile(HasId, Base):
    """A photo or a document. Its bytes lie under `storage_key` in the file storage; photos were drawn anew.

    `removed_at`: it is on the order no more, and a job deletes bytes and row.
    """

    __tablename__ = "work_order_files"
    __table_args__ = (
        UniqueConstraint("work_order_id", "sha256", "visibility"),
        Index("ix_work_order_files_removed_at", "removed_at", postgresql_where=text("removed_at IS NOT NULL")),
    )
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"), index=True)
    work_order_id: Mapped[UUID] = mapped_column(ForeignKey("work_orders.id", ondelete="CASCADE"))
    author_kind: Mapped[CallerKind] = mapped_column(enum_column(CallerKind))
    author_id: Mapped[UUID]
    visibility: Mapped[Visibility] = mapped_column(enum_column(Visibility))
    name: Mapped[str]
    media_type: Mapped[str]
    bytes_count: Mapped[int]
    width: Mapped[int | None]
    height: Mapped[int | None]
    sha256: Mapped[str]
    storage_key: Mapped[str]
    created_at: Mapped[datetime]
    removed_at: Mapped[datetime | None]
