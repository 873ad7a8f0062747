"""A document's way into the search: added as a row, embedded by a job, put in place of what it replaces."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

from sqlalchemy import Text, bindparam, delete, func, insert, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.clock import CLOCK
from app.db import Tenant
from app.errors import Conflict, NotFound
from app.knowledge import centres, headers, splitting, tokens, wording
from app.knowledge.language import language_of
from app.knowledge.reading import Reading, blocks_from
from app.knowledge.tables import Document, DocumentStatus, EmbeddingState, Passage
from app.people.callers import Caller
from app.people.tables import Community
from app.queue import Job, Lane, send_after_commit
from app.runtime import Runtime
from models.embedder import Embedder, Vectors

JOB = "knowledge.ingest"
EMBED_AT_ONCE = 32
"""Passages between two reports of progress."""
ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)
"""From when a document replaces others if it names no first day of its own."""
FILE_BYTES_PER_COST = 50_000
"""A file of this size costs a community's share of the queue one ordinary job more."""


class EmbedderMismatch(Conflict):
    """Vectors of two models are never mixed."""

    code = "embedder_mismatch"

    def __init__(self, stored: str, wanted: str, *, slug: str | None) -> None:
        command = f"linli knowledge reembed --community {slug or 'SHORT_NAME'}"
        super().__init__(
            f"The documents were embedded by {stored}, now {wanted} is set. Run: {command}",
            f"文档由 {stored} 向量化，当前设置为 {wanted}。请运行：{command}",
            stored=stored,
            wanted=wanted,
        )


class DocumentNotFound(NotFound):
    code = "document_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such document.", "没有这份文档。")


@dataclass(frozen=True)
class Added:
    """`created` is false when the same content was there already."""

    document: Document
    created: bool


async def add_document(
    session: AsyncSession, caller: Caller, *, reading: Reading, data: bytes, file_name: str,
    stated: Mapping[str, Any] | None = None, now: datetime,
) -> Added:  # fmt: skip
    """Add what was read, or return the newest version when it says the same. Its job leaves after commit.

    `stated` (title, audience, valid_from, valid_to, replaces, source_key) goes before the file's own header.
    Raises headers' errors.
    """
    community_id = caller.community_id
    zone = await session.scalar(select(Community.timezone).where(Community.id == community_id))
    header = reading.header | {key: value for key, value in (stated or {}).items() if value}
    said = headers.read(header, timezone=zone or "Asia/Shanghai")
    audience, building_id = await headers.resolve_audience(session, community_id, said.audience)
    source_key = said.source_key or file_name
    # Two uploads of one source at the same moment become two versions, one after the other.
    lock = func.pg_advisory_xact_lock(func.hashtextextended(f"{community_id}{source_key}", 0))
    await session.execute(select(lock))
    digest = sha256(data + repr((said, audience, building_id)).encode()).hexdigest()
    newest = await session.scalar(
        select(Document)
        .where(Document.community_id == community_id, Document.source_key == source_key)
        .order_by(Document.version.desc())
        .limit(1)
    )
    if newest is not None and newest.sha256 == digest and newest.status is not DocumentStatus.FAILED:
        return Added(newest, created=False)
    whole = "\n".join(block.text for block in reading.blocks)
    document = Document(
        id=CLOCK.new_id(),
        community_id=community_id,
        source_key=source_key,
        version=newest.version + 1 if newest is not None else 1,
        file_name=file_name,
        title=said.title or _first_heading(reading) or file_name.rsplit(".", 1)[0],
        kind=reading.kind,
        language=said.language or language_of(whole),
        sha256=digest,
        bytes_count=len(data),
        audience=audience,
        building_id=building_id,
        valid_from=said.valid_from,
        valid_until=said.valid_until,
        replaces_key=said.replaces_key if said.replaces_key != source_key else None,
        status=DocumentStatus.WAITING,
        uploaded_by=caller.id,
        created_at=now,
        file=data,
        blocks=[asdict(block) for block in reading.blocks],
    )
    session.add(document)
    await session.flush()
    send_after_commit(session, job_of(document.id, community_id, bytes_count=len(data)))
    return Added(document, created=True)


def _first_heading(reading: Reading) -> str | None:
    return next((block.headings[0] for block in reading.blocks if block.headings), None)


