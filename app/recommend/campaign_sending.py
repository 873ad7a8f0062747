"""Telling people, a batch a transaction: who may be told is decided in the transaction that tells them.

Nobody gets the same twice: a recipient is a row, unique by campaign and resident, written together with the message.
A killed worker's batch never happened; whoever comes next goes on after `last_resident_id`. Two workers at once wait
for each other on the campaign's row, and the campaigns of one community on a lock, so that caps hold to the person.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.clock import CLOCK
from app.db import Tenant
from app.errors import AppError
from app.notices import deliveries
from app.people import communities
from app.people.community_settings import CommunitySettings
from app.people.tables import Resident
from app.recommend import campaign_audience, campaign_unsubscribe, campaigns
from app.recommend.campaign_assignment import HOLDOUT, arm_of
from app.recommend.campaign_copy import PLACEHOLDER, find_claims
from app.recommend.campaign_errors import (
    CopyNotApproved,
    CopyRefused,
    ItemNotAvailable,
    ItemsMissing,
)
from app.recommend.campaign_tables import (
    ONCE,
    Campaign,
    CampaignKind,
    CampaignRecipient,
    CampaignRule,
    CampaignStatus,
    CampaignVariant,
    CampaignWait,
    Hold,
    LeftOut,
    RecipientStatus,
    RuleEvent,
)
from app.recommend.errors import ItemNotFound
from app.recommend.tables import Item
from app.runtime import Runtime

log = structlog.get_logger(__name__)

KIND = "campaign.message"
RESIDENTS_PER_TRANSACTION = 200
PAUSED_WAITS_HOURS = 1
"""How soon events whose campaign is paused are looked at again."""
HOLDS: dict[type[AppError], Hold] = {
    CopyRefused: Hold.COPY_REFUSED,
    CopyNotApproved: Hold.COPY_NOT_APPROVED,
    ItemNotAvailable: Hold.ITEM_NOT_AVAILABLE,
    ItemNotFound: Hold.ITEM_NOT_AVAILABLE,
    ItemsMissing: Hold.ITEM_NOT_AVAILABLE,
}
"""What came in between and makes Linli pause a campaign rather than send what is not true any more."""


@dataclass(frozen=True, slots=True)
class Telling:
    """All that telling the people of one batch takes."""

    runtime: Runtime
    tenant: Tenant
    campaign: Campaign
    variants: Sequence[CampaignVariant]
    item: Item | None
    occasion: UUID
    now: datetime


async def run(runtime: Runtime, tenant: Tenant, campaign_id: UUID) -> None:
    """Do what is due of a campaign. Safe to run twice, also at the same time."""
    more = True
    while more:
        async with runtime.transaction(tenant) as session:
            more = await _batch(session, runtime, tenant, campaign_id)


async def _batch(session: AsyncSession, runtime: Runtime, tenant: Tenant, campaign_id: UUID) -> bool:
    """Whether there is more to do at once."""
    await _lock_sending(session, tenant)
    campaign = await session.get(Campaign, campaign_id, with_for_update=True)
    if campaign is None:
        return False
    now = runtime.clock()
    if campaign.kind is CampaignKind.TRIGGERED:
        return await _tell_waiting(session, runtime, tenant, campaign, now)
    due = campaign.next_at is not None and campaign.next_at <= now
    if not due or campaign.status not in (CampaignStatus.SCHEDULED, CampaignStatus.SENDING):
        return False
    if not (ready := await _ready(session, runtime, campaign, now)):
        return False
    if campaign.status is CampaignStatus.SCHEDULED:
        campaigns.begin(campaign, now=now)
    settings = await communities.read_settings(session, campaign.community_id)
    if await _waits_for_morning(session, campaign, now):
        return False
    audience = campaign_audience.audience_of(campaign, ready[1], settings)
    people = campaign_audience.judged(audience, now=now).order_by(Resident.id).limit(RESIDENTS_PER_TRANSACTION)
    if campaign.last_resident_id is not None:
        people = people.where(Resident.id > campaign.last_resident_id)
    rows = (await session.execute(people)).all()
    telling = Telling(runtime, tenant, campaign, ready[0], ready[1][0], ONCE, now)
    await _tell(session, telling, rows)
    if rows:
        campaign.last_resident_id = rows[-1].resident_id
    over = len(rows) < RESIDENTS_PER_TRANSACTION
    if over:
        await _finish(session, campaign, now)
    await session.flush()
    return not over


async def _lock_sending(session: AsyncSession, tenant: Tenant) -> None:
    """Whoever sends in a community waits here for the others."""
    await session.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"), {"key": f"campaigns:{tenant.community_id}"}
    )


async def _ready(
    session: AsyncSession, runtime: Runtime, campaign: Campaign, now: datetime
) -> tuple[list[CampaignVariant], tuple[Item, ...]] | None:
    """Variants and items of what may be sent as it stands; else it is paused, and None."""
    try:
        items = await campaigns.check_ready(session, campaign, now=now)
    except tuple(HOLDS) as error:
        campaign.status, campaign.next_at, campaign.hold = CampaignStatus.PAUSED, None, HOLDS[type(error)]
        await campaigns.touch(session, runtime, campaign)
        log.warning("campaign_paused", campaign_id=str(campaign.id), why=error.code)
        return None
    return (await campaigns.variants_of(session, [campaign.id]))[campaign.id], items


async def _waits_for_morning(session: AsyncSession, campaign: Campaign, now: datetime) -> bool:
    """Nothing is written at night, so that whoever opts out until the morning is not told."""
    may_go = await deliveries.may_go_at(session, campaign.community_id, KIND, now)
    if may_go > now:
        campaign.next_at = may_go
    return may_go > now


async def _finish(session: AsyncSession, campaign: Campaign, now: datetime) -> None:
    campaign.status, campaign.next_at, campaign.finished_at = CampaignStatus.SENT, None, now
    campaign.version += 1
    told = select(CampaignRecipient.id).where(
        CampaignRecipient.campaign_id == campaign.id, CampaignRecipient.status == RecipientStatus.SENT
    )
    if await session.scalar(told.limit(1)) is None:
        campaign.hold = Hold.NOBODY_TOLD


async def _tell(session: AsyncSession, telling: Telling, rows: Sequence[Any]) -> set[UUID]:
    """Write what becomes of each of `judged`'s rows, and tell those who are to be told; the ids of those."""
    if not rows:
        return set()
    campaign, now = telling.campaign, telling.now
    shares = [(one.label, one.share) for one in telling.variants]
    values = []
    for row in rows:
        arm = arm_of(campaign.seed, row.household_id, holdout_percent=campaign.holdout_percent, variants=shares)
        status = RecipientStatus.HELD if arm == HOLDOUT else RecipientStatus.SENT
        values.append(
            {
                "id": CLOCK.new_id(), "community_id": campaign.community_id, "campaign_id": campaign.id,
                "resident_id": row.resident_id, "household_id": row.household_id, "arm": arm,
                "status": RecipientStatus.LEFT_OUT if row.reason else status,
                "left_out": LeftOut(row.reason) if row.reason else None,
                "item_id": telling.item.id if telling.item else None, "occasion": telling.occasion, "at": now,
            }
        )  # fmt: skip
    written = insert(CampaignRecipient).on_conflict_do_nothing().returning(CampaignRecipient.resident_id)
    new = set(await session.scalars(written, values))
    texts = {one.label: one.texts for one in telling.variants}
    told = [one for one in values if one["resident_id"] in new and one["status"] is RecipientStatus.SENT]
    await deliveries.tell_each(
        session, telling.runtime, community_id=campaign.community_id, kind=KIND,
        key=key_of(campaign.id, telling.occasion),
        letters=[_letter(telling, one["resident_id"], texts[one["arm"]]) for one in told],
    )  # fmt: skip
    return {one["resident_id"] for one in told}


