"""An emergency becomes a work order at once; whoever says it again within minutes adds to that one.

Who is rung about it hears of it by `happenings`, in the same transaction.
"""

import re
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, Select, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.people.callers import Caller, CallerKind
from app.runtime import Runtime
from app.safety.emergencies import EmergencyKind
from app.service_desk import categories, doings, work_orders
from app.service_desk.tables import Channel, OrderKind, Urgency, Visibility, WorkOrder

SAME_EMERGENCY = timedelta(minutes=15)
"""So long a second message of the same person about the same kind means the same emergency."""
STILL_TALKING = timedelta(hours=2)
"""So long a short message in the conversation belongs to its emergency: where it is, or that all is well."""
COMMENT_CHARS_MAX = 2_000

CATEGORIES: dict[EmergencyKind, str] = {
    EmergencyKind.FIRE: "fire_equipment", EmergencyKind.GAS: "other", EmergencyKind.ELECTRIC: "electrical",
    EmergencyKind.FALLING_OBJECT_INJURY: "falling_object", EmergencyKind.VIOLENCE: "other",
    EmergencyKind.MEDICAL: "other", EmergencyKind.TRAPPED: "lift", EmergencyKind.MISSING_PERSON: "other",
    EmergencyKind.FLOOD: "plumbing",
}  # fmt: skip
"""Codes of the categories under which emergencies are counted."""

_NUMBER = r"(?:[A-Za-z]|\d{1,4}|[一二三四五六七八九十百]{1,4})"
PLACE = re.compile(
    rf"(?:{_NUMBER}(?:期|号楼|栋楼|栋|幢|座|号院|单元|门洞|楼|层|室|号)\s*){{1,5}}(?:\d{{3,4}}(?!\d))?"
    r"|(?:东|南|西|北|正|侧)(?:大)?门|地下[一二三\d]?层|地库|车库|游泳池|会所|天台|楼顶|广场|花园|滑梯"
    r"|(?:building|block|tower|unit|floor|room|flat|lift|gate|level|villa)\s?(?:no\.?\s?)?[A-Za-z0-9-]{1,5}\b"
    r"|\b\d{1,3}(?:st|nd|rd|th) floor\b|basement|garage|playground|clubhouse|\bpool\b|lobby|rooftop",
    re.IGNORECASE,
)
PLACES_MAX = 4


@dataclass(frozen=True)
class Report:
    """`joined` when the order was there before."""

    order: WorkOrder
    joined: bool


def find_place(text: str) -> str:
    """The words of the text that say where, as they stand; empty when there are none."""
    found = [match.group().strip() for match in PLACE.finditer(text)]
    return " ".join(dict.fromkeys(found[:PLACES_MAX]))[:200]


async def report(
    session: AsyncSession, runtime: Runtime, caller: Caller, kind: EmergencyKind | None, *, text: str,
    channel: Channel, place: str = "", contact_name: str = "", contact_phone: str = "",
    conversation_id: UUID | None = None, turn_id: UUID | None = None,
) -> Report:  # fmt: skip
    """An emergency order for what was said, or the one that the same person opened minutes ago, with a comment."""
    place = place.strip() or find_place(text)
    code = str(kind) if kind is not None else "other"
    before = await _find_same(
        session, runtime, caller, code, text=text, place=place, contact_phone=contact_phone,
        conversation_id=conversation_id,
    )  # fmt: skip
    if before is not None:
        await say(session, runtime, caller, before, text)
        return Report(before, joined=True)
    category = await _category(session, caller, kind)
    order = await work_orders.open_order(
        session, runtime, caller, kind=OrderKind.REPAIR, text=text, channel=channel, urgency=Urgency.EMERGENCY,
        emergency_kind=code, place_text=place, category_id=category, contact_name=contact_name,
        contact_phone=contact_phone, conversation_id=conversation_id, turn_id=turn_id,
        triage={"by": "emergency_rules", "unverified_caller": caller.kind is CallerKind.SYSTEM},
    )  # fmt: skip
    return Report(order, joined=False)


async def say(session: AsyncSession, runtime: Runtime, caller: Caller, order: WorkOrder, text: str) -> None:
    """A comment on the order, for the staff who are on it and for who reported it."""
    locked = await session.get_one(WorkOrder, order.id, with_for_update={"key_share": True}, populate_existing=True)
    await doings.comment(
        session, runtime, caller, locked, text=text[:COMMENT_CHARS_MAX], visibility=Visibility.RESIDENT
    )


async def find_open(session: AsyncSession, runtime: Runtime, caller: Caller, conversation_id: UUID) -> WorkOrder | None:
    """The newest emergency of this conversation that nobody has closed, for some hours."""
    statement = _unclosed(caller).where(
        WorkOrder.conversation_id == conversation_id, WorkOrder.created_at > runtime.clock() - STILL_TALKING
    )
    return (await session.scalars(statement.where(*_own(caller)))).one_or_none()


def _unclosed(caller: Caller) -> Select[WorkOrder]:
    return (
        select(WorkOrder)
        .where(
            WorkOrder.community_id == caller.community_id,
            WorkOrder.emergency_kind.is_not(None),
            WorkOrder.closed_at.is_(None),
        )
        .order_by(WorkOrder.id.desc())
        .limit(1)
    )


def _own(caller: Caller) -> list[ColumnElement[bool]]:
    reporter = None if caller.kind is CallerKind.SYSTEM else caller.id
    return [WorkOrder.reporter_kind == caller.kind, WorkOrder.reporter_id.is_not_distinct_from(reporter)]


async def _find_same(
    session: AsyncSession, runtime: Runtime, caller: Caller, code: str, *, text: str, place: str,
    contact_phone: str, conversation_id: UUID | None,
) -> WorkOrder | None:  # fmt: skip
    statement = _unclosed(caller).where(
        *_own(caller), WorkOrder.emergency_kind == code, WorkOrder.created_at > runtime.clock() - SAME_EMERGENCY
    )
    if caller.kind in (CallerKind.API_KEY, CallerKind.SYSTEM):
        # One key, or nobody signed in, speaks for many people: only their own words tell them apart.
        same = [WorkOrder.text == text.strip()]
        if conversation_id is not None:
            same.append(WorkOrder.conversation_id == conversation_id)
        if contact_phone:
            same.append(WorkOrder.contact_phone == contact_phone)
        statement = statement.where(or_(*same))
    found = (await session.scalars(statement)).one_or_none()
    elsewhere = found is not None and place and found.place_text and place != found.place_text
    return None if elsewhere else found


async def _category(session: AsyncSession, caller: Caller, kind: EmergencyKind | None) -> UUID | None:
    found = await categories.find_by_code(session, caller, CATEGORIES[kind] if kind is not None else "other")
    return found.id if found is not None else None
