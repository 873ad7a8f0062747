"""Promises that run out: whoever made them is reminded before, and told, with the resident, when it is too late."""

from collections.abc import Iterable
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.db import Tenant
from app.notices import deliveries
from app.people.callers import CallerKind
from app.people.local_time import clock, zone_of
from app.queue import Job, Lane
from app.runtime import Runtime
from app.service_desk import desk, promises, webhooks
from app.service_desk.promise_tables import Promise, PromiseStatus
from app.service_desk.tables import WorkOrder

PRESS = "service_desk.press_promise"


def job_of(promise_id: UUID, community_id: UUID) -> Job:
    return Job(PRESS, promise_id, community_id, lane=Lane.SERVICE)


async def press(runtime: Runtime, tenant: Tenant, promise_id: UUID) -> None:
    """Remind of one open promise, or count it broken. Safe to run twice."""
    async with runtime.transaction(tenant) as session:
        promised = await session.get(Promise, promise_id, with_for_update={"key_share": True})
        if promised is None or promised.status is not PromiseStatus.OPEN:
            return
        now = runtime.clock()
        if promised.due_at <= now:
            await _break(session, runtime, promised)
        elif promised.chased_at is None and promised.chase_at <= now:
            await _chase(session, runtime, promised)


async def _chase(session: AsyncSession, runtime: Runtime, promised: Promise) -> None:
    promised.chased_at = runtime.clock()
    zone = await zone_of(session, promised.community_id)
    until = {language: clock(promised.due_at, zone, language) for language in ("zh", "en")}
    title = {"zh": "承诺即将到期", "en": "A promise is about to run out"}
    body = {
        "zh": f"请在{until['zh']}前兑现：{promised.text}",
        "en": f"To be kept by {until['en']}: {promised.text}",
    }
    for staff_id in await _responsible(session, promised):
        await _tell_staff(session, runtime, promised, staff_id, kind="promise.chased", title=title, body=body)


async def _break(session: AsyncSession, runtime: Runtime, promised: Promise) -> None:
    promised.status, promised.version = PromiseStatus.BROKEN, promised.version + 1
    await session.flush()
    zone = await zone_of(session, promised.community_id)
    until = {language: clock(promised.due_at, zone, language) for language in ("zh", "en")}
    title = {"zh": "承诺未按时兑现", "en": "A promise was not kept in time"}
    if promised.to_resident_id is not None:
        body = {
            "zh": f"我们答应{until['zh']}前：{promised.text}。这没有做到，很抱歉。已通知物业负责人跟进。",
            "en": f"We promised by {until['en']}: {promised.text}. We did not keep it, and we are sorry. "
            "Those in charge have been told.",
        }
        await deliveries.tell(
            session, runtime, community_id=promised.community_id, resident_id=promised.to_resident_id,
            kind="promise.broken", title=title, body=body, link=f"/me/promises/{promised.id}",
            key=f"promise:{promised.id}:broken",
        )  # fmt: skip
    body = {
        "zh": f"已过{until['zh']}，未兑现：{promised.text}。住户已收到说明，请尽快联系。",
        "en": f"Due {until['en']}, not kept: {promised.text}. The resident was told; please get in touch.",
    }
    told = {*await _responsible(session, promised), *await desk.people(session, promised.community_id)}
    for staff_id in sorted(told):
        await _tell_staff(session, runtime, promised, staff_id, kind="promise.broken", title=title, body=body)
    await webhooks.tell(session, runtime, promised.community_id, "promise.broken", promises.facts_of(promised))


async def _responsible(session: AsyncSession, promised: Promise) -> Iterable[UUID]:
    """Who promised and who has the order; the desk when that is nobody."""
    found = {promised.by_id} if promised.by_kind is CallerKind.STAFF else set()
    if promised.work_order_id is not None:
        order = await session.get(WorkOrder, promised.work_order_id)
        found.add(order.assignee_id if order is not None else None)
    people = sorted(one for one in found if one is not None)
    return people or await desk.people(session, promised.community_id)


async def _tell_staff(
    session: AsyncSession, runtime: Runtime, promised: Promise, staff_id: UUID, *, kind: str, title: dict[str, str],
    body: dict[str, str],
) -> None:  # fmt: skip
    await deliveries.tell(
        session, runtime, community_id=promised.community_id, staff_id=staff_id, kind=kind, title=title, body=body,
        link=f"/promises/{promised.id}", key=f"promise:{promised.id}:{kind}",
    )  # fmt: skip
