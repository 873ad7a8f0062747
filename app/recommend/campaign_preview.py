"""How many a campaign would reach, who is left out and why, and whom others reach too: before anybody is told.

A filter asks what people did, so its counts could tell of somebody: none is given of fewer households than the
community shows anywhere. Nobody is named, and the size of the whole audience is not told, so that nothing can be found
by subtraction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import Select, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.notices import quiet
from app.people import communities
from app.people.local_time import zone_of
from app.recommend import campaign_audience
from app.recommend.campaign_audience import Audience, judged
from app.recommend.campaign_filter import parse
from app.recommend.campaign_sending import KIND
from app.recommend.campaign_tables import Campaign, CampaignKind, CampaignRecipient, CampaignStatus, LeftOut
from app.recommend.campaign_tables import RecipientStatus as Became
from app.recommend.tables import Item

OVERLAPS_MAX = 5
RECENT_DAYS = 7
"""What was sent longer ago nobody counts as too much at once."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """Another campaign that reaches some of the same residents, lately or soon."""

    campaign_id: UUID
    name: str
    status: CampaignStatus
    at: datetime | None
    residents: int | None


@dataclass(frozen=True, slots=True)
class Preview:
    """`recipients` None: some, and fewer households than are shown. `leaves_at`: after the quiet hours."""

    nobody: bool
    recipients: int | None
    households: int | None
    left_out: dict[LeftOut, int | None]
    leaves_at: datetime
    quiet: bool
    overlaps: list[Overlap]
    households_min: int


async def preview(session: AsyncSession, campaign: Campaign, items: Sequence[Item], *, now: datetime) -> Preview:
    """What would happen if it were sent now, or as scheduled."""
    settings = await communities.read_settings(session, campaign.community_id)
    least = settings.analytics_households_min
    audience = campaign_audience.audience_of(campaign, items, settings)
    people = judged(audience, now=now).subquery()
    counts = (func.count().label("residents"), func.count(people.c.household_id.distinct()).label("households"))
    rows = {
        row.reason: row for row in await session.execute(select(people.c.reason, *counts).group_by(people.c.reason))
    }
    reached = rows.get(None)
    leaves, zone = max(campaign.send_at or now, now), await zone_of(session, campaign.community_id)
    leaves_at = leaves_after_quiet(leaves, settings.quiet_hours, zone)
    return Preview(
        nobody=reached is None,
        recipients=_shown(reached, least),
        households=reached.households if reached and reached.households >= least else (None if reached else 0),
        left_out={reason: _shown(rows.get(reason.value), least) for reason in LeftOut},
        leaves_at=leaves_at, quiet=leaves_at > leaves,
        overlaps=await _overlaps(session, campaign, audience, now=now, least=least), households_min=least,
    )  # fmt: skip


def leaves_after_quiet(at: datetime, hours: str, zone: ZoneInfo) -> datetime:
    return quiet.may_go_at(at, kind=KIND, hours=hours, zone=zone)


def _shown(row: Any, least: int) -> int | None:
    if row is None:
        return 0
    return int(row.residents) if row.households >= least else None


async def _overlaps(
    session: AsyncSession, campaign: Campaign, audience: Audience, *, now: datetime, least: int
) -> list[Overlap]:
    lately = Campaign.started_at > now - timedelta(days=RECENT_DAYS)
    others = (
        select(Campaign)
        .where(
            Campaign.community_id == campaign.community_id, Campaign.id != campaign.id,
            Campaign.kind == CampaignKind.BROADCAST,
            or_(Campaign.status == CampaignStatus.SCHEDULED, and_(lately, Campaign.started_at.is_not(None))),
        )
        .order_by(Campaign.id.desc())
        .limit(OVERLAPS_MAX)
    )  # fmt: skip
    found = []
    for other in (await session.scalars(others)).all():
        mine = judged(audience, now=now).subquery()
        both = select(
            func.count().label("residents"), func.count(mine.c.household_id.distinct()).label("households")
        ).where(mine.c.reason.is_(None), mine.c.resident_id.in_(_reached_by(other, now)))
        row = (await session.execute(both)).one()
        if row.residents:
            at = other.started_at or other.send_at
            found.append(Overlap(other.id, other.name, other.status, at, _shown(row, least)))
    return found


def _reached_by(other: Campaign, now: datetime) -> Select[Any]:
    """Whom another campaign told, or means to tell."""
    if other.started_at is not None:
        return select(CampaignRecipient.resident_id).where(
            CampaignRecipient.campaign_id == other.id, CampaignRecipient.status == Became.SENT
        )
    meant = Audience(other.community_id, parse(other.filter), (), ())
    return select(judged(meant, now=now).subquery().c.resident_id)
