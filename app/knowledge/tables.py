"""Rows of what a community knows: documents, their passages, the centres of their vectors, approved answers."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from pgvector.sqlalchemy import HALFVEC, VECTOR
from sqlalchemy import ARRAY, ForeignKey, Index, LargeBinary, String, UniqueConstraint, func
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR
from sqlalchemy.orm import Mapped, deferred, mapped_column

from app.db import Base, HasId, enum_column
from app.knowledge.language import Language


class Audience(StrEnum):
    """Whom a document is for. BUILDING goes with a `building_id`: its residents, whoever they are."""

    ALL = "all"
    OWNERS = "owners"
    STAFF = "staff"
    BUILDING = "building"


class DocumentStatus(StrEnum):
    WAITING = "waiting"
    READY = "ready"
    FAILED = "failed"


class Document(HasId, Base):
    """A version of a document. `source_key` names what it is a version of: by default its file name.

    `valid_until` is the first moment at which it no longer holds; from `replaced_at` on another document is cited.
    `blocks` is the text as read, so that splitting and embedding can be done again without the file.
    """

    __tablename__ = "documents"
    __table_args__ = (
        UniqueConstraint("community_id", "source_key", "version"),
        Index("ix_documents_community_id_id", "community_id", "id"),
    )
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"))
    source_key: Mapped[str]
    version: Mapped[int]
    file_name: Mapped[str]
    title: Mapped[str]
    kind: Mapped[str]
    language: Mapped[Language] = mapped_column(enum_column(Language))
    sha256: Mapped[str]
    bytes_count: Mapped[int]
    audience: Mapped[Audience] = mapped_column(enum_column(Audience))
    building_id: Mapped[UUID | None]
    valid_from: Mapped[datetime | None]
    valid_until: Mapped[datetime | None]
    replaces_key: Mapped[str | None]
    replaced_at: Mapped[datetime | None]
    replaced_by: Mapped[UUID | None]
    status: Mapped[DocumentStatus] = mapped_column(enum_column(DocumentStatus))
    error: Mapped[str | None]
    passages_count: Mapped[int] = mapped_column(default=0)
    passages_done: Mapped[int] = mapped_column(default=0)
    uploaded_by: Mapped[UUID | None]
    created_at: Mapped[datetime]
    ready_at: Mapped[datetime | None]
    file: Mapped[bytes] = deferred(mapped_column(LargeBinary))
    blocks: Mapped[list[dict[str, Any]]] = deferred(mapped_column(JSONB))


class Passage(Base):
    """A part of a document that is found and cited. List-partitioned by community: see migration 0002.

    Audience, validity and replacement are the document's, kept here so that a search reads one table.
    """

    __tablename__ = "passages"
    community_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    document_id: Mapped[UUID]
    ordinal: Mapped[int]
    headings: Mapped[list[str]] = mapped_column(ARRAY(String))
    text: Mapped[str]
    page: Mapped[int | None]
    language: Mapped[Language] = mapped_column(enum_column(Language))
    embedding: Mapped[Any] = deferred(mapped_column(HALFVEC))
    words: Mapped[Any] = deferred(mapped_column(TSVECTOR))
    words_count: Mapped[int]
    audience: Mapped[Audience] = mapped_column(enum_column(Audience))
    building_id: Mapped[UUID | None]
    valid_from: Mapped[datetime | None]
    valid_until: Mapped[datetime | None]
    replaced_at: Mapped[datetime | None]


class EmbeddingState(Base):
    """Which embedder made a community's vectors, and per language their mean (see search.py) and how many there are."""

    __tablename__ = "embedding_states"
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"), primary_key=True)
    language: Mapped[Language] = mapped_column(enum_column(Language), primary_key=True)
    embedder: Mapped[str]
    width: Mapped[int]
    centre: Mapped[NDArray[np.float32] | None] = mapped_column(VECTOR)
    passages_count: Mapped[int]
    words_mean: Mapped[float]


class ApprovedAnswer(HasId, Base):
    """An answer (标准答案) that staff approved: given as it stands to a question close enough to one of its own."""

    __tablename__ = "approved_answers"
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"), index=True)
    questions: Mapped[list[str]] = mapped_column(ARRAY(String))
    answer_zh: Mapped[str]
    answer_en: Mapped[str]
    audience: Mapped[Audience] = mapped_column(enum_column(Audience))
    document_id: Mapped[UUID | None] = mapped_column(ForeignKey("documents.id", ondelete="SET NULL"))
    enabled: Mapped[bool]
    hits: Mapped[int] = mapped_column(default=0)
    version: Mapped[int] = mapped_column(default=1)
    created_by: Mapped[UUID | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class ApprovedQuestion(HasId, Base):
    """One wording of the question an approved answer answers."""

    __tablename__ = "approved_questions"
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"), index=True)
    answer_id: Mapped[UUID] = mapped_column(ForeignKey("approved_answers.id", ondelete="CASCADE"), index=True)
    text: Mapped[str]
    embedder: Mapped[str]
    embedding: Mapped[Any] = deferred(mapped_column(HALFVEC))