def _letter(telling: Telling, resident_id: UUID, texts: dict[str, str]) -> deliveries.Letter:
    campaign, item = telling.campaign, telling.item
    name = {"zh": item.title, "en": item.title_en or item.title} if item else {"zh": "", "en": ""}
    put = {field: said.replace(PLACEHOLDER, name[field[-2:]]) for field, said in texts.items()}
    link = campaign_unsubscribe.link(telling.runtime, campaign.community_id, resident_id)
    ends = {"zh": f"\n不想再收到此类消息，点此退订：{link}", "en": f"\nNo more messages of this kind: {link}"}
    body = {
        **{language: put[f"body_{language}"] + ends[language] for language in ends},
        # For whoever reads large letters or with effort: the same in plain words, whichever the resident's app shows.
        **{f"{language}_plain": put[f"plain_{language}"] + ends[language] for language in ends},
    }
    title = {"zh": put["title_zh"], "en": put["title_en"]}
    return deliveries.Letter(resident_id, title, body, f"/items/{item.id}" if item else "", leave_link=link)


def key_of(campaign_id: UUID, occasion: UUID) -> str:
    """By which the message to one person is known: a second lock on telling nobody twice."""
    return f"campaign:{campaign_id}" if occasion == ONCE else f"campaign:{campaign_id}:{occasion}"


