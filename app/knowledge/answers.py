"""Approved answers (标准答案): kept by staff, given as they stand to a question close enough to one of theirs."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from pgvector import HalfVector
from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import Float, ScalarSelect, Select, Text, bindparam, cast, delete, func, or_, select, true, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.errors import Invalid, NotFound
from app.knowledge import tokens
from app.knowledge.documents import get_document, in_force, own_community
from app.knowledge.ingest import embedder_key
from app.knowledge.search import Question
from app.knowledge.tables import ApprovedAnswer, ApprovedQuestion, Audience, Document
from app.people.callers import Caller
from app.settings import Settings
from models.embedder import Embedder, Vectors


class AnswerNotFound(NotFound):
    code = "approved_answer_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such approved answer.", "没有这条标准答案。")


class AudienceNotForAnswers(Invalid):
    code = "approved_answer_audience"

    def __init__(self) -> None:
        super().__init__("An approved answer is for all, owners or staff.", "标准答案只能面向全部住户、业主或员工。")


@dataclass(frozen=True)
class Hit:
    """The approved answer to give. `question` is the wording that matched."""

    answer_id: UUID
    question: str
    similarity: float
    answer_zh: str
    answer_en: str
    document_id: UUID | None
    title: str | None

    def text(self, language: str) -> str:
        """In the language asked for, else the other one: a right answer beats the right language."""
        return (self.answer_en or self.answer_zh) if language == "en" else (self.answer_zh or self.answer_en)


def visible_to(caller: Caller) -> Select[ApprovedAnswer]:
    """Approved answers of the caller's community that are meant for the caller."""
    return _meant_for(caller).where(ApprovedAnswer.community_id == caller.community_id)


def _meant_for(caller: Caller) -> Select[ApprovedAnswer]:
    meant = true() if caller.reads_staff_knowledge else ApprovedAnswer.audience == Audience.ALL
    if caller.owner and not caller.reads_staff_knowledge:
        meant = or_(meant, ApprovedAnswer.audience == Audience.OWNERS)
    return select(ApprovedAnswer).where(meant)


def nearest(caller: Caller, question: Question, *, as_of: datetime) -> ScalarSelect[Any]:
    """What `hit_of` reads: the approved question nearest to this one, with its answer, as one JSON value.

    An answer whose document is no longer in force is not given. Its values are named as those of search.py's.
    """
    width = len(question.vector)
    near = cast(ApprovedQuestion.embedding, HALFVEC(width)).op("<#>", return_type=Float)(
        cast(bindparam("vector", HalfVector(question.vector), HALFVEC(width)), HALFVEC(width))
    )
    value = func.jsonb_build_array(
        ApprovedAnswer.id, ApprovedQuestion.text, -near, ApprovedAnswer.questions, ApprovedAnswer.answer_zh,
        ApprovedAnswer.answer_en, ApprovedAnswer.document_id, Document.title,
    )  # fmt: skip
    return (
        _meant_for(caller)
        .where(ApprovedAnswer.community_id == own_community(caller))
        .join(ApprovedQuestion, ApprovedQuestion.answer_id == ApprovedAnswer.id)
        .outerjoin(Document, Document.id == ApprovedAnswer.document_id)
        .where(
            ApprovedAnswer.enabled,
            ApprovedQuestion.embedder == bindparam("embedder", question.embedder, Text),
            or_(ApprovedAnswer.document_id.is_(None), in_force(Document, as_of)),
        )
        .with_only_columns(value)
        .order_by(near)
        .limit(1)
        .scalar_subquery()
    )


def hit_of(question: Question, found: list[Any] | None, settings: Settings) -> Hit | None:
    """The approved answer to this question, from what `nearest` gave; None when it is not near enough.

    Cosine alone mistakes "电动轮椅能进电梯吗" for "电动自行车可以进电梯吗" (.957), so most of what the question
    names must stand in the answer or its questions too. What this turns away goes to the search: slower, not wrong.
    """
    if found is None:
        return None
    answer_id, matched, similarity, questions, answer_zh, answer_en, document_id, title = found
    if similarity < settings.approved_answer_similarity_min:
        return None
    if cover(question.text, [*questions, answer_zh, answer_en]) < settings.approved_answer_cover_min:
        return None
    document = UUID(document_id) if document_id else None
    return Hit(UUID(answer_id), matched, similarity, answer_zh, answer_en, document, title)


