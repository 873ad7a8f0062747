"""Where recommendations come from: SOURCES, asked in this order, each for its few best of what may be shown.

A source that fails is left out of this one request, told to log and meter, and never fails the request. They work in
this process and cannot be cut short: what took more of the processor than its time counts this once, then it rests.
"""

import time
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import structlog
from prometheus_client import Counter, Histogram

from app.recommend import meaning
from app.recommend.meaning import Codes, top
from app.recommend.shelves import pick
from app.recommend.situation import Situation, wanted
from models import ranker as ranker_model

log = structlog.get_logger(__name__)

CANDIDATES_MAX = 200
REST_SECONDS = 30.0
NOTHING: Codes = np.empty(0, np.int32)

TROUBLE = Counter(
    "linli_recommend_source_trouble_total", "Sources that failed or took too long.", ["source", "trouble"]
)
SECONDS = Histogram(
    "linli_recommend_source_seconds", "Time of one source.", ["source"],
    buckets=(0.0001, 0.0005, 0.001, 0.005, 0.02, 0.1, 0.5),
)  # fmt: skip

Find = Callable[[Situation, int], Codes]


@dataclass(frozen=True, slots=True)
class Source:
    """`find` gives codes, best first, at most the limit, of items that the situation's mask allows.

    `personal` ones are asked only for residents who did not switch them off.
    """

    name: str
    find: Find
    limit: int
    timeout_ms: float
    personal: bool = True


def _by_ranker(name: ranker_model.Source) -> Find:
    def find(situation: Situation, limit: int) -> Codes:
        if situation.ranker is None or situation.reading is None or situation.ranker_mask is None:
            return NOTHING
        scores = np.where(situation.ranker_mask, situation.reading.scores(name), 0)
        found: Codes = situation.ranker.to_catalogue[top(scores, limit)]
        return found

    return find


def _by_meaning(situation: Situation, limit: int) -> Codes:
    """Near to what the resident wrote and lately did; then what is filed under their interests."""
    catalogue, parts = situation.catalogue, []
    direction = wanted(situation)
    if direction is not None and catalogue.meaning is not None and catalogue.vectors is not None:
        mask = situation.mask & catalogue.column("embedded")
        mask[[one.code for one in situation.past]] = False
        found, cosines = meaning.nearest(
            catalogue.meaning, catalogue.vectors[: len(catalogue)], direction, mask, limit=limit
        )
        parts.append(found[cosines > 0])
    for interest in situation.known.interests:
        filed = np.fromiter(catalogue.by_category.get(interest, ()), np.int32)
        filed = filed[situation.mask[filed]]
        popular = situation.statistics.padded(len(catalogue))[filed]
        parts.append(filed[np.lexsort((filed, -popular))][: limit // 2])
    return _distinct(parts)[:limit]


def _by_place_and_time(situation: Situation, limit: int) -> Codes:
    """What begins within days and can still be reached; for whom it may be personal, what is in their building."""
    shelf, mask = situation.shelf, situation.mask
    soon = pick(shelf.soon, mask, limit)
    return soon if not situation.personalised else _distinct([pick(shelf.near, mask, limit // 2), soon])[:limit]


def _by_households(situation: Situation, limit: int) -> Codes:
    codes = [np.fromiter(situation.statistics.cohorts[cohort], np.int32) for cohort in situation.cohorts]
    return _distinct([part[situation.mask[part]][: limit // 2] for part in codes])[:limit]


def _by_freshness(situation: Situation, limit: int) -> Codes:
    return pick(situation.shelf.fresh, situation.mask, limit)


def _by_popularity(situation: Situation, limit: int) -> Codes:
    return pick(situation.shelf.popular, situation.mask, limit)


SOURCES: tuple[Source, ...] = (
    Source("neighbours", _by_ranker("neighbours"), limit=40, timeout_ms=50),
    Source("sequence", _by_ranker("sequence"), limit=20, timeout_ms=50),
    Source("factors", _by_ranker("factors"), limit=25, timeout_ms=100),
    Source("ease", _by_ranker("ease"), limit=25, timeout_ms=50),
    Source("meaning", _by_meaning, limit=40, timeout_ms=100),
    Source("place_time", _by_place_and_time, limit=15, timeout_ms=50, personal=False),
    Source("households", _by_households, limit=15, timeout_ms=50),
    Source("fresh", _by_freshness, limit=10, timeout_ms=50, personal=False),
    Source("popular", _by_popularity, limit=60, timeout_ms=50, personal=False),
)
"""In the order in which they are asked. Popular comes last and always answers. A test proves the names unique, and that
every source of the ranker is among them.
"""


@dataclass(slots=True)
class Candidates:
    """Shapes: codes (m,) distinct. `sources` says of each which brought it first; `failed` which could not answer."""

    codes: Codes
    sources: list[str]
    failed: list[str] = field(default_factory=list)


def gather(
    situation: Situation, *, limit: int, sources: Sequence[Source] = SOURCES,
    resting: MutableMapping[str, float] | None = None,
) -> Candidates:  # fmt: skip
    """What the sources bring, in their order, until there are enough. `resting`: until when a source is left out."""
    resting = {} if resting is None else resting
    found: dict[int, str] = {}
    failed: list[str] = []
    for source in sources:
        if source.personal and not situation.personalised:
            continue
        if len(found) >= max(limit, CANDIDATES_MAX) or resting.get(source.name, 0) > time.monotonic():
            continue
        started = time.thread_time()
        try:
            codes = source.find(situation, max(source.limit, limit) if source is sources[-1] else source.limit)
        except Exception as error:
            # Whatever is wrong with one source, the others have an answer.
            TROUBLE.labels(source.name, "failed").inc()
            log.exception("recommend_source_failed", source=source.name, error=repr(error))
            failed.append(source.name)
            continue
        took = time.thread_time() - started
        SECONDS.labels(source.name).observe(took)
        if took * 1_000 > source.timeout_ms:
            TROUBLE.labels(source.name, "late").inc()
            log.warning("recommend_source_late", source=source.name, milliseconds=round(took * 1_000, 1))
            resting[source.name] = time.monotonic() + REST_SECONDS
        for code in codes.tolist():
            found.setdefault(code, source.name)
    return Candidates(np.fromiter(found, np.int32, len(found)), list(found.values()), failed)


def _distinct(parts: Sequence[Codes]) -> Codes:
    """All of them, each once, in the order of appearance."""
    seen = dict.fromkeys(code for part in parts for code in part.tolist())
    return np.fromiter(seen, np.int32, len(seen))
