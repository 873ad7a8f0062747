"""The space tree of a community: phase, building, unit, room. Labels are whole addresses, derived from the names."""

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Update, func, literal, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute, aliased

from app.errors import Conflict, Invalid, NotFound
from app.people import communities
from app.people.callers import Caller
from app.people.schemas import SpaceNode
from app.people.tables import Household, Residency, RoomState, Space, SpaceKind, Vehicle

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


USED_BY: dict[str, InstrumentedAttribute[Any]] = {"vehicles": Vehicle.room_id}
"""Columns that name a space. A space that one of them names is not deleted; features above add theirs."""


class SpaceNotFound(NotFound):
    code = "space_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such space.", "没有这个房产位置。")


class SpaceExists(Conflict):
    code = "space_exists"

    def __init__(self, label: str) -> None:
        super().__init__(f"{label} exists already.", f"{label} 已存在。", label=label)


class SpaceInUse(Conflict):
    code = "space_in_use"

    def __init__(self, label: str, **used: int) -> None:
        super().__init__(f"{label} is still in use.", f"{label} 仍在使用中。", label=label, used=used)


class NotARoom(Invalid):
    code = "not_a_room"

    def __init__(self) -> None:
        super().__init__("Only a room has a state and an area.", "只有房间才有状态和面积。")


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
    session: AsyncSession, caller: Caller, *, kind: SpaceKind, name: str, parent_id: UUID | None,
    state: RoomState | None = None, area_m2: float | None = None,
) -> Space:  # fmt: skip
    """A new space under its parent. Raises: SpaceNotFound, ParentNotAllowed, NotARoom, SpaceExists."""
    # Labels are made from the parents' labels, so no parent may be renamed meanwhile.
    await communities.lock(session, caller)
    space = Space(community_id=caller.community_id, kind=kind, name=name, state=state, area_m2=area_m2)
    _check_of_room(space)
    with session.no_autoflush:
        await _place(session, caller, space, parent_id)
    session.add(space)
    await session.flush()
    if kind is SpaceKind.BUILDING:
        space.building_id = space.id
        await session.flush()
    return space


async def change(session: AsyncSession, caller: Caller, space: Space, changes: Mapping[str, Any]) -> Space:
    """Rename, move or describe a space of a locked community. The addresses and the building of all below follow.

    Raises: SpaceNotFound, ParentNotAllowed, NotARoom, SpaceExists.
    """
    label, building_id = space.label, space.building_id
    with session.no_autoflush:
        for name in ("name", "state", "area_m2"):
            if name in changes and (changes[name] is not None or name != "name"):
                setattr(space, name, changes[name])
        _check_of_room(space)
        await _place(session, caller, space, changes.get("parent_id", space.parent_id))
    await session.flush()
    if space.label != label:
        new = func.concat(space.label, func.substr(Space.label, len(label) + 1))
        await session.execute(_update(Space, Space.id.in_(_below(space))).values(label=new))
    if space.building_id != building_id:
        within = _below(space).union_all(select(literal(space.id)))
        homes = select(Household.id).where(Household.room_id.in_(within))
        moved = {"building_id": space.building_id}
        await session.execute(_update(Space, Space.id.in_(_below(space))).values(**moved))
        await session.execute(_update(Residency, Residency.household_id.in_(homes)).values(**moved))
    return space


async def _place(session: AsyncSession, caller: Caller, space: Space, parent_id: UUID | None) -> None:
    """Let the space stand under this parent, with the address that goes with it."""
    parent = await get(session, caller, parent_id) if parent_id else None
    # A parent is always of a higher kind, so nothing can come to stand below itself.
    if (parent.kind if parent else None) not in PARENTS[space.kind]:
        raise ParentNotAllowed(space.kind, parent.kind if parent else None)
    space.parent_id = parent_id
    space.label = label_of(space.kind, space.name, parent.label if parent else "")
    if space.kind is not SpaceKind.BUILDING:
        space.building_id = parent.building_id if parent else None
    # 2 and 2栋 have one address.
    same = visible_to(caller).where(
        Space.parent_id.is_not_distinct_from(parent_id), (Space.name == space.name) | (Space.label == space.label)
    )
    if any(other is not space for other in await session.scalars(same)):
        raise SpaceExists(space.label)


def _check_of_room(space: Space) -> None:
    if space.kind is not SpaceKind.ROOM and (space.state is not None or space.area_m2 is not None):
        raise NotARoom


def _below(space: Space) -> Select[tuple[UUID]]:
    """Ids of all that stands below."""
    below = select(Space.id).where(Space.parent_id == space.id).cte("below", recursive=True)
    child = aliased(Space)
    return select(below.union_all(select(child.id).join(below, child.parent_id == below.c.id)).c.id)


def _update(table: type[Space | Residency], where: ColumnElement[bool]) -> Update:
    return update(table).where(where).execution_options(synchronize_session=False)


async def delete_space(session: AsyncSession, caller: Caller, space: Space) -> None:
    """Raises SpaceInUse while something stands below, somebody lives there, or another feature still names it."""
    used = {
        "spaces": select(func.count()).where(Space.parent_id == space.id),
        "residents": select(func.count(Residency.id))
        .join(Household, Household.id == Residency.household_id)
        .where(Household.room_id == space.id),
        **{name: select(func.count()).where(column == space.id) for name, column in USED_BY.items()},
    }
    found = {name: count for name, statement in used.items() if (count := await session.scalar(statement))}
    if found:
        raise SpaceInUse(space.label, **found)
    try:
        async with session.begin_nested():
            await session.delete(space)
    except IntegrityError:
        raise SpaceInUse(space.label) from None


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
    columns = (Space.id, Space.parent_id, Space.kind, Space.name, Space.label, Space.state)
    rows = await session.execute(
        select(*columns).where(Space.community_id == caller.community_id, Space.kind.in_(kinds))
    )
    return grow(rows.all())


def grow(rows: Iterable[Any]) -> list[SpaceNode]:
    """Roots of the tree made of (id, parent_id, kind, name, label, state) rows in any order."""
    ordered = sorted(rows, key=lambda row: by_number(row.name))
    nodes = {
        row.id: SpaceNode(id=row.id, kind=row.kind, name=row.name, label=row.label, state=row.state) for row in ordered
    }
    roots: list[SpaceNode] = []
    for row in ordered:
        siblings = nodes[row.parent_id].children if row.parent_id in nodes else roots
        siblings.append(nodes[row.id])
    return roots


def by_number(name: str) -> tuple[int, str]:
    """What names are sorted by: 2栋 comes before 10栋, those without a number last."""
    digits = "".join(letter for letter in name if letter.isdecimal())
    return (int(digits) if digits else 10**9, name)
