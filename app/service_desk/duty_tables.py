"""Rows of duty: how quickly an order is due, where staff work, and who was rung about an emergency."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base, HasId, enum_column
from app.service_desk.staffing import Mode
from app.service_desk.tables import CategoryClass


class SlaRule(HasId, Base):
    """How many minutes an order of a class may take; with `category_id`, one of that class in that category.

    Minutes are working time, in emergencies minutes of the clock. `warn_minutes` before the end and `escalate_minutes`
    after it are as the community's settings say when they are None.
    """

    __tablename__ = "sla_rules"
    __table_args__ = (
        UniqueConstraint("community_id", "class", "category_id", postgresql_nulls_not_distinct=True),
        Index("ix_sla_rules_category_id", "category_id"),
    )
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"))
    class_: Mapped[CategoryClass] = mapped_column("class", enum_column(CategoryClass))
    category_id: Mapped[UUID | None] = mapped_column(ForeignKey("work_order_categories.id", ondelete="CASCADE"))
    respond_minutes: Mapped[int]
    resolve_minutes: Mapped[int]
    warn_minutes: Mapped[int | None]
    escalate_minutes: Mapped[int | None]
    created_at: Mapped[datetime]


class AssignmentRule(HasId, Base):
    """Who gets the orders of a category (and all below it) in a building; None stands for every one.

    What is None of `skill`, `mode` and `staff_id` is as the category and the community's settings say.
    """

    __tablename__ = "assignment_rules"
    __table_args__ = (
        UniqueConstraint("community_id", "category_id", "building_id", postgresql_nulls_not_distinct=True),
        Index("ix_assignment_rules_category_id", "category_id"),
        Index("ix_assignment_rules_building_id", "building_id"),
        Index("ix_assignment_rules_staff_id", "staff_id"),
    )
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"))
    category_id: Mapped[UUID | None] = mapped_column(ForeignKey("work_order_categories.id", ondelete="CASCADE"))
    building_id: Mapped[UUID | None] = mapped_column(ForeignKey("spaces.id", ondelete="CASCADE"))
    skill: Mapped[str | None]
    staff_id: Mapped[UUID | None] = mapped_column(ForeignKey("staff.id", ondelete="CASCADE"))
    mode: Mapped[Mode | None] = mapped_column(enum_column(Mode))
    created_at: Mapped[datetime]


class StaffArea(HasId, Base):
    """A space to which the work of a member of staff is limited; who has none works everywhere."""

    __tablename__ = "staff_areas"
    __table_args__ = (UniqueConstraint("community_id", "staff_id", "space_id"),)
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"))
    staff_id: Mapped[UUID] = mapped_column(ForeignKey("staff.id", ondelete="CASCADE"), index=True)
    space_id: Mapped[UUID] = mapped_column(ForeignKey("spaces.id", ondelete="CASCADE"), index=True)


class StaffTurn(Base):
    """When Linli last gave a member of staff an order: whose turn it is in rotation."""

    __tablename__ = "staff_turns"
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"), primary_key=True)
    staff_id: Mapped[UUID] = mapped_column(ForeignKey("staff.id", ondelete="CASCADE"), primary_key=True, index=True)
    last_assigned_at: Mapped[datetime]


class RingState(StrEnum):
    RINGING = "ringing"
    ANSWERED = "answered"
    OVER = "over"
    """The order ended in another way."""


class RingAnswer(StrEnum):
    """接单: I take it. 降级: it is no emergency. 已知: somebody is on it already."""

    ACCEPT = "accept"
    DOWNGRADE = "downgrade"
    KNOWN = "known"


class Ring(Base):
    """The ringing about one emergency order: it goes on until somebody answers or the order ends.

    `step` counts the calls made; `next_at` is when the next ones are made, None when no more are.
    """

    __tablename__ = "rings"
    __table_args__ = (Index("ix_rings_next_at", "next_at", postgresql_where=text("next_at IS NOT NULL")),)
    work_order_id: Mapped[UUID] = mapped_column(ForeignKey("work_orders.id", ondelete="CASCADE"), primary_key=True)
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"), index=True)
    state: Mapped[RingState] = mapped_column(enum_column(RingState))
    step: Mapped[int]
    next_at: Mapped[datetime | None]
    answer: Mapped[RingAnswer | None] = mapped_column(enum_column(RingAnswer))
    answered_by: Mapped[UUID | None]
    answered_at: Mapped[datetime | None]
    created_at: Mapped[datetime]


class RingCall(HasId, Base):
    """One person was rung at one step."""

    __tablename__ = "ring_calls"
    __table_args__ = (UniqueConstraint("work_order_id", "step", "staff_id"),)
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"), index=True)
    work_order_id: Mapped[UUID] = mapped_column(ForeignKey("work_orders.id", ondelete="CASCADE"))
    step: Mapped[int]
    level: Mapped[str]
    staff_id: Mapped[UUID]
    rung_at: Mapped[datetime]
