"""The spaces of a community by their address, for work on thousands of rows at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.people.background_jobs import Problem
from app.people.problems import problem
from app.people.sheets import Column, Row
from app.people.spaces import PARENTS, label_of
from app.people.tables import RoomState, Space, SpaceKind

NAME_CHARS_MAX = 100

PLACE_COLUMNS: dict[SpaceKind, Column] = {
    SpaceKind.PHASE: Column("phase", "期", "一期", ("期数", "分期")),
    SpaceKind.BUILDING: Column("building", "楼栋", "2栋", ("栋", "楼号", "楼")),
    SpaceKind.UNIT: Column("unit", "单元", "1单元"),
    SpaceKind.ROOM: Column("room", "房号", "1502", ("房间", "室", "门牌", "门牌号")),
}

Path = tuple[tuple[SpaceKind, str], ...]
"""From the top down: ((building, 2栋), (unit, 1单元), (room, 1502))."""


@dataclass(slots=True)
class Known:
    """A space as it is in the database, or as it will be."""

    id: UUID
    parent_id: UUID | None
    building_id: UUID | None
    kind: SpaceKind
    name: str
    label: str
    state: RoomState | None
    area_m2: float | None


Index = dict[tuple[UUID | None, str], Known]
"""By parent and the address within it, so that 2 and 2栋 are one."""


def path_of(row: Row) -> tuple[Path, list[Problem]]:
    """The place that a row names, deepest last, and what is wrong with it."""
    named = [(kind, row.cells[column.key]) for kind, column in PLACE_COLUMNS.items() if column.key in row.cells]
    problems = [
        problem(row, PLACE_COLUMNS[kind], "cell_too_long", NAME_CHARS_MAX)
        for kind, name in named if len(name) > NAME_CHARS_MAX
    ]  # fmt: skip
    above: SpaceKind | None = None
    for kind, _ in named:
        if above not in PARENTS[kind]:
            # Units and rooms are all that cannot stand alone, and a building is what they lack.
            problems.append(problem(row, PLACE_COLUMNS[SpaceKind.BUILDING], "parent_missing"))
            break
        above = kind
    return tuple(named), problems


def address_of(path: Path) -> tuple[str, ...]:
    return tuple(label_of(kind, name) for kind, name in path)


async def read_index(session: AsyncSession, community_id: UUID) -> Index:
    rows = await session.execute(
        select(
            Space.id, Space.parent_id, Space.building_id, Space.kind, Space.name, Space.label, Space.state,
            Space.area_m2,
        ).where(Space.community_id == community_id)
    )  # fmt: skip
    return {(row.parent_id, label_of(row.kind, row.name)): Known(*row) for row in rows}


def find(index: Index, path: Path) -> Known | None:
    """The space at the end of the path, if all of it exists."""
    known: Known | None = None
    for kind, name in path:
        known = index.get((known.id if known else None, label_of(kind, name)))
        if known is None or known.kind is not kind:
            return None
    return known


def repeated(rows: Sequence[Row], key_of: Callable[[Row], object]) -> dict[int, int]:
    """Lines that are about what an earlier line was about, with the number of that line."""
    first: dict[object, int] = {}
    again: dict[int, int] = {}
    for row in rows:
        told = first.setdefault(key_of(row), row.line)
        if told != row.line:
            again[row.line] = told
    return again
