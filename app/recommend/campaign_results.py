"""What came of a campaign: by variant and for the hold-out, and how much of it the campaign brought.

Compared are those who could have been told at that moment: the ones who were, and the ones held out. Whoever was left
out (opted out, over the cap, out of reach) is left out on both sides. Small groups are hidden as everywhere.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Integer, Interval, String, and_, case, cast, exists, func, literal, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.notices.tables import Delivery, DeliveryStatus, Message
from app.people import communities
from app.people.suppression import hidden_groups
from app.people.tables import Resident
from app.recommend.campaign_assignment import HOLDOUT
from app.recommend.campaign_statistics import Lift, Rate, lift_of, rate_of
from app.recommend.campaign_tables import ONCE, Campaign, CampaignRecipient, LeftOut, RecipientStatus
from app.recommend.tables import FeedbackKind, ItemFeedback

FIGURES = ("delivered", "read", "clicked", "reached_goal")
TOLD = "told"
"""Of all variants together."""


@dataclass(frozen=True, slots=True)
class Arm:
    """Figures of one variant, of all (`TOLD`) or of the hold-out; None throughout where few households stand behind.

    `counts`: residents, by FIGURES. `rate` and `lift` are of the goal; the hold-out has no lift.
    """

    label: str
    households: int | None
    residents: int | None
    sent: int | None
    counts: dict[str, int | None]
    rate: Rate | None
    lift: Lift | None
    hidden: bool


@dataclass(frozen=True, slots=True)
class Results:
    """`attributed_until`: what happens after that counts no more; `complete`: it is over for everybody."""

    arms: list[Arm]
    left_out: dict[LeftOut, int | None]
    attributed_until: datetime | None
    complete: bool
    households_min: int


async def results_of(session: AsyncSession, campaign: Campaign, *, now: datetime) -> Results:
    least = (await communities.read_settings(session, campaign.community_id)).analytics_households_min
    by_arm: dict[str, list[Any]] = defaultdict(list)
    for row in await session.execute(_by_household(campaign)):
        by_arm[row.arm].append(row)
    homes = {arm: {row.household_id for row in rows} for arm, rows in by_arm.items()}
    variants = {arm: found for arm, found in homes.items() if arm != HOLDOUT}
    hidden = hidden_groups(variants, sizes={arm: len(found) for arm, found in variants.items()}, least=least)
    few_held = len(homes.get(HOLDOUT, ())) < least
    held = [] if few_held else by_arm[HOLDOUT]
    arms = [_arm(label, by_arm[label], held, hidden=label in hidden) for label in sorted(variants)]
    told = [row for label in variants for row in by_arm[label]]
    few_told = len({home for found in variants.values() for home in found}) < least
    arms.append(_arm(TOLD, told, held, hidden=few_told))
    if campaign.holdout_percent:
        arms.append(_arm(HOLDOUT, held, (), hidden=few_held))
    last = await session.scalar(
        select(func.max(CampaignRecipient.at)).where(CampaignRecipient.campaign_id == campaign.id)
    )
    until = last + timedelta(days=campaign.attribution_days) if last else None
    return Results(arms, await _left_out(session, campaign, least), until, until is not None and until <= now, least)


def _arm(label: str, rows: Sequence[Any], held: Sequence[Any], *, hidden: bool) -> Arm:
    if hidden:
        return Arm(label, None, None, None, dict.fromkeys(FIGURES), None, None, hidden=True)
    rate = rate_of([(row.residents, row.reached_goal) for row in rows])
    compared = lift_of(rate, rate_of([(row.residents, row.reached_goal) for row in held]))
    counts: dict[str, int | None] = {name: sum(getattr(row, name) for row in rows) for name in FIGURES}
    return Arm(
        label, len({row.household_id for row in rows}), sum(row.residents for row in rows),
        sum(row.sent for row in rows), counts, rate, compared, hidden=False,
    )  # fmt: skip


def _by_household(campaign: Campaign) -> Any:
    """Of each household in each arm: how many were told or held out, and how many of them did what."""
    recipient = CampaignRecipient
    sent = recipient.status == RecipientStatus.SENT
    key = func.concat(f"campaign:{campaign.id}", _occasion())
    same = and_(
        Message.community_id == recipient.community_id, Message.person_id == recipient.resident_id, Message.key == key
    )
    left = exists().where(Delivery.message_id == Message.id, Delivery.status == DeliveryStatus.SENT)
    figures: dict[str, ColumnElement[bool]] = {
        "residents": literal(True),
        "sent": sent,
        # In the app at once, for whoever has an account; else when a channel took it.
        "delivered": and_(sent, or_(Resident.account_id.is_not(None), left)),
        "read": and_(sent, Message.read_at.is_not(None)),
        "clicked": _did(campaign, FeedbackKind.CLICKED),
        "reached_goal": _did(campaign, campaign.goal),
    }
    return (
        select(
            recipient.arm,
            recipient.household_id,
            *(func.sum(cast(condition, Integer)).label(name) for name, condition in figures.items()),
        )
        .select_from(recipient)
        .join(Resident, Resident.id == recipient.resident_id)
        .outerjoin(Message, same)
        .where(recipient.campaign_id == campaign.id, recipient.status.in_((RecipientStatus.SENT, RecipientStatus.HELD)))
        .group_by(recipient.arm, recipient.household_id)
    )


def _occasion() -> ColumnElement[str]:
    """What stands behind the campaign's id in the key of a message (campaign_sending.py: key_of)."""
    occasion = CampaignRecipient.occasion
    return case((occasion == ONCE, literal("")), else_=func.concat(":", cast(occasion, String)))


def _did(campaign: Campaign, kind: FeedbackKind) -> ColumnElement[bool]:
    """Whether a recipient did this with an item of the campaign within its days."""
    recipient = CampaignRecipient
    about = (
        ItemFeedback.item_id.in_(campaign.item_ids) if campaign.item_ids else ItemFeedback.item_id == recipient.item_id
    )
    return exists().where(
        ItemFeedback.community_id == recipient.community_id, ItemFeedback.resident_id == recipient.resident_id, about,
        ItemFeedback.kind == kind, ItemFeedback.at >= recipient.at,
        ItemFeedback.at < recipient.at + literal(timedelta(days=campaign.attribution_days), Interval),
    )  # fmt: skip


async def _left_out(session: AsyncSession, campaign: Campaign, least: int) -> dict[LeftOut, int | None]:
    recipient = CampaignRecipient
    rows = await session.execute(
        select(recipient.left_out, func.count(), func.count(recipient.household_id.distinct()))
        .where(recipient.campaign_id == campaign.id, recipient.status == RecipientStatus.LEFT_OUT)
        .group_by(recipient.left_out)
    )
    found = {row[0]: row[1] if row[2] >= least else None for row in rows}
    return {reason: found.get(reason, 0) for reason in LeftOut}
