"""Items: what there is to recommend. Every change gives the catalogue a number, so that caches read what they lack."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, case, func, literal_column, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.people import residents, spaces
from app.people.callers import Caller, CallerKind
from app.people.tables import Residency, ResidentRole, Space, SpaceKind
from app.queue import Job, Lane, send_after_commit
from app.recommend import campaign_hearing
from app.recommend.errors import ExternalIdTaken, ItemNotFound, ItemTimesInvalid
from app.recommend.tables import Item, ItemAudience, ItemKind, RecommendationState
from app.runtime import Runtime

EMBED_JOB = "recommend.embed_items"
EMBEDDED_FIELDS = frozenset({"title", "title_en", "text", "text_en", "categories"})
"""What the vector of an item is made of: when one of them changes it is made anew."""

spaces.USED_BY["items"] = Item.space_id


def all_items(caller: Caller) -> Select[Item]:
    """Every item of the community that was not deleted: for staff."""
    return select(Item).where(Item.community_id == caller.community_id, Item.deleted_at.is_(None))


def visible_to(caller: Caller, *, now: datetime) -> Select[Item]:
    """What a caller may see: residents what is on offer for them, others everything."""
    if caller.kind is not CallerKind.RESIDENT:
        return all_items(caller)
    return all_items(caller).where(Item.enabled, over_at() > now, *_meant_for(caller))


def over_at() -> ColumnElement[Any]:
    """When an item is over: as it expires or ends; an activity without an end as it begins."""
    begins = case((and_(Item.kind == ItemKind.ACTIVITY, Item.ends_at.is_(None)), Item.starts_at))
    # What is null does not count for the least of several.
    return func.coalesce(func.least(Item.expires_at, Item.ends_at, begins), literal_column("'infinity'::timestamptz"))


def _meant_for(caller: Caller) -> tuple[ColumnElement[bool], ...]:
    rents = (
        select(Residency.id)
        .where(
            Residency.resident_id == caller.id,
            Residency.role == ResidentRole.TENANT,
            Residency.verified_at.is_not(None),
        )
        .exists()
    )
    allowed = [Item.audience == ItemAudience.ALL, and_(Item.audience == ItemAudience.TENANTS, rents)]
    if caller.owner:
        allowed.append(Item.audience == ItemAudience.OWNERS)
    homes = sorted(caller.building_ids)
    return or_(*allowed), or_(func.cardinality(Item.building_ids) == 0, Item.building_ids.overlap(homes))


async def get(
    session: AsyncSession, caller: Caller, item_id: UUID, *, now: datetime, locked: bool = False
) -> Item:  # fmt: skip
    """Raises ItemNotFound."""
    statement = visible_to(caller, now=now).where(Item.id == item_id)
    item = (await session.scalars(statement.with_for_update() if locked else statement)).one_or_none()
    if item is None:
        raise ItemNotFound
    return item


async def next_number(session: AsyncSession, community_id: UUID) -> int:
    """The catalogue's next number. Held until the transaction ends, so that numbers appear in their order."""
    first = insert(RecommendationState).values(community_id=community_id, catalogue_number=1, ranker_number=0)
    statement = first.on_conflict_do_update(
        index_elements=["community_id"],
        set_={"catalogue_number": RecommendationState.catalogue_number + 1},
    ).returning(RecommendationState.catalogue_number)
    return int(await session.scalar(statement) or 0)


async def open_item(session: AsyncSession, runtime: Runtime, caller: Caller, given: Mapping[str, Any]) -> Item:
    """Raises: ItemTimesInvalid, ExternalIdTaken, SpaceNotFound, ResidentNotFound."""
    now = runtime.clock()
    item = Item(community_id=caller.community_id, created_by=caller.id, created_at=now, joined_count=0, version=0)
    await _set(session, runtime, caller, item, given)
    session.add(item)
    await session.flush()
    if item.enabled:
        await campaign_hearing.hear_of_item(session, item, now=now)
    return item


async def change(
    session: AsyncSession, runtime: Runtime, caller: Caller, item: Item, changes: Mapping[str, Any]
) -> None:  # fmt: skip
    """Raises as `open_item`."""
    with session.no_autoflush:
        await _set(session, runtime, caller, item, changes)
    await session.flush()


async def delete(session: AsyncSession, runtime: Runtime, caller: Caller, item: Item) -> None:
    """It stays as a row without being shown to anybody: what residents did with it still tells what they like."""
    item.catalogue_number = await next_number(session, caller.community_id)
    item.deleted_at = item.updated_at = runtime.clock()
    await session.flush()


async def _set(
    session: AsyncSession, runtime: Runtime, caller: Caller, item: Item, given: Mapping[str, Any]
) -> None:  # fmt: skip
    await _check(session, caller, item, given)
    if EMBEDDED_FIELDS & set(given):
        item.embedder = item.embedding = None
        send_after_commit(session, embed_job(caller.community_id))
    for name, value in given.items():
        setattr(item, name, value)
    if item.starts_at and item.ends_at and item.ends_at < item.starts_at:
        raise ItemTimesInvalid
    item.version = (item.version or 0) + 1
    item.updated_at = runtime.clock()
    item.catalogue_number = await next_number(session, caller.community_id)


async def _check(session: AsyncSession, caller: Caller, item: Item, given: Mapping[str, Any]) -> None:
    if "space_id" in given:
        space_id = given["space_id"]
        item.building_id = (await spaces.get(session, caller, space_id)).building_id if space_id else None
    if named := set(given.get("building_ids") or ()):
        there = spaces.visible_to(caller).where(Space.id.in_(named), Space.kind == SpaceKind.BUILDING)
        if len((await session.scalars(there)).all()) < len(named):
            raise spaces.SpaceNotFound
    if owner_id := given.get("owner_resident_id"):
        await residents.get(session, caller, owner_id)
    if external_id := given.get("external_id"):
        same = all_items(caller).where(Item.external_id == external_id)
        taken = (await session.scalars(same)).first()
        if taken is not None and taken is not item:
            raise ExternalIdTaken(external_id)


def embed_job(community_id: UUID) -> Job:
    """One for all that waits in a community."""
    return Job(EMBED_JOB, community_id, community_id, Lane.BATCH)


CATEGORIES_SHOWN_MAX = 200


async def categories(session: AsyncSession, caller: Caller, *, now: datetime) -> list[str]:
    """What items on offer are filed under, the commonest first."""
    named = func.unnest(Item.categories).label("name")
    on_offer = visible_to(caller, now=now).with_only_columns(named).subquery()
    counted = select(on_offer.c.name).group_by(on_offer.c.name).order_by(func.count().desc(), on_offer.c.name)
    return list(await session.scalars(counted.limit(CATEGORIES_SHOWN_MAX)))
