"""Which candidates stand where. Pure: numbers in, places out; the same seed gives the same list.

At each place stands, mostly, who scores best after what stands above was taken into account: a category that was shown
counts less each time, and one provider has no more than its share of a list while others have something. Now and then
somebody else of the best is tried: how likely each was to stand there is kept with the list, so that what another
ranking would have done can be estimated from what residents did (`estimates.py`).
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.recommend.catalogue import HOUSE
from app.recommend.signals import FEATURES, WEIGHTS, Numbers

SAME_CATEGORY = 0.1
"""Off the score for each item of a category that stands above."""
POOL_TIMES, POOL_MIN = 3, 10
"""Who may be tried: the best so many times the list's length that are left."""


@dataclass(frozen=True, slots=True)
class Rules:
    """`share_max`: of a list's places for one provider, the house's own not counted. `exploration`: how often a place
    is drawn by lot, from 0 to 1.
    """

    share_max: float = 1.0
    exploration: float = 0.0


@dataclass(frozen=True, slots=True)
class Pick:
    """`place` among the candidates. `propensity`: how likely it was to stand here, given what stands above.

    `by_lot`: it stands here only because it was tried.
    """

    place: int
    score: float
    propensity: float
    by_lot: bool


def score(features: Numbers) -> Numbers:
    """Shapes: (m, len(FEATURES)) -> (m,)."""
    weights = np.array([WEIGHTS[name] for name in FEATURES], np.float32)
    scored: Numbers = features @ weights
    return scored


def choose(
    scores: NDArray[np.float32], categories: Sequence[str], providers: NDArray[np.int32], *, limit: int, rules: Rules,
    seed: int,
) -> list[Pick]:  # fmt: skip
    """The list. Shapes: scores (m,), categories (m,), providers (m,) -> up to `limit` picks; ties go by place."""
    lots = random.Random(seed)  # noqa: S311 (no secret: it has to come out the same again)
    left = scores.astype(np.float64).copy()
    of_category = {name: np.array([one == name for one in categories]) for name in set(categories)}
    places_of: dict[int, int] = {}
    most = max(1, int(rules.share_max * limit))
    picks: list[Pick] = []
    while len(picks) < min(limit, len(scores)):
        open_to = np.isfinite(left)
        fair = open_to & ~np.isin(providers, [one for one, count in places_of.items() if count >= most])
        ordered = np.where(fair if fair.any() else open_to, left, -np.inf)
        best = int(ordered.argmax())
        pool = _pool(ordered, max(POOL_MIN, POOL_TIMES * limit))
        by_lot = lots.random() < rules.exploration
        chosen = int(pool[lots.randrange(len(pool))]) if by_lot else best
        propensity = rules.exploration / len(pool) + (1 - rules.exploration if chosen == best else 0)
        picks.append(Pick(chosen, float(scores[chosen]), propensity, by_lot=chosen != best))
        left[chosen] = -np.inf
        left[of_category[categories[chosen]]] -= SAME_CATEGORY
        if providers[chosen] != HOUSE:
            places_of[int(providers[chosen])] = places_of.get(int(providers[chosen]), 0) + 1
    return picks


def _pool(ordered: NDArray[np.float64], size: int) -> NDArray[np.intp]:
    """The best so many that are left, by place."""
    left = np.flatnonzero(np.isfinite(ordered))
    if len(left) <= size:
        return left
    return np.sort(left[np.argpartition(-ordered[left], size - 1)[:size]])
