"""Which candidates stand where. Pure: numbers in, places out; the same seed gives the same list.

At each place stands, mostly, who scores best after what stands above was taken into account: a category that was shown
counts less each time, and one provider has no more than its share of a list while others have something. Now and then
somebody else of the best is tried: how likely each was to stand there is kept with the list, so that what another
ranking would have done can be estimated from what residents did (`estimates.py`).
"""

import random
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.recommend.catalogue import HOUSE
from app.recommend.signals import FEATURES, WEIGHTS, Numbers

SAME_CATEGORY = 0.08
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
    scores: NDArray[np.float32], categories: NDArray[np.int32], providers: NDArray[np.int32], *, limit: int,
    rules: Rules, seed: int,
) -> list[Pick]:  # fmt: skip
    """The list. Shapes: scores (m,), categories (m,), providers (m,) -> up to `limit` picks; ties go by place."""
    lots = random.Random(seed)  # noqa: S311 (no secret: it has to come out the same again)
    left = scores.astype(np.float64).copy()
    places_of: dict[int, int] = {}
    most = max(1, int(rules.share_max * limit))
    picks: list[Pick] = []
    while len(picks) < min(limit, len(scores)):
        ordered = _fair(left, providers, [one for one, count in places_of.items() if count >= most])
        best = int(ordered.argmax())
        size = min(max(POOL_MIN, POOL_TIMES * limit), int(np.count_nonzero(ordered > -np.inf)))
        by_lot = lots.random() < rules.exploration
        chosen = int(_pool(ordered, size)[lots.randrange(size)]) if by_lot else best
        propensity = rules.exploration / size + (1 - rules.exploration if chosen == best else 0)
        picks.append(Pick(chosen, float(scores[chosen]), propensity, by_lot=chosen != best))
        left[chosen] = -np.inf
        left -= SAME_CATEGORY * (categories == categories[chosen])
        if providers[chosen] != HOUSE:
            places_of[int(providers[chosen])] = places_of.get(int(providers[chosen]), 0) + 1
    return picks


def _fair(left: NDArray[np.float64], providers: NDArray[np.int32], had_their_share: list[int]) -> NDArray[np.float64]:
    """Scores, without those of providers who had their share, as long as anybody else has something."""
    if not had_their_share:
        return left
    fair = left.copy()
    for one in had_their_share:
        fair[providers == one] = -np.inf
    return fair if np.isfinite(fair.max()) else left


def _pool(ordered: NDArray[np.float64], size: int) -> NDArray[np.intp]:
    """The best so many that are left, of at least as many, by place."""
    return np.sort(np.argpartition(-ordered, size - 1)[:size])
