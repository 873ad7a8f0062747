"""What people say to a ringing: I take it, it is no emergency, it is known. The first answer counts; all are told."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.errors import Conflict
from app.people.callers import Caller, CallerKind, ScopeMissing, system_caller
from app.people.tables import Staff
from app.runtime import Runtime
from app.service_desk import effects, recipients, transitions, work_orders
from app.service_desk.duty_tables import Ring, RingAnswer, RingCall, RingState
from app.service_desk.tables import EventKind, Status, Urgency, WorkOrder


class NotRinging(Conflict):
    code = "not_ringing"

    def __init__(self) -> None:
        super().__init__("Nobody is being rung about this order.", "该工单没有在呼叫值班人员。")


class RingAnswered(Conflict):
    """Whoever comes second learns who was first."""

    code = "ring_answered"

    def __init__(self, answer: RingAnswer, staff_id: UUID, name: str) -> None:
        super().__init__(
            f"{name} has answered already: {answer}.", f"{name} 已先行答复：{WORDS[answer][0]}。", answer=answer,
            staff_id=str(staff_id), name=name,
        )  # fmt: skip


class PersonNeeded(Conflict):
    code = "person_needed"

    def __init__(self) -> None:
        super().__init__("Only a member of staff can answer a ringing.", "只有员工本人可以答复呼叫。")


WORDS: dict[RingAnswer, tuple[str, str]] = {
    RingAnswer.ACCEPT: ("接单", "takes it on"),
    RingAnswer.DOWNGRADE: ("降级为非紧急", "says that it is no emergency"),
    RingAnswer.KNOWN: ("已知情况，正在处理", "says that it is known and looked after"),
}


async def answer(
    session: AsyncSession, runtime: Runtime, caller: Caller, order_id: UUID, *, given: RingAnswer, note: str = ""
) -> WorkOrder:
    """Answer a ringing; the same answer of the same person twice is one.

    Raises: WorkOrderNotFound, NotRinging, RingAnswered, PersonNeeded, ScopeMissing.
    """
    if "workorders:write" not in caller.scopes:
        raise ScopeMissing("workorders:write")
    order = await work_orders.lock(session, caller, order_id)
    if caller.kind is not CallerKind.STAFF:
        raise PersonNeeded
    ring = await session.get(Ring, order_id, with_for_update=True)
    if ring is None or ring.state is RingState.OVER:
        raise NotRinging
    if ring.state is RingState.ANSWERED:
        assert ring.answer is not None
        assert ring.answered_by is not None
        if (ring.answer, ring.answered_by) == (given, caller.id):
            return order
        name = await session.scalar(select(Staff.name).where(Staff.id == ring.answered_by))
        raise RingAnswered(ring.answer, ring.answered_by, name or "")
    ring.state, ring.next_at = RingState.ANSWERED, None
    ring.answer, ring.answered_by, ring.answered_at = given, caller.id, runtime.clock()
    facts = {"answer": given.value, "staff_id": str(caller.id)}
    zh, en = WORDS[given]
    await work_orders.record(
        session, runtime, caller, order, EventKind.RING_ANSWERED, note=note or f"{caller.name}：{zh}", facts=facts
    )
    await ANSWERS[given](session, runtime, caller, order)
    await _tell_the_others(session, runtime, caller, order, zh=zh, en=en)
    return order


async def _accept(session: AsyncSession, runtime: Runtime, caller: Caller, order: WorkOrder) -> None:
    """Whoever answers has it, also when it was given to somebody who did not."""
    if order.status not in transitions.UNASSIGNED and order.assignee_id != caller.id:
        await work_orders.move_locked(
            session, runtime, system_caller(caller.tenant), order, to=Status.DISPATCHED, assignee_id=caller.id
        )
    await work_orders.move_locked(session, runtime, caller, order, to=Status.ACCEPTED)


async def _downgrade(session: AsyncSession, runtime: Runtime, caller: Caller, order: WorkOrder) -> None:
    """It goes on as an urgent order, which finds its staff as others do."""
    before, order.urgency = order.urgency, Urgency.URGENT
    effects.touch(order, runtime.clock())
    await work_orders.record(
        session, runtime, caller, order, EventKind.CHANGED, facts={"urgency": Urgency.URGENT, "former_urgency": before}
    )


async def _known(session: AsyncSession, runtime: Runtime, caller: Caller, order: WorkOrder) -> None:
    """Somebody is on it already: a person links it with what is known, or closes it."""
    order.needs_person = True


ANSWERS = {RingAnswer.ACCEPT: _accept, RingAnswer.DOWNGRADE: _downgrade, RingAnswer.KNOWN: _known}


async def _tell_the_others(
    session: AsyncSession, runtime: Runtime, caller: Caller, order: WorkOrder, *, zh: str, en: str
) -> None:
    """Who was rung need not come any more."""
    rung = select(RingCall.staff_id).where(RingCall.work_order_id == order.id, RingCall.staff_id != caller.id)
    others = sorted(set(await session.scalars(rung)))
    name = recipients.name_of(order)
    await recipients.tell_staff(
        session, runtime, order, others, kind="emergency.answered",
        title={"zh": "紧急呼叫已答复", "en": "The emergency was answered"},
        body={"zh": f"{name['zh']}：{caller.name}{zh}。", "en": f"{name['en']}: {caller.name} {en}."},
        key="ring:answered",
    )  # fmt: skip


async def find(session: AsyncSession, caller: Caller, order_id: UUID) -> tuple[Ring | None, Sequence[RingCall]]:
    """The ringing about an order, if there was any, with every call. Raises WorkOrderNotFound."""
    await work_orders.get(session, caller, order_id)
    ring = await session.get(Ring, order_id)
    calls = select(RingCall).where(RingCall.work_order_id == order_id).order_by(RingCall.step, RingCall.id)
    return ring, (await session.scalars(calls)).all()
