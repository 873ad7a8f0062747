"""For whom a campaign is, who of them may be told now, and why the others may not.

`judged` is the one statement that says so: the preview counts its rows, the sender takes them, a batch at a time and in
the transaction that tells them. What holds at the moment of sending holds for the hold-out in the same way.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, Select, String, and_, case, cast, exists, func, null, or_, select, true
from sqlalchemy.ext.asyncio import AsyncSession

from app.notices.tables import ChannelAudience, ChannelKind, ChannelUse, NoticeChannel
from app.people import spaces
from app.people.callers import Caller
from app.people.community_settings import CommunitySettings
from app.people.tables import Residency, Resident, ResidentRole, Space
from app.recommend.campaign_conditions import condition_of
from app.recommend.campaign_errors import ItemNotAvailable
from app.recommend.campaign_filter import Node, ids_in, looks_at_behaviour, parse
from app.recommend.campaign_tables import Campaign, CampaignRecipient, LeftOut, RecipientStatus
from app.recommend.errors import ItemNotFound
from app.recommend.feedback import REFUSING
from app.recommend.items import over_at
from app.recommend.tables import Item, ItemAudience, ItemFeedback, RecommendationProfile

ITEM_ROLES: dict[ItemAudience, tuple[ResidentRole, ...]] = {
    ItemAudience.ALL: tuple(ResidentRole),
    ItemAudience.OWNERS: (ResidentRole.OWNER,),
    ItemAudience.TENANTS: (ResidentRole.TENANT,),
}


@dataclass(frozen=True, slots=True)
class Audience:
    """Whom a campaign means and by which caps: (messages, days), each of which has to hold."""

    community_id: UUID
    node: Node
    items: tuple[Item, ...]
    caps: tuple[tuple[int, int], ...]
    triggered_by_behaviour: bool = False


async def read_filter(session: AsyncSession, caller: Caller, value: Any) -> Node:
    """The tree of a filter whose spaces and items are the community's. Raises: FilterInvalid, SpaceNotFound,
    ItemNotFound.
    """
    node = parse(value)
    space_ids, item_ids = ids_in(node)
    known = spaces.visible_to(caller).where(Space.id.in_(space_ids)).with_only_columns(Space.id)
    if space_ids - set(await session.scalars(known)):
        raise spaces.SpaceNotFound
    await get_items(session, caller.community_id, sorted(item_ids))
    return node


async def get_items(session: AsyncSession, community_id: UUID, item_ids: Sequence[UUID]) -> tuple[Item, ...]:
    """These items, in this order. Raises ItemNotFound."""
    if not item_ids:
        return ()
    statement = select(Item).where(Item.community_id == community_id, Item.id.in_(item_ids), Item.deleted_at.is_(None))
    found = {item.id: item for item in await session.scalars(statement)}
    if set(item_ids) - set(found):
        raise ItemNotFound
    return tuple(found[one] for one in item_ids)


def audience_of(campaign: Campaign, items: Sequence[Item], settings: CommunitySettings, **more: Any) -> Audience:
    caps = [(settings.campaign_cap_messages, settings.campaign_cap_days)]
    if campaign.cap_messages is not None and campaign.cap_days is not None:
        caps.append((campaign.cap_messages, campaign.cap_days))
    return Audience(campaign.community_id, parse(campaign.filter), tuple(items), tuple(caps), **more)


def judged(audience: Audience, *, now: datetime, node: Node | None = None) -> Select[Any]:
    """Every resident of the audience: `resident_id`, `household_id`, and `reason`, NULL for who may be told."""
    meant = condition_of(node or audience.node, community_id=audience.community_id, now=now)
    return select(
        Resident.id.label("resident_id"), household_of().label("household_id"), _reason(audience, now).label("reason")
    ).where(Resident.community_id == audience.community_id, meant, *(_is_for(item) for item in audience.items))


def household_of() -> ColumnElement[UUID]:
    """The household by which a resident is assigned: of several a verified one, always the same; alone without any."""
    own = (
        select(Residency.household_id)
        .where(Residency.resident_id == Resident.id)
        .order_by(Residency.verified_at.is_(None), Residency.household_id)
        .limit(1)
        .scalar_subquery()
    )
    return func.coalesce(own, Resident.id)


def _is_for(item: Item) -> ColumnElement[bool]:
    """Whether an item is meant for a resident, as its own audience says."""
    verified = [
        Residency.community_id == item.community_id,
        Residency.verified_at.is_not(None),
        Residency.role.in_(ITEM_ROLES[item.audience]),
    ]
    if item.audience is ItemAudience.ALL and not item.building_ids:
        return true()
    if item.building_ids:
        verified.append(Residency.building_id.in_(item.building_ids))
    return Resident.id.in_(select(Residency.resident_id).where(*verified))


def _reason(audience: Audience, now: datetime) -> ColumnElement[Any]:
    """The first reason not to tell a resident, in the order of their own wishes first."""
    profile = and_(RecommendationProfile.resident_id == Resident.id)
    refused = exists().where(profile, or_(RecommendationProfile.marketing_opted_out, RecommendationProfile.opted_out))
    plain = exists().where(profile, RecommendationProfile.personalised.is_(False))
    reasons: list[tuple[ColumnElement[bool], LeftOut]] = [(refused, LeftOut.OPTED_OUT)]
    if audience.items:
        reasons.append((_refuses(audience.items), LeftOut.REFUSED_ITEM))
    if audience.triggered_by_behaviour or looks_at_behaviour(audience.node):
        reasons.append((plain, LeftOut.NOT_PERSONALISED))
    reasons += [
        (_sent_since(now - timedelta(days=days)) >= messages, LeftOut.CAPPED) for messages, days in audience.caps
    ]
    reasons.append((~_reachable(audience.community_id), LeftOut.NO_CHANNEL))
    return case(*((condition, reason.value) for condition, reason in reasons), else_=null())


def _refuses(items: Sequence[Item]) -> ColumnElement[bool]:
    """Whether a resident hid one of these items or wants no more of its categories."""
    hidden = exists().where(
        ItemFeedback.resident_id == Resident.id,
        ItemFeedback.item_id.in_([item.id for item in items]),
        ItemFeedback.kind.in_(REFUSING),
    )
    categories = sorted({category for item in items for category in item.categories})
    unwanted = exists().where(
        RecommendationProfile.resident_id == Resident.id,
        RecommendationProfile.hidden_categories.bool_op("&&")(cast(categories, ARRAY(String))),
    )
    return or_(hidden, unwanted) if categories else hidden


def _sent_since(since: datetime) -> Any:
    return (
        select(func.count())
        .select_from(CampaignRecipient)
        .where(
            CampaignRecipient.resident_id == Resident.id,
            CampaignRecipient.status == RecipientStatus.SENT,
            CampaignRecipient.at > since,
        )
        .correlate(Resident)
        .scalar_subquery()
    )


def _reachable(community_id: UUID) -> ColumnElement[bool]:
    """Whether a message has a way: to the account it is read by, or by a channel that takes what a resident has."""
    channel = and_(
        NoticeChannel.community_id == community_id, NoticeChannel.enabled, NoticeChannel.use == ChannelUse.ALL,
        NoticeChannel.audience.in_([ChannelAudience.ALL, ChannelAudience.RESIDENTS]),
    )  # fmt: skip
    by_webhook = exists().where(channel, NoticeChannel.kind == ChannelKind.WEBHOOK)
    by_text = exists().where(channel, NoticeChannel.kind == ChannelKind.SMS)
    return or_(Resident.account_id.is_not(None), by_webhook, and_(Resident.phone != "", by_text))


async def check_available(session: AsyncSession, items: Sequence[Item], *, now: datetime) -> None:
    """Raises ItemNotAvailable for what is over, full or switched off: nobody is called to it."""
    free = or_(Item.capacity.is_(None), Item.joined_count < Item.capacity)
    there = select(Item.id).where(
        Item.id.in_([item.id for item in items]), Item.deleted_at.is_(None), Item.enabled, over_at() > now, free
    )
    left = set(await session.scalars(there)) if items else set()
    for item in items:
        if item.id not in left:
            raise ItemNotAvailable(item.title)
