"""What a process keeps for recommendations, by community: catalogue, statistics, shelves, the live ranker.

All of it is made again from rows and files, and brought up to date by the numbers that every request reads.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar
from uuid import UUID

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from app.knowledge import centres
from app.knowledge.centres import Centres
from app.knowledge.ingest import embedder_key
from app.people.callers import tenant_of_community
from app.people.community_settings import CommunitySettings
from app.recommend import catalogue as catalogues
from app.recommend import rankers, shelves, statistics
from app.recommend.catalogue import Catalogue
from app.recommend.knowing import Known
from app.recommend.rankers import Loaded
from app.recommend.shelves import Audience, Shelf
from app.recommend.statistics import Statistics
from app.runtime import Runtime

log = structlog.get_logger(__name__)

COMMUNITIES_MAX = 50
SHELVES_MAX = 200
"""Of one community: one for each audience that came by within the last minutes."""
Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


@dataclass(slots=True, eq=False)
class Kept:
    """Of one community."""

    catalogue: Catalogue
    settings: CommunitySettings | None = None
    settings_version: int = 0
    centres: Centres | None = None
    """Of the embedder: asking for them costs a hash of all they are made of."""
    statistics: Statistics | None = None
    shelves: OrderedDict[Audience, Shelf] = field(default_factory=OrderedDict)
    ranker: Loaded | None = None
    ranker_asked: tuple[int, float] = (0, 0.0)
    """The number that was last loaded, or tried to be, and when."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    counting: asyncio.Task[None] | None = None
    resting: dict[str, float] = field(default_factory=dict)
    """Sources that were too slow, until when they are left out."""


def of(runtime: Runtime, community_id: UUID) -> Kept:
    """What is kept of a community, the least used one forgotten for it."""
    kept: OrderedDict[tuple[UUID, str], Kept] = runtime.caches.setdefault("recommend", OrderedDict())
    key = (community_id, embedder_key(runtime.embedder))
    if key not in kept:
        kept[key] = Kept(Catalogue(embedder=key[1]))
    kept.move_to_end(key)
    _trim(kept, COMMUNITIES_MAX)
    return kept[key]


async def bring_up_to_date(
    session: AsyncSession, runtime: Runtime, community_id: UUID, kept: Kept, known: Known, *, households_min: int
) -> tuple[Statistics, Shelf]:
    """Bring what is kept up to what `known` read in this transaction. The statistics, and this resident's shelf.

    What it gives is good until the caller waits for something again.
    """
    now, number = runtime.clock(), known.catalogue_number
    known_centres = await centres_of(runtime, kept)
    await catalogues.refresh(session, kept.catalogue, community_id, number=number, centres=known_centres)
    counted = await _statistics(session, runtime, kept, community_id, now=now, households_min=households_min)
    if kept.ranker_asked[0] != known.ranker_number or _may_ask_again(kept, known.ranker_number):
        await _load_ranker(session, runtime, kept, community_id, number=known.ranker_number)
    # Another request may have begun to change the catalogue while these were read.
    await catalogues.refresh(session, kept.catalogue, community_id, number=number, centres=known_centres)
    return counted, _shelf(kept, counted, Audience.of(known), now=now.timestamp())


async def centres_of(runtime: Runtime, kept: Kept) -> Centres:
    if kept.centres is None:
        kept.centres = await centres.generic_centres(runtime.embedder)
    return kept.centres


async def _statistics(
    session: AsyncSession, runtime: Runtime, kept: Kept, community_id: UUID, *, now: datetime, households_min: int
) -> Statistics:
    """Counted within the last minutes. What is a little old is counted anew beside the request, for the next one."""
    seconds = runtime.settings.recommend_statistics_seconds
    if kept.statistics is None or time.monotonic() - kept.statistics.stamp >= 2 * seconds:
        async with kept.lock:
            if kept.statistics is None or time.monotonic() - kept.statistics.stamp >= 2 * seconds:
                kept.statistics = await statistics.read(
                    session, kept.catalogue, community_id, now=now, households_min=households_min
                )
    elif time.monotonic() - kept.statistics.stamp >= seconds and (kept.counting is None or kept.counting.done()):
        kept.counting = asyncio.create_task(_count(runtime, kept, community_id, households_min))
    return kept.statistics


async def _count(runtime: Runtime, kept: Kept, community_id: UUID, households_min: int) -> None:
    try:
        async with runtime.transaction(await tenant_of_community(runtime, community_id)) as session:
            kept.statistics = await statistics.read(
                session, kept.catalogue, community_id, now=runtime.clock(), households_min=households_min
            )
    except (SQLAlchemyError, OSError) as error:
        # The old ones stand; the next request that finds them too old says what is wrong.
        log.warning("statistics_not_counted", community_id=str(community_id), error=type(error).__name__)


def _may_ask_again(kept: Kept, number: int) -> bool:
    return bool(number) and kept.ranker is None and time.monotonic() - kept.ranker_asked[1] > rankers.RETRY_SECONDS


async def _load_ranker(
    session: AsyncSession, runtime: Runtime, kept: Kept, community_id: UUID, *, number: int
) -> None:  # fmt: skip
    async with kept.lock:
        if kept.ranker_asked[0] == number and not _may_ask_again(kept, number):
            return
        kept.ranker = None
        if number:
            kept.ranker = await rankers.load_live(
                session, runtime.settings, community_id, kept.catalogue, number=number
            )
        kept.ranker_asked = (number, time.monotonic())


def _shelf(kept: Kept, counted: Statistics, audience: Audience, *, now: float) -> Shelf:
    shelf = kept.shelves.get(audience)
    made_from = (kept.catalogue.revision, counted.stamp)
    if shelf is None or shelf.minute != int(now // 60) or shelf.made_from != made_from:
        shelf = kept.shelves[audience] = shelves.make(kept.catalogue, counted, audience, now=now)
    kept.shelves.move_to_end(audience)
    _trim(kept.shelves, SHELVES_MAX)
    return shelf


def _trim(kept: "OrderedDict[Key, Value]", most: int) -> None:
    while len(kept) > most:
        kept.popitem(last=False)