def job_of(document_id: UUID, community_id: UUID, *, bytes_count: int = 0) -> Job:
    return Job(JOB, document_id, community_id, Lane.BATCH, cost=1.0 + bytes_count / FILE_BYTES_PER_COST)


async def ingest(runtime: Runtime, tenant: Tenant, document_id: UUID) -> None:
    """Split, embed and store one waiting document. Safe to run twice, also at the same time.

    Raises EmbedderMismatch after marking the document failed.
    """
    async with runtime.transaction(tenant) as session:
        document = await session.get(Document, document_id)
        if document is None or document.status is not DocumentStatus.WAITING:
            return
        rows = await session.scalar(select(Document.blocks).where(Document.id == document_id))
        mismatch = await find_mismatch(session, document.community_id, embedder_key(runtime.embedder))
    embedder = runtime.embedder
    if mismatch is not None:
        await _fail(runtime, tenant, document_id, mismatch.code)
        raise mismatch
    pieces = splitting.split(blocks_from(rows or []), width_max=runtime.settings.passage_chars_max)
    if not 0 < len(pieces) <= runtime.settings.document_passages_max:
        await _fail(runtime, tenant, document_id, "document_too_long" if pieces else "document_empty")
        return
    # Not needed here, but the first question of every process is answered sooner for it.
    await centres.generic_centres(embedder)
    vectors: list[Vectors] = []
    for start in range(0, len(pieces), EMBED_AT_ONCE):
        part = pieces[start : start + EMBED_AT_ONCE]
        vectors.append(await embedder.embed_passages([embedding_text(document.title, piece) for piece in part]))
        if start + EMBED_AT_ONCE < len(pieces):
            await _report(runtime, tenant, document_id, len(pieces), start + len(part))
    async with runtime.transaction(tenant) as session:
        await _store(session, embedder, document_id, pieces, vectors, now=runtime.clock())


async def find_mismatch(session: AsyncSession, community_id: UUID, wanted: str) -> EmbedderMismatch | None:
    """The error to raise when the community's vectors are of another embedder than `wanted`."""
    other = (EmbeddingState.community_id == community_id) & (EmbeddingState.embedder != wanted)
    stored = await session.scalar(select(EmbeddingState.embedder).where(other).limit(1))
    if stored is None:
        return None
    slug = await session.scalar(select(Community.slug).where(Community.id == community_id))
    return EmbedderMismatch(stored, wanted, slug=slug)


def embedder_key(embedder: Embedder) -> str:
    """What is recorded with vectors: two models of one name but another width are two models."""
    return f"{embedder.name}/{embedder.width}"


def embedding_text(title: str, piece: splitting.Piece) -> str:
    """What is embedded of a passage: where it stands, then what it says."""
    return f"{section_path(title, piece.headings)}\n{piece.text}"


def section_path(title: str, headings: tuple[str, ...] | list[str]) -> str:
    """Title and headings, the title once."""
    return " > ".join(dict.fromkeys([title, *headings]))


async def _report(runtime: Runtime, tenant: Tenant, document_id: UUID, passages: int, done: int) -> None:
    async with runtime.transaction(tenant) as session:
        await session.execute(
            update(Document)
            .where(Document.id == document_id, Document.status == DocumentStatus.WAITING)
            .values(passages_count=passages, passages_done=done)
        )


async def _fail(runtime: Runtime, tenant: Tenant, document_id: UUID, code: str) -> None:
    async with runtime.transaction(tenant) as session:
        await session.execute(
            update(Document)
            .where(Document.id == document_id, Document.status == DocumentStatus.WAITING)
            .values(status=DocumentStatus.FAILED, error=code)
        )


