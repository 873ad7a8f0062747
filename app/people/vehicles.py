"""Vehicles and their plates."""

import re
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.errors import Conflict, Invalid, NotFound
from app.people import communities, residents, spaces
from app.people.callers import Caller
from app.people.tables import Household, PlateKind, Residency, Vehicle

PROVINCE = "[京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼]"
LETTER, SIGN = "[A-HJ-NP-Z]", "[A-HJ-NP-Z0-9]"
"""I and O are on no plate: they look like 1 and 0."""

PLATES: tuple[tuple[PlateKind, re.Pattern[str]], ...] = (
    # GA 36-2018: a letter for the drive stands first on small cars and last on large ones.
    (PlateKind.NEW_ENERGY, re.compile(f"{PROVINCE}{LETTER}[A-HJK]{SIGN}[0-9]{{4}}")),
    (PlateKind.NEW_ENERGY, re.compile(f"{PROVINCE}{LETTER}[0-9]{{5}}[A-HJK]")),
    (PlateKind.ORDINARY, re.compile(f"{PROVINCE}{LETTER}{SIGN}{{5}}")),
    # Trailers, learners, police, Hong Kong and Macao, consulates; embassies; armed police; armed forces.
    (PlateKind.SPECIAL, re.compile(f"{PROVINCE}{LETTER}{SIGN}{{4}}[挂学警港澳领]")),
    (PlateKind.SPECIAL, re.compile("使[0-9]{6}|[0-9]{6}使")),
    (PlateKind.SPECIAL, re.compile(f"WJ{PROVINCE}?[0-9]{{4}}[0-9A-Z]|[VKHBSLJNGCEZ][A-Z][0-9]{{5}}")),
)
BETWEEN = re.compile(r"[\s·•・.\-—_]+")
"""What people write between the parts of a plate."""
OTHER_PLATE = re.compile(r"[A-Z0-9\u00c0-\uffef]{1,15}")


class VehicleNotFound(NotFound):
    code = "vehicle_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such vehicle.", "没有这辆车。")


class PlateInvalid(Invalid):
    code = "plate_invalid"

    def __init__(self, plate: str) -> None:
        super().__init__(
            f"{plate} is no number plate. Seven signs (沪A12345), eight on new-energy cars (沪AD12345).",
            f"{plate} 不是有效车牌。普通车牌 7 位（沪A12345），新能源车牌 8 位（沪AD12345）。", plate=plate,
        )  # fmt: skip


class PlateTaken(Conflict):
    code = "plate_taken"

    def __init__(self, vehicle: Vehicle) -> None:
        super().__init__(
            f"{vehicle.plate} is registered already.", f"{vehicle.plate} 已登记。", vehicle_id=str(vehicle.id)
        )


def plain(plate: str) -> str:
    """As it is kept: capitals, nothing in between."""
    return BETWEEN.sub("", plate).upper()


def kind_of(plate: str) -> PlateKind | None:
    """Of a plain plate; None when it is none."""
    return next((kind for kind, pattern in PLATES if pattern.fullmatch(plate)), None)


def visible_to(
    caller: Caller, *, room_id: UUID | None = None, resident_id: UUID | None = None, plate: str | None = None
) -> Select[Vehicle]:
    statement = select(Vehicle).where(Vehicle.community_id == caller.community_id)
    if room_id is not None:
        statement = statement.where(Vehicle.room_id == room_id)
    if resident_id is not None:
        statement = statement.where(Vehicle.resident_id == resident_id)
    if plate is not None:
        statement = statement.where(Vehicle.plate.contains(plain(plate), autoescape=True))
    return statement


def of_resident(caller: Caller) -> Select[Vehicle]:
    """A resident's own, and those of the rooms where they are a verified member."""
    rooms = (
        select(Household.room_id)
        .join(Residency, Residency.household_id == Household.id)
        .where(Residency.resident_id == caller.id, Residency.verified_at.is_not(None))
    )
    return visible_to(caller).where((Vehicle.resident_id == caller.id) | Vehicle.room_id.in_(rooms))


async def get(session: AsyncSession, caller: Caller, vehicle_id: UUID, *, locked: bool = False) -> Vehicle:
    """Raises VehicleNotFound."""
    statement = visible_to(caller).where(Vehicle.id == vehicle_id)
    vehicle = (await session.scalars(statement.with_for_update() if locked else statement)).one_or_none()
    if vehicle is None:
        raise VehicleNotFound
    return vehicle


async def open_vehicle(session: AsyncSession, caller: Caller, given: Mapping[str, Any]) -> Vehicle:
    """Raises: PlateInvalid, PlateTaken, SpaceNotFound, ResidentNotFound."""
    await communities.lock(session, caller)
    vehicle = Vehicle(community_id=caller.community_id)
    await _set(session, caller, vehicle, given)
    session.add(vehicle)
    await session.flush()
    return vehicle


async def change(session: AsyncSession, caller: Caller, vehicle: Vehicle, changes: Mapping[str, Any]) -> None:
    """Raises as `open_vehicle`."""
    await communities.lock(session, caller)
    with session.no_autoflush:
        await _set(session, caller, vehicle, changes)
    await session.flush()


async def _set(session: AsyncSession, caller: Caller, vehicle: Vehicle, given: Mapping[str, Any]) -> None:
    if given.get("plate") is not None:
        vehicle.plate, vehicle.plate_kind = await _checked(session, caller, given["plate"])
        same = visible_to(caller).where(Vehicle.plate == vehicle.plate)
        for other in await session.scalars(same):
            if other is not vehicle:
                raise PlateTaken(other)
    if given.get("room_id") is not None:
        await spaces.get_room(session, caller, given["room_id"])
    if given.get("resident_id") is not None:
        await residents.get(session, caller, given["resident_id"])
    for name in ("room_id", "resident_id"):
        if name in given:
            setattr(vehicle, name, given[name])
    for name in ("model", "colour", "note"):
        if given.get(name) is not None:
            setattr(vehicle, name, given[name])


async def _checked(session: AsyncSession, caller: Caller, written: str) -> tuple[str, PlateKind]:
    plate = plain(written)
    if kind := kind_of(plate):
        return plate, kind
    settings = await communities.read_settings(session, caller.community_id)
    if settings.plate_rules == "any" and OTHER_PLATE.fullmatch(plate):
        return plate, PlateKind.UNCHECKED
    raise PlateInvalid(written)


async def delete(session: AsyncSession, vehicle: Vehicle) -> None:
    await session.delete(vehicle)
    await session.flush()
