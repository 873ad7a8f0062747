"""A community with many things to recommend and people who took some of them, for bench_recommend."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import numpy as np
from numpy.typing import NDArray

from app import file_storage
from app.db import Tenant
from app.knowledge.ingest import embedder_key
from app.people.callers import Caller
from app.recommend import rankers
from app.runtime import Runtime
from models.training import sources, train_ranker
from models.training.interactions import Events, Interactions, encode
from tests.make import Make

RESIDENTS, EVENTS_EACH, BUILDINGS, CATEGORIES, WIDTH = 10_000, 15, 20, 16, 384
SETTINGS = sources.Settings(ease_items_max=2_000)
"""Training is not what is measured beside serving: a smaller EASE gives rows of the same form."""


class DrawnEmbedder:
    """Vectors of the right form for whatever: only time is measured."""

    name, width = "drawn", WIDTH

    async def embed_queries(self, texts: Sequence[str]) -> Any:
        drawn = np.random.default_rng(0).normal(size=(len(texts), WIDTH)).astype(np.float32)
        return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)

    embed_passages = embed_queries


@dataclass(frozen=True)
class RecommendTown:
    """`arrays` are the live ranker's; `known` are the interactions it was trained on, users by resident id."""

    items: int
    tenant: Tenant
    callers: list[Caller]
    arrays: dict[str, NDArray[Any]]
    known: Interactions
    file_bytes: int


ITEMS = """
INSERT INTO items (id, community_id, kind, title, title_en, text, text_en, categories, provider, building_id, place,
    audience, building_ids, price_cents, capacity, joined_count, starts_at, ends_at, expires_at, enabled, embedder,
    embedding, catalogue_number, version, created_at, updated_at)
SELECT uuidv7((n - $2::integer) * interval '1 minute'), $1,
    (ARRAY['activity','service','offer','article','group'])[1 + n % 5],
    '活动' || n, 'Item ' || n, '一起来参加。', 'Join us.', ARRAY['类' || n % $3::integer], '商家' || n % 40,
    CASE WHEN n % 5 = 0 THEN ($4::uuid[])[1 + n % cardinality($4::uuid[])] END, '', 'all', '{}', 0,
    CASE WHEN n % 5 = 0 THEN 200 END, 0, CASE WHEN n % 5 = 0 THEN now() + (n % 30) * interval '1 day' END,
    CASE WHEN n % 5 = 0 THEN now() + (n % 30) * interval '1 day' + interval '2 hours' END, NULL, true, $5,
    vectors.embedding, 1, 1, now() - (n % 90) * interval '1 day', now()
FROM generate_series(1, $2::integer) n
JOIN (SELECT k, ARRAY(SELECT sin(k * 7.1 + i * 1.3 + k * i) FROM generate_series(1, 384) i)::halfvec(384) AS embedding
      FROM generate_series(0, 199) k) vectors ON vectors.k = n % 200
RETURNING id
"""
RESIDENTS_SQL = """
WITH drawn AS (
    INSERT INTO residents (id, community_id, name, phone, language)
    SELECT gen_random_uuid(), $1, '住户' || n, '', 'zh' FROM generate_series(1, $2::integer) n RETURNING id),
numbered AS (SELECT id, row_number() OVER () AS n FROM drawn)
INSERT INTO residencies (id, community_id, resident_id, household_id, building_id, role, verified_at)
SELECT gen_random_uuid(), $1, id, gen_random_uuid(), ($3::uuid[])[1 + n % cardinality($3::uuid[])], 'owner', now()
FROM numbered RETURNING resident_id
"""


async def build(runtime: Runtime, superuser: asyncpg.Connection, *, items: int) -> RecommendTown:
    make = Make(runtime)
    person = await make.resident()
    place, caller = person.place, await make.caller(person)
    buildings = [await make.building(place=place) for _ in range(BUILDINGS)]
    await superuser.execute("SET session_replication_role = replica")  # no look at every foreign key
    rows = await superuser.fetch(
        ITEMS, place.id, items, CATEGORIES, buildings, embedder_key(runtime.embedder), timeout=300
    )  # fmt: skip
    item_ids = np.array([row["id"] for row in rows])
    people = await superuser.fetch(RESIDENTS_SQL, place.id, RESIDENTS, buildings, timeout=300)
    residents = np.array([row["resident_id"] for row in people])
    events = draw(residents.astype(str), item_ids.astype(str), seed=1)
    await _keep_feedback(superuser, place.id, events)
    arrays, _ = train_ranker.fit(events, seed=1, settings=SETTINGS, tuned=False)
    data = train_ranker.write(arrays)
    digest = sha256(data).hexdigest()
    key = rankers.key_of(place.id, digest)
    await file_storage.put(runtime.settings, key, data)
    await superuser.execute(
        "INSERT INTO ranker_versions (id, community_id, number, status, reason, seed, events_count, metrics, file_key,"
        " sha256, bytes_count, claim_token, created_by_kind, created_by, created_at, touched_at, trained_at,"
        " promoted_at) VALUES (gen_random_uuid(), $1, 1, 'live', '', 1, $2, '{}', $3, $4, $5, 0, 'staff',"
        " gen_random_uuid(), now(), now(), now(), now())",
        place.id, len(events), key, digest, len(data),
    )  # fmt: skip
    await superuser.execute(
        "INSERT INTO recommendation_states (community_id, catalogue_number, ranker_number) VALUES ($1, 1, 1)"
        " ON CONFLICT (community_id) DO UPDATE SET catalogue_number = 1, ranker_number = 1",
        place.id,
    )  # fmt: skip
    for table in ("items", "residents", "residencies", "item_feedback"):
        await superuser.execute(f"VACUUM ANALYZE {table}", timeout=300)
    callers = [replace(caller, id=resident) for resident in residents.tolist()]
    return RecommendTown(items, place.tenant, callers, arrays, encode(events), len(data))


def draw(users: NDArray[Any], items: NDArray[Any], *, seed: int) -> Events:
    """Everybody has a taste for a sixteenth of the items; some of these are taken much more than others."""
    random = np.random.default_rng(seed)
    count = len(users) * EVENTS_EACH
    who = random.integers(0, len(users), count)
    # Squares of uniform numbers: the first tenth of the items gets a third of the events.
    places = (random.random(count) ** 2 * (len(items) // CATEGORIES)).astype(int) * CATEGORIES
    places += np.where(random.random(count) < 0.7, who % CATEGORIES, random.integers(0, CATEGORIES, count))
    now = datetime.now(UTC).timestamp()
    times = now - random.random(count) * 365 * 86_400
    return Events(users[who], items[np.minimum(places, len(items) - 1)], None, times)


async def _keep_feedback(superuser: asyncpg.Connection, community_id: UUID, events: Events) -> None:
    """As rows: of a pair that comes again the newest alone."""
    known = encode(events)
    assert known.times is not None
    owners = np.repeat(np.arange(known.shape[0]), np.diff(known.starts))
    rows = (
        (
            uuid4(), community_id, UUID(known.item_ids[item]),
            UUID(known.user_ids[owner]), "liked", "", datetime.fromtimestamp(at, UTC), datetime.fromtimestamp(at, UTC),
        )
        for owner, item, at in zip(owners, known.items, known.times, strict=True)
    )  # fmt: skip
    columns = ["id", "community_id", "item_id", "resident_id", "kind", "occasion", "at", "created_at"]
    copy: Any = superuser.copy_records_to_table
    await copy("item_feedback", records=rows, columns=columns, timeout=300)
