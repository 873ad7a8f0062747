"""Campaigns: made, changed, approved by a person, scheduled, sent, paused and cancelled.

A row is locked before it is moved. Nobody is told from here: campaign_sending.py does that, in the background.
"""

import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import Select, delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.clock import CLOCK
from app.people import communities
from app.people.callers import Caller, CallerKind
from app.people.local_time import zone_of
from app.queue import Job, Lane, send_after_commit
from app.recommend import campaign_audience, campaign_facts
from app.recommend.campaign_copy import TEXTS, CopyProblem, check_copy
from app.recommend.campaign_errors import (
    CampaignForNobody,
    CampaignMoveNotAllowed,
    CampaignNotEditable,
    CampaignNotFound,
    CampaignUnderWay,
    CapIncomplete,
    CopyNotApproved,
    CopyRefused,
    ItemsMissing,
    LabelsRepeated,
    NoSuchLocalTime,
    PersonMustApprove,
    ScheduleInThePast,
    TooManyCampaigns,
    TriggeredByRules,
)
from app.recommend.campaign_facts import Facts
from app.recommend.campaign_tables import (
    CAMPAIGN_MOVES,
    UNFINISHED,
    Campaign,
    CampaignKind,
    CampaignStatus,
    CampaignVariant,
    WordedBy,
)
from app.recommend.tables import Item
from app.runtime import Runtime

SEND = "recommend.send_campaign"
CAMPAIGNS_MAX = 100
"""Unfinished ones of one community."""
LABELS = ("A", "B", "C")
FACTUAL = frozenset({"item_ids"})
"""What the words of a copy rest on: a change takes every approval back."""


def visible_to(caller: Caller) -> Select[Campaign]:
    return select(Campaign).where(Campaign.community_id == caller.community_id)


async def get(session: AsyncSession, caller: Caller, campaign_id: UUID, *, locked: bool = False) -> Campaign:
    """Raises CampaignNotFound."""
    statement = visible_to(caller).where(Campaign.id == campaign_id)
    campaign = (await session.scalars(statement.with_for_update() if locked else statement)).one_or_none()
    if campaign is None:
        raise CampaignNotFound
    return campaign


def list_statement(caller: Caller, *, status: CampaignStatus | None = None) -> Select[Campaign]:
    return visible_to(caller) if status is None else visible_to(caller).where(Campaign.status == status)


async def variants_of(session: AsyncSession, campaign_ids: Sequence[UUID]) -> dict[UUID, list[CampaignVariant]]:
    """The variants of each campaign, A first."""
    statement = select(CampaignVariant).where(CampaignVariant.campaign_id.in_(campaign_ids))
    found: dict[UUID, list[CampaignVariant]] = {one: [] for one in campaign_ids}
    for variant in await session.scalars(statement.order_by(CampaignVariant.label)):
        found[variant.campaign_id].append(variant)
    return found


async def open_campaign(
    session: AsyncSession, runtime: Runtime, caller: Caller, *, variants: Sequence[Mapping[str, Any]], **given: Any
) -> Campaign:
    """A new draft.

    Raises: FilterInvalid, SpaceNotFound, ItemNotFound, TooManyCampaigns, CapIncomplete, LabelsRepeated.
    """
    await communities.lock(session, caller)
    open_ones = visible_to(caller).where(Campaign.status.in_(UNFINISHED)).with_only_columns(func.count())
    if (await session.scalar(open_ones) or 0) >= CAMPAIGNS_MAX:
        raise TooManyCampaigns(CAMPAIGNS_MAX)
    await _check(session, caller, given)
    check_cap(given["cap_messages"], given["cap_days"])
    now = runtime.clock()
    campaign = Campaign(
        id=CLOCK.new_id(), community_id=caller.community_id, status=CampaignStatus.DRAFT, seed=secrets.token_hex(16),
        version=1, created_by_kind=caller.kind, created_by=caller.id, created_at=now, updated_at=now, **given,
    )  # fmt: skip
    session.add(campaign)
    await session.flush()
    await _set_variants(session, campaign, variants, now=now)
    return campaign


async def change(
    session: AsyncSession, runtime: Runtime, caller: Caller, campaign: Campaign, changes: Mapping[str, Any]
) -> None:
    """Change a locked campaign that nobody was told yet. Raises as `open_campaign`, and CampaignNotEditable."""
    check_editable(campaign)
    given = dict(changes)
    variants = given.pop("variants", None)
    await _check(session, caller, given)
    if any(getattr(campaign, name) != given[name] for name in FACTUAL & set(given)):
        for variant in (await variants_of(session, [campaign.id]))[campaign.id]:
            variant.approved_at = variant.approved_by = None
    for name, value in given.items():
        setattr(campaign, name, value)
    check_cap(campaign.cap_messages, campaign.cap_days)
    if variants is not None:
        await _set_variants(session, campaign, variants, now=runtime.clock())
    await touch(session, runtime, campaign)


