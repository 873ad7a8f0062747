"""What the people of one audience may be shown now: made once a minute for all of them, and put in the orders that need
nobody's history.
"""

from dataclasses import dataclass, field
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from app.recommend.catalogue import AUDIENCES, FOREVER, Catalogue
from app.recommend.knowing import Known
from app.recommend.meaning import Codes, top
from app.recommend.statistics import Statistics
from app.recommend.tables import ItemAudience

FRESH_DAYS = 14
SOON_DAYS = 10
FIRST = 400
"""Of each order so many are kept at the front; who hid more than that looks through all."""
DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Audience:
    """What people have in common who may be shown the same items."""

    owns: bool
    rents: bool
    building_ids: frozenset[UUID]

    @classmethod
    def of(cls, known: Known) -> "Audience":
        return cls(known.owns, known.rents, known.building_ids)


@dataclass(slots=True, eq=False)
class Shelf:
    """Shapes: mask (n,) whether an item may be shown. Orders hold codes, best first, and what they were ordered by."""

    audience: Audience
    mask: NDArray[np.bool_]
    popular: Codes
    fresh: Codes
    soon: Codes
    near: Codes
    is_near: NDArray[np.bool_]
    minute: int
    made_from: tuple[int, float]
    own: dict[str, NDArray[np.bool_]] = field(default_factory=dict)


def make(catalogue: Catalogue, statistics: Statistics, audience: Audience, *, now: float) -> Shelf:
    """The shelf of an audience at a moment (epoch seconds)."""
    mask = allowed(catalogue, audience, now=now)
    starts = catalogue.column("starts_at")
    to_come = mask & (starts > now) & (starts < now + SOON_DAYS * DAY)
    created = catalogue.column("created_at")
    fresh = mask & (created > now - FRESH_DAYS * DAY)
    near = np.zeros(len(catalogue), np.bool_)
    for building_id in audience.building_ids:
        near[list(catalogue.at_building.get(building_id, ()))] = True
    near &= mask
    popular = statistics.padded(len(catalogue))
    return Shelf(
        audience,
        mask,
        popular=_first(np.where(mask, popular + 1e-6, 0)),
        fresh=_first(np.where(fresh, created, 0)),
        soon=_first(np.where(to_come, now + SOON_DAYS * DAY - starts, 0)),
        near=_first(np.where(near, popular + 1e-6, 0)),
        is_near=near,
        minute=int(now // 60),
        made_from=(catalogue.revision, statistics.stamp),
    )


def allowed(catalogue: Catalogue, audience: Audience, *, now: float) -> NDArray[np.bool_]:
    """Which items are on offer for an audience. Shapes: -> (n,)."""
    if not len(catalogue):
        return np.zeros(0, np.bool_)
    kinds = {ItemAudience.ALL: True, ItemAudience.OWNERS: audience.owns, ItemAudience.TENANTS: audience.rents}
    mask = catalogue.column("live") & (catalogue.column("over_at") > now)
    for kind, may in kinds.items():
        if not may:
            mask &= catalogue.column("audience") != AUDIENCES.index(kind)
    narrowed = catalogue.column("narrowed").copy()
    for building_id in audience.building_ids:
        narrowed[list(catalogue.by_building.get(building_id, ()))] = False
    return np.asarray(mask & ~narrowed)


def _first(order_by: NDArray[np.float64]) -> Codes:
    """The front of an order, then all the rest of it."""
    front = top(order_by, FIRST)
    if len(front) < FIRST:
        return front
    rest = np.flatnonzero(order_by > 0).astype(np.int32)
    return np.concatenate((front, np.setdiff1d(rest, front, assume_unique=True)))


def pick(order: Codes, mask: NDArray[np.bool_], limit: int) -> Codes:
    """The first of an order that the mask allows."""
    front = order[:FIRST]
    front = front[mask[front]]
    if len(front) >= limit or len(order) <= FIRST:
        return front[:limit]
    return order[mask[order]][:limit]


def seconds_ahead(starts: float, now: float) -> float | None:
    """How far ahead something begins, if it does within days."""
    return starts - now if starts != FOREVER and 0 < starts - now < SOON_DAYS * DAY else None
