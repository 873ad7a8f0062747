"""The passages that meaning and wording propose for a question, with all that scoring needs, in one statement."""

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
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
    CTE,
    REAL,
    ColumnElement,
    Float,
    Integer,
    ScalarSelect,
    Select,
    Subquery,
    Text,
    Uuid,
    bindparam,
    case,
    cast,
    column,
    false,
    func,
    literal_column,
    null,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB, TSQUERY
from sqlalchemy.ext.asyncio import AsyncSession

from app.knowledge import wording
from app.knowledge.documents import fence_shape, fence_values, own_community, visible_to
from app.knowledge.language import Language
from app.knowledge.tables import Document, EmbeddingState, Passage
from app.people.callers import Caller

ASKED_TOKENS_MAX = 60
"""A question of 4,000 characters is searched by its rarest tokens."""
WORDING_ROWS_FACTOR = 3
"""Wording candidates are taken before the fence, so more of them than are needed."""
POSTINGS_MAX = 1_000
"""Tokens propose candidates, rarest first, while no more passages than so many hold one of them: the frequent ones
would propose half of a large community and weigh little. They still count in the score."""
READ_ALONG = 8
"""Of each language and of wording, so many of the likeliest are read at once: the best of all are mostly among them."""


@dataclass(frozen=True)
class Asked:
    """What is searched for. `vector`, `shifted` (the vector less its language's mean question) and `priors` (the mean
    passage of each language) have the embedder's width; `tokens` are those of the question.
    """

    language: Language
    vector: NDArray[np.float32]
    shifted: NDArray[np.float32]
    priors: Mapping[Language, NDArray[np.float32]]
    tokens: Mapping[str, int]
    embedder: str


@dataclass(frozen=True, slots=True)
class State:
    """What is known of a community's passages in one language."""

    embedder: str
    centre: NDArray[np.float32] | None
    passages_count: int
    words_mean: float


@dataclass(frozen=True, slots=True)
class Products:
    """Inner products of a passage's vector with the question's, the shifted one, the prior and the own centre."""

    language: Language
    cosine: float
    shifted: float
    prior: float
    own: float


@dataclass(frozen=True, slots=True)
class Page:
    """A passage as it is shown."""

    document_id: UUID
    title: str
    file_name: str
    headings: tuple[str, ...]
    text: str
    page: int | None
    ordinal: int


@dataclass
class Candidates:
    """`near`: passages that meaning proposed. `times`: asked tokens in each passage that wording proposed, `lengths`
    its tokens in all. `held`: passages that hold each asked token. `pages`: those read at once. `along`: the value of
    the select that was given along.
    """

    states: dict[Language, State] = field(default_factory=dict)
    products: dict[UUID, Products] = field(default_factory=dict)
    near: list[UUID] = field(default_factory=list)
    times: dict[UUID, Counter[str]] = field(default_factory=dict)
    lengths: dict[UUID, int] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    pages: dict[UUID, Page] = field(default_factory=dict)
    along: Any = None


async def propose(
    session: AsyncSession, caller: Caller, asked: Asked, *, as_of: datetime, limit: int,
    along: Callable[[], ScalarSelect[Any]] | None = None,
) -> Candidates:  # fmt: skip
    """Up to `limit` of each language by meaning and, of the question's language, `limit` times three by wording.

    `along` is asked for a select when a statement is built; it gets its values by the names of this statement's.
    """
    shape = (fence_shape(caller), asked.language, len(asked.vector), limit, along is not None)
    if shape not in _built:
        _built[shape] = statement(caller, asked, as_of=as_of, limit=limit, along=along and along())
    values = fence_values(caller, as_of) | _values(asked)
    row = (await session.execute(_built[shape], values)).one()
    states, frequencies, *proposed, along_value = row
    found = Candidates(held=dict(frequencies or []), along=along_value)
    for language, embedder, centre, count, mean in states or []:
        own = None if centre is None else np.array(centre, np.float32)
        found.states[Language(language)] = State(embedder, own, count, mean)
    for passages in proposed:
        for passage in passages or []:
            _take(found, *passage)
    return found


_built: dict[Hashable, Select[Any]] = {}
"""By shape of caller and question: to build this statement takes longer than to run it. A test proves that nothing of
the caller or the question it was built for stays in it but what has a name.
"""


def statement(
    caller: Caller, asked: Asked, *, as_of: datetime, limit: int, along: ScalarSelect[Any] | None = None
) -> Select[Any]:
    """One row: states, passages that hold each token, the nearest of each language, the alike, and what goes along."""
    held = holders(asked.language, list(asked.tokens))
    nearest = {language: near(caller, asked, language, as_of=as_of, limit=limit) for language in Language}
    # What meaning proposed is scored by its wording too, so that both scores are exact for all.
    also = select(func.array_agg(nearest[asked.language].c.id)).scalar_subquery()
    words, rows_max = list(asked.tokens), limit * WORDING_ROWS_FACTOR
    rows = alike(caller, asked, words, held, as_of=as_of, limit=rows_max, also=also)
    return select(
        _states(caller),
        _list(held.c.word, held.c.passages),
        *(_passages(caller, own, own.c.shifted) for own in nearest.values()),
        _passages(caller, rows, rows.c.likely),
        along if along is not None else null(),
    )


