"""The followers of an incident hear of its news, each once, and its orders of its end."""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.db import Tenant
from app.notices import deliveries
from app.people.callers import Caller, system_caller
from app.people.local_time import zone_of
from app.runtime import Runtime
from app.service_desk import incident_orders, incident_words, incidents
from app.service_desk.incident_tables import Incident, IncidentFollower, IncidentNews, IncidentStatus

FOLLOWERS_PER_TRANSACTION = 100
ORDERS_AT_ONCE = 200


async def tell_followers(runtime: Runtime, tenant: Tenant, incident_id: UUID) -> None:
    """Tell everybody who follows what they have not heard, then the orders. Safe to run twice, also at the same time.

    Of several news only the last is told: who was away for a while wants to know how it stands.
    """
    caller = system_caller(tenant)
    while True:
        async with runtime.transaction(tenant) as session:
            if not await _tell_some(session, runtime, caller, incident_id):
                break
    async with runtime.transaction(tenant) as session:
        incident = await session.get(Incident, incident_id)
        if incident is None:
            return
        number = incident.news_number
        over = incident.status in (IncidentStatus.CLOSED, IncidentStatus.DISMISSED)
    while over and await _answer_some(runtime, tenant, incident_id):
        pass
    async with runtime.transaction(tenant) as session:
        incident = await incidents.get(session, caller, incident_id, locked=True)
        incident.told_number = max(incident.told_number, number)


async def _tell_some(session: AsyncSession, runtime: Runtime, caller: Caller, incident_id: UUID) -> int:
    incident = await session.get(Incident, incident_id)
    if incident is None:
        return 0
    newest = select(IncidentNews).where(IncidentNews.incident_id == incident_id).order_by(IncidentNews.number.desc())
    news = (await session.scalars(newest.limit(1))).one_or_none()
    if news is None:
        return 0
    behind = (
        incidents.followers_of(incident)
        .where(IncidentFollower.told_number < news.number)
        .order_by(IncidentFollower.id)
        .limit(FOLLOWERS_PER_TRANSACTION)
        .with_for_update(skip_locked=True)
    )
    followers = list(await session.scalars(behind))
    zone = await zone_of(session, caller.community_id)
    for follower in followers:
        await deliveries.tell(
            session, runtime, community_id=incident.community_id, resident_id=follower.resident_id,
            kind="incident.closed" if news.ends else "incident.news", title=incident_words.title(incident),
            body=incident_words.news(incident, news, zone), link=f"/me/incidents/{incident.id}",
            key=f"incident:{incident.id}:{news.number}",
        )  # fmt: skip
        follower.told_number = news.number
    await session.flush()
    return len(followers)


async def _answer_some(runtime: Runtime, tenant: Tenant, incident_id: UUID) -> int:
    """Each order in a transaction of its own, so that one that fails takes no other with it."""
    caller = system_caller(tenant)
    async with runtime.transaction(tenant) as session:
        incident = await session.get_one(Incident, incident_id)
        waiting = await incident_orders.unanswered(session, incident, rows_max=ORDERS_AT_ONCE)
    for order_id in waiting:
        async with runtime.transaction(tenant) as session:
            incident = await session.get_one(Incident, incident_id)
            await incident_orders.answer(session, runtime, caller, incident, order_id)
    return len(waiting)
