"""The passages that answer a question: near in meaning, alike in wording, visible to the caller, in force."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from pgvector import HalfVector
from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import (
    ARRAY,
    Float,
    Integer,
    Select,
    Text,
    Uuid,
    cast,
    column,
    func,
    literal,
    literal_column,
    select,
    text,
    union_all,
)
from sqlalchemy.dialects.postgresql import TSQUERY
from sqlalchemy.ext.asyncio import AsyncSession

from app.knowledge import centres, scoring, tokens, wording
from app.knowledge.documents import visible_to
from app.knowledge.ingest import embedder_key, find_mismatch, section_path
from app.knowledge.language import Language, language_of
from app.knowledge.scoring import Near, Scores
from app.knowledge.tables import Document, EmbeddingState, Passage
from app.people.callers import Caller
from models.embedder import Embedder, Vectors

ASKED_TOKENS_MAX = 60
"""A question of 4,000 characters is searched by its rarest tokens."""
WORDING_ROWS_FACTOR = 3
"""Wording candidates are taken before the fence, so more of them than are needed."""


@dataclass(frozen=True)
class Question:
    """A question made ready outside of any transaction."""

    text: str
    language: Language
    vector: NDArray[np.float32]
    embedder: str
    centres: centres.Centres


@dataclass(frozen=True)
class Found:
    """A passage with where it stands and how it was scored."""

    passage_id: UUID
    document_id: UUID
    title: str
    file_name: str
    headings: tuple[str, ...]
    text: str
    language: Language
    page: int | None
    ordinal: int
    scores: Scores

    @property
    def section(self) -> str:
        """The headings below the title."""
        return " > ".join(part for part in self.headings if part != self.title)

    @property
    def path(self) -> str:
        return section_path(self.title, self.headings)


@dataclass(frozen=True)
class Results:
    """`found` best first. The rest is what evidence.py judges by: the meaning of every candidate, the inverse frequency
    of each token asked about, that of a token no passage holds, and the wording score of a passage that held them all.
    """

    question: Question
    found: list[Found]
    meanings: list[float] = field(default_factory=list)
    asked: dict[str, float] = field(default_factory=dict)
    unheard: float = 1.0
    wording_whole: float = 0.0


async def prepare(embedder: Embedder, text: str) -> Question:
    """Embed a question. No transaction is open meanwhile."""
    vector = (await embedder.embed_queries([text]))[0]
    known = await centres.generic_centres(embedder)
    return Question(text, language_of(text), vector, embedder_key(embedder), known)


async def search(
    session: AsyncSession, caller: Caller, question: Question, *, as_of: datetime, limit: int, candidates: int = 100
) -> Results:
    """Raises EmbedderMismatch when the community's vectors are of another embedder."""
    states = await _states(session, caller, question, candidates=candidates)
    if not states:
        return Results(question, [])
    near = await _near(session, caller, question, states, as_of=as_of, candidates=candidates)
    alike, asked = await _alike(session, caller, question, states, as_of=as_of, candidates=candidates)
    if missing := set(alike) - {item.passage_id for item in near}:
        # A passage that only its wording proposed gets its meaning measured too: both scores are exact for all.
        near += await _near(session, caller, question, states, as_of=as_of, candidates=len(missing), only=missing)
    whole = wording.whole(asked, tokens.counts(question.text))
    ranked = scoring.fuse(near, alike, language=question.language, wording_whole=whole)
    found = await _read(session, caller, ranked[:limit], as_of=as_of)
    own = states.get(question.language)
    unheard = wording.inverse_frequency(own.passages_count if own else 0, 0)
    return Results(question, found, [item.meaning for item in near], asked, unheard, whole)


async def _states(
    session: AsyncSession, caller: Caller, question: Question, *, candidates: int
) -> dict[Language, EmbeddingState]:
    # pgvector looks at 40 neighbours unless told, and stops at a filter unless it may go on. Told here, where it costs
    # no round trip of its own.
    wide = func.set_config("hnsw.ef_search", str(min(1000, candidates * 2)), True)
    on = func.set_config("hnsw.iterative_scan", "strict_order", True)
    rows = await session.execute(
        select(EmbeddingState, wide, on).where(EmbeddingState.community_id == caller.community_id)
    )
    states = {row.EmbeddingState.language: row.EmbeddingState for row in rows}
    if any(state.embedder != question.embedder for state in states.values()) and (
        mismatch := await find_mismatch(session, caller.community_id, question.embedder)
    ):
        raise mismatch
    return states


async def _near(
    session: AsyncSession, caller: Caller, question: Question, states: dict[Language, EmbeddingState], *,
    as_of: datetime, candidates: int, only: set[UUID] | None = None,
) -> list[Near]:  # fmt: skip
    """The nearest of each language, so that no language crowds out the other."""
    shifted = question.vector - question.centres.questions[question.language]
    own_centres, arms = {}, []
    for language, state in states.items():
        own = None if state.centre is None else np.asarray(state.centre, np.float32)
        own_centres[language] = question.centres.of_passages(language, own, state.passages_count)
        arms.append(
            _nearest(caller, question.vector, shifted, own_centres[language], language, as_of, candidates, only)
        )
    rows = (await session.execute(union_all(*arms))).all()
    near: list[Near] = []
    for language, centre in own_centres.items():
        mine = [row for row in rows if row.language == language]
        if mine:
            products = np.array([[row.shifted, row.centre] for row in mine], np.float64)
            meaning = scoring.centred(
                products, query=question.vector,
                query_centre=question.centres.questions[question.language], passage_centre=centre,
            )  # fmt: skip
            near += [
                Near(row.id, language, float(row.cosine), float(score))
                for row, score in zip(mine, meaning, strict=True)
            ]
    return near


