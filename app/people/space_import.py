"""Spaces from a sheet: each row names a place by its whole path; what is missing above it is opened, too."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlalchemy import insert, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.clock import CLOCK
from app.people.background_jobs import Outcome, Problem
from app.people.problems import problem
from app.people.sheets import Column, Row
from app.people.space_index import PLACE_COLUMNS, Index, Known, Path, address_of, path_of, read_index
from app.people.spaces import label_of
from app.people.tables import RoomState, Space, SpaceKind

AREA_MAX = 100_000
STATE = Column("state", "状态", "已入住", ("房屋状态", "入住状态"))
AREA = Column("area_m2", "面积", "89.5", ("建筑面积", "面积㎡", "area"))
COLUMNS: tuple[Column, ...] = (*PLACE_COLUMNS.values(), STATE, AREA)

STATE_WORDS: dict[RoomState, str] = {
    RoomState.OCCUPIED: "已入住",
    RoomState.VACANT: "未入住",
    RoomState.HANDED_OVER: "已交房",
    RoomState.RENOVATING: "装修中",
}
STATES = {word: state for state, zh in STATE_WORDS.items() for word in (zh, state.value)}


def key_of(row: Row) -> tuple[str, ...]:
    return address_of(path_of(row)[0])


def check(row: Row) -> tuple[Path, RoomState | None, float | None, list[Problem]]:
    """The place that a row names, what it says of the room, and what is wrong with it."""
    path, problems = path_of(row)
    if not path:
        problems.append(problem(row, PLACE_COLUMNS[SpaceKind.BUILDING], "cell_missing"))
    state_word, area_word = row.cells.get(STATE.key, ""), row.cells.get(AREA.key, "")
    if path and path[-1][0] is not SpaceKind.ROOM:
        problems += [problem(row, one, "not_of_a_room") for one in (STATE, AREA) if one.key in row.cells]
        return path, None, None, problems
    state = STATES.get(state_word.lower()) if state_word else None
    if state_word and state is None:
        problems.append(problem(row, STATE, "cell_unknown", "、".join(STATE_WORDS.values())))
    area = area_of(area_word) if area_word else None
    if area_word and area is None:
        problems.append(problem(row, AREA, "cell_not_a_number", AREA_MAX))
    return path, state, area, problems


def area_of(text: str) -> float | None:
    """Square metres, or None when the text is no number of them."""
    for unit in ("平方米", "平米", "㎡", "m²", "m2"):
        text = text.removesuffix(unit)
    try:
        area = float(text)
    except ValueError:
        return None
    return area if 0 < area <= AREA_MAX else None


async def import_rows(
    session: AsyncSession, community_id: UUID, rows: Sequence[Row], repeated: Mapping[int, int]
) -> Outcome:
    """Open or change the spaces of a locked community as these rows say."""
    index = await read_index(session, community_id)
    outcome, opened, changed = Outcome(), list[Known](), dict[UUID, Known]()
    for row in rows:
        path, state, area, problems = check(row)
        if not problems and row.line in repeated:
            problems.append(problem(row, PLACE_COLUMNS[path[-1][0]], "row_repeated", repeated[row.line]))
        problems = problems or _kinds_that_differ(row, index, path)
        if problems:
            outcome.problems += problems
            continue
        before = len(opened)
        space = _open_path(index, path, opened)
        if len(opened) > before:
            space.state, space.area_m2 = state, area
            outcome.created += 1
        elif (state or space.state, area or space.area_m2) != (space.state, space.area_m2):
            space.state, space.area_m2 = state or space.state, area or space.area_m2
            changed[space.id] = space
            outcome.changed += 1
        else:
            outcome.unchanged += 1
    await _write(session, community_id, opened, changed)
    return outcome


def _kinds_that_differ(row: Row, index: Index, path: Path) -> list[Problem]:
    above: UUID | None = None
    for kind, name in path:
        known = index.get((above, label_of(kind, name)))
        if known is None:
            return []
        if known.kind is not kind:
            return [problem(row, PLACE_COLUMNS[kind], "kind_differs")]
        above = known.id
    return []


def _open_path(index: Index, path: Path, opened: list[Known]) -> Known:
    """The space at the end of the path; it and those above it are opened where they are missing."""
    above: Known | None = None
    for kind, name in path:
        key = (above.id if above else None, label_of(kind, name))
        if key not in index:
            new_id = CLOCK.new_id()
            building_id = new_id if kind is SpaceKind.BUILDING else above.building_id if above else None
            label = (above.label if above else "") + key[1]
            index[key] = Known(new_id, key[0], building_id, kind, name, label, None, None)
            opened.append(index[key])
        above = index[key]
    assert above is not None
    return above


async def _write(
    session: AsyncSession, community_id: UUID, opened: Sequence[Known], changed: Mapping[UUID, Known]
) -> None:
    if opened:
        values = [
            {
                "id": one.id, "community_id": community_id, "parent_id": one.parent_id,
                "building_id": one.building_id, "kind": one.kind, "name": one.name, "label": one.label,
                "state": one.state, "area_m2": one.area_m2,
            }
            for one in opened
        ]  # fmt: skip
        await session.execute(insert(Space), values)
    if changed:
        await session.execute(
            update(Space), [{"id": one.id, "state": one.state, "area_m2": one.area_m2} for one in changed.values()]
        )
