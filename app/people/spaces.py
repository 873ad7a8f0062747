"""The space tree of a community: phase, building, unit, room. Labels are whole addresses, derived from the names."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app.errors import Conflict, Invalid, NotFound
from app.people import communities
from app.people.callers import Caller
from app.people.schemas import SpaceNode
from app.people.tables import Space, SpaceKind

PARENTS: dict[SpaceKind, frozenset[SpaceKind | None]] = {
    SpaceKind.PHASE: frozenset({None}),
    SpaceKind.BUILDING: frozenset({None, SpaceKind.PHASE}),
    SpaceKind.UNIT: frozenset({SpaceKind.BUILDING}),
    SpaceKind.ROOM: frozenset({SpaceKind.BUILDING, SpaceKind.UNIT}),
}
"""Under what a space of each kind may stand; None is the community itself."""

COUNTERS: dict[SpaceKind, str] = {
    SpaceKind.PHASE: "期",
    SpaceKind.BUILDING: "栋",
    SpaceKind.UNIT: "单元",
    SpaceKind.ROOM: "",
}
"""What a bare number is followed by in an address, so that 3, 2, 1, 1502 reads 3期2栋1单元1502."""


class SpaceNotFound(NotFound):
    code = "space_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such space.", "没有这个房产位置。")


class SpaceExists(Conflict):
    code = "space_exists"

    def __init__(self, label: str) -> None:
        super().__init__(f"{label} exists already.", f"{label} 已存在。", label=label)


class ParentNotAllowed(Invalid):
    code = "parent_not_allowed"

    def __init__(self, kind: SpaceKind, parent: SpaceKind | None) -> None:
        allowed = sorted(str(one) if one else "community" for one in PARENTS[kind])
        super().__init__(
            f"A {kind} cannot stand under a {parent or 'community'}.", "该类型不能放在这个上级之下。",
            kind=kind, parent=parent, allowed=allowed,
        )  # fmt: skip


def visible_to(caller: Caller) -> Select[Space]:
    return select(Space).where(Space.community_id == caller.community_id)


def label_of(kind: SpaceKind, name: str, parent_label: str = "") -> str:
    return parent_label + (name + COUNTERS[kind] if name.isdecimal() else name)


async def get(session: AsyncSession, caller: Caller, space_id: UUID) -> Space:
    """Raises SpaceNotFound."""
    space = (await session.scalars(visible_to(caller).where(Space.id == space_id))).one_or_none()
    if space is None:
        raise SpaceNotFound
    return space


async def get_room(session: AsyncSession, caller: Caller, room_id: UUID) -> Space:
    """Raises SpaceNotFound for anything that is not a room, too."""
    space = await get(session, caller, room_id)
    if space.kind is not SpaceKind.ROOM:
        raise SpaceNotFound
    return space


async def open_space(
    session: AsyncSession, caller: Caller, *, kind: SpaceKind, name: str, parent_id: UUID | None
) -> Space:
    """A new space under its parent. Raises: SpaceNotFound, ParentNotAllowed, SpaceExists."""
    # Labels are made from the parents' labels, so no parent may be renamed meanwhile.
    await communities.lock(session, caller)
    parent = await get(session, caller, parent_id) if parent_id else None
    if (parent.kind if parent else None) not in PARENTS[kind]:
        raise ParentNotAllowed(kind, parent.kind if parent else None)
    space = Space(
        community_id=caller.community_id, parent_id=parent_id, kind=kind, name=name,
        label=label_of(kind, name, parent.label if parent else ""),
        building_id=parent.building_id if parent else None,
    )  # fmt: skip
    await _check_name_free(session, caller, space)
    session.add(space)
    await session.flush()
    if kind is SpaceKind.BUILDING:
        space.building_id = space.id
        await session.flush()
    return space


async def rename(session: AsyncSession, caller: Caller, space: Space, *, name: str) -> Space:
    """Rename a space of a locked community; the addresses of all below follow. Raises SpaceExists."""
    parent = await get(session, caller, space.parent_id) if space.parent_id else None
    before = space.label
    with session.no_autoflush:
        space.name, space.label = name, label_of(space.kind, name, parent.label if parent else "")
        await _check_name_free(session, caller, space)
    await session.flush()
    below = select(Space.id).where(Space.parent_id == space.id).cte("below", recursive=True)
    child = aliased(Space)
    below = below.union_all(select(child.id).join(below, child.parent_id == below.c.id))
    await session.execute(
        update(Space)
        .where(Space.id.in_(select(below.c.id)))
        .values(label=func.concat(space.label, func.substr(Space.label, len(before) + 1)))
        .execution_options(synchronize_session=False)
    )
    return space


async def _check_name_free(session: AsyncSession, caller: Caller, space: Space) -> None:
    same = visible_to(caller).where(Space.parent_id.is_not_distinct_from(space.parent_id), Space.name == space.name)
    if any(other is not space for other in await session.scalars(same)):
        raise SpaceExists(space.label)


def list_statement(caller: Caller, *, kind: SpaceKind | None = None, parent_id: UUID | None = None) -> Select[Space]:
    statement = visible_to(caller)
    if kind is not None:
        statement = statement.where(Space.kind == kind)
    if parent_id is not None:
        statement = statement.where(Space.parent_id == parent_id)
    return statement


async def tree(session: AsyncSession, caller: Caller, *, down_to: SpaceKind) -> list[SpaceNode]:
    """The whole tree down to a kind, in the order of an address book."""
    kinds = list(SpaceKind)[: list(SpaceKind).index(down_to) + 1]
    columns = (Space.id, Space.parent_id, Space.kind, Space.name, Space.label)
    rows = await session.execute(
        select(*columns).where(Space.community_id == caller.community_id, Space.kind.in_(kinds))
    )
    return grow(rows.all())


def grow(rows: Iterable[Any]) -> list[SpaceNode]:
    """Roots of the tree made of (id, parent_id, kind, name, label) rows in any order."""
    ordered = sorted(rows, key=lambda row: _by_number(row.name))
    nodes = {
        row.id: SpaceNode(id=row.id, kind=row.kind, name=row.name, label=row.label, children=[]) for row in ordered
    }
    roots: list[SpaceNode] = []
    for row in ordered:
        siblings = nodes[row.parent_id].children if row.parent_id in nodes else roots
        siblings.append(nodes[row.id])
    return roots


def _by_number(name: str) -> tuple[int, str]:
    # 2栋 comes before 10栋; names without a number go last.
    digits = "".join(letter for letter in name if letter.isdecimal())
    return (int(digits) if digits else 10**9, name)
