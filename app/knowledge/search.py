"""The passages that answer a question: near in meaning, alike in wording, visible to the caller, in force."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ScalarSelect
from sqlalchemy.ext.asyncio import AsyncSession

from app.knowledge import centres, scoring, tokens, wording
from app.knowledge.candidates import Asked, Candidates, Page, State, propose, read
from app.knowledge.ingest import embedder_key, find_mismatch, section_path
from app.knowledge.language import Language, language_of
from app.knowledge.scoring import Alike, Near, Scores
from app.people.callers import Caller
from models.embedder import Embedder


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
    of each token asked about, that of a token no passage holds, and the wording score of a passage that held them all;
    `along` is the value of the select that was given along.
    """

    question: Question
    found: list[Found]
    meanings: list[float] = field(default_factory=list)
    asked: dict[str, float] = field(default_factory=dict)
    unheard: float = 1.0
    wording_whole: float = 0.0
    along: Any = None


async def prepare(embedder: Embedder, text: str) -> Question:
    """Embed a question. No transaction is open meanwhile."""
    vector = (await embedder.embed_queries([text]))[0]
    known = await centres.generic_centres(embedder)
    return Question(text, language_of(text), vector, embedder_key(embedder), known)


def asked_for(question: Question) -> Asked:
    """A question as candidates.py takes it."""
    return Asked(
        question.language,
        question.vector,
        question.vector - question.centres.questions[question.language],
        question.centres.passages,
        tokens.counts(question.text),
        question.embedder,
    )


async def search(
    session: AsyncSession, caller: Caller, question: Question, *, as_of: datetime, limit: int, candidates: int = 100,
    along: Callable[[], ScalarSelect[Any]] | None = None,
) -> Results:  # fmt: skip
    """One statement, and rarely a second; what `along` selects is read with it.

    Raises EmbedderMismatch when the community's vectors are of another embedder.
    """
    asked = asked_for(question)
    found = await propose(session, caller, asked, as_of=as_of, limit=candidates, along=along)
    if any(state.embedder != question.embedder for state in found.states.values()) and (
        mismatch := await find_mismatch(session, caller.community_id, question.embedder)
    ):
        raise mismatch
    own = found.states.get(question.language)
    if own is None:
        idf, alike = {}, dict[UUID, Alike]()
    else:
        idf = {word: wording.inverse_frequency(own.passages_count, count) for word, count in found.held.items()}
        alike = _alike(found, question, own, idf, limit=candidates)
    near = _near(found, question, {*found.near, *alike})
    whole = wording.whole(idf, asked.tokens)
    ranked = scoring.fuse(near, alike, language=question.language, wording_whole=whole)[:limit]
    pages = found.pages
    if missing := [passage_id for passage_id, _ in ranked if passage_id not in pages]:
        pages |= await read(session, caller, missing, as_of=as_of)
    return Results(
        question,
        [_found(id_, scores, found, pages[id_]) for id_, scores in ranked if id_ in pages],
        [item.meaning for item in near],
        idf,
        wording.inverse_frequency(own.passages_count if own else 0, 0),
        whole,
        found.along,
    )


def _alike(
    found: Candidates, question: Question, own: State, idf: Mapping[str, float], *, limit: int
) -> dict[UUID, Alike]:
    """How those that meaning proposed are worded, and the best of those that wording proposed."""
    asked = tokens.counts(question.text)
    content = tokens.content_tokens(question.text) or frozenset(asked)
    scores = {
        passage_id: Alike(
            wording.bm25(times, found.lengths[passage_id], idf=idf, length_mean=own.words_mean, asked=asked),
            wording.cover(times, content, idf),
        )
        for passage_id, times in found.times.items()
    }
    best = sorted(scores, key=lambda passage_id: -scores[passage_id].score)[:limit]
    return {passage_id: scores[passage_id] for passage_id in {*best, *(scores.keys() & found.near)}}


def _near(found: Candidates, question: Question, wanted: Collection[UUID]) -> list[Near]:
    """Meaning of each wanted passage; a passage that only its wording proposed is measured like the others."""
    near: list[Near] = []
    for language, state in found.states.items():
        mine = [id_ for id_ in wanted if found.products[id_].language == language]
        if not mine:
            continue
        share = centres.own_share(state.centre, state.passages_count)
        measured = [found.products[id_] for id_ in mine]
        meaning = scoring.centred(
            np.array([[p.shifted, share * p.own + (1 - share) * p.prior] for p in measured], np.float64),
            query=question.vector,
            query_centre=question.centres.questions[question.language],
            passage_centre=question.centres.of_passages(language, state.centre, state.passages_count),
        )
        near += [
            Near(id_, language, p.cosine, float(score)) for id_, p, score in zip(mine, measured, meaning, strict=True)
        ]
    return near


def _found(passage_id: UUID, scores: Scores, found: Candidates, page: Page) -> Found:
    return Found(
        passage_id, page.document_id, page.title, page.file_name, page.headings, page.text,
        found.products[passage_id].language, page.page, page.ordinal, scores,
    )  # fmt: skip
