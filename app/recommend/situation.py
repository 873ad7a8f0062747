"""One request's view: a resident, what may be shown to them now, and what they did, in the catalogue's codes."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from app.knowledge.centres import Centres
from app.knowledge.language import language_of
from app.recommend import meaning
from app.recommend.catalogue import KINDS, Catalogue
from app.recommend.feedback import COMMITTED, MEANINGS
from app.recommend.knowing import Known
from app.recommend.rankers import Loaded
from app.recommend.shelves import Shelf
from app.recommend.statistics import Cohort, Statistics, cohorts_of
from app.recommend.tables import FeedbackKind, ItemKind
from models.ranker import Reading

PAST_ITEMS_MAX = 100
"""Newest items of a history that are looked at."""
COMPARED_ITEMS = 10
"""Newest of them whose meaning others are compared with."""
FADE_ITEMS = 4.0
"""So many items back, what somebody did counts about a third."""


@dataclass(frozen=True, slots=True)
class Past:
    """An item of a history: the strongest that was done with it, and when it was last."""

    item_id: UUID
    code: int
    kind: FeedbackKind
    weight: float
    at: float


@dataclass(slots=True, eq=False)
class Situation:
    """Shapes: mask (n,) what may be shown. `past` is newest first."""

    known: Known
    catalogue: Catalogue
    statistics: Statistics
    shelf: Shelf
    mask: NDArray[np.bool_]
    moment: datetime
    personalised: bool
    past: tuple[Past, ...] = ()
    ranker: Loaded | None = None
    cohorts: tuple[Cohort, ...] = ()
    """Of the resident's household, those of which something is known, the nearest first."""
    own_words: NDArray[np.float32] | None = None
    """What the profile says, centred, unit length."""
    past_meaning: NDArray[np.float32] | None = None
    """Shapes: (k, w), of the newest items of the history that have a vector: `past_compared` says which."""
    past_compared: tuple[int, ...] = ()
    reading: Reading | None = None
    """What the ranker makes of the history; None without a ranker, or without a history that it knows."""
    ranker_mask: NDArray[np.bool_] | None = None
    """Shapes: (items of the ranker,), what may be shown and was not taken yet."""

    @property
    def now(self) -> float:
        return self.moment.timestamp()


def look(
    known: Known, catalogue: Catalogue, statistics: Statistics, shelf: Shelf, *, moment: datetime, limit: int,
    ranker: Loaded | None, centres: Centres | None, kinds: Collection[ItemKind] = (),
) -> Situation:  # fmt: skip
    """The situation of a resident. Without `centres` nothing is compared by meaning; without `kinds` all may come."""
    past = _past(known, catalogue) if known.personalised else ()
    situation = Situation(
        known, catalogue, statistics, shelf, _mask(known, catalogue, shelf, limit=limit, kinds=kinds), moment,
        known.personalised, past=past,
        cohorts=tuple(one for one in cohorts_of(known) if one in statistics.cohorts) if known.personalised else (),
    )  # fmt: skip
    if known.personalised:
        _remember_meaning(situation, centres)
        _remember_for_ranker(situation, ranker)
    return situation


def _past(known: Known, catalogue: Catalogue) -> tuple[Past, ...]:
    found: dict[UUID, Past] = {}
    for item_id, kind, at in known.history:
        code, weight = catalogue.code_of.get(item_id), MEANINGS[kind].weight
        before = found.get(item_id)
        if code is None:
            continue
        if before is None:
            found[item_id] = Past(item_id, code, kind, weight, at)
        elif weight > before.weight:
            found[item_id] = Past(item_id, code, kind, weight, before.at)
    return tuple(found.values())[:PAST_ITEMS_MAX]


def _mask(
    known: Known, catalogue: Catalogue, shelf: Shelf, *, limit: int, kinds: Collection[ItemKind]
) -> NDArray[np.bool_]:  # fmt: skip
    """What an audience may see, less what this resident refused, has already, or cannot have any more."""
    mask = shelf.mask.copy()
    if kinds:
        mask &= np.isin(catalogue.column("kind"), [KINDS.index(one) for one in kinds])
    done = {item_id for item_id, kind, _ in known.history if kind in COMMITTED}
    mask[catalogue.codes((*known.refused, *known.full, *done))] = False
    for category in known.hidden_categories:
        mask[list(catalogue.by_category.get(category, ()))] = False
    if known.tired and known.personalised:
        rested = mask.copy()
        rested[catalogue.codes(known.tired)] = False
        # Somebody who saw all there is has it still, rather than nothing.
        if np.count_nonzero(rested) >= limit:
            return rested
    return mask


def _remember_meaning(situation: Situation, centres: Centres | None) -> None:
    known, catalogue = situation.known, situation.catalogue
    if catalogue.meaning is None or catalogue.vectors is None or centres is None:
        return
    if known.vector is not None and known.embedder == catalogue.embedder:
        situation.own_words = meaning.unit(known.vector - centres.questions[language_of(known.about)])
    embedded = catalogue.column("embedded")
    compared = [place for place, one in enumerate(situation.past[:COMPARED_ITEMS]) if embedded[one.code]]
    if compared:
        codes = [situation.past[place].code for place in compared]
        situation.past_compared = tuple(compared)
        situation.past_meaning = meaning.centred(catalogue.meaning, catalogue.vectors, codes)


def _remember_for_ranker(situation: Situation, ranker: Loaded | None) -> None:
    if ranker is None or ranker.catalogue is not situation.catalogue:
        return
    situation.ranker = ranker
    known = ((ranker.ranker.code_of.get(str(one.item_id)), one.weight) for one in reversed(situation.past))
    pairs = [(code, weight) for code, weight in known if code is not None]
    if pairs:
        items = np.array([code for code, _ in pairs], np.int32)
        situation.reading = ranker.ranker.read(items, np.array([weight for _, weight in pairs], np.float32))
        allowed = (ranker.to_catalogue >= 0) & situation.mask[ranker.to_catalogue]
        allowed[items] = False
        situation.ranker_mask = allowed


def wanted(situation: Situation) -> NDArray[np.float32] | None:
    """The direction of what a resident wrote and lately did. Shapes: (w,) unit length."""
    parts = []
    if situation.own_words is not None:
        parts.append(situation.own_words)
    if situation.past_meaning is not None:
        weights = np.array([situation.past[place].weight for place in situation.past_compared], np.float32)
        fading = np.exp(-np.arange(len(weights)) / FADE_ITEMS).astype(np.float32) * weights
        parts.append(meaning.unit(fading @ situation.past_meaning))
    return meaning.unit(np.sum(parts, axis=0)) if parts else None