async def _store(
    session: AsyncSession, embedder: Embedder, document_id: UUID, pieces: list[splitting.Piece],
    vectors: list[Vectors], *, now: datetime,
) -> None:  # fmt: skip
    document = await session.scalar(select(Document).where(Document.id == document_id).with_for_update())
    if document is None or document.status is not DocumentStatus.WAITING:
        return  # deleted, or stored by another delivery of the job
    if mismatch := await find_mismatch(session, document.community_id, embedder_key(embedder)):
        # Everything is being embedded anew by another embedder; the document still waits for that.
        raise mismatch
    rows = [vector for part in vectors for vector in part]
    await session.execute(delete(Passage).where(Passage.document_id == document_id))
    await _settle_replacement(session, document)
    await session.execute(
        insert(Passage),
        [
            _passage_values(document, ordinal, piece, vector)
            for ordinal, (piece, vector) in enumerate(zip(pieces, rows, strict=True))
        ],
    )
    document.status, document.error, document.ready_at = DocumentStatus.READY, None, now
    document.passages_count = document.passages_done = len(pieces)
    await session.flush()
    await update_centres(session, document.community_id, embedder)
    await index_passages(session, document.community_id, embedder)


async def index_passages(session: AsyncSession, community_id: UUID, embedder: Embedder) -> None:
    """The indexes of a community's passages, made when there are none, and the planner's statistics when they lag."""
    values = {"id": community_id, "width": embedder.width}
    await session.execute(text("SELECT index_community_passages(:id, :width)"), values)


def _passage_values(document: Document, ordinal: int, piece: splitting.Piece, vector: Any) -> dict[str, Any]:
    # The heading path is searched with the text: "parking" stands in the heading, the price below it.
    found = tokens.counts(f"{section_path(document.title, piece.headings)}\n{piece.text}")
    return {
        "community_id": document.community_id,
        "id": CLOCK.new_id(),
        "document_id": document.id,
        "ordinal": ordinal,
        "headings": list(piece.headings),
        "text": piece.text,
        "page": piece.page,
        "language": language_of(piece.text),
        "embedding": vector,
        "words": wording.tsvector(found),
        "words_count": sum(found.values()),
        "audience": document.audience,
        "building_id": document.building_id,
        "valid_from": document.valid_from,
        "valid_until": document.valid_until,
        "replaced_at": document.replaced_at,
    }


async def _settle_replacement(session: AsyncSession, document: Document) -> None:
    """Mark what this document replaces, and the document itself when a later one came first through the queue."""
    since = document.valid_from or ALWAYS
    same_source = (Document.source_key == document.source_key) & (Document.version < document.version)
    named = Document.source_key == document.replaces_key
    older = or_(same_source, named) if document.replaces_key else same_source
    ready = (Document.community_id == document.community_id) & (Document.status == DocumentStatus.READY)
    replaced = (
        await session.scalars(
            update(Document)
            .where(ready, older, or_(Document.replaced_at.is_(None), Document.replaced_at > since))
            .values(replaced_at=since, replaced_by=document.id)
            .returning(Document.id)
        )
    ).all()
    if replaced:
        await session.execute(update(Passage).where(Passage.document_id.in_(replaced)).values(replaced_at=since))
    newer = (Document.source_key == document.source_key) & (Document.version > document.version)
    later = (
        await session.execute(
            select(Document.id, Document.valid_from)
            .where(ready, or_(newer, Document.replaces_key == document.source_key))
            .order_by(Document.valid_from.asc().nulls_first())
            .limit(1)
        )
    ).one_or_none()
    if later is not None:
        document.replaced_by, document.replaced_at = later.id, later.valid_from or ALWAYS


CENTRES = text(
    "INSERT INTO embedding_states (community_id, language, embedder, width, centre, passages_count, words_mean) "
    "SELECT :community_id, language, :embedder, :width, avg(embedding::vector), count(*), avg(words_count) "
    "FROM passages WHERE community_id = :community_id AND replaced_at IS NULL GROUP BY language "
    "ON CONFLICT (community_id, language) DO UPDATE SET centre = excluded.centre, "
    "passages_count = excluded.passages_count, words_mean = excluded.words_mean"
).bindparams(bindparam("embedder", type_=Text))

EMPTY_CENTRES = text(
    "DELETE FROM embedding_states s WHERE s.community_id = :community_id AND NOT EXISTS "
    "(SELECT FROM passages p WHERE p.community_id = s.community_id AND p.language = s.language)"
)


async def update_centres(session: AsyncSession, community_id: UUID, embedder: Embedder) -> None:
    """Means over the passages in force, per language."""
    values = {"community_id": community_id, "embedder": embedder_key(embedder), "width": embedder.width}
    await session.execute(CENTRES, values)
    await session.execute(EMPTY_CENTRES, {"community_id": community_id})
