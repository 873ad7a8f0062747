"""Documents and passages a caller may see, and taking a document away."""

from collections.abc import Hashable
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, Select, Uuid, and_, any_, bindparam, delete, or_, select, true, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.db import UtcTime
from app.knowledge.ingest import DocumentNotFound, update_centres
from app.knowledge.tables import Audience, Document, DocumentStatus, Passage
from app.people.callers import Caller
from models.embedder import Embedder


def for_caller(rows: type[Document] | type[Passage], caller: Caller) -> ColumnElement[bool]:
    """Whether a row is meant for the caller. Owners and residents of a building count only when verified."""
    if caller.reads_staff_knowledge:
        return true()
    meant = [rows.audience == Audience.ALL]
    if caller.owner:
        meant.append(rows.audience == Audience.OWNERS)
    if caller.building_ids:
        theirs = bindparam("building_ids", list(caller.building_ids), ARRAY(Uuid))
        meant.append(and_(rows.audience == Audience.BUILDING, rows.building_id == any_(theirs)))
    return or_(*meant)


def in_force(rows: type[Document] | type[Passage], as_of: datetime) -> ColumnElement[bool]:
    then = bindparam("as_of", as_of, UtcTime())
    return and_(
        or_(rows.valid_from.is_(None), rows.valid_from <= then),
        or_(rows.valid_until.is_(None), rows.valid_until > then),
        or_(rows.replaced_at.is_(None), rows.replaced_at > then),
    )


def fence_values(caller: Caller, as_of: datetime) -> dict[str, Any]:
    """The values that the conditions above carry under names, for a statement that is built once and run for many."""
    values: dict[str, Any] = {"community_id": caller.community_id, "as_of": as_of}
    return values | ({"building_ids": list(caller.building_ids)} if caller.building_ids else {})


def fence_shape(caller: Caller) -> Hashable:
    """Callers of one shape differ in the values only."""
    return caller.reads_staff_knowledge, caller.owner, bool(caller.building_ids)


def own_community(caller: Caller) -> ColumnElement[UUID]:
    return bindparam("community_id", caller.community_id, Uuid)


def visible_to(caller: Caller, as_of: datetime) -> Select[Passage]:
    """The only way to a passage: of the caller's community, meant for the caller, in force at that time."""
    ours = Passage.community_id == own_community(caller)
    return select(Passage).where(ours, for_caller(Passage, caller), in_force(Passage, as_of))


def visible_documents(caller: Caller, as_of: datetime) -> Select[Document]:
    """Those who keep the documents see every version of what is meant for them or came from them, others what is ready
    and in force.
    """
    ours = select(Document).where(Document.community_id == caller.community_id)
    meant = for_caller(Document, caller)
    if "knowledge:write" in caller.scopes:
        return ours.where(or_(meant, Document.uploaded_by == caller.id))
    return ours.where(Document.status == DocumentStatus.READY, meant, in_force(Document, as_of))


async def get_document(session: AsyncSession, caller: Caller, document_id: UUID, *, as_of: datetime) -> Document:
    """Raises DocumentNotFound."""
    document = await session.scalar(visible_documents(caller, as_of).where(Document.id == document_id))
    if document is None:
        raise DocumentNotFound
    return document


def passages_of(caller: Caller, document: Document) -> Select[Passage]:
    """The passages of a document that `get_document` gave. Their ids are in their order."""
    ours = (Passage.community_id == caller.community_id) & (Passage.document_id == document.id)
    return select(Passage).where(ours)


async def delete_document(session: AsyncSession, caller: Caller, document: Document, embedder: Embedder) -> None:
    """Take a document away, with its older versions. Documents of other sources that it replaced are cited again."""
    ours = Document.community_id == caller.community_id
    older = (Document.source_key == document.source_key) & (Document.version <= document.version)
    gone = (await session.scalars(select(Document.id).where(ours, older))).all()
    await session.execute(delete(Passage).where(Passage.community_id == caller.community_id, _of(Passage, gone)))
    freed = (
        await session.scalars(
            update(Document)
            .where(ours, Document.replaced_by.in_(gone), Document.id.not_in(gone))
            .values(replaced_at=None, replaced_by=None)
            .returning(Document.id)
        )
    ).all()
    if freed:
        again = update(Passage).where(Passage.community_id == caller.community_id, _of(Passage, freed))
        await session.execute(again.values(replaced_at=None))
    await session.execute(delete(Document).where(ours, Document.id.in_(gone)))
    await update_centres(session, caller.community_id, embedder)


def _of(rows: Any, document_ids: Any) -> ColumnElement[bool]:
    found: ColumnElement[bool] = rows.document_id.in_(document_ids)
    return found
