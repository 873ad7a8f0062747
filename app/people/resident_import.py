"""Residents from a sheet: who they are, where they live, in which role, and whether papers were seen.

A row is about somebody who is there already when its id says so, else when name and phone are the same, else when
somebody of that name without a phone lives in the same room. Cells that are empty change nothing.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.clock import CLOCK
from app.people.background_jobs import Outcome, Problem
from app.people.problems import problem
from app.people.sheets import Column, Row
from app.people.space_index import PLACE_COLUMNS, Index, Known, Path, address_of, find, path_of, read_index
from app.people.tables import Household, Residency, Resident, ResidentRole, SpaceKind

NAME_CHARS_MAX = 100
PHONE = re.compile(r"[0-9+() -]{1,30}")
ID = Column("id", "编号", "", ("resident_id",))
NAME = Column("name", "姓名", "沈书宁", ("住户", "业主姓名"), required=True)
PHONE_COLUMN = Column("phone", "电话", "15400001234", ("手机", "手机号", "联系电话"))
LANGUAGE = Column("language", "语言", "中文")
ROLE = Column("role", "身份", "业主", ("住户身份", "与房屋关系"))
VERIFIED = Column("verified", "已认证", "是", ("认证",))
COLUMNS: tuple[Column, ...] = (NAME, PHONE_COLUMN, LANGUAGE, *PLACE_COLUMNS.values(), ROLE, VERIFIED, ID)

ROLE_WORDS: dict[ResidentRole, str] = {
    ResidentRole.OWNER: "业主",
    ResidentRole.TENANT: "租户",
    ResidentRole.FAMILY: "家庭成员",
    ResidentRole.MEMBER: "成员",
    ResidentRole.OTHER: "其他",
}
ROLES = {word: role for role, zh in ROLE_WORDS.items() for word in (zh, role.value)} | {"租客": ResidentRole.TENANT}
LANGUAGE_WORDS = {"zh": "中文", "en": "英语"}
LANGUAGES = {
    "zh": "zh",
    "中文": "zh",
    "汉语": "zh",
    "chinese": "zh",
    "en": "en",
    "英语": "en",
    "英文": "en",
    "english": "en",
}
YES_NO = {"是": True, "yes": True, "true": True, "1": True, "否": False, "no": False, "false": False, "0": False}


@dataclass(frozen=True, slots=True)
class Said:
    """What a row says of a resident. What it leaves open is None."""

    id: UUID | None
    name: str
    phone: str
    language: str | None
    path: Path
    role: ResidentRole | None
    verified: bool | None


def key_of(row: Row) -> tuple[str, ...]:
    who = row.cells.get(ID.key) or f"{row.cells.get(NAME.key, '')}/{row.cells.get(PHONE_COLUMN.key, '')}"
    return (who, *address_of(path_of(row)[0]))


def check(row: Row) -> tuple[Said, list[Problem]]:
    """What a row says, and what is wrong with it."""
    path, problems = path_of(row)
    name, phone = row.cells.get(NAME.key, ""), row.cells.get(PHONE_COLUMN.key, "")
    if not name:
        problems.append(problem(row, NAME, "cell_missing"))
    if len(name) > NAME_CHARS_MAX:
        problems.append(problem(row, NAME, "cell_too_long", NAME_CHARS_MAX))
    if phone and not PHONE.fullmatch(phone):
        problems.append(problem(row, PHONE_COLUMN, "phone_invalid"))
    if path and path[-1][0] is not SpaceKind.ROOM and not problems:
        problems.append(problem(row, PLACE_COLUMNS[SpaceKind.ROOM], "cell_missing"))
    role = ROLES.get(row.cells.get(ROLE.key, "").lower())
    if ROLE.key in row.cells and role is None:
        problems.append(problem(row, ROLE, "cell_unknown", "、".join(ROLE_WORDS.values())))
    elif path and role is None:
        problems.append(problem(row, ROLE, "cell_missing"))
    elif role is not None and not path:
        problems.append(problem(row, PLACE_COLUMNS[SpaceKind.ROOM], "cell_missing"))
    language = LANGUAGES.get(row.cells.get(LANGUAGE.key, "").lower())
    if LANGUAGE.key in row.cells and language is None:
        problems.append(problem(row, LANGUAGE, "cell_unknown", "、".join(LANGUAGE_WORDS.values())))
    verified = YES_NO.get(row.cells.get(VERIFIED.key, "").lower())
    if VERIFIED.key in row.cells and verified is None:
        problems.append(problem(row, VERIFIED, "cell_unknown", "是、否"))
    resident_id = _uuid(row.cells.get(ID.key, ""))
    if ID.key in row.cells and resident_id is None:
        problems.append(problem(row, ID, "resident_unknown"))
    return Said(resident_id, name, phone, language, path, role, verified), problems


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


@dataclass(slots=True)
class People:
    """Whoever the rows of a batch may be about, and who lives in the rooms they name."""

    by_id: dict[UUID, Resident] = field(default_factory=dict)
    by_name: dict[str, list[Resident]] = field(default_factory=lambda: defaultdict(list))
    households: dict[UUID, list[Household]] = field(default_factory=lambda: defaultdict(list))
    residencies: dict[UUID, list[Residency]] = field(default_factory=lambda: defaultdict(list))
    """By household."""
    opened: list[Resident | Household] = field(default_factory=list)
    moved_in: list[Residency] = field(default_factory=list)

    def lives_in(self, resident: Resident, room: Known) -> bool:
        return any(self.residency(resident, household) for household in self.households[room.id])

    def residency(self, resident: Resident, household: Household) -> Residency | None:
        return next((one for one in self.residencies[household.id] if one.resident_id == resident.id), None)

    def add(self, resident: Resident) -> None:
        self.by_id[resident.id] = resident
        self.by_name[resident.name].append(resident)


async def import_rows(
    session: AsyncSession, community_id: UUID, rows: Sequence[Row], repeated: Mapping[int, int], *, now: datetime
) -> Outcome:
    """Write the residents of a locked community as these rows say."""
    index = await read_index(session, community_id)
    outcome = Outcome()
    said_of: dict[int, Said] = {}
    for row in rows:
        said, problems = check(row)
        if not problems and row.line in repeated:
            problems.append(problem(row, NAME, "row_repeated", repeated[row.line]))
        if not problems and said.path and find(index, said.path) is None:
            where = "".join(address_of(said.path))
            problems.append(problem(row, PLACE_COLUMNS[SpaceKind.ROOM], "room_unknown", where))
        outcome.problems += problems
        if not problems:
            said_of[row.line] = said
    people = await _read_people(session, community_id, index, said_of.values())
    for row in rows:
        if row.line in said_of:
            _import_row(community_id, row, said_of[row.line], index, people, outcome, now)
    for rows_of_one_kind in (people.opened, people.moved_in):
        session.add_all(rows_of_one_kind)
        await session.flush()
    return outcome


async def _read_people(session: AsyncSession, community_id: UUID, index: Index, told: Collection[Said]) -> People:
    people = People()
    wanted = or_(Resident.name.in_({one.name for one in told}), Resident.id.in_({one.id for one in told if one.id}))
    found = select(Resident).where(Resident.community_id == community_id, wanted).order_by(Resident.id)
    for resident in await session.scalars(found):
        people.add(resident)
    room_ids = {room.id for one in told if one.path and (room := find(index, one.path))}
    homes = select(Household).where(Household.community_id == community_id, Household.room_id.in_(room_ids))
    for household in await session.scalars(homes.order_by(Household.id)):
        people.households[household.room_id].append(household)
    within = [household.id for homes in people.households.values() for household in homes]
    for residency in await session.scalars(select(Residency).where(Residency.household_id.in_(within))):
        people.residencies[residency.household_id].append(residency)
    return people


def _import_row(
    community_id: UUID, row: Row, said: Said, index: Index, people: People, outcome: Outcome,
    now: datetime,
) -> None:  # fmt: skip
    room = find(index, said.path) if said.path else None
    resident = _find_resident(said, room, people)
    if resident is None and said.id is not None:
        outcome.problems.append(problem(row, ID, "resident_unknown"))
        return
    homes = people.households[room.id] if room else []
    if len(homes) > 1:
        homes = [one for one in homes if resident and people.residency(resident, one)]
    if room and not homes and people.households[room.id]:
        outcome.problems.append(problem(row, PLACE_COLUMNS[SpaceKind.ROOM], "household_ambiguous"))
        return
    created = resident is None
    if resident is None:
        resident = Resident(
            id=CLOCK.new_id(), community_id=community_id, name=said.name, phone=said.phone,
            language=said.language or "zh",
        )  # fmt: skip
        people.opened.append(resident)
        people.add(resident)
    changed = _describe(resident, said)
    if room is not None:
        changed |= _settle(resident, said, room, homes, people, now)
    outcome.created += created
    outcome.changed += changed and not created
    outcome.unchanged += not changed and not created


def _find_resident(said: Said, room: Known | None, people: People) -> Resident | None:
    if said.id is not None:
        return people.by_id.get(said.id)
    named = people.by_name.get(said.name, [])
    same = [one for one in named if one.phone == said.phone] if said.phone else []
    # One number is often a whole family's, so the name counts too; and of two namesakes, the one who lives there.
    here = [one for one in named if room and people.lives_in(one, room) and (not said.phone or not one.phone)]
    alone = [one for one in named if not said.phone and room is None and not one.phone]
    return next(iter(same or here or alone), None)


def _describe(resident: Resident, said: Said) -> bool:
    """Whether what the row says of the person changed anything."""
    wanted = (said.name, said.phone or resident.phone, said.language or resident.language)
    changed = wanted != (resident.name, resident.phone, resident.language)
    if changed:
        resident.name, resident.phone, resident.language = wanted
    return changed


def _settle(
    resident: Resident, said: Said, room: Known, homes: Sequence[Household], people: People,
    now: datetime,
) -> bool:  # fmt: skip
    """Whether what the row says of where the person lives changed anything."""
    if homes:
        household = homes[0]
    else:
        household = Household(id=CLOCK.new_id(), community_id=resident.community_id, room_id=room.id)
        people.opened.append(household)
        people.households[room.id].append(household)
    residency = people.residency(resident, household)
    assert said.role is not None
    if residency is None:
        residency = Residency(
            id=CLOCK.new_id(), community_id=resident.community_id, resident_id=resident.id, household_id=household.id,
            building_id=room.building_id, role=said.role, verified_at=now if said.verified else None,
        )  # fmt: skip
        people.moved_in.append(residency)
        people.residencies[household.id].append(residency)
        return True
    before = (residency.role, residency.verified_at is not None)
    # Another role has to be shown on paper again.
    verified = said.verified if said.verified is not None else before == (said.role, True)
    residency.role = said.role
    if verified != before[1]:
        residency.verified_at = now if verified else None
    return before != (said.role, verified)
