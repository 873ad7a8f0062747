"""The ledger of promises 承诺台账: every time that was promised, to whom, and what became of it."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base, HasId, enum_column
from app.people.callers import CallerKind


class PromiseStatus(StrEnum):
    """待确认, 进行中, 已兑现, 已撤回, 已失约, 未采纳."""

    PROPOSED = "proposed"
    OPEN = "open"
    KEPT = "kept"
    WITHDRAWN = "withdrawn"
    BROKEN = "broken"
    DECLINED = "declined"


PROMISE_MOVES: dict[PromiseStatus, frozenset[PromiseStatus]] = {
    PromiseStatus.PROPOSED: frozenset({PromiseStatus.OPEN, PromiseStatus.DECLINED}),
    PromiseStatus.OPEN: frozenset({PromiseStatus.KEPT, PromiseStatus.WITHDRAWN, PromiseStatus.BROKEN}),
    PromiseStatus.KEPT: frozenset(),
    PromiseStatus.WITHDRAWN: frozenset(),
    # What came too late stays broken; `kept_at` tells that it came.
    PromiseStatus.BROKEN: frozenset(),
    PromiseStatus.DECLINED: frozenset(),
}
"""From each status, where to. A test proves it complete."""


class PromiseSource(StrEnum):
    """Said outright, found in a comment, made by an appointment."""

    STATED = "stated"
    COMMENT = "comment"
    APPOINTMENT = "appointment"


class Promise(HasId, Base):
    """Something promised to a resident by a time. A proposed one was found in a comment and waits for its author.

    `source_id` names the row it was found in or made by, so that a second delivery makes no second promise.
    `chase_at`: when whoever promised is reminded.
    """

    __tablename__ = "promises"
    __table_args__ = (
        UniqueConstraint("community_id", "source", "source_id"),
        Index("ix_promises_page", "community_id", "id"),
        Index("ix_promises_resident", "community_id", "to_resident_id", "id"),
        Index("ix_promises_order", "community_id", "work_order_id", postgresql_where=text("work_order_id IS NOT NULL")),
        Index("ix_promises_due", "due_at", postgresql_where=text("status = 'open'")),
        Index("ix_promises_chase", "chase_at", postgresql_where=text("status = 'open' AND chased_at IS NULL")),
    )
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"))
    status: Mapped[PromiseStatus] = mapped_column(enum_column(PromiseStatus))
    source: Mapped[PromiseSource] = mapped_column(enum_column(PromiseSource))
    source_id: Mapped[UUID | None]
    by_kind: Mapped[CallerKind] = mapped_column(enum_column(CallerKind))
    by_id: Mapped[UUID | None]
    to_resident_id: Mapped[UUID | None] = mapped_column(ForeignKey("residents.id", ondelete="CASCADE"))
    text: Mapped[str]
    due_at: Mapped[datetime]
    chase_at: Mapped[datetime]
    chased_at: Mapped[datetime | None]
    work_order_id: Mapped[UUID | None] = mapped_column(ForeignKey("work_orders.id", ondelete="CASCADE"))
    conversation_id: Mapped[UUID | None]
    reason: Mapped[str] = mapped_column(default="")
    decided_by_id: Mapped[UUID | None]
    decided_at: Mapped[datetime | None]
    kept_at: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime]
