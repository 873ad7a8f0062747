"""What a community made of the built-in emergency cards: every version stays, the newest is in force."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base, HasId


class EmergencyCard(HasId, Base):
    """One approved version of one card. Empty texts mean that the built-in card is in force again."""

    __tablename__ = "emergency_cards"
    __table_args__ = (UniqueConstraint("community_id", "kind", "version"),)
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"))
    kind: Mapped[str]
    version: Mapped[int]
    text_zh: Mapped[str]
    text_en: Mapped[str]
    created_by: Mapped[UUID | None]
    created_at: Mapped[datetime]
