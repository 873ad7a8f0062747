"""Learns how the sources are added up: coordinate ascent on NDCG@10 of items that the sources were not fitted on."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.ranker import BLENDED, HISTORY_EDGES, SOURCES, Scores
from models.training import measures
from models.training.measures import Asked
from models.training.scoring import Batches, stage

USERS_MAX = 3_000
CANDIDATES = 60
"""How many of each source's best stand for all items while weights are learnt."""
STEPS = (0.5, 0.2, 0.1)
STAGE_USERS_MIN = 300
"""A length of history with fewer users takes the weights of all."""
CERTAIN = 1.0
"""A step must help by more than this many standard errors of what it helps: what is won by less is lost elsewhere."""
UNLEARNT = np.array([0.05, 1.0, 1.5, 0.5, 0.0], np.float32)
"""Where learning starts, and what too few people get: good on the validation part of MovieLens-1M."""
LEARNERS_MIN = 30


@dataclass(frozen=True)
class Lesson:
    """Shapes: features (b, m, len(BLENDED)), hits (b, m) of which items were asked for, ideal (b,), lengths (b,).

    `void` (b, m) are places that hold no item.
    """

    features: Scores
    hits: NDArray[np.bool_]
    void: NDArray[np.bool_]
    ideal: NDArray[np.float64]
    lengths: NDArray[np.int64]

    def only(self, mask: NDArray[np.bool_]) -> "Lesson":
        return Lesson(self.features[mask], self.hits[mask], self.void[mask], self.ideal[mask], self.lengths[mask])


@dataclass(frozen=True)
class Learnt:
    """Weights (stages of history, len(BLENDED)), and the NDCG@10 of each of BLENDED and of the blend on the lesson."""

    weights: Scores
    figures: dict[str, float]


def learn(batches: Batches, asked: Asked, *, seed: int) -> Learnt:
    """Weights that are never worse on `asked` than the best source alone."""
    lesson = lesson_of(batches, asked, _drawn(asked, seed))
    if len(lesson.hits) < LEARNERS_MIN:
        return Learnt(np.tile(UNLEARNT, (len(HISTORY_EDGES) + 1, 1)), {})
    starts = [*np.eye(len(BLENDED), dtype=np.float32), UNLEARNT]
    common = ascend(lesson, max(starts, key=lambda weights: ndcg(lesson, weights)))
    rows = []
    for at in range(len(HISTORY_EDGES) + 1):
        mask = stage(lesson.lengths) == at
        rows.append(ascend(lesson.only(mask), common) if mask.sum() >= STAGE_USERS_MIN else common)
    weights = np.stack(rows)
    alone = np.eye(len(BLENDED), dtype=np.float32)
    figures = {name: ndcg(lesson, alone[place]) for place, name in enumerate(BLENDED)}
    return Learnt(weights, figures | {"blend": ndcg(lesson, weights[stage(lesson.lengths)])})


def ascend(lesson: Lesson, weights: Scores) -> Scores:
    """Change one weight at a time as long as it helps. Source: Metzler, Croft, Information Retrieval 2007."""
    reached = each_ndcg(lesson, weights)
    for step in STEPS:
        improved = True
        while improved:
            improved = False
            for place in range(len(BLENDED)):
                for change in (step, -step):
                    tried = weights.copy()
                    tried[place] = max(tried[place] + change, 0) if place < len(SOURCES) else tried[place] + change
                    values = each_ndcg(lesson, tried)
                    if _helps(values - reached):
                        weights, reached, improved = tried, values, True
    return weights


def _helps(gains: NDArray[np.float64]) -> bool:
    return bool(gains.mean() > CERTAIN * gains.std() / np.sqrt(len(gains)))


def ndcg(lesson: Lesson, weights: Scores) -> float:
    """The mean of `each_ndcg`."""
    return float(each_ndcg(lesson, weights).mean())


def each_ndcg(lesson: Lesson, weights: Scores) -> NDArray[np.float64]:
    """NDCG@10 of each user's items in the order of these weights.

    Shapes: (len(BLENDED),), or (b, len(BLENDED)) -> (b,).
    """
    scores = np.einsum("bmf,bf->bm", lesson.features, np.broadcast_to(weights, (len(lesson.hits), len(BLENDED))))
    scores = np.where(lesson.void, -np.inf, scores)
    first = measures.top(scores, 10)
    gains = np.take_along_axis(lesson.hits, first, axis=1) / np.log2(np.arange(2, first.shape[1] + 2))
    told: NDArray[np.float64] = gains.sum(axis=1) / lesson.ideal
    return told


def _drawn(asked: Asked, seed: int) -> NDArray[np.int64]:
    places = np.random.default_rng(seed).permutation(len(asked.users))[:USERS_MAX]
    return np.sort(places)


def lesson_of(batches: Batches, asked: Asked, places: NDArray[np.int64]) -> Lesson:
    n = batches.known.shape[1]
    count = min(CANDIDATES, n)
    parts = []
    for part in measures.batches(len(places), n * len(BLENDED)):
        users = asked.users[places[part]]
        told = batches.sized(users)
        seen = np.zeros((len(users), n), bool)
        wanted = np.zeros((len(users), n), bool)
        for row, (user, place) in enumerate(zip(users, places[part], strict=True)):
            seen[row, batches.known.history(user)[0]] = True
            items = asked.items[asked.starts[place] : asked.starts[place + 1]]
            wanted[row, items[items >= 0]] = True
        found = [measures.top(np.where(seen, -np.inf, scores), count) for scores in told]
        # An item found by two sources stands there once; a place that became free holds an item of the history.
        codes = np.sort(np.concatenate(found, axis=1), axis=1)
        again = np.zeros(codes.shape, bool)
        again[:, 1:] = codes[:, 1:] == codes[:, :-1]
        again |= np.take_along_axis(seen, codes, axis=1)
        features = np.stack([np.take_along_axis(scores, codes, axis=1) for scores in told], axis=2)
        parts.append((features, np.take_along_axis(wanted, codes, axis=1) & ~again, again))
    sizes = asked.sizes[places]
    ideal = np.concatenate([[0], np.cumsum(1 / np.log2(np.arange(2, 12)))])[np.minimum(sizes, 10)]
    if not parts:
        nothing = np.zeros((0, 0, len(BLENDED)), np.float32)
        none = np.zeros((0, 0), bool)
        return Lesson(nothing, none, none, ideal, sizes)
    features, hits, void = (np.concatenate(one) for one in zip(*parts, strict=True))
    return Lesson(features, hits, void, ideal, batches.lengths(asked.users[places]))
