"""What many did with items, counted now and then for all requests: what is popular, and what households like mine join.

Nobody is told of fewer than five households, whatever else is counted.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.recommend.catalogue import Catalogue
from app.recommend.feedback import COMMITTED, MEANINGS, POSITIVE
from app.recommend.knowing import Known

HOUSEHOLDS_MIN = 5
POPULAR_DAYS, HALF_LIFE_DAYS = 90, 21
Cohort = tuple[str, str]
"""What households have in common, and its value: ("building", its id), ("tenure", "rents"), ("size", "3+")."""

POPULAR = text("""
SELECT f.item_id, sum(power(0.5, extract(epoch FROM :now - f.at) / :half_life) * w.weight) AS weight,
    count(DISTINCT f.resident_id) + count(DISTINCT f.outside_person) AS people
FROM item_feedback f JOIN unnest(CAST(:kinds AS varchar[]), CAST(:weights AS real[])) AS w (kind, weight)
    ON w.kind = f.kind
WHERE f.community_id = :community_id AND f.at > :since GROUP BY f.item_id
""")
HOUSEHOLDS = text("""
WITH homes AS (
    SELECT r.household_id, min(r.building_id::text) AS building,
        CASE WHEN bool_or(r.role = 'tenant') THEN 'rents' ELSE 'owns' END AS tenure,
        CASE WHEN count(*) >= 3 THEN '3+' ELSE count(*)::text END AS size
    FROM residencies r WHERE r.community_id = :community_id AND r.verified_at IS NOT NULL GROUP BY r.household_id
), joined AS (
    SELECT DISTINCT f.item_id, r.household_id
    FROM item_feedback f JOIN residencies r ON r.resident_id = f.resident_id AND r.verified_at IS NOT NULL
    WHERE f.community_id = :community_id AND f.at > :since AND f.kind = ANY(:kinds)
)
SELECT c.cohort, c.value, j.item_id, count(*) AS households
FROM joined j JOIN homes h ON h.household_id = j.household_id
CROSS JOIN LATERAL (VALUES ('building', h.building), ('tenure', h.tenure), ('size', h.size)) AS c (cohort, value)
WHERE c.value IS NOT NULL
GROUP BY c.cohort, c.value, j.item_id HAVING count(*) >= :households_min
""")


@dataclass(slots=True, eq=False)
class Statistics:
    """Shapes: popular (n,) weights that fade with time, people (n,) how many; n may lag behind the catalogue.

    `cohorts`: households by code of the item that they joined, most first.
    """

    popular: NDArray[np.float32]
    people: NDArray[np.int32]
    cohorts: Mapping[Cohort, Mapping[int, int]]
    stamp: float

    def padded(self, size: int) -> NDArray[np.float32]:
        missing = size - len(self.popular)
        return np.pad(self.popular, (0, missing)) if missing > 0 else self.popular[:size]


async def read(
    session: AsyncSession, catalogue: Catalogue, community_id: UUID, *, now: datetime, households_min: int
) -> Statistics:  # fmt: skip
    """Count anew."""
    values = {
        "community_id": community_id, "now": now, "since": now - timedelta(days=POPULAR_DAYS),
        "half_life": HALF_LIFE_DAYS * 86_400, "kinds": [str(kind) for kind in POSITIVE],
        "weights": [MEANINGS[kind].weight for kind in POSITIVE],
    }  # fmt: skip
    popular, people = np.zeros(len(catalogue), np.float32), np.zeros(len(catalogue), np.int32)
    for row in await session.execute(POPULAR, values):
        if (code := catalogue.code_of.get(row.item_id)) is not None and code < len(popular):
            popular[code], people[code] = row.weight, row.people
    cohorts: dict[Cohort, dict[int, int]] = {}
    values = {
        "community_id": community_id, "since": values["since"], "kinds": [str(kind) for kind in COMMITTED],
        "households_min": max(HOUSEHOLDS_MIN, households_min),
    }  # fmt: skip
    for row in await session.execute(HOUSEHOLDS, values):
        if (code := catalogue.code_of.get(row.item_id)) is not None:
            cohorts.setdefault((row.cohort, row.value), {})[code] = row.households
    ordered = {
        cohort: dict(sorted(counted.items(), key=lambda one: (-one[1], one[0]))) for cohort, counted in cohorts.items()
    }
    return Statistics(popular, people, ordered, stamp=time.monotonic())


def cohorts_of(known: Known) -> list[Cohort]:
    """Those of a resident's household, the nearest first."""
    if not known.owns and not known.rents and not known.building_ids:
        return []
    tenure = "rents" if known.rents else "owns"
    size = "3+" if known.household_size >= 3 else str(known.household_size)
    return [*(("building", str(one)) for one in sorted(known.building_ids)), ("tenure", tenure), ("size", size)]
