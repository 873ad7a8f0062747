"""How good a ranking of all items is: nothing is sampled, and what the user already has is left out."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.ranker import Scores
from models.training.interactions import Interactions

BATCH_CELLS_MAX = 8_000_000
"""Scores held at once, so that memory does not grow with the number of users."""
CUTS = (10, 20)
Scorer = Callable[[NDArray[np.int64]], Scores]
"""Scores (b, n) of all items for these users (places in the interactions that the scorer knows); its own to change."""


@dataclass
class Sums:
    """What is added up over users."""

    users: int = 0
    values: dict[str, float] = field(default_factory=dict)
    shown: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    def add(self, name: str, values: NDArray[np.float64]) -> None:
        self.values[name] = self.values.get(name, 0.0) + float(values.sum())


@dataclass(frozen=True)
class Asked:
    """For which users of `known` which items are asked for, as codes; -1 is an item that nobody trained on.

    `starts` (a + 1,) are where the a users begin in `items`.
    """

    users: NDArray[np.int64]
    starts: NDArray[np.int64]
    items: NDArray[np.int64]

    @property
    def sizes(self) -> NDArray[np.int64]:
        return np.diff(self.starts)


def asked_of(known: Interactions, users: NDArray[Any], items: NDArray[Any]) -> Asked:
    """The test events of users that `known` has a history of. Shapes: (t,), (t,) ids."""
    user_places = _codes(np.asarray(known.user_ids), np.asarray(users))
    item_codes = _codes(known.item_ids.astype(str), np.asarray(items).astype(str))
    keep = user_places >= 0
    places, codes = user_places[keep], item_codes[keep]
    order = np.argsort(places, kind="stable")
    found, sizes = np.unique(places, return_counts=True)
    return Asked(found, np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64), codes[order])


def part_of(asked: Asked, places: NDArray[np.int64]) -> Asked:
    """Only these users of it."""
    items = [asked.items[asked.starts[place] : asked.starts[place + 1]] for place in places]
    starts = np.concatenate([[0], np.cumsum(asked.sizes[places])]).astype(np.int64)
    return Asked(asked.users[places], starts, np.concatenate(items) if items else asked.items[:0])


def _codes(ids: NDArray[Any], wanted: NDArray[Any]) -> NDArray[np.int64]:
    """Places of `wanted` in `ids`, -1 where there is none."""
    if not len(ids):
        return np.full(len(wanted), -1, np.int64)
    order = np.argsort(ids, kind="stable")
    at = order[np.minimum(np.searchsorted(ids, wanted, sorter=order), len(ids) - 1)]
    return np.where(ids[at] == wanted, at, -1)


def batches(count: int, items: int) -> Iterator[slice]:
    size = max(BATCH_CELLS_MAX // max(items, 1), 1)
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def measure(known: Interactions, asked: Asked, scorer: Scorer) -> dict[str, float]:
    """NDCG and recall at 10 and 20, MRR over the whole ranking, coverage and novelty of the first ten.

    An item that is asked for but unknown counts as never found. Of no users everything is 0.
    """
    n = known.shape[1]
    sums = Sums(shown=np.zeros(n, np.int64))
    if n:
        for part in batches(len(asked.users), n):
            _add(sums, known, asked, part, scorer(asked.users[part]))
    figures = {f"{name}@{cut}": 0.0 for cut in CUTS for name in ("ndcg", "recall")} | {"mrr": 0.0}
    figures |= {name: value / max(sums.users, 1) for name, value in sums.values.items()}
    # Novelty: how surprising what is shown is, in bits: -log2 of the share of users who have the item.
    share = np.maximum(known.counts(), 1) / max(known.shape[0], 1)
    total = max(int(sums.shown.sum()), 1)
    return figures | {
        "coverage": float((sums.shown > 0).mean()) if n else 0.0,
        "novelty": float((sums.shown * -np.log2(share)).sum() / total) if n else 0.0,
        "users": sums.users,
    }


def _add(sums: Sums, known: Interactions, asked: Asked, part: slice, scores: Scores) -> None:
    for row, user in enumerate(asked.users[part]):
        scores[row, known.history(user)[0]] = -np.inf
    items = asked.items[asked.starts[part.start] : asked.starts[part.stop]]
    sizes = asked.sizes[part]
    rows = np.repeat(np.arange(len(sizes)), sizes)
    wanted = np.zeros((len(sizes), scores.shape[1]), bool)
    there = items >= 0
    wanted[rows[there], items[there]] = True
    first = top(scores, max(CUTS))
    hits = np.take_along_axis(wanted, first, axis=1) & (np.take_along_axis(scores, first, axis=1) > -np.inf)
    gains = hits / np.log2(np.arange(2, first.shape[1] + 2))
    ideal = np.concatenate([[0], np.cumsum(1 / np.log2(np.arange(2, max(CUTS) + 2)))])
    for cut in CUTS:
        sums.add(f"ndcg@{cut}", gains[:, :cut].sum(axis=1) / ideal[np.minimum(sizes, cut)])
        sums.add(f"recall@{cut}", hits[:, :cut].sum(axis=1) / sizes)
    # Of equal scores the middle place counts, so that a source that says nothing gains nothing.
    of_best = np.where(wanted, scores, -np.inf).max(axis=1, keepdims=True)
    place = 1 + (scores > of_best).sum(axis=1) + ((scores == of_best).sum(axis=1) - 1) / 2
    sums.add("mrr", np.where(of_best[:, 0] > -np.inf, 1 / place, 0))
    shown = first[:, : CUTS[0]]
    sums.shown += np.bincount(shown[np.take_along_axis(scores, shown, axis=1) > -np.inf], minlength=scores.shape[1])
    sums.users += len(sizes)


def top(scores: Scores, limit: int) -> NDArray[np.int64]:
    """Columns of the greatest scores of each row, best first, ties by column. Shapes: (b, n) -> (b, m)."""
    limit = min(limit, scores.shape[1])
    places = np.argpartition(-scores, limit - 1, axis=1)[:, :limit]
    found = np.take_along_axis(scores, places, axis=1)
    order = np.lexsort((places, -found), axis=1)
    return np.take_along_axis(places, order, axis=1)
