"""Work orders: the only door to their rows, their opening and their moves.

A move is checked against `transitions.MOVES` and the caller's part in the order while its row is locked; row and event
change together, and whoever listens (`happenings.LISTENERS`) hears of it in the same transaction.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Unpack
from uuid import UUID

from sqlalchemy import Column, Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.clock import CLOCK
from app.knowledge.language import language_of
from app.people import communities, staff
from app.people.callers import Caller, CallerKind
from app.people.tables import Staff
from app.queue import Job, Lane, send_after_commit
from app.runtime import Runtime
from app.service_desk import (
    duplicates,
    effects,
    happenings,
    incident_listener,
    opening,
    order_rows,
    sight,
    transitions,
    webhooks,
)
from app.service_desk.duplicates import Recent, Said
from app.service_desk.errors import (
    AlreadyTaken,
    MoveNotAllowed,
    NotForThem,
    ReopenWindowOver,
    TextEmpty,
    TooManyOrders,
    WindowInvalid,
    WorkOrderNotFound,
)
from app.service_desk.opening import Background, Details
from app.service_desk.tables import (
    Channel,
    EventKind,
    OrderKind,
    Status,
    Urgency,
    WorkOrder,
    WorkOrderEvent,
)
from app.service_desk.transitions import Mover

TRIAGE = "service_desk.triage"
"""The job that looks at a new order; its row is the order."""
TITLE_CHARS = 30
DAY = timedelta(hours=24)
SETTLED = transitions.HANDLED | transitions.ENDED
LIMITED_CHANNELS = frozenset({Channel.SELF, Channel.AI})


# Who sees what


def visible_to(caller: Caller) -> Select[WorkOrder]:
    """Orders the caller may see: residents those of `shared_with`; staff those of the community, but never a complaint
    about themselves, and one about colleagues only if they dispatch or were given it.
    """
    return sight.visible(sight.eyes_of(caller))


def shared_with(caller: Caller) -> Select[WorkOrder]:
    """Orders that a resident may read: their own, and their household's but for complaints and what is as private."""
    return sight.shared_with(sight.eyes_of(caller))


def is_own(caller: Caller, order: WorkOrder) -> bool:
    return order.reporter_kind is caller.kind and order.reporter_id == caller.id


def knows_reporter(caller: Caller, order: WorkOrder) -> bool:
    """Who complains is known to those who dispatch, and to nobody whom the complaint may be about."""
    return order.kind is not OrderKind.COMPLAINT or "workorders:dispatch" in caller.scopes or is_own(caller, order)


async def get(session: AsyncSession, caller: Caller, order_id: UUID, *, own: bool = False) -> WorkOrder:
    """With `own`, of the caller's own orders and those of their household. Raises WorkOrderNotFound."""
    return await _one(session, caller, order_id, own=own, locked=False)


async def lock(session: AsyncSession, caller: Caller, order_id: UUID, *, own: bool = False) -> WorkOrder:
    """The order, held until the transaction ends: changes of one order follow each other. With `own`, of the caller's
    own orders only: what is shared is read, and its reporter acts.
    """
    return await _one(session, caller, order_id, own=own, locked=True)


async def _one(session: AsyncSession, caller: Caller, order_id: UUID, *, own: bool, locked: bool) -> WorkOrder:
    values = {sight.COMMUNITY: caller.community_id, sight.OWN_ID: caller.id, sight.ORDER_ID: order_id}
    found = await session.execute(sight.of_one(sight.shape_of(caller), own=own, locked=locked), values)
    row = found.one_or_none()
    if row is None:
        raise WorkOrderNotFound
    webhooks.note(session, caller.community_id, listens=row.listens)
    order: WorkOrder = row.WorkOrder
    return order


# Opening


