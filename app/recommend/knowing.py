"""All that one recommendation has to know of a resident, in one statement: what they said, did, were shown, and where
they live; and the numbers that tell caches whether they are old.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.people.tables import ResidentRole
from app.recommend.feedback import POSITIVE, REFUSING
from app.recommend.tables import FeedbackKind

HISTORY_EVENTS_MAX = 200
"""Newest positive events of a resident that are looked at."""

STATEMENT = text("""
SELECT r.language, c.timezone, c.version AS community_version, s.catalogue_number, s.ranker_number,
    p.interests, p.about, p.hidden_categories, p.personalised, p.opted_out, p.embedder,
    halfvec_send(p.embedding) AS embedding, homes.roles, homes.building_ids, homes.sizes,
    history.item_ids, history.kinds, history.ats,
    ARRAY(SELECT f.item_id FROM item_feedback f WHERE f.community_id = r.community_id AND f.resident_id = r.id
          AND f.kind = ANY(:refusing)) AS refused,
    ARRAY(SELECT i.id FROM items i WHERE i.community_id = r.community_id AND i.joined_count >= i.capacity
          AND i.deleted_at IS NULL) AS full_items,
    ARRAY(SELECT shown.item_id FROM (
              SELECT unnest(l.item_ids) AS item_id, l.day FROM (
                  SELECT item_ids, created_at::date AS day FROM recommendation_lists
                  WHERE community_id = r.community_id AND resident_id = r.id AND created_at > :shown_since
                  ORDER BY created_at DESC LIMIT :lists_max) l
              UNION ALL
              SELECT f.item_id, f.at::date FROM item_feedback f
              WHERE f.community_id = r.community_id AND f.resident_id = r.id AND f.kind = 'seen'
                AND f.at > :shown_since) shown
          GROUP BY shown.item_id HAVING count(DISTINCT shown.day) >= :days_max) AS tired
FROM residents r
JOIN communities c ON c.id = r.community_id
LEFT JOIN recommendation_states s ON s.community_id = r.community_id
LEFT JOIN recommendation_profiles p ON p.resident_id = r.id
CROSS JOIN LATERAL (
    SELECT array_agg(m.role) AS roles, array_agg(m.building_id) AS building_ids,
        array_agg((SELECT count(*) FROM residencies o WHERE o.household_id = m.household_id
                   AND o.verified_at IS NOT NULL)) AS sizes
    FROM residencies m WHERE m.resident_id = r.id AND m.verified_at IS NOT NULL) homes
CROSS JOIN LATERAL (
    SELECT array_agg(newest.item_id) AS item_ids, array_agg(newest.kind) AS kinds,
        array_agg(extract(epoch FROM newest.at)::float8) AS ats
    FROM (SELECT f.item_id, f.kind, f.at FROM item_feedback f
          WHERE f.community_id = r.community_id AND f.resident_id = r.id AND f.kind = ANY(:positive)
          ORDER BY f.at DESC LIMIT :events_max) newest) history
WHERE r.id = :resident_id AND r.community_id = :community_id
""")


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one resident. `history` is newest first: (item, what they did, when in epoch seconds).

    `vector` is of what they wrote in their profile, unit length, made by `embedder`.
    """

    resident_id: UUID
    language: str
    timezone: str
    community_version: int
    catalogue_number: int
    ranker_number: int
    interests: tuple[str, ...]
    about: str
    hidden_categories: frozenset[str]
    personalised: bool
    opted_out: bool
    embedder: str | None
    vector: NDArray[np.float32] | None
    owns: bool
    rents: bool
    building_ids: frozenset[UUID]
    household_size: int
    history: tuple[tuple[UUID, FeedbackKind, float], ...]
    refused: frozenset[UUID]
    full: tuple[UUID, ...]
    tired: frozenset[UUID]


async def read(
    session: AsyncSession, community_id: UUID, resident_id: UUID, *, now: datetime, shown_days: int, days_max: int
) -> Known | None:
    """What is known of a resident; None when there is none of this id in the community."""
    values = {
        "community_id": community_id, "resident_id": resident_id, "refusing": list(REFUSING),
        "positive": list(POSITIVE), "shown_since": now - timedelta(days=shown_days), "days_max": days_max,
        "lists_max": 60, "events_max": HISTORY_EVENTS_MAX,
    }  # fmt: skip
    row = (await session.execute(STATEMENT, values)).one_or_none()
    if row is None:
        return None
    roles: Sequence[str] = row.roles or ()
    events = zip(row.item_ids or (), row.kinds or (), row.ats or (), strict=True)
    return Known(
        resident_id=resident_id, language=row.language, timezone=row.timezone,
        community_version=row.community_version,
        catalogue_number=row.catalogue_number or 0, ranker_number=row.ranker_number or 0,
        interests=tuple(row.interests or ()), about=row.about or "",
        hidden_categories=frozenset(row.hidden_categories or ()), personalised=row.personalised is not False,
        opted_out=bool(row.opted_out), embedder=row.embedder, vector=vector_of(row.embedding),
        owns=ResidentRole.OWNER in roles, rents=ResidentRole.TENANT in roles,
        building_ids=frozenset(one for one in row.building_ids or () if one is not None),
        household_size=max(row.sizes or (1,)),
        history=tuple((item_id, FeedbackKind(kind), at) for item_id, kind, at in events),
        refused=frozenset(row.refused), full=tuple(row.full_items), tired=frozenset(row.tired),
    )  # fmt: skip


def vector_of(sent: bytes | None) -> NDArray[np.float32] | None:
    """A `halfvec` as Postgres sends it: its width, two bytes unused, then half floats, all big-endian."""
    return None if sent is None else np.frombuffer(sent, ">f2", offset=4).astype(np.float32)
