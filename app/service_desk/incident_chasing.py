"""Incidents that last longer than was said: the desk is asked for news, and followers do not wait by an old time.

`chase_at` on the row is when to look; a sweep finds it, so that nothing is lost with Redis. The pause doubles from one
asking to the next, up to a day, until somebody says when it will be over, or that it is.
"""

from datetime import timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.db import Tenant
from app.notices import deliveries
from app.people import communities
from app.people.callers import system_caller
from app.people.local_time import zone_of
from app.queue import Job, Lane
from app.runtime import Runtime
from app.service_desk import desk, incident_words, incidents
from app.service_desk.incident_tables import LIVE, Incident, IncidentStatus

CHASE_INCIDENT = "service_desk.chase_incident"
PAUSE_MAX = timedelta(days=1)


def job_of(incident_id: UUID, community_id: UUID) -> Job:
    return Job(CHASE_INCIDENT, incident_id, community_id, lane=Lane.SERVICE)


async def chase(runtime: Runtime, tenant: Tenant, incident_id: UUID) -> None:
    """Ask for news of one incident whose expected end has passed. Safe to run twice."""
    async with runtime.transaction(tenant) as session:
        incident = await session.get(Incident, incident_id, with_for_update={"key_share": True})
        now = runtime.clock()
        if incident is None or incident.chase_at is None or incident.chase_at > now:
            return
        if incident.status not in LIVE or incident.expected_end_at is None:
            incident.chase_at = None
            return
        settings = await communities.read_settings(session, incident.community_id)
        pause = timedelta(minutes=settings.incident_chase_minutes) * 2 ** min(incident.chased_count, 12)
        incident.chase_at = now + min(pause, PAUSE_MAX)
        incident.chased_count += 1
        if incident.chased_count == 1 and incident.status is IncidentStatus.OPEN:
            said = incident_words.overran(incident, await zone_of(session, incident.community_id))
            caller = system_caller(tenant)
            await incidents.add_news(session, runtime, caller, incident, text=said["zh"], text_en=said["en"])
        await incidents.touch(session, runtime, incident)
        await _tell_desk(session, runtime, incident)


async def _tell_desk(session: AsyncSession, runtime: Runtime, incident: Incident) -> None:
    assert incident.expected_end_at is not None
    body = incident_words.late(incident, await zone_of(session, incident.community_id))
    for staff_id in await desk.people(session, incident.community_id):
        await deliveries.tell(
            session, runtime, community_id=incident.community_id, staff_id=staff_id, kind="incident.late",
            title=incident_words.title(incident), body=body, link=f"/incidents/{incident.id}",
            key=f"incident:{incident.id}:late:{incident.expected_end_at.isoformat()}:{incident.chased_count}",
        )  # fmt: skip