async def open_order(
    session: AsyncSession, runtime: Runtime, caller: Caller, *, kind: OrderKind | None, text: str,
    channel: Channel, **details: Unpack[Details],
) -> WorkOrder:  # fmt: skip
    """A new order with its number, its first event, and its triage after commit. A repeated report is linked.

    With `reporter_id`, somebody else opens it for that resident. Without a place, one who has one home means that;
    without a kind, the category's is taken.
    Raises: TextEmpty, WindowInvalid, SpaceNotFound, CategoryNotFound, ResidentNotFound, StaffNotFound, TooManyOrders.
    """
    said = text.strip()
    if not said:
        raise TextEmpty
    check_window(details.get("time_window_start"), details.get("time_window_end"))
    if about := details.get("about_staff_id"):
        await staff.get(session, caller, about)
    urgency = details.get("urgency") or (Urgency.EMERGENCY if details.get("emergency_kind") else Urgency.ROUTINE)
    resident_id = caller.id if caller.kind is CallerKind.RESIDENT else details.get("reporter_id")
    limited = caller.kind is CallerKind.RESIDENT and urgency is not Urgency.EMERGENCY and channel in LIMITED_CHANNELS
    known = await opening.look_up(session, caller, resident_id, details, locked=limited)
    now, orders_max = runtime.clock(), known.orders_per_day_max
    recent = await opening.find_recent(
        session, caller, reporter_id=resident_id, space_id=known.space_id, orders_max=orders_max
    )
    if limited:
        check_daily_limit(recent, resident_id, orders_max=orders_max, now=now)
    row = _new_row(caller, kind, said, channel, details, known, now=now) | {
        "urgency": urgency,
        "reporter_kind": CallerKind.RESIDENT if resident_id else caller.kind,
        "reporter_id": resident_id or (caller.id if caller.kind is not CallerKind.SYSTEM else None),
    }
    again = Said(row["kind"], row["category_id"], row["space_id"], row["place_text"], said, resident_id)
    row["duplicate_of_id"] = duplicates.find_original(again, recent, now=now, hours=known.duplicate_hours)
    facts = {"channel": channel, "duplicate_of_id": row["duplicate_of_id"]}
    event = _event_row(caller, row["id"], EventKind.CREATED, now=now, to_status=Status.SUBMITTED, facts=facts)
    webhooks.note(session, caller.community_id, listens=known.listens)
    matched = incident_listener.is_matched(row["kind"], urgency, row["incident_id"])
    order = await order_rows.open_(session, row, event, matched=matched)
    await happenings.tell(session, runtime, order, WorkOrderEvent(**event))
    if order.triage is None:
        send_after_commit(session, triage_job(order.id, order.community_id))
    return order


def triage_job(order_id: UUID, community_id: UUID) -> Job:
    return Job(TRIAGE, order_id, community_id, Lane.SERVICE)


def _new_row(
    caller: Caller, kind: OrderKind | None, text: str, channel: Channel, details: Details, known: Background, *,
    now: datetime,
) -> dict[str, Any]:  # fmt: skip
    """Every column of a new order but its number, and those that depend on who reports and what came before."""
    row = _empty_row()
    given = {name: value for name, value in details.items() if name in row and value is not None}
    return row | given | {
        "id": CLOCK.new_id(),
        "community_id": caller.community_id,
        "kind": kind or known.order_kind or OrderKind.REPAIR,
        "text": text,
        "title": details.get("title") or text.splitlines()[0][:TITLE_CHARS],
        "language": details.get("language") or language_of(text),
        "channel": channel,
        "space_id": known.space_id,
        "building_id": known.building_id,
        "household_id": known.household_id,
        "contact_name": details.get("contact_name") or known.name,
        "contact_phone": details.get("contact_phone") or known.phone,
        "created_at": now,
        "updated_at": now,
        "check_at": now,
    }  # fmt: skip


@cache
def _empty_row() -> dict[str, Any]:
    """Every column of an order but its number, with its default."""
    columns = [attribute.columns[0] for attribute in WorkOrder.__mapper__.column_attrs]
    defaults: dict[str, Any] = {
        column.key: column.default for column in columns if isinstance(column, Column) and column.key != "number"
    }
    return {
        name: default.arg if default is not None and default.is_scalar else None for name, default in defaults.items()
    }


def check_window(start: datetime | None, end: datetime | None) -> None:
    """Raises WindowInvalid."""
    if start is not None and end is not None and end <= start:
        raise WindowInvalid


def check_daily_limit(recent: list[Recent], resident_id: UUID | None, *, orders_max: int, now: datetime) -> None:
    """Raises TooManyOrders, with when the next one will be taken."""
    times = sorted(
        one.created_at
        for one in recent
        if one.reporter_id == resident_id and one.created_at > now - DAY and one.channel in LIMITED_CHANNELS
        and one.urgency is not Urgency.EMERGENCY
    )  # fmt: skip
    if len(times) >= orders_max:
        free_at = times[len(times) - orders_max] + DAY
        raise TooManyOrders(orders_max, retry_after_seconds=(free_at - now).total_seconds())


# Moves


def movers_of(caller: Caller, order: WorkOrder) -> frozenset[Mover]:
    """In which capacities the caller may move this order."""
    if caller.kind is CallerKind.SYSTEM:
        return frozenset({Mover.SYSTEM})
    capacities = {
        Mover.REPORTER: is_own(caller, order),
        Mover.STAFF: caller.kind is not CallerKind.RESIDENT and "workorders:write" in caller.scopes,
        Mover.ASSIGNEE: caller.kind is CallerKind.STAFF and order.assignee_id == caller.id,
        Mover.DISPATCHER: caller.kind is not CallerKind.RESIDENT and "workorders:dispatch" in caller.scopes,
    }
    return frozenset(mover for mover, has in capacities.items() if has)


