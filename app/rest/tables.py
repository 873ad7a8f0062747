"""Rows of the REST conventions."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Text, UniqueConstraint, func
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base, HasId


class IdempotencyKey(HasId, Base):
    """A creating request that was made once. Its answer is kept, so that a retry creates nothing twice."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (UniqueConstraint("community_id", "caller_key", "route", "key"),)
    community_id: Mapped[UUID]
    caller_key: Mapped[str]
    route: Mapped[str]
    key: Mapped[str]
    request_sha256: Mapped[str]
    status: Mapped[int | None]
    body: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now(), index=True)
