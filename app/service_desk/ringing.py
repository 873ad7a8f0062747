"""An emergency is rung about until somebody answers: the on-call rota level by level, the managers, everybody again.

The row in `rings` is the outbox; who sends the job is not important: `due_rings` finds what is due, and emergencies
about which nobody was rung yet.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from uuid import UUID

import structlog
from prometheus_client import Counter
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.clock import CLOCK
from app.db import Tenant
from app.people import communities, rota
from app.people.callers import system_caller
from app.runtime import Runtime
from app.service_desk import deadlines, recipients, ring_links, work_orders
from app.service_desk.duty_tables import Ring, RingCall, RingState
from app.service_desk.tables import EventKind, Urgency, WorkOrder

log = structlog.get_logger(__name__)

AGAIN_MINUTES_MAX = 30
"""Longest pause between two rounds of ringing everybody."""
TEXT_CHARS = 80

CALLS = Counter("linli_ring_calls_total", "People rung about emergencies, by level.", ["level"])
UNANSWERED = Counter("linli_rings_unanswered_total", "Rounds after which nobody at all had answered.")

EMERGENCIES: dict[str, tuple[str, str]] = {
    "trapped": ("电梯困人", "Somebody trapped in a lift"),
    "gas": ("燃气泄漏", "Gas"),
    "fire": ("火情", "Fire"),
    "flood": ("爆管漏水", "Flooding"),
    "medical": ("有人急病或受伤", "Medical emergency"),
    "missing_person": ("人员走失", "Missing person"),
    "violence": ("治安事件", "Violence"),
    "falling_object_injury": ("高空坠物伤人", "Injury by a falling object"),
    "electric": ("触电", "Electric shock"),
}
SOME_EMERGENCY = ("紧急情况", "Emergency")


@dataclass(frozen=True)
class Level:
    name: str
    staff_ids: tuple[UUID, ...]


async def ring(runtime: Runtime, tenant: Tenant, order_id: UUID) -> None:
    """Ring the next level, if that is due. Safe to run twice and by two at once: the second finds it done."""
    now = runtime.clock()
    async with runtime.transaction(tenant) as session:
        order = await session.get(WorkOrder, order_id, with_for_update=True)
        if order is None:
            return
        if not await _starts(session, order, runtime):
            return
        ring = await session.get_one(Ring, order_id, with_for_update=True)
        if ring.state is not RingState.RINGING or (ring.next_at and ring.next_at > now):
            return
        if order.urgency is not Urgency.EMERGENCY or order.status not in deadlines.UNHEARD:
            # Somebody took it on without answering the telephone.
            ring.state, ring.next_at = RingState.OVER, None
            return
        minutes = (await communities.read_settings(session, order.community_id)).ring_escalate_minutes
        levels = await levels_of(session, order, runtime)
        await _ring_level(session, runtime, tenant, order, ring, levels)
        ring.step += 1
        rounds = max(0, ring.step - len(levels))
        ring.next_at = now + timedelta(minutes=min(max(AGAIN_MINUTES_MAX, minutes), minutes * 2**rounds))


async def _starts(session: AsyncSession, order: WorkOrder, runtime: Runtime) -> bool:
    """Whether the order has a row of its ringing, which an emergency that nobody took on gets now."""
    if order.urgency is Urgency.EMERGENCY and order.status in deadlines.UNHEARD:
        now = runtime.clock()
        row = insert(Ring).values(
            work_order_id=order.id, community_id=order.community_id, state=RingState.RINGING, step=0, next_at=now,
            created_at=now,
        )  # fmt: skip
        await session.execute(row.on_conflict_do_nothing())
        return True
    return await session.get(Ring, order.id) is not None


async def levels_of(session: AsyncSession, order: WorkOrder, runtime: Runtime) -> list[Level]:
    """Who is rung, first to last: the levels of the rota, then the managers if they are not on it."""
    called = await rota.levels(session, order.community_id, runtime.clock())
    levels = [
        Level(f"rota:{level}", tuple(one.staff_id for one in group))
        for level, group in groupby(called, key=lambda one: one.level)
    ]
    managers = await recipients.with_roles(session, order.community_id, recipients.MANAGING)
    known = {staff_id for level in levels for staff_id in level.staff_ids}
    if rest := tuple(staff_id for staff_id in managers if staff_id not in known):
        levels.append(Level("managers", rest))
    return levels


async def _ring_level(
    session: AsyncSession, runtime: Runtime, tenant: Tenant, order: WorkOrder, ring: Ring, levels: Sequence[Level]
) -> None:
    """Ring those whose turn it is; past the last level everybody, and say that nobody has answered."""
    again = ring.step >= len(levels)
    everybody = tuple(dict.fromkeys(staff_id for level in levels for staff_id in level.staff_ids))
    level = Level("everybody", everybody) if again else levels[ring.step]
    if again:
        await _say_unanswered(session, runtime, tenant, order, ring, levels)
    now = runtime.clock()
    # Nobody is rung about a complaint against themselves, but somebody must come.
    for staff_id in level.staff_ids:
        session.add(
            RingCall(
                id=CLOCK.new_id(), community_id=order.community_id, work_order_id=order.id, step=ring.step,
                level=level.name, staff_id=staff_id, rung_at=now,
            )
        )  # fmt: skip
        CALLS.labels(level.name.partition(":")[0]).inc()
        await _call(session, runtime, tenant, order, staff_id, step=ring.step)
    facts = {"level": level.name, "step": ring.step, "staff_ids": [str(one) for one in level.staff_ids]}
    note = f"已呼叫 {len(level.staff_ids)} 人"
    await work_orders.record(session, runtime, system_caller(tenant), order, EventKind.RUNG, note=note, facts=facts)


async def _call(
    session: AsyncSession, runtime: Runtime, tenant: Tenant, order: WorkOrder, staff_id: UUID, *, step: int
) -> None:
    zh, en = EMERGENCIES.get(order.emergency_kind or "", SOME_EMERGENCY)
    said = f"{order.place_text} {order.text[:TEXT_CHARS]}".strip()
    await recipients.tell_staff(
        session, runtime, order, [staff_id], kind="emergency.ring",
        title={"zh": f"【紧急】{zh}", "en": f"EMERGENCY: {en}"},
        body={"zh": f"工单 {order.number}：{said}。请立即确认。", "en": f"Order {order.number}: {said}. Answer now."},
        link=ring_links.link(runtime, tenant, order_id=order.id, staff_id=staff_id), key=f"ring:{step}",
    )  # fmt: skip


async def _say_unanswered(
    session: AsyncSession, runtime: Runtime, tenant: Tenant, order: WorkOrder, ring: Ring, levels: Sequence[Level]
) -> None:
    """Nobody has answered: on the order, in the log and in the metrics. It rings on."""
    UNANSWERED.inc()
    log.error("ring_unanswered", work_order_id=str(order.id), step=ring.step, levels=len(levels))
    order.needs_person = True
    note = "无人应答，继续呼叫所有人" if levels else "没有可呼叫的员工，请检查值班表"
    await work_orders.record(
        session, runtime, system_caller(tenant), order, EventKind.ESCALATED, note=note, facts={"step": ring.step}
    )
