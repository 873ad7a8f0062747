"""Rules that start a triggered campaign for one resident some hours after an event."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.clock import CLOCK
from app.people import communities
from app.people.callers import Caller
from app.recommend import campaigns
from app.recommend.campaign_errors import CampaignRuleNotFound, RuleIncomplete, RuleNeedsTriggered, TooManyCampaigns
from app.recommend.campaign_tables import CampaignKind, CampaignRule, RuleEvent
from app.runtime import Runtime

RULES_MAX = 50


def visible_to(caller: Caller) -> Select[CampaignRule]:
    return select(CampaignRule).where(CampaignRule.community_id == caller.community_id)


async def get(session: AsyncSession, caller: Caller, rule_id: UUID, *, locked: bool = False) -> CampaignRule:
    """Raises CampaignRuleNotFound."""
    statement = visible_to(caller).where(CampaignRule.id == rule_id)
    rule = (await session.scalars(statement.with_for_update() if locked else statement)).one_or_none()
    if rule is None:
        raise CampaignRuleNotFound
    return rule


async def open_rule(
    session: AsyncSession, runtime: Runtime, caller: Caller, *, campaign_id: UUID, **given: Any
) -> CampaignRule:
    """Raises: CampaignNotFound, RuleNeedsTriggered, RuleIncomplete, TooManyCampaigns."""
    await communities.lock(session, caller)
    campaign = await campaigns.get(session, caller, campaign_id)
    if campaign.kind is not CampaignKind.TRIGGERED:
        raise RuleNeedsTriggered
    if (await session.scalar(visible_to(caller).with_only_columns(func.count())) or 0) >= RULES_MAX:
        raise TooManyCampaigns(RULES_MAX)
    now = runtime.clock()
    rule = CampaignRule(
        id=CLOCK.new_id(), community_id=caller.community_id, campaign_id=campaign.id, version=1, created_at=now,
        updated_at=now, **given,
    )  # fmt: skip
    _check(rule)
    session.add(rule)
    await session.flush()
    return rule


async def change(session: AsyncSession, runtime: Runtime, rule: CampaignRule, changes: Mapping[str, Any]) -> None:
    """Change a locked rule; what it heard before keeps its time. Raises RuleIncomplete."""
    for name, value in changes.items():
        setattr(rule, name, value)
    _check(rule)
    rule.version += 1
    rule.updated_at = runtime.clock()
    await session.flush()


def _check(rule: CampaignRule) -> None:
    """A new item is for whoever likes its category. Raises RuleIncomplete."""
    if rule.event is RuleEvent.ITEM_CREATED and not rule.category:
        raise RuleIncomplete
