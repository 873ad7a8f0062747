"""What opening a work order looks up: two statements, each built once.

Looking up also takes a lock where a daily limit holds, so that the next statement counts all that came before.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, TypedDict
from uuid import UUID

from sqlalchemy import (
    BindParameter,
    Executable,
    Integer,
    Select,
    String,
    Uuid,
    bindparam,
    func,
    null,
    select,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncSession

from app.people.callers import Caller
from app.people.community_settings import merge_setting
from app.people.residents import ResidentNotFound
from app.people.spaces import USED_BY, SpaceNotFound
from app.people.tables import Community, Household, Organisation, Residency, Resident, Space
from app.service_desk import webhooks
from app.service_desk.duplicates import Recent
from app.service_desk.errors import CategoryNotFound
from app.service_desk.tables import (
    OrderKind,
    Urgency,
    WorkOrder,
    WorkOrderCategory,
)

USED_BY["work_orders"] = WorkOrder.space_id

RECENT_ROWS_MIN = 20
"""Recent orders looked at of a reporter and of a place; of the reporter as many as there may be in a day, too."""


class Details(TypedDict, total=False):
    """What may be said of a new order besides its kind, text and channel."""

    category_id: UUID | None
    space_id: UUID | None
    place_text: str
    urgency: Urgency | None
    emergency_kind: str | None
    title: str
    language: str
    reporter_id: UUID | None
    contact_name: str
    contact_phone: str
    entry_ok: bool | None
    time_window_start: datetime | None
    time_window_end: datetime | None
    about_staff_id: UUID | None
    conversation_id: UUID | None
    turn_id: UUID | None
    incident_id: UUID | None
    triage: dict[str, Any] | None
    needs_person: bool


@dataclass(frozen=True)
class Background:
    """What is known about a report: its place and category, who reports it, and the settings that hold."""

    orders_per_day_max: int
    duplicate_hours: int
    space_id: UUID | None
    building_id: UUID | None
    household_id: UUID | None
    order_kind: OrderKind | None
    name: str
    phone: str
    language: str
    listens: bool
    """Whether there are webhooks that may want to be told."""


async def look_up(
    session: AsyncSession, caller: Caller, resident_id: UUID | None, details: Details, *, locked: bool
) -> Background:
    """Raises: SpaceNotFound, CategoryNotFound, ResidentNotFound."""
    space_id, category_id = details.get("space_id"), details.get("category_id")
    values = {
        "in_community": caller.community_id, "at_space": space_id, "of_category": category_id, "of": resident_id,
        "lock_key": str(resident_id),
    }  # fmt: skip
    row = (await session.execute(_looking_up(locked=locked), values)).one()
    if space_id is not None and row.space_id is None:
        raise SpaceNotFound
    if category_id is not None and row.category_id is None:
        raise CategoryNotFound
    if resident_id is not None and row.name is None:
        raise ResidentNotFound

    def setting(name: str) -> Any:
        return merge_setting(name, row.defaults or {}, row.overrides).value

    household_id, space_id, building_id = _home(row.homes or [], space_id, details.get("place_text", ""))
    return Background(
        orders_per_day_max=setting("work_orders_per_day_max"),
        duplicate_hours=setting("work_order_duplicate_hours"),
        space_id=space_id,
        building_id=row.building_id or building_id,
        household_id=household_id,
        order_kind=row.order_kind,
        name=row.name or "",
        phone=row.phone or "",
        language=row.language or "zh",
        listens=row.listens,
    )


def _home(
    homes: Sequence[Sequence[str]], space_id: UUID | None, place_text: str
) -> tuple[UUID | None, UUID | None, UUID | None]:
    """(household, space, building): who has one home means that one, unless another place is named."""
    for household_id, room_id, building_id in homes:
        if str(space_id) == room_id:
            return UUID(household_id), space_id, UUID(building_id) if building_id else None
    if len(homes) != 1:
        return None, space_id, None
    household_id, room_id, building_id = homes[0]
    if space_id is not None or place_text:
        return UUID(household_id), space_id, None
    return UUID(household_id), UUID(room_id), UUID(building_id) if building_id else None


def _value(name: str) -> BindParameter[UUID]:
    return bindparam(name, type_=Uuid)


@cache
def _looking_up(*, locked: bool) -> Select[Any]:
    community, reporter = _value("in_community"), _value("of")
    homes = (
        select(func.jsonb_agg(func.jsonb_build_array(Household.id, Household.room_id, Residency.building_id)))
        .select_from(Residency)
        .join(Household, Household.id == Residency.household_id)
        .where(Residency.resident_id == reporter)
        .scalar_subquery()
    )
    lock = func.pg_advisory_xact_lock(func.hashtextextended(bindparam("lock_key", type_=String), 0))
    return (
        select(
            Community.overrides, Organisation.defaults,
            Space.id.label("space_id"), Space.building_id,
            WorkOrderCategory.id.label("category_id"), WorkOrderCategory.order_kind,
            Resident.name, Resident.phone, Resident.language,
            homes.label("homes"), webhooks.are_there(community).label("listens"),
            (lock if locked else null()).label("locked"),
        )
        .select_from(Community)
        .outerjoin(Organisation, Organisation.id == Community.organisation_id)
        .outerjoin(Space, (Space.id == _value("at_space")) & (Space.community_id == community))
        .outerjoin(
            WorkOrderCategory,
            (WorkOrderCategory.id == _value("of_category")) & (WorkOrderCategory.community_id == community)
            & WorkOrderCategory.archived_at.is_(None),
        )
        .outerjoin(Resident, (Resident.id == reporter) & (Resident.community_id == community))
        .where(Community.id == community)
    )  # fmt: skip


async def find_recent(
    session: AsyncSession, caller: Caller, *, reporter_id: UUID | None, space_id: UUID | None, orders_max: int
) -> list[Recent]:
    """The newest orders of the reporter and of the place, each once, the reporter's first."""
    values = {"in_community": caller.community_id, "of": reporter_id, "at_space": space_id, "rows": RECENT_ROWS_MIN}
    values["of_rows"] = max(RECENT_ROWS_MIN, orders_max)
    found = await session.execute(_finding_recent(), values)
    rows = {row.id: row for row in found}.values()
    return [
        Recent(
            kind=row.kind, category_id=row.category_id, space_id=row.space_id, place_text=row.place_text,
            text=row.text, reporter_id=row.reporter_id, id=row.id, duplicate_of_id=row.duplicate_of_id,
            created_at=row.created_at, ended=row.closed_at is not None, urgency=row.urgency, channel=row.channel,
        )
        for row in rows
    ]  # fmt: skip


@cache
def _finding_recent() -> Executable:
    columns = (
        WorkOrder.id, WorkOrder.kind, WorkOrder.category_id, WorkOrder.space_id, WorkOrder.place_text, WorkOrder.text,
        WorkOrder.reporter_id, WorkOrder.duplicate_of_id, WorkOrder.created_at, WorkOrder.closed_at,
        WorkOrder.urgency, WorkOrder.channel,
    )  # fmt: skip
    ours = select(*columns).where(WorkOrder.community_id == _value("in_community"))
    newest = [
        ours.where(same).order_by(WorkOrder.id.desc()).limit(bindparam(rows, type_=Integer)).subquery()
        for same, rows in (
            (WorkOrder.reporter_id == _value("of"), "of_rows"), (WorkOrder.space_id == _value("at_space"), "rows")
        )
    ]  # fmt: skip
    return union_all(*(select(one) for one in newest))
