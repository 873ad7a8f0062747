"""The deadlines of a community: minutes to answer and to be done, by class and category."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.clock import CLOCK
from app.errors import Conflict, Invalid, NotFound
from app.people import communities
from app.people.callers import Caller
from app.runtime import Runtime
from app.service_desk.duty_tables import SlaRule
from app.service_desk.errors import CategoryNotFound
from app.service_desk.tables import CategoryClass, WorkOrderCategory

RULES_MAX = 500
NULLABLE = frozenset({"warn_minutes", "escalate_minutes"})
"""Null takes the community's setting; the others are always a number."""


class SlaRuleNotFound(NotFound):
    code = "sla_rule_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such deadline rule.", "没有这条时限规则。")


class SlaRuleExists(Conflict):
    code = "sla_rule_exists"

    def __init__(self, rule_id: UUID) -> None:
        super().__init__(
            "There is a rule for this class and category. Change that one.", "该类别已有时限规则，请直接修改。",
            rule_id=str(rule_id),
        )  # fmt: skip


class TooManyRules(Conflict):
    code = "too_many_sla_rules"

    def __init__(self) -> None:
        super().__init__(f"A community has at most {RULES_MAX} rules.", f"每个小区最多 {RULES_MAX} 条时限规则。")


class MinutesReversed(Invalid):
    code = "minutes_reversed"

    def __init__(self) -> None:
        super().__init__("It is to be answered before it is to be done.", "响应时限不能长于办结时限。")


def visible_to(caller: Caller) -> Select[SlaRule]:
    return select(SlaRule).where(SlaRule.community_id == caller.community_id)


async def get(session: AsyncSession, caller: Caller, rule_id: UUID, *, locked: bool = False) -> SlaRule:
    """Raises SlaRuleNotFound."""
    statement = visible_to(caller).where(SlaRule.id == rule_id)
    rule = (await session.scalars(statement.with_for_update() if locked else statement)).one_or_none()
    if rule is None:
        raise SlaRuleNotFound
    return rule


async def open_rule(
    session: AsyncSession, runtime: Runtime, caller: Caller, *, class_: CategoryClass, category_id: UUID | None,
    **minutes: Any,
) -> SlaRule:  # fmt: skip
    """A new rule; it holds for orders that are looked at from now on. Raises: CategoryNotFound, SlaRuleExists,
    TooManyRules, MinutesReversed.
    """
    await communities.lock(session, caller)
    if category_id is not None:
        here = select(WorkOrderCategory.id).where(
            WorkOrderCategory.id == category_id, WorkOrderCategory.community_id == caller.community_id
        )
        if await session.scalar(here) is None:
            raise CategoryNotFound
    same = visible_to(caller).where(SlaRule.class_ == class_, SlaRule.category_id.is_not_distinct_from(category_id))
    if existing := (await session.scalars(same)).one_or_none():
        raise SlaRuleExists(existing.id)
    if (await session.scalar(visible_to(caller).with_only_columns(func.count())) or 0) >= RULES_MAX:
        raise TooManyRules
    rule = SlaRule(
        id=CLOCK.new_id(), community_id=caller.community_id, class_=class_, category_id=category_id,
        created_at=runtime.clock(), **minutes,
    )  # fmt: skip
    _check(rule)
    session.add(rule)
    await session.flush()
    return rule


async def change(session: AsyncSession, rule: SlaRule, changes: Mapping[str, Any]) -> None:
    """Raises MinutesReversed."""
    for name, value in changes.items():
        if value is not None or name in NULLABLE:
            setattr(rule, name, value)
    _check(rule)
    await session.flush()


def _check(rule: SlaRule) -> None:
    if rule.respond_minutes > rule.resolve_minutes:
        raise MinutesReversed