def _nearest(
    caller: Caller, query: Vectors, shifted: Vectors, centre: Vectors, language: Language, as_of: datetime,
    candidates: int, only: set[UUID] | None,
) -> Select[Any]:  # fmt: skip
    width = len(query)
    stored = cast(Passage.embedding, HALFVEC(width))

    def product(vector: Vectors) -> Any:
        # <#> is the negative inner product.
        return -stored.op("<#>", return_type=Float)(cast(literal(HalfVector(vector), HALFVEC(width)), HALFVEC(width)))

    # Written out, not bound: the indexes are partial, and a plan for any value could not use them.
    statement = visible_to(caller, as_of).where(
        Passage.language == literal_column(f"'{language.value}'"),
        func.vector_dims(Passage.embedding) == literal_column(str(width)),
    )
    if only is not None:
        statement = statement.where(Passage.id.in_(only))
    order = stored.op("<#>", return_type=Float)(cast(literal(HalfVector(shifted), HALFVEC(width)), HALFVEC(width)))
    inner = statement.with_only_columns(
        Passage.id, Passage.language, product(query).label("cosine"), product(shifted).label("shifted"),
        product(centre).label("centre"),
    )  # fmt: skip
    nearest = inner.order_by(order).limit(candidates).subquery()
    return select(nearest)


async def _alike(
    session: AsyncSession, caller: Caller, question: Question, states: dict[Language, EmbeddingState], *,
    as_of: datetime, candidates: int,
) -> tuple[dict[UUID, float], dict[str, float]]:  # fmt: skip
    """BM25 of the visible passages of the question's language, and the inverse frequency of each token asked."""
    state = states.get(question.language)
    asked = tokens.counts(question.text)
    if state is None or not asked:
        return {}, {}
    words = list(asked)
    rows = await session.execute(
        text("SELECT place, passages FROM wording_frequencies(:language, :quoted)"),
        {"language": question.language.value, "quoted": [wording.quoted(word) for word in words]},
    )
    held = {words[row.place - 1]: row.passages for row in rows}
    idf = {word: wording.inverse_frequency(state.passages_count, held[word]) for word in words}
    rare = _proposing(held, state.passages_count)
    if not rare:
        return {}, idf
    # The function looks at all passages of the community; the fence decides which of its rows are seen.
    held_by = func.wording_candidates(
        question.language.value,
        cast(" | ".join(wording.quoted(word) for word in rare), TSQUERY),
        cast(words, ARRAY(Text)),
        candidates * WORDING_ROWS_FACTOR,
    ).table_valued(column("passage_id", Uuid), column("lexeme", Text), column("times", Integer))
    rows = await session.execute(
        visible_to(caller, as_of)
        .join(held_by, held_by.c.passage_id == Passage.id)
        .with_only_columns(Passage.id, Passage.words_count, held_by.c.lexeme, held_by.c.times)
    )
    counted: dict[UUID, Counter[str]] = {}
    lengths: dict[UUID, int] = {}
    for row in rows:
        counted.setdefault(row.id, Counter())[row.lexeme] = row.times
        lengths[row.id] = row.words_count
    scores = {
        passage_id: wording.bm25(counted[passage_id], length, idf=idf, length_mean=state.words_mean, asked=asked)
        for passage_id, length in lengths.items()
    }
    best = sorted(scores, key=lambda passage_id: -scores[passage_id])[:candidates]
    return {passage_id: scores[passage_id] for passage_id in best}, idf


def _proposing(held: dict[str, int], passages: int) -> list[str]:
    """The tokens that propose candidates: the rarest, and none that most passages hold, unless there is no other."""
    present = sorted((count, word) for word, count in held.items() if count)
    rare = [word for count, word in present if count <= wording.FREQUENT_SHARE * passages]
    return (rare or [word for _, word in present])[:ASKED_TOKENS_MAX]


async def _read(
    session: AsyncSession, caller: Caller, ranked: Sequence[tuple[UUID, Scores]], *, as_of: datetime
) -> list[Found]:
    ids = [passage_id for passage_id, _ in ranked]
    statement = (
        visible_to(caller, as_of)
        .join(Document, Document.id == Passage.document_id)
        .where(Passage.id.in_(ids))
        .with_only_columns(Passage, Document.title, Document.file_name)
    )
    rows = {row.Passage.id: row for row in await session.execute(statement)}
    return [
        Found(
            passage_id, rows[passage_id].Passage.document_id, rows[passage_id].title, rows[passage_id].file_name,
            tuple(rows[passage_id].Passage.headings), rows[passage_id].Passage.text,
            rows[passage_id].Passage.language, rows[passage_id].Passage.page, rows[passage_id].Passage.ordinal, scores,
        )
        for passage_id, scores in ranked
        if passage_id in rows
    ]  # fmt: skip
