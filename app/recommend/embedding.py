"""What items and profiles mean, as vectors: made by a job, a batch at a time, and made anew after another embedder was
set. Until then the old ones are not compared with new ones: such items and profiles simply have no meaning yet.
"""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Select, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.db import Tenant
from app.knowledge.ingest import embedder_key
from app.people.callers import tenant_of_community
from app.recommend import items
from app.recommend.tables import Item, RecommendationProfile
from app.runtime import Runtime

BATCH_ITEMS = 32
TEXT_CHARS = 600
"""Of the text of an item: what it is about stands at its beginning, and the embedder reads no further than it can."""


def text_of_item(item: Item) -> str:
    """What is embedded of an item: both languages, so that a resident of either finds it."""
    titles = " / ".join(filter(None, (item.title, item.title_en)))
    texts = "\n".join(filter(None, (item.text[:TEXT_CHARS], item.text_en[:TEXT_CHARS])))
    return "\n".join(filter(None, (titles, "、".join(item.categories), texts)))


def text_of_profile(interests: Sequence[str], about: str) -> str:
    return "\n".join(filter(None, ("、".join(interests), about)))


async def embed_waiting(runtime: Runtime, community_id: UUID) -> None:
    """Embed what has no vector of today's embedder. Safe to run twice, also at the same time."""
    tenant = await tenant_of_community(runtime, community_id)
    embedder = embedder_key(runtime.embedder)
    while await _embed_items(runtime, tenant, embedder) == BATCH_ITEMS:
        pass
    while await _embed_profiles(runtime, tenant, embedder) == BATCH_ITEMS:
        pass


async def _embed_items(runtime: Runtime, tenant: Tenant, embedder: str) -> int:
    async with runtime.transaction(tenant) as session:
        found = (await session.scalars(waiting_items(embedder).limit(BATCH_ITEMS))).all()
        texts = {item.id: (item.version, text_of_item(item)) for item in found}
    if not texts:
        return 0
    vectors = await runtime.embedder.embed_passages([text for _, text in texts.values()])
    async with runtime.transaction(tenant) as session:
        assert tenant.community_id is not None
        number = await items.next_number(session, tenant.community_id)
        for (item_id, (version, _)), vector in zip(texts.items(), vectors, strict=True):
            # One that was changed meanwhile is left for the next round.
            await session.execute(
                update(Item)
                .where(Item.id == item_id, Item.version == version)
                .values(embedder=embedder, embedding=vector, catalogue_number=number)
            )
    return len(texts)


async def _embed_profiles(runtime: Runtime, tenant: Tenant, embedder: str) -> int:
    async with runtime.transaction(tenant) as session:
        found = (await session.scalars(_waiting_profiles(embedder).limit(BATCH_ITEMS))).all()
        texts = {one.resident_id: (one.version, text_of_profile(one.interests, one.about)) for one in found}
    if not texts:
        return 0
    vectors = await runtime.embedder.embed_queries([text for _, text in texts.values()])
    async with runtime.transaction(tenant) as session:
        for (resident_id, (version, _)), vector in zip(texts.items(), vectors, strict=True):
            await session.execute(
                update(RecommendationProfile)
                .where(RecommendationProfile.resident_id == resident_id, RecommendationProfile.version == version)
                .values(embedder=embedder, embedding=vector)
            )
    return len(texts)


def waiting_items(embedder: str) -> Select[Item]:
    other = or_(Item.embedder.is_(None), Item.embedder != embedder)
    return select(Item).where(Item.deleted_at.is_(None), other).order_by(Item.id)


def _waiting_profiles(embedder: str) -> Select[RecommendationProfile]:
    # One without words has nothing to embed.
    words = or_(RecommendationProfile.about != "", func.cardinality(RecommendationProfile.interests) > 0)
    other = or_(RecommendationProfile.embedder.is_(None), RecommendationProfile.embedder != embedder)
    return select(RecommendationProfile).where(words, other).order_by(RecommendationProfile.resident_id)


async def count_waiting(session: AsyncSession, runtime: Runtime) -> int:
    """Items of the transaction's community that have no vector of today's embedder."""
    waiting = waiting_items(embedder_key(runtime.embedder)).order_by(None).subquery()
    return int(await session.scalar(select(func.count()).select_from(waiting)) or 0)