def _values(asked: Asked) -> dict[str, Any]:
    """The question's values by their names in the statement."""
    words = list(asked.tokens)
    return {
        "words": words,
        "quoted": [wording.quoted(word) for word in words],
        "embedder": asked.embedder,
        "vector": HalfVector(asked.vector),
        "shifted": HalfVector(asked.shifted),
        **{f"prior_{language}": HalfVector(prior) for language, prior in asked.priors.items()},
    }


async def read(session: AsyncSession, caller: Caller, ids: Collection[UUID], *, as_of: datetime) -> dict[UUID, Page]:
    """Passages as they are shown; one that is not for the caller is left out."""
    statement = (
        visible_to(caller, as_of)
        .join(Document, Document.id == Passage.document_id)
        .where(Passage.id.in_(ids))
        .with_only_columns(Passage.id, _page())
    )
    return {row[0]: _page_of(row[1]) for row in await session.execute(statement)}


def _take(
    found: Candidates, id_text: str, language: str, cosine: float, shifted: float, prior: float, own: float | None,
    length: int, times: dict[str, int] | None, page: list[Any] | None,
) -> None:  # fmt: skip
    passage_id = UUID(id_text)
    found.products[passage_id] = Products(Language(language), cosine, shifted, prior, own or 0.0)
    if times is None:
        found.near.append(passage_id)
    else:
        found.times[passage_id] = Counter(times)
        found.lengths[passage_id] = length
    if page is not None:
        found.pages[passage_id] = _page_of(page)


def _page_of(values: list[Any]) -> Page:
    document_id, title, file_name, headings, text, page, ordinal = values
    return Page(UUID(document_id), title, file_name, tuple(headings), text, page, ordinal)


def _list(*values: Any) -> ScalarSelect[Any]:
    """All rows as one JSON array of arrays."""
    return select(func.jsonb_agg(func.jsonb_build_array(*values))).scalar_subquery()


def _states(caller: Caller) -> ScalarSelect[Any]:
    ours = EmbeddingState.community_id == own_community(caller)
    centre = cast(EmbeddingState.centre, ARRAY(REAL))
    values = (EmbeddingState.language, EmbeddingState.embedder, centre, EmbeddingState.passages_count)
    rows = func.jsonb_build_array(*values, EmbeddingState.words_mean)
    return select(func.jsonb_agg(rows)).where(ours).scalar_subquery()


def holders(language: Language, words: Sequence[str]) -> CTE:
    """Of each asked token: how it is written in a query, and how many passages hold it."""
    quoted = bindparam("quoted", [wording.quoted(word) for word in words], ARRAY(Text))
    written = (
        func.unnest(_words(words), quoted)
        .table_valued(column("word", Text), column("quoted", Text), with_ordinality="place", name="written")
        .render_derived()
    )
    counted = func.wording_frequencies(language.value, quoted).table_valued(
        column("place", Integer), column("passages", Integer), name="counted"
    )
    return (
        select(written.c.word, written.c.quoted, counted.c.passages)
        .join(counted, counted.c.place == written.c.place)
        .cte("held")
    )


def _proposing(caller: Caller, language: Language, held: CTE) -> ColumnElement[Any]:
    """The tokens that propose candidates, as a query: the rarest, and none that most passages hold, unless there is no
    other.
    """
    ours = (EmbeddingState.community_id == own_community(caller)) & (EmbeddingState.language == language)
    in_all = select(EmbeddingState.passages_count).where(ours).scalar_subquery()
    rare = held.c.passages <= wording.FREQUENT_SHARE * in_all
    other = held.alias("other")
    any_rare = select(other).where(other.c.passages > 0, other.c.passages <= wording.FREQUENT_SHARE * in_all).exists()
    rarest_first = (held.c.passages, held.c.word)
    ranked = (
        select(
            held.c.quoted,
            func.row_number().over(order_by=rarest_first).label("place"),
            func.sum(held.c.passages).over(order_by=rarest_first, rows=(None, 0)).label("postings"),
        )
        .where(held.c.passages > 0, or_(rare, ~any_rare))
        .subquery()
    )
    few = or_(ranked.c.place == 1, ranked.c.postings <= POSTINGS_MAX)
    chosen = select(ranked.c.quoted).where(ranked.c.place <= ASKED_TOKENS_MAX, few).subquery()
    return cast(select(func.string_agg(chosen.c.quoted, " | ")).scalar_subquery(), TSQUERY)


