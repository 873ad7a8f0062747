"""Events divided into what is trained on and what is asked for. No pair of user and item is ever on both sides."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.training.interactions import Events

Protocol = Literal["random", "leave-one-out", "temporal"]
RANDOM_SHARE = 0.25
TEMPORAL_SHARE = 0.2


def divide(
    events: Events, protocol: Protocol, *, seed: int, share: float | None = None, least: int = 0
) -> tuple[Events, Events]:
    """(train, test). Of a pair that comes again only its first event is kept, so that nothing asked for is known.

    random: `share` of each user's items, drawn by `seed`, rounded down, but at least `least` of those with more.
    leave-one-out: each user's last item, of users with at least two. temporal: what happened after the time before
    which 1 - `share` of all happened.
    Raises: ValueError where a protocol needs times and there are none.
    """
    events = distinct(events)
    if protocol != "random" and events.times is None:
        raise ValueError(f"{protocol} needs times")
    if protocol == "random":
        asked = _random(events, RANDOM_SHARE if share is None else share, seed, least)
    elif protocol == "leave-one-out":
        asked = _last(events)
    else:
        asked = _later(events, TEMPORAL_SHARE if share is None else share)
    return events.only(~asked), events.only(asked)


def distinct(events: Events) -> Events:
    """The first event of each pair of user and item, in the order given."""
    _, users = np.unique(events.users, return_inverse=True)
    _, items = np.unique(events.items, return_inverse=True)
    times = np.zeros(len(events)) if events.times is None else events.times
    order = np.lexsort((np.arange(len(events)), times, items, users))
    fresh = np.ones(len(order), bool)
    fresh[1:] = (np.diff(users[order]) != 0) | (np.diff(items[order]) != 0)
    return events.only(np.sort(order[fresh]))


def _random(events: Events, share: float, seed: int, least: int) -> NDArray[np.bool_]:
    _, users = np.unique(events.users, return_inverse=True)
    drawn = np.random.default_rng(seed).random(len(users))
    place, size = _place_in_user(users, np.lexsort((drawn, users)))
    asked: NDArray[np.bool_] = place < np.minimum(np.maximum(np.floor(size * share), least), size - 1)
    return asked


def _last(events: Events) -> NDArray[np.bool_]:
    assert events.times is not None
    _, users = np.unique(events.users, return_inverse=True)
    _, items = np.unique(events.items, return_inverse=True)
    place, size = _place_in_user(users, np.lexsort((items, events.times, users)))
    asked: NDArray[np.bool_] = (place == size - 1) & (size >= 2)
    return asked


def _later(events: Events, share: float) -> NDArray[np.bool_]:
    assert events.times is not None
    if not len(events):
        return np.zeros(0, bool)
    # Strictly after: what shares the moment of the cut is known, whoever did it.
    later: NDArray[np.bool_] = events.times > np.quantile(events.times, 1 - share, method="lower")
    return later


def _place_in_user(users: NDArray[np.int64], order: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each event its place among its user's in `order`, which is sorted by user first, and how many they have."""
    sizes = np.bincount(users)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
    place = np.empty(len(users), np.int64)
    place[order] = np.arange(len(users)) - starts[users[order]]
    return place, sizes[users]
