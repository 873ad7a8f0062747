"""The tree of categories. A community begins with `default_categories.yaml` and makes it its own."""

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

import yaml
from sqlalchemy import Select, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app.clock import CLOCK
from app.people import communities
from app.people.callers import Caller
from app.service_desk.errors import CategoryExists, CategoryLoop, CategoryNotFound
from app.service_desk.tables import CategoryClass, OrderKind, WorkOrderCategory

DEFAULTS = Path(__file__).parent / "default_categories.yaml"


def visible_to(caller: Caller) -> Select[WorkOrderCategory]:
    """All categories of the community, archived ones too."""
    return select(WorkOrderCategory).where(WorkOrderCategory.community_id == caller.community_id)


def in_use(caller: Caller) -> Select[WorkOrderCategory]:
    return visible_to(caller).where(WorkOrderCategory.archived_at.is_(None))


@cache
def defaults() -> tuple[dict[str, Any], ...]:
    """The categories of the file, parents first: code, under, zh, en, kind, skill, respond, resolve, class."""
    return tuple(yaml.safe_load(DEFAULTS.read_text(encoding="utf-8")))


async def ensure_defaults(session: AsyncSession, caller: Caller) -> None:
    """Give a community that has no categories the default ones. Two at once do it once."""
    if await session.scalar(visible_to(caller).with_only_columns(WorkOrderCategory.id).limit(1)):
        return
    ids: dict[str, UUID] = {row["code"]: CLOCK.new_id() for row in defaults()}
    rows = [
        {
            "id": ids[row["code"]], "community_id": caller.community_id, "parent_id": ids.get(row.get("under", "")),
            "code": row["code"], "name": row["zh"], "name_en": row["en"], "order_kind": OrderKind(row["kind"]),
            "skill": row["skill"], "respond_minutes": row["respond"], "resolve_minutes": row["resolve"],
            "class_": CategoryClass(row.get("class", "normal")), "version": 1,
        }
        for row in defaults()
    ]  # fmt: skip
    # The other one's ids would not be these, so nobody may be halfway through.
    await communities.lock(session, caller)
    if not await session.scalar(visible_to(caller).with_only_columns(WorkOrderCategory.id).limit(1)):
        await session.execute(insert(WorkOrderCategory), rows)


async def find_by_code(session: AsyncSession, caller: Caller, code: str) -> WorkOrderCategory | None:
    """The category in use that has this code."""
    wanted = in_use(caller).where(WorkOrderCategory.code == code)
    found: WorkOrderCategory | None = await session.scalar(wanted)
    if found is None:
        await ensure_defaults(session, caller)
        found = await session.scalar(wanted)
    return found


async def get(session: AsyncSession, caller: Caller, category_id: UUID, *, locked: bool = False) -> WorkOrderCategory:
    """Raises CategoryNotFound."""
    statement = visible_to(caller).where(WorkOrderCategory.id == category_id)
    if locked:
        statement = statement.with_for_update(key_share=True)
    category = (await session.scalars(statement)).one_or_none()
    if category is None:
        raise CategoryNotFound
    return category


async def open_category(session: AsyncSession, caller: Caller, values: Mapping[str, Any]) -> WorkOrderCategory:
    """A new category. Raises: CategoryNotFound (its parent), CategoryExists."""
    await communities.lock(session, caller)
    await ensure_defaults(session, caller)
    if (parent_id := values.get("parent_id")) is not None:
        await get(session, caller, parent_id)
    if await session.scalar(visible_to(caller).where(WorkOrderCategory.code == values["code"])):
        raise CategoryExists(values["code"])
    category = WorkOrderCategory(community_id=caller.community_id, **values)
    session.add(category)
    await session.flush()
    return category


async def change(
    session: AsyncSession, caller: Caller, category: WorkOrderCategory, changes: Mapping[str, Any]
) -> WorkOrderCategory:
    """Change a locked category. Raises: CategoryNotFound (its parent), CategoryLoop."""
    if (parent_id := changes.get("parent_id")) is not None:
        await communities.lock(session, caller)
        await _check_above(session, caller, category, parent_id)
    for name, value in changes.items():
        setattr(category, name, value)
    category.version += 1
    await session.flush()
    return category


async def _check_above(session: AsyncSession, caller: Caller, category: WorkOrderCategory, parent_id: UUID) -> None:
    await get(session, caller, parent_id)
    above = visible_to(caller).where(WorkOrderCategory.id == parent_id).cte("above", recursive=True)
    higher = aliased(WorkOrderCategory)
    above = above.union(select(higher).join(above, higher.id == above.c.parent_id))
    if category.id in set(await session.scalars(select(above.c.id))):
        raise CategoryLoop


async def archive(session: AsyncSession, category: WorkOrderCategory, *, now: datetime) -> None:
    """Offer a locked category no more. Orders that have it keep it."""
    category.archived_at = category.archived_at or now
    category.version += 1
    await session.flush()