def near(caller: Caller, asked: Asked, language: Language, *, as_of: datetime, limit: int) -> CTE:
    """The nearest of one language, so that no language crowds out the other."""
    order = _stored(asked).op("<#>", return_type=Float)(_vector("shifted", asked.shifted))
    # Written out, not bound: the indexes are partial, and a plan for any value could not use them.
    return (
        visible_to(caller, as_of)
        .where(Passage.language == literal_column(f"'{language.value}'"), _same_width(asked))
        .with_only_columns(*_measured(caller, asked), cast(null(), JSONB).label("times"))
        .order_by(order)
        .limit(limit)
        .cte(f"near_{language.value}")
    )


def alike(
    caller: Caller, asked: Asked, words: Sequence[str], held: CTE, *, as_of: datetime, limit: int,
    also: ColumnElement[Any],
) -> Subquery:  # fmt: skip
    """The passages that hold the rare ones of the asked tokens, and those of `also` that hold any. `likely` guesses at
    their order.
    """
    # The function looks at all passages of the community; the fence decides which of its rows are seen.
    holding = func.wording_candidates(
        asked.language.value, _proposing(caller, asked.language, held), _words(words), limit, also
    ).table_valued(column("passage_id", Uuid), column("lexeme", Text), column("times", Integer))
    passages = (
        select(
            holding.c.passage_id,
            func.jsonb_object_agg(holding.c.lexeme, holding.c.times).label("times"),
            func.sum(1.0 / func.sqrt(held.c.passages + 1.0)).label("likely"),
        )
        .join(held, held.c.word == holding.c.lexeme)
        .group_by(holding.c.passage_id)
        .subquery()
    )
    return (
        visible_to(caller, as_of)
        .join(passages, passages.c.passage_id == Passage.id)
        # The planner takes what it knows nothing of for true of one row in 200, and would then look through all the
        # proposed for each passage; a boolean it takes for true of every second.
        .where(func.coalesce(_same_width(asked), false()))
        .with_only_columns(*_measured(caller, asked), passages.c.times, passages.c.likely)
        .subquery()
    )


def _measured(caller: Caller, asked: Asked) -> list[Any]:
    def product(vector: ColumnElement[Any], name: str) -> ColumnElement[Any]:
        # <#> is the negative inner product.
        return (-_stored(asked).op("<#>", return_type=Float)(vector)).label(name)

    own = {
        language: select(cast(EmbeddingState.centre, HALFVEC(len(asked.vector))))
        .where(EmbeddingState.community_id == own_community(caller), EmbeddingState.language == language)
        .scalar_subquery()
        for language in Language
    }
    priors = {language: _vector(f"prior_{language}", asked.priors[language]) for language in Language}
    return [
        Passage.id,
        Passage.language,
        product(_vector("vector", asked.vector), "cosine"),
        product(_vector("shifted", asked.shifted), "shifted"),
        product(case(priors, value=Passage.language), "prior"),
        product(case(own, value=Passage.language), "own"),
        Passage.words_count,
    ]


def _stored(asked: Asked) -> ColumnElement[Any]:
    return cast(Passage.embedding, HALFVEC(len(asked.vector)))


def _vector(name: str, values: NDArray[np.float32]) -> ColumnElement[Any]:
    return cast(bindparam(name, HalfVector(values), HALFVEC(len(values))), HALFVEC(len(values)))


def _words(words: Sequence[str]) -> ColumnElement[Any]:
    return bindparam("words", list(words), ARRAY(Text))


def _same_width(asked: Asked) -> ColumnElement[bool]:
    return func.vector_dims(Passage.embedding) == literal_column(str(len(asked.vector)))


def _passages(caller: Caller, rows: CTE | Subquery, likely: ColumnElement[Any]) -> ScalarSelect[Any]:
    """The rows as JSON, the likeliest with their text."""
    placed = select(rows, func.row_number().over(order_by=likely.desc()).label("place")).subquery()
    page = (
        select(_page())
        .join(Document, Document.id == Passage.document_id)
        .where(Passage.community_id == own_community(caller), Passage.id == placed.c.id)
        .correlate(placed)
        .scalar_subquery()
    )
    return _list(
        placed.c.id, placed.c.language, placed.c.cosine, placed.c.shifted, placed.c.prior, placed.c.own,
        placed.c.words_count, placed.c.times, case((placed.c.place <= READ_ALONG, page)),
    )  # fmt: skip


def _page() -> ColumnElement[Any]:
    return func.jsonb_build_array(
        Passage.document_id, Document.title, Document.file_name, Passage.headings, Passage.text, Passage.page,
        Passage.ordinal,
    )  # fmt: skip
