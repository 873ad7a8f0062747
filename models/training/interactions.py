"""Who took what, how much and when, as arrays; and what the sources are fitted on."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.ranker import Codes, Scores


@dataclass(frozen=True)
class Events:
    """One entry an event, in any order. Ids may be texts or numbers.

    `weights` are above 0 (1 for all, unless given), `times` any rising number such as seconds. Without times nothing
    is known of what follows what, whatever order the events are in.
    """

    users: NDArray[Any]
    items: NDArray[Any]
    weights: NDArray[np.float32] | None = None
    times: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.users)

    def only(self, chosen: NDArray[Any]) -> "Events":
        """The events at these places, or where the mask is true."""
        weights = None if self.weights is None else self.weights[chosen]
        times = None if self.times is None else self.times[chosen]
        return Events(self.users[chosen], self.items[chosen], weights, times)


@dataclass(frozen=True)
class Interactions:
    """Events by code, each pair of user and item once, sorted by user and then oldest first.

    `starts` (u + 1,) are where the users begin. Of a repeated pair the greatest weight and the latest time stay.
    """

    user_ids: NDArray[Any]
    item_ids: NDArray[Any]
    starts: NDArray[np.int64]
    items: Codes
    weights: Scores
    times: NDArray[np.float64] | None

    @property
    def shape(self) -> tuple[int, int]:
        """Users, items."""
        return len(self.user_ids), len(self.item_ids)

    def history(self, user: int) -> tuple[Codes, Scores]:
        """One user's items and weights, oldest first."""
        part = slice(self.starts[user], self.starts[user + 1])
        return self.items[part], self.weights[part]

    def matrix(self, *, binary: bool = False) -> Any:
        """scipy CSR (users, items) of the weights, or of ones."""
        sparse: Any = import_module("scipy.sparse")
        values = np.ones_like(self.weights) if binary else self.weights
        matrix = sparse.csr_matrix((values, self.items.copy(), self.starts.copy()), shape=self.shape)
        matrix.sort_indices()
        return matrix

    def counts(self) -> NDArray[np.int64]:
        """How many users took each item. Shapes: -> (n,)."""
        return np.bincount(self.items, minlength=len(self.item_ids))


def encode(events: Events, *, item_ids: Sequence[str] | None = None) -> Interactions:
    """Events by code. With `item_ids` codes are places in it, and events of other items are left out."""
    if item_ids is not None:
        known = np.asarray(item_ids, dtype=str)
        order = np.argsort(known, kind="stable")
        names = np.asarray(events.items).astype(str)
        at = np.minimum(np.searchsorted(known, names, sorter=order), max(len(known) - 1, 0))
        hit = known[order[at]] == names if len(known) else np.zeros(len(names), bool)
        events, codes, ids = events.only(hit), order[at][hit], known
    else:
        ids, codes = np.unique(np.asarray(events.items), return_inverse=True)
        ids = ids.astype(str)
    user_ids, users = np.unique(np.asarray(events.users), return_inverse=True)
    weights = np.ones(len(events), np.float32) if events.weights is None else events.weights.astype(np.float32)
    times = np.zeros(len(events)) if events.times is None else events.times
    first = np.lexsort((times, codes, users))
    users, codes, weights, times = users[first], codes[first], weights[first], times[first]
    fresh = np.ones(len(users), bool)
    fresh[1:] = (users[1:] != users[:-1]) | (codes[1:] != codes[:-1])
    begins = np.flatnonzero(fresh)
    ends = np.append(begins[1:], len(users))[: len(begins)] - 1
    greatest = np.maximum.reduceat(weights, begins) if len(begins) else weights
    users, codes, times = users[begins], codes[begins], times[ends]
    order = np.lexsort((codes, times, users))
    starts = np.concatenate([[0], np.cumsum(np.bincount(users, minlength=len(user_ids)))]).astype(np.int64)
    return Interactions(
        user_ids=user_ids, item_ids=ids, starts=starts, items=codes[order].astype(np.int32),
        weights=greatest[order].astype(np.float32), times=None if events.times is None else times[order],
    )  # fmt: skip