async def move(
    session: AsyncSession, runtime: Runtime, caller: Caller, order_id: UUID, *, to: Status, note: str = "",
    own: bool = False, **facts: Any,
) -> WorkOrder:  # fmt: skip
    """Bring an order into another status. `facts`: assignee_id, quote_cents, currency, and what else the event tells.

    Raises: WorkOrderNotFound, MoveNotAllowed, AlreadyTaken, AssigneeMissing, StaffNotFound, NotForThem, QuoteMissing,
    ReopenWindowOver.
    """
    order = await lock(session, caller, order_id, own=own)
    return await move_locked(session, runtime, caller, order, to=to, note=note, **facts)


async def move_locked(
    session: AsyncSession, runtime: Runtime, caller: Caller, order: WorkOrder, *, to: Status, note: str = "",
    **facts: Any,
) -> WorkOrder:  # fmt: skip
    """As `move`, for an order that `lock` gave."""
    movers = movers_of(caller, order)
    if to is Status.ACCEPTED and order.assignee_id not in (None, caller.id) and Mover.STAFF in movers:
        await _check_not_taken(session, order, movers)
    if (assignee := facts.get("assignee_id")) is not None:
        await staff.get(session, caller, assignee)
    if not transitions.is_allowed(order.status, to, movers):
        raise MoveNotAllowed(order.status, to, transitions.allowed(order.status, movers))
    if order.about_staff_id is not None and order.about_staff_id in (assignee, caller.id):
        raise NotForThem
    now, before = runtime.clock(), order.status
    if to is Status.SUBMITTED:
        await _check_reopen_window(session, caller, order, now)
    changed = effects.apply(order, effects.Move(caller, to, now, facts))
    told = {name: value for name, value in facts.items() if value is not None} | changed
    await record(
        session, runtime, caller, order, EventKind.MOVED, note=note, facts=told, from_status=before, to_status=to
    )
    return order


async def _check_not_taken(session: AsyncSession, order: WorkOrder, movers: frozenset[Mover]) -> None:
    """Raises AlreadyTaken, so that whoever came second learns who was first."""
    assert order.assignee_id is not None
    if transitions.is_allowed(order.status, Status.ACCEPTED, movers) or order.status in SETTLED:
        return
    name = await session.scalar(select(Staff.name).where(Staff.id == order.assignee_id))
    raise AlreadyTaken(order.assignee_id, name or "", order.accepted_at)


async def _check_reopen_window(session: AsyncSession, caller: Caller, order: WorkOrder, now: datetime) -> None:
    days = await setting(session, caller, "work_order_reopen_days")
    done_at = order.completed_at or order.closed_at
    if done_at is not None and now - done_at > timedelta(days=days):
        raise ReopenWindowOver(days)


async def setting(session: AsyncSession, caller: Caller, name: str) -> Any:
    """One setting of the community."""
    return getattr(await communities.read_settings(session, caller.community_id), name)


# Events


async def record(
    session: AsyncSession, runtime: Runtime, caller: Caller, order: WorkOrder, kind: EventKind, *, note: str = "",
    facts: Mapping[str, Any] | None = None, from_status: Status | None = None, to_status: Status | None = None,
) -> None:  # fmt: skip
    """Write down that something happened to a locked order, and tell who listens."""
    row = _event_row(
        caller, order.id, kind, now=runtime.clock(), note=note, facts=facts, from_status=from_status,
        to_status=to_status,
    )  # fmt: skip
    # Written after they were told: what listeners change of the order goes into the same statement.
    with session.no_autoflush:
        await happenings.tell(session, runtime, order, WorkOrderEvent(**row))
        await order_rows.record(session, order, row)
    if session.new:
        await session.flush()


def _event_row(
    caller: Caller, order_id: UUID, kind: EventKind, *, now: datetime, note: str = "",
    facts: Mapping[str, Any] | None = None, from_status: Status | None = None, to_status: Status | None = None,
) -> dict[str, Any]:  # fmt: skip
    return {
        "id": CLOCK.new_id(), "community_id": caller.community_id, "work_order_id": order_id, "kind": kind,
        "from_status": from_status, "to_status": to_status, "actor_kind": caller.kind,
        "actor_id": caller.id if caller.kind is not CallerKind.SYSTEM else None, "note": note,
        "facts": {name: _plain(value) for name, value in (facts or {}).items()}, "created_at": now,
    }  # fmt: skip


def _plain(value: Any) -> Any:
    """As JSON has it."""
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else value


def events_of(caller: Caller, order: WorkOrder) -> Select[WorkOrderEvent]:
    """What happened to an order that `get` gave."""
    return select(WorkOrderEvent).where(
        WorkOrderEvent.community_id == caller.community_id, WorkOrderEvent.work_order_id == order.id
    )
