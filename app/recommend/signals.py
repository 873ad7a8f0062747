"""What speaks for each candidate, as numbers: the features that ranking weighs, and the facts of reasons."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.recommend import meaning
from app.recommend.meaning import Codes
from app.recommend.shelves import DAY, FRESH_DAYS, SOON_DAYS
from app.recommend.situation import Situation
from app.recommend.statistics import Cohort

Numbers = NDArray[np.float32]
DRIVERS_PAST_MAX = 50
HISTORY_TRUSTED_ITEMS = 3.0
"""With so long a history the ranker has half its say; somebody new is judged by what they wrote and where they live."""


@dataclass(slots=True, eq=False)
class Signals:
    """Of m candidates, all between 0 and 1. Shapes: (m,), features (m, len(FEATURES)).

    `like` is the place in `situation.past` of the item that a candidate means most alike, -1 for none.
    """

    codes: Codes
    features: Numbers
    like: NDArray[np.int32]


WORDS_NOTHING, WORDS_FULL, ALIKE_FULL = 0.25, 0.4, 0.6
"""Centred cosines that count in full: between somebody's words and an item, and between two items that are much alike.
Of the practice items few reach them, and what has nothing to do with each other stays below a third. Words that fit
half and half fit many items, and said less about what newcomers take than popularity did (bench/RESULTS.md).
"""
FEATURES = ("ranker", "about", "past", "interest", "near", "soon", "households", "fresh", "popular")
WEIGHTS: dict[str, float] = {
    "ranker": 1.2, "about": 1.0, "past": 0.5, "interest": 0.5, "near": 0.15, "soon": 0.2, "households": 0.2,
    "fresh": 0.1, "popular": 1.5,
}  # fmt: skip
"""What a score is made of; a test proves it complete. The ranker's own blend is learned, these are house rules."""


def of(situation: Situation, codes: Codes) -> Signals:
    """The signals of candidates."""
    count = len(codes)
    columns = dict.fromkeys(FEATURES, np.zeros(count, np.float32))
    catalogue, now = situation.catalogue, situation.now
    like = np.full(count, -1, np.int32)
    ahead = catalogue.column("starts_at")[codes] - now
    columns["soon"] = np.where((ahead > 0) & (ahead < SOON_DAYS * DAY), 1 / (1 + np.maximum(ahead, 0) / (3 * DAY)), 0)
    age = np.maximum(now - catalogue.column("created_at")[codes], 0)
    columns["fresh"] = np.where(age < FRESH_DAYS * DAY, np.exp(-age / (7 * DAY)), 0)
    popular = situation.statistics.padded(len(catalogue))
    most = float(popular[situation.shelf.popular[:1]].max(initial=0))
    if most > 0:
        columns["popular"] = np.log1p(popular[codes]) / np.log1p(most)
    if situation.personalised:
        columns |= _of_person(situation, codes)
        columns |= _by_meaning(situation, codes, like)
        columns["ranker"] = _by_ranker(situation, codes)
    return Signals(codes, np.stack([columns[name] for name in FEATURES], axis=1).astype(np.float32), like)


def _of_person(situation: Situation, codes: Codes) -> dict[str, Any]:
    facts, interests = situation.catalogue.facts, frozenset(situation.known.interests)
    told: dict[str, Any] = {"near": situation.shelf.is_near[codes]}
    if interests:
        filed = (facts[code].categories for code in codes.tolist())
        told["interest"] = np.array([not interests.isdisjoint(one) for one in filed], np.float32)
    if situation.cohorts:
        households = (households_of(situation, code) for code in codes.tolist())
        told["households"] = np.array([one[1] / (one[1] + 10) if one else 0 for one in households], np.float32)
    return told


def households_of(situation: Situation, code: int) -> tuple[Cohort, int] | None:
    """The nearest of my household's likes of whom enough joined an item, and how many."""
    for cohort in situation.cohorts:
        if joined := situation.statistics.cohorts[cohort].get(code):
            return cohort, joined
    return None


def _by_meaning(situation: Situation, codes: Codes, like: NDArray[np.int32]) -> dict[str, Any]:
    """Cosines; fills in `like`."""
    catalogue = situation.catalogue
    zeros = np.zeros(len(codes), np.float32)
    if catalogue.meaning is None or catalogue.vectors is None or not len(codes):
        return {"about": zeros, "past": zeros}
    if situation.own_words is None and situation.past_meaning is None:
        return {"about": zeros, "past": zeros}
    meant = meaning.rows(catalogue.meaning, catalogue.vectors, catalogue.column("embedded"), codes)
    told = {"about": zeros, "past": zeros}
    if situation.own_words is not None:
        fits = meant @ situation.own_words
        told["about"] = np.clip((fits - WORDS_NOTHING) / (WORDS_FULL - WORDS_NOTHING), 0, 1)
    if situation.past_meaning is not None:
        cosines = meant @ situation.past_meaning.T
        # An item is like itself, which says nothing.
        own = codes[:, None] == np.array([situation.past[place].code for place in situation.past_compared])
        cosines[own] = 0
        nearest = cosines.argmax(axis=1)
        told["past"] = np.clip(cosines[np.arange(len(codes)), nearest] / ALIKE_FULL, 0, 1)
        like[:] = np.array(situation.past_compared, np.int32)[nearest]
    return told


def _by_ranker(situation: Situation, codes: Codes) -> Numbers:
    """What the ranker's blend says, as a place between the worst and the best of these candidates."""
    scores = np.zeros(len(codes), np.float32)
    if situation.reading is None:
        return scores
    own = ranker_codes(situation, codes)
    known = np.flatnonzero(own >= 0)
    if not len(known):
        return scores
    history = len(situation.reading.items)
    blended = situation.reading.ranker.score(situation.reading.features(own[known]))
    spread = float(blended.max() - blended.min())
    trust = history / (history + HISTORY_TRUSTED_ITEMS)
    scores[known] = (blended - blended.min()) / spread * trust if spread > 0 else trust / 2
    return scores


def ranker_codes(situation: Situation, codes: Codes) -> NDArray[np.int32]:
    """The codes that the ranker has for items of the catalogue, -1 for what it does not know. Shapes: (m,) -> (m,)."""
    assert situation.ranker is not None
    return situation.ranker.codes_of(codes)


def drivers(situation: Situation, codes: Codes) -> NDArray[np.int32]:
    """The place in `situation.past` of what a resident did that brings each item, by the ranker; -1 where it does not
    say. Shapes: (m,) -> (m,).
    """
    found = np.full(len(codes), -1, np.int32)
    reading = situation.reading
    if situation.ranker is None or reading is None or not len(codes):
        return found
    items = reading.items[-DRIVERS_PAST_MAX:]
    own = ranker_codes(situation, codes)
    known = np.flatnonzero(own >= 0)
    spoke = reading.ranker.read(items, reading.weights[-DRIVERS_PAST_MAX:]).drivers(own[known])
    place_of = {one.code: place for place, one in enumerate(situation.past)}
    past = situation.ranker.to_catalogue[items]
    for at, place in zip(known.tolist(), spoke.tolist(), strict=True):
        if place >= 0:
            found[at] = place_of.get(int(past[place]), -1)
    return found