# What rules started


async def _tell_waiting(
    session: AsyncSession, runtime: Runtime, tenant: Tenant, campaign: Campaign, now: datetime
) -> bool:
    """Tell those whose event is long enough ago; whether there may be more."""
    due = (
        select(CampaignWait)
        .where(CampaignWait.campaign_id == campaign.id, CampaignWait.done_at.is_(None), CampaignWait.due_at <= now)
        .order_by(CampaignWait.due_at, CampaignWait.id)
        .limit(RESIDENTS_PER_TRANSACTION)
    )
    waits = (await session.scalars(due)).all()
    if not waits:
        return False
    if campaign.status in (CampaignStatus.SENT, CampaignStatus.CANCELLED):
        _end(waits, "campaign_over", now)
        return True
    variants: list[CampaignVariant] = []
    if campaign.status is CampaignStatus.SENDING and (ready := await _ready(session, runtime, campaign, now)):
        variants = ready[0]
    morning = await deliveries.may_go_at(session, campaign.community_id, KIND, now)
    if not variants or morning > now:
        later = morning if variants else now + timedelta(hours=PAUSED_WAITS_HOURS)
        for wait in waits:
            wait.due_at = later
        return True
    settings = await communities.read_settings(session, campaign.community_id)
    groups: dict[tuple[UUID | None, UUID, UUID], list[CampaignWait]] = {}
    for wait in waits:
        groups.setdefault((wait.item_id, wait.occasion, wait.rule_id), []).append(wait)
    telling = Telling(runtime, tenant, campaign, variants, None, ONCE, now)
    for (item_id, occasion, rule_id), group in groups.items():
        await _tell_group(session, telling, settings, group, item_id=item_id, occasion=occasion, rule_id=rule_id)
    await session.flush()
    return len(waits) == RESIDENTS_PER_TRANSACTION


async def _tell_group(
    session: AsyncSession, telling: Telling, settings: CommunitySettings, waits: Sequence[CampaignWait], *,
    item_id: UUID | None, occasion: UUID, rule_id: UUID,
) -> None:  # fmt: skip
    """Tell those who wait for the same thing, as far as the campaign means them."""
    campaign, now = telling.campaign, telling.now
    rule = await session.get_one(CampaignRule, rule_id)
    ids = list(campaign.item_ids) or ([item_id] if item_id else [])
    try:
        items = await campaign_audience.get_items(session, campaign.community_id, ids)
        await campaign_audience.check_available(session, items, now=now)
    except (ItemNotFound, ItemNotAvailable):
        _end(waits, "item_not_available", now)
        return
    if items and find_claims(f"{items[0].title}\n{items[0].title_en}"):
        # Its title is put into the copy, and nobody approved it.
        _end(waits, "title_refused", now)
        return
    audience = campaign_audience.audience_of(
        campaign, items, settings, triggered_by_behaviour=rule.event is not RuleEvent.MOVED_IN
    )
    wanted = campaign_audience.judged(audience, now=now).where(Resident.id.in_([one.resident_id for one in waits]))
    rows = {row.resident_id: row for row in await session.execute(wanted)}
    telling = Telling(
        telling.runtime, telling.tenant, campaign, telling.variants, items[0] if items else None, occasion, now
    )
    told = await _tell(session, telling, list(rows.values()))
    for wait in waits:
        row = rows.get(wait.resident_id)
        outcome = "not_in_audience" if row is None else row.reason or "held_or_told_before"
        _end([wait], "told" if wait.resident_id in told else outcome, now)


def _end(waits: Sequence[CampaignWait], outcome: str, now: datetime) -> None:
    for wait in waits:
        wait.done_at, wait.outcome = now, outcome