def cover(question: str, told: Sequence[str]) -> float:
    """Share of the question's content tokens that the answer or its questions mention; 1 when there are none."""
    asked = tokens.content_tokens(question)
    said = frozenset(tokens.tokens("\n".join(told)))
    return len(asked & said) / len(asked) if asked else 1.0


async def count_hit(session: AsyncSession, caller: Caller, answer_id: UUID) -> None:
    ours = (ApprovedAnswer.community_id == caller.community_id) & (ApprovedAnswer.id == answer_id)
    await session.execute(update(ApprovedAnswer).where(ours).values(hits=ApprovedAnswer.hits + 1))


async def get_answer(session: AsyncSession, caller: Caller, answer_id: UUID) -> ApprovedAnswer:
    """Raises AnswerNotFound."""
    answer = await session.scalar(visible_to(caller).where(ApprovedAnswer.id == answer_id))
    if answer is None:
        raise AnswerNotFound
    return answer


async def open_answer(
    session: AsyncSession, caller: Caller, *, embedder: Embedder, vectors: Vectors, questions: Sequence[str],
    answer_zh: str, answer_en: str, audience: Audience = Audience.ALL, document_id: UUID | None = None,
    enabled: bool = True, now: datetime,
) -> ApprovedAnswer:  # fmt: skip
    """A new approved answer. `vectors` are its questions', embedded as queries before the transaction began.

    Raises AudienceNotForAnswers, DocumentNotFound.
    """
    await _check(session, caller, audience=audience, document_id=document_id, now=now)
    answer = ApprovedAnswer(
        community_id=caller.community_id, questions=list(questions), answer_zh=answer_zh, answer_en=answer_en,
        audience=audience, document_id=document_id, enabled=enabled, created_by=caller.id, hits=0, version=1,
        created_at=now,
    )  # fmt: skip
    session.add(answer)
    await session.flush()
    _add_questions(session, answer, embedder, vectors)
    return answer


async def change_answer(
    session: AsyncSession, caller: Caller, answer: ApprovedAnswer, changes: dict[str, Any], *, embedder: Embedder,
    vectors: Vectors | None, now: datetime,
) -> None:  # fmt: skip
    """`vectors` go with changed questions. Raises AudienceNotForAnswers, DocumentNotFound."""
    wanted = {"audience": answer.audience, "document_id": None} | changes
    await _check(session, caller, audience=wanted["audience"], document_id=wanted["document_id"], now=now)
    for name, value in changes.items():
        setattr(answer, name, value)
    answer.version += 1
    if vectors is not None:
        await session.execute(delete(ApprovedQuestion).where(ApprovedQuestion.answer_id == answer.id))
        _add_questions(session, answer, embedder, vectors)
    await session.flush()


async def delete_answer(session: AsyncSession, answer: ApprovedAnswer) -> None:
    await session.delete(answer)


async def hits_in_all(session: AsyncSession, caller: Caller) -> int:
    statement = visible_to(caller).with_only_columns(func.coalesce(func.sum(ApprovedAnswer.hits), 0))
    return int(await session.scalar(statement) or 0)


def _add_questions(session: AsyncSession, answer: ApprovedAnswer, embedder: Embedder, vectors: Vectors) -> None:
    for wording, vector in zip(answer.questions, vectors, strict=True):
        session.add(
            ApprovedQuestion(
                community_id=answer.community_id, answer_id=answer.id, text=wording, embedder=embedder_key(embedder),
                embedding=vector,
            )
        )  # fmt: skip


async def _check(
    session: AsyncSession, caller: Caller, *, audience: Audience, document_id: UUID | None, now: datetime
) -> None:
    if audience is Audience.BUILDING:
        raise AudienceNotForAnswers
    if document_id is not None:
        await get_document(session, caller, document_id, as_of=now)
