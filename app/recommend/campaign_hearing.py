"""What rules hear of: in the transaction in which it happens, as rows that say who is told what and when.

Imports tables, never verbs: whatever tells of something here may be used by campaigns.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, Select, String, any_, cast, delete, func, literal, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.clock import CLOCK
from app.people.tables import Residency
from app.recommend.campaign_filter import BEHAVIOUR
from app.recommend.campaign_tables import (
    ONCE,
    Campaign,
    CampaignRule,
    CampaignStatus,
    CampaignWait,
    RuleEvent,
)
from app.recommend.tables import FeedbackKind, Item, ItemFeedback

INTEREST_DAYS = 90
"""A new item is told to whoever did something with its category within so many days."""
WAITS_MAX = 5_000
"""Of one event and rule: the earliest residents first."""


async def hear_of_feedback(
    session: AsyncSession, *, community_id: UUID, resident_id: UUID, item_id: UUID, categories: Sequence[str],
    kind: FeedbackKind, now: datetime,
) -> None:  # fmt: skip
    """A resident did something with an item for the first time."""
    if kind not in BEHAVIOUR:
        return
    heard = _rules(community_id, RuleEvent.FEEDBACK, categories).where(_about([kind]))
    for rule in (await session.scalars(heard)).all():
        await _wait(session, rule, [resident_id], item_id=item_id, occasion=ONCE, now=now)


async def unhear_feedback(
    session: AsyncSession, *, resident_id: UUID, item_id: UUID, kinds: Sequence[FeedbackKind]
) -> None:
    """They took it back, so nobody is told because of it."""
    because = select(CampaignRule.id).where(CampaignRule.event == RuleEvent.FEEDBACK, _about(kinds))
    await session.execute(
        delete(CampaignWait).where(
            CampaignWait.resident_id == resident_id, CampaignWait.item_id == item_id, CampaignWait.done_at.is_(None),
            CampaignWait.rule_id.in_(because),
        )
    )  # fmt: skip


async def hear_of_item(session: AsyncSession, item: Item, *, now: datetime) -> None:
    """An item was added: who did something with one of its categories lately may hear of it."""
    for rule in (await session.scalars(_rules(item.community_id, RuleEvent.ITEM_CREATED, item.categories))).all():
        same = select(Item.id).where(
            Item.community_id == item.community_id, literal(rule.category) == any_(Item.categories)
        )
        interested = (
            select(ItemFeedback.resident_id)
            .where(
                ItemFeedback.community_id == item.community_id, ItemFeedback.resident_id.is_not(None),
                ItemFeedback.kind.in_(BEHAVIOUR), ItemFeedback.at >= now - timedelta(days=INTEREST_DAYS),
                ItemFeedback.item_id.in_(same),
            )
            .distinct()
            .order_by(ItemFeedback.resident_id)
            .limit(WAITS_MAX)
        )  # fmt: skip
        residents = [one for one in await session.scalars(interested) if one is not None]
        await _wait(session, rule, residents, item_id=item.id, occasion=item.id, now=now)


async def hear_of_move(session: AsyncSession, *, community_id: UUID, residency_id: UUID, now: datetime) -> None:
    """Somebody's residency was verified. Safe to be told twice."""
    statement = select(Residency.resident_id).where(
        Residency.id == residency_id, Residency.community_id == community_id, Residency.verified_at.is_not(None)
    )
    resident_id = await session.scalar(statement)
    if resident_id is not None:
        for rule in (await session.scalars(_rules(community_id, RuleEvent.MOVED_IN, ()))).all():
            await _wait(session, rule, [resident_id], item_id=None, occasion=ONCE, now=now)


def _about(kinds: Sequence[FeedbackKind]) -> ColumnElement[bool]:
    """Whether a rule names one of these kinds, or none and means any."""
    named = CampaignRule.what.bool_op("&&")(cast([kind.value for kind in kinds], ARRAY(String)))
    return or_(func.cardinality(CampaignRule.what) == 0, named)


def _rules(community_id: UUID, event: RuleEvent, categories: Sequence[str]) -> Select[Any]:
    """The rules that hear of an event: switched on, and their campaign may go on."""
    live = Campaign.status.in_((CampaignStatus.SENDING, CampaignStatus.PAUSED))
    return (
        select(CampaignRule)
        .join(Campaign, Campaign.id == CampaignRule.campaign_id)
        .where(
            CampaignRule.community_id == community_id, CampaignRule.event == event, CampaignRule.enabled, live,
            CampaignRule.category.in_(["", *categories]),
        )
        .order_by(CampaignRule.id)
    )  # fmt: skip


async def _wait(
    session: AsyncSession, rule: CampaignRule, resident_ids: Sequence[UUID], *, item_id: UUID | None, occasion: UUID,
    now: datetime,
) -> None:  # fmt: skip
    """Remember to tell them. Who waits for this rule already, or was told of this before, does not wait again."""
    rows = [
        {
            "id": CLOCK.new_id(), "community_id": rule.community_id, "campaign_id": rule.campaign_id,
            "rule_id": rule.id, "resident_id": resident_id, "item_id": item_id, "occasion": occasion,
            "due_at": now + timedelta(hours=rule.wait_hours), "done_at": None, "outcome": "", "created_at": now,
        }
        for resident_id in resident_ids
    ]  # fmt: skip
    # A statement may hold 32,767 values.
    for start in range(0, len(rows), 1_000):
        await session.execute(insert(CampaignWait).values(rows[start : start + 1_000]).on_conflict_do_nothing())
