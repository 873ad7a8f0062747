"""The community's own rules of who gets which orders, before Linli chooses among those who are left."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app.clock import CLOCK
from app.errors import Conflict, Invalid, NotFound
from app.people import communities, spaces, staff
from app.people.callers import Caller
from app.people.spaces import SpaceNotFound
from app.people.tables import SpaceKind
from app.runtime import Runtime
from app.service_desk import categories
from app.service_desk.duty_tables import AssignmentRule
from app.service_desk.tables import WorkOrder, WorkOrderCategory

RULES_MAX = 1_000


class AssignmentRuleNotFound(NotFound):
    code = "assignment_rule_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such assignment rule.", "没有这条派单规则。")


class AssignmentRuleExists(Conflict):
    code = "assignment_rule_exists"

    def __init__(self, rule_id: UUID) -> None:
        super().__init__(
            "There is a rule for this category and building. Change that one.",
            "该类别和楼栋已有派单规则，请直接修改。",
            rule_id=str(rule_id),
        )  # fmt: skip


class TooManyAssignmentRules(Conflict):
    code = "too_many_assignment_rules"

    def __init__(self) -> None:
        super().__init__(f"A community has at most {RULES_MAX} rules.", f"每个小区最多 {RULES_MAX} 条派单规则。")


class AssignmentRuleEmpty(Invalid):
    code = "assignment_rule_empty"

    def __init__(self) -> None:
        super().__init__("Name a skill, a member of staff or a mode.", "请指定技能、员工或派单方式中的至少一项。")


def visible_to(caller: Caller) -> Select[AssignmentRule]:
    return select(AssignmentRule).where(AssignmentRule.community_id == caller.community_id)


async def get(session: AsyncSession, caller: Caller, rule_id: UUID, *, locked: bool = False) -> AssignmentRule:
    """Raises AssignmentRuleNotFound."""
    statement = visible_to(caller).where(AssignmentRule.id == rule_id)
    rule = (await session.scalars(statement.with_for_update() if locked else statement)).one_or_none()
    if rule is None:
        raise AssignmentRuleNotFound
    return rule


async def open_rule(
    session: AsyncSession, runtime: Runtime, caller: Caller, *, category_id: UUID | None, building_id: UUID | None,
    **chosen: Any,
) -> AssignmentRule:  # fmt: skip
    """A new rule; it holds for orders that are given to somebody from now on. `chosen`: skill, staff_id, mode.

    Raises: CategoryNotFound, SpaceNotFound, StaffNotFound, AssignmentRuleExists, TooManyAssignmentRules,
    AssignmentRuleEmpty.
    """
    await communities.lock(session, caller)
    if category_id is not None:
        await categories.get(session, caller, category_id)
    if building_id is not None and (await spaces.get(session, caller, building_id)).kind is not SpaceKind.BUILDING:
        raise SpaceNotFound
    same = visible_to(caller).where(
        AssignmentRule.category_id.is_not_distinct_from(category_id),
        AssignmentRule.building_id.is_not_distinct_from(building_id),
    )
    if existing := (await session.scalars(same)).one_or_none():
        raise AssignmentRuleExists(existing.id)
    if (await session.scalar(visible_to(caller).with_only_columns(func.count())) or 0) >= RULES_MAX:
        raise TooManyAssignmentRules
    rule = AssignmentRule(
        id=CLOCK.new_id(), community_id=caller.community_id, category_id=category_id, building_id=building_id,
        created_at=runtime.clock(),
    )  # fmt: skip
    await change(session, caller, rule, chosen)
    session.add(rule)
    await session.flush()
    return rule


async def change(session: AsyncSession, caller: Caller, rule: AssignmentRule, changes: Mapping[str, Any]) -> None:
    """Raises: StaffNotFound, AssignmentRuleEmpty."""
    if changes.get("staff_id") is not None:
        await staff.get(session, caller, changes["staff_id"])
    for name, value in changes.items():
        setattr(rule, name, value)
    if rule.skill is None and rule.staff_id is None and rule.mode is None:
        raise AssignmentRuleEmpty
    await session.flush()


async def find(session: AsyncSession, order: WorkOrder) -> AssignmentRule | None:
    """The rule that holds for an order, if one does."""
    rules = (
        await session.scalars(select(AssignmentRule).where(AssignmentRule.community_id == order.community_id))
    ).all()
    if not rules or order.category_id is None:
        return choose(rules, (), order.building_id)
    return choose(rules, await _line_of(session, order.category_id), order.building_id)


def choose(rules: Iterable[AssignmentRule], line: Sequence[UUID], building_id: UUID | None) -> AssignmentRule | None:
    """The narrowest rule: the nearest category first (`line`: the order's own, then those above), then its building.

    Pure.
    """
    fitting = [
        rule
        for rule in rules
        if (rule.category_id is None or rule.category_id in line) and rule.building_id in (None, building_id)
    ]

    def breadth(rule: AssignmentRule) -> tuple[int, bool]:
        return (len(line) if rule.category_id is None else line.index(rule.category_id), rule.building_id is None)

    return min(fitting, key=breadth, default=None)


async def _line_of(session: AsyncSession, category_id: UUID) -> list[UUID]:
    """A category and those above it, upwards."""
    own = select(WorkOrderCategory.id, WorkOrderCategory.parent_id).where(WorkOrderCategory.id == category_id)
    line = own.cte("line", recursive=True)
    above = aliased(WorkOrderCategory)
    line = line.union(select(above.id, above.parent_id).join(line, above.id == line.c.parent_id))
    parents: dict[UUID, UUID | None] = {row.id: row.parent_id for row in await session.execute(select(line))}
    found: list[UUID] = []
    at: UUID | None = category_id
    while at is not None and at in parents and at not in found:
        found.append(at)
        at = parents[at]
    return found