def check_cap(messages: int | None, days: int | None) -> None:
    """Raises CapIncomplete."""
    if (messages is None) is not (days is None):
        raise CapIncomplete


def check_editable(campaign: Campaign) -> None:
    """Raises CampaignNotEditable."""
    untold = campaign.status is CampaignStatus.PAUSED and campaign.started_at is None
    if campaign.status is not CampaignStatus.DRAFT and not untold:
        raise CampaignNotEditable(campaign.status)


async def _check(session: AsyncSession, caller: Caller, given: Mapping[str, Any]) -> None:
    if "filter" in given:
        await campaign_audience.read_filter(session, caller, given["filter"])
    await campaign_audience.get_items(session, caller.community_id, given.get("item_ids", ()))


async def _set_variants(
    session: AsyncSession, campaign: Campaign, wanted: Sequence[Mapping[str, Any]], *, now: datetime
) -> None:
    """What was written by hand stays approved only where not a letter of it changed."""
    there = {one.label: one for one in (await variants_of(session, [campaign.id]))[campaign.id]}
    labels = [one["label"] for one in wanted]
    if len(set(labels)) < len(labels):
        raise LabelsRepeated
    gone = delete(CampaignVariant).where(
        CampaignVariant.campaign_id == campaign.id, CampaignVariant.label.not_in(labels)
    )
    await session.execute(gone)
    for one in wanted:
        variant = there.get(one["label"])
        if variant is None:
            variant = CampaignVariant(
                id=CLOCK.new_id(), community_id=campaign.community_id, campaign_id=campaign.id, label=one["label"],
                texts={}, worded_by=WordedBy.NOBODY, updated_at=now,
            )  # fmt: skip
            session.add(variant)
        variant.share = one["share"]
        if (texts := one.get("texts")) is not None and texts != variant.texts:
            set_texts(variant, texts, WordedBy.PERSON if any(texts.values()) else WordedBy.NOBODY, now=now)
    await session.flush()


def set_texts(variant: CampaignVariant, texts: Mapping[str, str], by: WordedBy, *, now: datetime) -> None:
    variant.texts, variant.worded_by, variant.updated_at = dict(texts), by, now
    variant.approved_at = variant.approved_by = None


async def touch(session: AsyncSession, runtime: Runtime, campaign: Campaign) -> None:
    campaign.version += 1
    campaign.updated_at = runtime.clock()
    await session.flush()


async def remove(session: AsyncSession, campaign: Campaign) -> None:
    """Delete one of which nobody was told anything. Raises CampaignUnderWay."""
    if campaign.started_at is not None:
        raise CampaignUnderWay(campaign.status)
    await session.delete(campaign)
    await session.flush()


# Copy


async def facts_of(session: AsyncSession, community_id: UUID, items: Sequence[Item]) -> Facts:
    settings = await communities.read_settings(session, community_id)
    zone = await zone_of(session, community_id)
    return campaign_facts.facts_of(items, zone=zone, phone=settings.service_phone)


def problems_of(variants: Sequence[CampaignVariant], facts: Facts) -> list[tuple[str, CopyProblem]]:
    """What stands against each variant, by label."""
    return [
        (variant.label, problem)
        for variant in variants
        for problem in check_copy(variant.texts, facts.sources, costs=facts.costs)
    ]


async def approve(session: AsyncSession, runtime: Runtime, caller: Caller, campaign: Campaign) -> None:
    """A person stands for the words of all variants. Raises: CampaignNotEditable, PersonMustApprove, CopyRefused."""
    check_editable(campaign)
    if caller.kind is not CallerKind.STAFF:
        raise PersonMustApprove
    variants = (await variants_of(session, [campaign.id]))[campaign.id]
    items = await campaign_audience.get_items(session, campaign.community_id, campaign.item_ids)
    if problems := problems_of(variants, await facts_of(session, campaign.community_id, items)):
        raise CopyRefused(problems)
    for variant in variants:
        if variant.approved_at is None:
            variant.approved_at, variant.approved_by = runtime.clock(), caller.id
    await touch(session, runtime, campaign)


