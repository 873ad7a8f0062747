"""What residents do with items: what each kind means, as data, and how it is written once."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.clock import CLOCK
from app.people.callers import Caller
from app.recommend import campaign_hearing, items, profiles
from app.recommend.errors import (
    FeedbackInFuture,
    FeedbackNotFound,
    ItemFull,
    ItemNotFound,
    ItemOver,
    RecommendationNotFound,
)
from app.recommend.tables import FeedbackKind, Item, ItemFeedback, RecommendationList

CLOCK_SKEW = timedelta(minutes=2)
"""Phones go a little fast; more than that is a mistake."""


class Refuses(StrEnum):
    """What is not shown any more after this."""

    NOTHING = "nothing"
    ITEM = "item"
    CATEGORY = "category"
    """The item, and its first category."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """`read`: the person saw the item. `weight` above 0 says how much they liked it. `once`: it happens once or never,
    however often it is told.
    """

    read: bool
    weight: float
    refuses: Refuses = Refuses.NOTHING
    once: bool = False

    @property
    def positive(self) -> bool:
        return self.weight > 0


MEANINGS: dict[FeedbackKind, Meaning] = {
    FeedbackKind.SEEN: Meaning(read=True, weight=0),
    FeedbackKind.CLICKED: Meaning(read=True, weight=1),
    FeedbackKind.JOINED: Meaning(read=True, weight=3, once=True),
    FeedbackKind.BOUGHT: Meaning(read=True, weight=3),
    FeedbackKind.LIKED: Meaning(read=True, weight=2, once=True),
    FeedbackKind.HIDDEN: Meaning(read=True, weight=0, refuses=Refuses.ITEM, once=True),
    FeedbackKind.SHOW_LESS: Meaning(read=True, weight=0, refuses=Refuses.CATEGORY, once=True),
}
"""A test proves it complete."""
POSITIVE = tuple(kind for kind, meaning in MEANINGS.items() if meaning.positive)
REFUSING = tuple(kind for kind, meaning in MEANINGS.items() if meaning.refuses is not Refuses.NOTHING)
COMMITTED = (FeedbackKind.JOINED, FeedbackKind.BOUGHT, FeedbackKind.LIKED)
"""What somebody meant: a click may be a slip."""


@dataclass(frozen=True, slots=True)
class Told:
    """One event as it was told. `at` None: now."""

    item_id: UUID
    kind: FeedbackKind
    at: datetime | None = None
    list_id: UUID | None = None


async def record(
    session: AsyncSession, caller: Caller, resident_id: UUID, told: Told, *, now: datetime
) -> bool:  # fmt: skip
    """Write what a resident of the caller's community did; whether it was new.

    Raises: ItemNotFound, RecommendationNotFound, FeedbackInFuture, ItemFull, ItemOver.
    """
    if told.at is not None and told.at > now + CLOCK_SKEW:
        raise FeedbackInFuture
    # What is over may still have been seen: only joining it is too late.
    over = or_(~Item.enabled, items.over_at() <= now).label("over")
    statement = items.all_items(caller).where(Item.id == told.item_id).with_only_columns(Item.categories, over)
    known = (await session.execute(statement)).one_or_none()
    if known is None:
        raise ItemNotFound
    if told.list_id is not None:
        await _check_list(session, caller, resident_id, told.list_id)
    new = await _write(session, caller, resident_id, told, now=now)
    if new:
        await _follow(session, caller, resident_id, told, known, now=now)
        await campaign_hearing.hear_of_feedback(
            session, community_id=caller.community_id, resident_id=resident_id, item_id=told.item_id,
            categories=known.categories, kind=told.kind, now=now,
        )  # fmt: skip
    return new


async def _check_list(session: AsyncSession, caller: Caller, resident_id: UUID, list_id: UUID) -> None:
    """Raises RecommendationNotFound for a list that this resident was not shown."""
    table = RecommendationList
    shown = select(table.id).where(
        table.community_id == caller.community_id, table.resident_id == resident_id, table.id == list_id
    )
    if await session.scalar(shown) is None:
        raise RecommendationNotFound


async def _write(
    session: AsyncSession, caller: Caller, resident_id: UUID, told: Told, *, now: datetime
) -> bool:  # fmt: skip
    at = min(told.at or now, now)
    statement = (
        insert(ItemFeedback)
        .values(
            id=CLOCK.new_id(), community_id=caller.community_id, item_id=told.item_id, resident_id=resident_id,
            kind=told.kind, occasion=occasion_of(told.kind, told.list_id, at), list_id=told.list_id, at=at,
            created_at=now,
        )
        .on_conflict_do_nothing()
        .returning(ItemFeedback.id)
    )  # fmt: skip
    return await session.scalar(statement) is not None


def occasion_of(kind: FeedbackKind, list_id: UUID | None, at: datetime) -> str:
    """What tells one click from the next: the list it was made in, else its minute. Nothing for what counts once."""
    if MEANINGS[kind].once:
        return ""
    return str(list_id) if list_id else f"{at:%Y%m%d%H%M}"


async def _follow(
    session: AsyncSession, caller: Caller, resident_id: UUID, told: Told, known: Any, *, now: datetime
) -> None:  # fmt: skip
    if told.kind is FeedbackKind.JOINED:
        if known.over:
            raise ItemOver(told.item_id)
        await _take_place(session, told.item_id)
    if MEANINGS[told.kind].refuses is Refuses.CATEGORY and known.categories:
        await profiles.hide_category(session, caller, resident_id, known.categories[0], now=now)


async def _take_place(session: AsyncSession, item_id: UUID) -> None:
    free = or_(Item.capacity.is_(None), Item.joined_count < Item.capacity)
    taken = update(Item).where(Item.id == item_id, free).values(joined_count=Item.joined_count + 1)
    if await session.scalar(taken.returning(Item.id)) is None:
        raise ItemFull(item_id, await session.scalar(select(Item.capacity).where(Item.id == item_id)))


async def take_back(
    session: AsyncSession, caller: Caller, resident_id: UUID, item_id: UUID, kind: FeedbackKind | None
) -> None:  # fmt: skip
    """As if it had never been told, one kind or all: a place that was joined is free again. Raises FeedbackNotFound."""
    gone = delete(ItemFeedback).where(
        ItemFeedback.community_id == caller.community_id, ItemFeedback.resident_id == resident_id,
        ItemFeedback.item_id == item_id,
    )  # fmt: skip
    if kind is not None:
        gone = gone.where(ItemFeedback.kind == kind)
    kinds = (await session.scalars(gone.returning(ItemFeedback.kind))).all()
    if not kinds:
        raise FeedbackNotFound
    await campaign_hearing.unhear_feedback(session, resident_id=resident_id, item_id=item_id, kinds=kinds)
    if FeedbackKind.JOINED in kinds:
        fewer = func.greatest(Item.joined_count - 1, 0)
        await session.execute(update(Item).where(Item.id == item_id).values(joined_count=fewer))


@dataclass(frozen=True, slots=True)
class Used:
    """An event as the resident sees it in their profile."""

    item_id: UUID
    title: str
    title_en: str
    kind: FeedbackKind
    at: datetime


USED_MAX = 100


async def used_of(session: AsyncSession, caller: Caller) -> tuple[list[Used], list[Used]]:
    """What a resident did that counts for them, and what they refused, each newest first."""
    columns = (ItemFeedback.item_id, Item.title, Item.title_en, ItemFeedback.kind, ItemFeedback.at)
    statement = (
        select(*columns)
        .join(Item, Item.id == ItemFeedback.item_id)
        .where(ItemFeedback.community_id == caller.community_id, ItemFeedback.resident_id == caller.id)
        .order_by(ItemFeedback.at.desc(), ItemFeedback.id.desc())
        .limit(USED_MAX)
    )
    found = [
        [Used(*row) for row in await session.execute(statement.where(ItemFeedback.kind.in_(kinds)))]
        for kinds in (POSITIVE, REFUSING)
    ]
    return found[0], found[1]
