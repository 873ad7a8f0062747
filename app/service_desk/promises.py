"""The ledger of promises 承诺台账: made by staff, by the assistant or by an appointment; kept, withdrawn or broken.

What is found in a comment is only proposed. A promise that ran out stays broken in the ledger, also when it was kept
later; the resident is told so as it is.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.errors import Conflict, Invalid, NotFound
from app.people import residents
from app.people.callers import Caller, CallerKind
from app.runtime import Runtime
from app.service_desk import promise_ledger, work_orders
from app.service_desk.promise_ledger import PromisePast, chase_at
from app.service_desk.promise_tables import PROMISE_MOVES, Promise, PromiseStatus
from app.service_desk.tables import WorkOrder

promise = promise_ledger.promise
propose = promise_ledger.propose

SHOWN_TO_RESIDENTS = (PromiseStatus.OPEN, PromiseStatus.KEPT, PromiseStatus.WITHDRAWN, PromiseStatus.BROKEN)


class PromiseNotFound(NotFound):
    code = "promise_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such promise.", "没有这条承诺。")


class PromiseMoveNotAllowed(Conflict):
    code = "promise_move_not_allowed"

    def __init__(self, current: PromiseStatus, wanted: PromiseStatus) -> None:
        super().__init__(
            f"This promise cannot go from {current} to {wanted}.", f"该承诺当前状态（{current}）不能改为 {wanted}。",
            current=current, wanted=wanted, allowed=sorted(PROMISE_MOVES[current]),
        )  # fmt: skip


class PromiseForNobody(Invalid):
    code = "promise_for_nobody"

    def __init__(self) -> None:
        super().__init__("Say to which resident it is promised.", "请说明承诺给哪位住户。")


def visible_to(caller: Caller) -> Select[Promise]:
    """Residents: what was promised to them. Staff and keys: what is about no order, or about one that they see."""
    here = select(Promise).where(Promise.community_id == caller.community_id)
    if caller.kind is CallerKind.RESIDENT:
        return here.where(Promise.to_resident_id == caller.id, Promise.status.in_(SHOWN_TO_RESIDENTS))
    theirs = work_orders.visible_to(caller).with_only_columns(WorkOrder.id)
    return here.where(or_(Promise.work_order_id.is_(None), Promise.work_order_id.in_(theirs)))


def list_mine(caller: Caller, *, status: PromiseStatus | None = None) -> Select[Promise]:
    """What was promised to whoever asks; for callers who are no residents, nothing."""
    mine = select(Promise).where(
        Promise.community_id == caller.community_id, Promise.to_resident_id == caller.id,
        Promise.status.in_(SHOWN_TO_RESIDENTS),
    )  # fmt: skip
    return mine if status is None else mine.where(Promise.status == status)


def list_statement(
    caller: Caller, *, status: PromiseStatus | None = None, by_id: UUID | None = None,
    work_order_id: UUID | None = None, resident_id: UUID | None = None, due_before: datetime | None = None,
) -> Select[Promise]:  # fmt: skip
    statement = visible_to(caller)
    if status is not None:
        statement = statement.where(Promise.status == status)
    if by_id is not None:
        statement = statement.where(Promise.by_id == by_id)
    if work_order_id is not None:
        statement = statement.where(Promise.work_order_id == work_order_id)
    if resident_id is not None:
        statement = statement.where(Promise.to_resident_id == resident_id)
    if due_before is not None:
        statement = statement.where(Promise.due_at < due_before)
    return statement


async def get(session: AsyncSession, caller: Caller, promise_id: UUID, *, locked: bool = False) -> Promise:
    """Raises PromiseNotFound."""
    statement = visible_to(caller).where(Promise.id == promise_id)
    if locked:
        statement = statement.with_for_update(key_share=True)
    found = (await session.scalars(statement)).one_or_none()
    if found is None:
        raise PromiseNotFound
    return found


async def state(
    session: AsyncSession, runtime: Runtime, caller: Caller, *, text: str, due_at: datetime,
    to_resident_id: UUID | None, work_order: WorkOrder | None,
) -> Promise:  # fmt: skip
    """A promise that a caller makes outright, to a resident or to the reporter of an order that they may see.

    Raises: PromisePast, PromiseForNobody, ResidentNotFound.
    """
    if to_resident_id is None and work_order is not None and work_order.reporter_kind is CallerKind.RESIDENT:
        to_resident_id = work_order.reporter_id
    if to_resident_id is None:
        raise PromiseForNobody
    await residents.get(session, caller, to_resident_id)
    return await promise(
        session, runtime, community_id=caller.community_id, by_kind=caller.kind, by_id=caller.id,
        to_resident_id=to_resident_id, text=text, due_at=due_at, work_order_id=work_order.id if work_order else None,
    )  # fmt: skip


# What becomes of it


def _move(promised: Promise, wanted: PromiseStatus) -> None:
    if wanted not in PROMISE_MOVES[promised.status]:
        raise PromiseMoveNotAllowed(promised.status, wanted)
    promised.status = wanted
    promised.version += 1


async def confirm(
    session: AsyncSession, runtime: Runtime, caller: Caller, promised: Promise, *, text: str | None,
    due_at: datetime | None,
) -> Promise:  # fmt: skip
    """Make a locked proposal a promise, as found or put right. Raises: PromiseMoveNotAllowed, PromisePast."""
    _move(promised, PromiseStatus.OPEN)
    promised.text, promised.due_at = text or promised.text, due_at or promised.due_at
    if promised.due_at <= runtime.clock():
        raise PromisePast
    promised.chase_at = chase_at(runtime.clock(), promised.due_at)
    return await _decided(session, runtime, caller, promised)


async def decline(session: AsyncSession, runtime: Runtime, caller: Caller, promised: Promise) -> Promise:
    """Nothing was promised. Raises PromiseMoveNotAllowed."""
    _move(promised, PromiseStatus.DECLINED)
    return await _decided(session, runtime, caller, promised)


async def keep(session: AsyncSession, runtime: Runtime, caller: Caller, promised: Promise) -> Promise:
    """It was done. One that ran out stays broken, with the time at which it was kept after all.

    Raises PromiseMoveNotAllowed.
    """
    late = promised.status is PromiseStatus.BROKEN and promised.kept_at is None
    if not late:
        _move(promised, PromiseStatus.KEPT)
    promised.kept_at = runtime.clock()
    return await _decided(session, runtime, caller, promised)


async def withdraw(
    session: AsyncSession, runtime: Runtime, caller: Caller, promised: Promise, *, reason: str
) -> Promise:
    """Take an open promise back; the resident reads why. Raises PromiseMoveNotAllowed."""
    _move(promised, PromiseStatus.WITHDRAWN)
    promised.reason = reason
    return await _decided(session, runtime, caller, promised)


async def _decided(session: AsyncSession, runtime: Runtime, caller: Caller, promised: Promise) -> Promise:
    promised.decided_by_id = None if caller.kind is CallerKind.SYSTEM else caller.id
    promised.decided_at = runtime.clock()
    await session.flush()
    return promised


def facts_of(promised: Promise) -> dict[str, Any]:
    """For webhooks: ids and times, no words."""
    return {
        "promise_id": str(promised.id), "due_at": promised.due_at.isoformat(), "by_kind": promised.by_kind,
        "work_order_id": str(promised.work_order_id) if promised.work_order_id else None,
        "conversation_id": str(promised.conversation_id) if promised.conversation_id else None,
    }  # fmt: skip