async def check_ready(session: AsyncSession, campaign: Campaign, *, now: datetime) -> tuple[Item, ...]:
    """The items of a campaign that may be sent as it stands: what was approved may not be true any more.

    Raises: ItemsMissing, ItemNotFound, ItemNotAvailable, CopyNotApproved, CopyRefused.
    """
    if campaign.kind is CampaignKind.BROADCAST and not campaign.item_ids:
        raise ItemsMissing
    items = await campaign_audience.get_items(session, campaign.community_id, campaign.item_ids)
    await campaign_audience.check_available(session, items, now=now)
    variants = (await variants_of(session, [campaign.id]))[campaign.id]
    if waiting := [one.label for one in variants if one.approved_at is None]:
        raise CopyNotApproved(waiting)
    if problems := problems_of(variants, await facts_of(session, campaign.community_id, items)):
        raise CopyRefused(problems)
    return items


# Moves


def check_move(campaign: Campaign, wanted: CampaignStatus) -> None:
    """Raises CampaignMoveNotAllowed."""
    if wanted not in CAMPAIGN_MOVES[campaign.status]:
        raise CampaignMoveNotAllowed(campaign.status, wanted)


async def schedule(session: AsyncSession, runtime: Runtime, campaign: Campaign, *, local_time: str) -> None:
    """Send a locked campaign later, by the community's wall clock.

    Raises: CampaignMoveNotAllowed, TriggeredByRules, NoSuchLocalTime, ScheduleInThePast, and as `check_ready`.
    """
    now = runtime.clock()
    send_at = moment_of(local_time, await zone_of(session, campaign.community_id))
    if send_at <= now:
        raise ScheduleInThePast
    check_move(campaign, CampaignStatus.SCHEDULED)
    if campaign.kind is CampaignKind.TRIGGERED:
        raise TriggeredByRules
    await check_ready(session, campaign, now=now)
    campaign.status, campaign.hold = CampaignStatus.SCHEDULED, None
    campaign.send_at = campaign.next_at = send_at
    await touch(session, runtime, campaign)


def moment_of(local_time: str, zone: ZoneInfo) -> datetime:
    """A time of the wall clock, 2026-11-25T18:30; of an hour that comes twice the first. Raises NoSuchLocalTime."""
    try:
        said = datetime.fromisoformat(local_time)
    except ValueError:
        raise NoSuchLocalTime from None
    at = said.replace(tzinfo=zone).astimezone(UTC)
    # What the clocks skip comes back as another time.
    if at.astimezone(zone).replace(tzinfo=None) != said:
        raise NoSuchLocalTime
    return at


async def send(session: AsyncSession, runtime: Runtime, campaign: Campaign) -> None:
    """Send a locked campaign now, go on with one that was paused, or let rules start a triggered one.

    Raises: CampaignMoveNotAllowed, CampaignForNobody, and as `check_ready`.
    """
    check_move(campaign, CampaignStatus.SENDING)
    now = runtime.clock()
    items = await check_ready(session, campaign, now=now)
    broadcast = campaign.kind is CampaignKind.BROADCAST
    if broadcast and campaign.started_at is None and not await _anybody(session, campaign, items, now=now):
        raise CampaignForNobody
    begin(campaign, now=now)
    await touch(session, runtime, campaign)
    send_after_commit(session, job_of(campaign.id, campaign.community_id))


def begin(campaign: Campaign, *, now: datetime) -> None:
    campaign.status, campaign.hold = CampaignStatus.SENDING, None
    campaign.started_at = campaign.started_at or now
    campaign.next_at = now if campaign.kind is CampaignKind.BROADCAST else None


async def _anybody(session: AsyncSession, campaign: Campaign, items: Sequence[Item], *, now: datetime) -> bool:
    settings = await communities.read_settings(session, campaign.community_id)
    audience = campaign_audience.audience_of(campaign, items, settings)
    people = campaign_audience.judged(audience, now=now).subquery()
    found = select(people.c.resident_id).where(people.c.reason.is_(None)).limit(1)
    return await session.scalar(found) is not None


async def stop(session: AsyncSession, runtime: Runtime, campaign: Campaign, wanted: CampaignStatus) -> None:
    """Pause or cancel a locked campaign: whoever was told stays told. Raises CampaignMoveNotAllowed."""
    check_move(campaign, wanted)
    campaign.status, campaign.next_at = wanted, None
    if wanted is CampaignStatus.CANCELLED:
        campaign.finished_at = runtime.clock()
    await touch(session, runtime, campaign)


def job_of(campaign_id: UUID, community_id: UUID) -> Job:
    return Job(SEND, campaign_id, community_id, lane=Lane.BATCH)


def blank_texts() -> dict[str, str]:
    return dict.fromkeys(TEXTS, "")
