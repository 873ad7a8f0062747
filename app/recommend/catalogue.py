"""The items of a community as this process keeps them: arrays to choose from, and facts to tell.

It is brought up to date by the changes since its own number, whenever a request finds that the community's number is
greater. Codes are places in the arrays: they are given once and never change, a deleted item is only dead.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.knowledge.centres import Centres
from app.recommend import meaning
from app.recommend.knowing import vector_of
from app.recommend.meaning import Meaning
from app.recommend.tables import ItemAudience, ItemKind

FOREVER = float("inf")
PUT_ROWS = 500
READ_ROWS = 10_000
"""Items put in, and read, at a time: requests of others go on in between, and no statement takes long."""
AUDIENCES = tuple(ItemAudience)
KINDS = tuple(ItemKind)
LAST_ID = UUID(int=2**128 - 1)

READ = text("""
SELECT i.id, i.kind, i.title, i.title_en, i.categories, i.provider, i.building_id, i.place, i.audience, i.building_ids,
    i.price_cents, i.capacity, i.starts_at, i.ends_at, i.expires_at, i.created_at, i.catalogue_number,
    i.enabled AND i.deleted_at IS NULL AS live, i.embedder, halfvec_send(i.embedding) AS embedding
FROM items i
WHERE i.community_id = :community_id AND (i.catalogue_number, i.id) > (:number, :after)
ORDER BY i.catalogue_number, i.id LIMIT :rows
""")


HOUSE = 0
"""The provider of what the house itself offers."""
COLUMNS: dict[str, Any] = {
    "live": np.bool_, "over_at": np.float64, "starts_at": np.float64, "created_at": np.float64, "audience": np.int8,
    "narrowed": np.bool_, "provider": np.int32, "embedded": np.bool_, "kind": np.int8,
    "category": np.int32,
}  # fmt: skip


@dataclass(slots=True)
class Facts:
    """What is told of an item."""

    id: UUID
    kind: ItemKind
    title: str
    title_en: str
    categories: tuple[str, ...]
    provider: str
    building_id: UUID | None
    place: str
    price_cents: int
    capacity: int | None
    starts_at: datetime | None
    ends_at: datetime | None

    def title_in(self, language: str) -> str:
        return self.title_en if language == "en" and self.title_en else self.title


@dataclass(slots=True, eq=False)
class Catalogue:
    """Items by code. `revision` grows with every change. Of `columns` and `vectors` only the first `len` rows count."""

    embedder: str
    number: int = 0
    revision: int = 0
    facts: list[Facts] = field(default_factory=list)
    code_of: dict[UUID, int] = field(default_factory=dict)
    by_building: dict[UUID, set[int]] = field(default_factory=dict)
    """Codes of items that are for some buildings only."""
    at_building: dict[UUID, set[int]] = field(default_factory=dict)
    """Codes of items that take place there."""
    by_category: dict[str, set[int]] = field(default_factory=dict)
    providers: dict[str, int] = field(default_factory=lambda: {"": HOUSE})
    categories: dict[str, int] = field(default_factory=dict)
    """Numbers of providers, and of what items are first filed under, or are where they are not."""
    columns: dict[str, NDArray[Any]] = field(
        default_factory=lambda: {name: np.zeros(0, kind) for name, kind in COLUMNS.items()}
    )
    vectors: NDArray[np.float16] | None = None
    meaning: Meaning | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __len__(self) -> int:
        return len(self.facts)

    def column(self, name: str) -> NDArray[Any]:
        return self.columns[name][: len(self.facts)]

    def codes(self, ids: Iterable[UUID]) -> list[int]:
        """Of those items that are known."""
        return [code for one in ids if (code := self.code_of.get(one)) is not None]


async def refresh(
    session: AsyncSession, catalogue: Catalogue, community_id: UUID, *, number: int, centres: Centres
) -> None:
    """Read what changed since the catalogue's own number, if `number` is greater.

    Meanwhile the catalogue is half of before and half of after: whoever uses it asks for this first and then goes on
    without waiting for anything.
    """
    async with catalogue.lock:
        if catalogue.number >= number:
            return
        after, at = LAST_ID, catalogue.number
        while True:
            values = {"community_id": community_id, "number": at, "after": after, "rows": READ_ROWS}
            rows = (await session.execute(READ, values)).all()
            for place, row in enumerate(rows):
                _put(catalogue, row)
                if place % PUT_ROWS == 0:
                    await asyncio.sleep(0)
            if len(rows) < READ_ROWS:
                break
            at, after = rows[-1].catalogue_number, rows[-1].id
        catalogue.number = number
        catalogue.revision += 1
        if catalogue.vectors is not None:
            catalogue.meaning = meaning.build(
                catalogue.vectors[: len(catalogue)], catalogue.column("embedded"), centres, before=catalogue.meaning
            )


def _put(catalogue: Catalogue, row: Any) -> None:
    code = catalogue.code_of.get(row.id)
    facts = Facts(
        row.id, ItemKind(row.kind), row.title, row.title_en, tuple(row.categories), row.provider, row.building_id,
        row.place, row.price_cents, row.capacity, _utc(row.starts_at), _utc(row.ends_at),
    )  # fmt: skip
    if code is None:
        code = catalogue.code_of[row.id] = len(catalogue.facts)
        catalogue.facts.append(facts)
        _make_room(catalogue)
    else:
        _unfile(catalogue, code)
        catalogue.facts[code] = facts
    for building_id in row.building_ids:
        catalogue.by_building.setdefault(building_id, set()).add(code)
    if row.building_id is not None:
        catalogue.at_building.setdefault(row.building_id, set()).add(code)
    for category in row.categories:
        catalogue.by_category.setdefault(category, set()).add(code)
    filed = facts.categories[0] if facts.categories else str(facts.kind)
    begins = row.starts_at if row.kind == ItemKind.ACTIVITY and row.ends_at is None else None
    vector = vector_of(row.embedding) if row.embedder == catalogue.embedder else None
    values = {
        "live": row.live,
        "over_at": min(_seconds(row.expires_at), _seconds(row.ends_at), _seconds(begins)),
        "starts_at": _seconds(row.starts_at),
        "created_at": _seconds(row.created_at),
        "audience": AUDIENCES.index(ItemAudience(row.audience)),
        "narrowed": bool(row.building_ids),
        "provider": catalogue.providers.setdefault(row.provider, len(catalogue.providers)),
        "embedded": vector is not None,
        "kind": KINDS.index(facts.kind),
        "category": catalogue.categories.setdefault(filed, len(catalogue.categories)),
    }
    for name, value in values.items():
        catalogue.columns[name][code] = value
    if vector is not None:
        if catalogue.vectors is None:
            catalogue.vectors = np.zeros((len(catalogue.columns["live"]), len(vector)), np.float16)
        catalogue.vectors[code] = vector
        if catalogue.meaning is not None:
            catalogue.meaning.stale.add(code)


def _unfile(catalogue: Catalogue, code: int) -> None:
    """Out of all that it was filed under before it changed."""
    before = catalogue.facts[code]
    for category in before.categories:
        catalogue.by_category[category].discard(code)
    if before.building_id is not None:
        catalogue.at_building[before.building_id].discard(code)
    if catalogue.columns["narrowed"][code]:
        for codes in catalogue.by_building.values():
            codes.discard(code)


def _make_room(catalogue: Catalogue) -> None:
    """A fifth more than is needed, so that one new item does not copy all the others."""
    have = len(catalogue.columns["live"])
    if len(catalogue.facts) <= have:
        return
    room = max(64, int(len(catalogue.facts) * 1.2))
    for name, kind in COLUMNS.items():
        grown = np.zeros(room, kind)
        grown[:have] = catalogue.columns[name]
        catalogue.columns[name] = grown
    if catalogue.vectors is not None:
        wider = np.zeros((room, catalogue.vectors.shape[1]), np.float16)
        wider[:have] = catalogue.vectors
        catalogue.vectors = wider


def _seconds(at: datetime | None) -> float:
    return FOREVER if at is None else at.timestamp()


def _utc(at: datetime | None) -> datetime | None:
    return None if at is None else at.astimezone(UTC)
