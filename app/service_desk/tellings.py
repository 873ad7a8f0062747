"""People are told of what concerns them: residents of their order's progress, staff of what they were given."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.notices import deliveries
from app.people.callers import CallerKind
from app.runtime import Runtime
from app.service_desk import recipients
from app.service_desk.tables import EventKind, Status, WorkOrder, WorkOrderEvent


@dataclass(frozen=True)
class Words:
    zh: str
    en: str


RESIDENT_TOLD: dict[Status, Words] = {
    Status.ACCEPTED: Words("已有师傅接单", "somebody has taken it on"),
    Status.DISPATCHED: Words("已派单", "somebody was sent"),
    Status.PAUSED: Words("已暂停处理", "the work is paused"),
    Status.QUOTED: Words("有报价待您确认", "there is a price for you to confirm"),
    Status.AWAITING_PAYMENT: Words("待支付", "there is something to pay"),
    Status.PAYMENT_FAILED: Words("支付失败", "the payment failed"),
    Status.AWAITING_RATING: Words("已处理完成，请评价", "it is done; please rate it"),
    Status.CLOSED_UNHANDLED: Words("已关闭，未作处理", "it was closed without being handled"),
    Status.CANCELLED: Words("已取消", "it was cancelled"),
}
"""The moves that a resident is told of; what they did themselves they know."""


async def hear(session: AsyncSession, runtime: Runtime, order: WorkOrder, event: WorkOrderEvent) -> None:
    """A listener of the desk."""
    if event.kind is not EventKind.MOVED:
        return
    await _tell_resident(session, runtime, order, event)
    await _tell_assignee(session, runtime, order, event)
    if event.to_status is Status.RETURNED:
        await _tell_dispatchers(session, runtime, order, event)


async def _tell_resident(session: AsyncSession, runtime: Runtime, order: WorkOrder, event: WorkOrderEvent) -> None:
    words = RESIDENT_TOLD.get(event.to_status) if event.to_status else None
    if words is None or order.reporter_kind is not CallerKind.RESIDENT or order.reporter_id is None:
        return
    if event.actor_kind is CallerKind.RESIDENT and event.actor_id == order.reporter_id:
        return
    name = recipients.name_of(order)
    await deliveries.tell(
        session, runtime, community_id=order.community_id, resident_id=order.reporter_id, kind="workorder.moved",
        title={"zh": f"工单{words.zh}", "en": f"Your order: {words.en}"},
        body={"zh": f"{name['zh']}：{words.zh}。", "en": f"{name['en']}: {words.en}."},
        link=recipients.link_to(order), key=f"order:{order.id}:moved:{event.id}",
    )  # fmt: skip


async def _tell_assignee(session: AsyncSession, runtime: Runtime, order: WorkOrder, event: WorkOrderEvent) -> None:
    given = event.facts.get("assignee_id")
    if given is None or (event.actor_kind is CallerKind.STAFF and str(event.actor_id) == str(given)):
        return
    name = recipients.name_of(order)
    await recipients.tell_staff(
        session, runtime, order, [UUID(str(given))], kind="workorder.assigned",
        title={"zh": "您有新工单", "en": "An order for you"},
        body={
            "zh": f"{name['zh']} {order.place_text}".strip() + "。",
            "en": f"{name['en']} {order.place_text}".strip() + ".",
        },
        key=f"assigned:{event.id}",
    )  # fmt: skip


async def _tell_dispatchers(session: AsyncSession, runtime: Runtime, order: WorkOrder, event: WorkOrderEvent) -> None:
    """Who gave an order back is not given it again by Linli: a person decides."""
    order.needs_person = True
    name = recipients.name_of(order)
    await recipients.tell_staff(
        session, runtime, order,
        await recipients.with_roles(session, order.community_id, recipients.DISPATCHING), kind="workorder.returned",
        title={"zh": "工单被退回", "en": "An order was given back"},
        body={
            "zh": f"{name['zh']}：{event.note or '未说明原因'}",
            "en": f"{name['en']}: {event.note or 'no reason given'}",
        },
        key=f"returned:{event.id}",
    )  # fmt: skip
