"""Incidents in the background: orders matched, followers told, notices worded; and what was left over is sent again."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import text

from app.people.callers import tenant_of_community
from app.queue import Job, Lane, Lease, job, periodic
from app.runtime import Runtime
from app.service_desk import incident_notices, incident_telling, incidents, proposing
from app.service_desk.incident_listener import MATCH_ORDER, match_job

SWEEP_SECONDS = 30
SWEEP_ROWS_MAX = 500


@job(MATCH_ORDER)
async def match_order(runtime: Runtime, lease: Lease) -> None:
    tenant = await tenant_of_community(runtime, lease.job.community_id)
    await proposing.match_order(runtime, tenant, lease.job.row_id)


@job(incidents.TELL_INCIDENT)
async def tell_incident(runtime: Runtime, lease: Lease) -> None:
    tenant = await tenant_of_community(runtime, lease.job.community_id)
    await incident_telling.tell_followers(runtime, tenant, lease.job.row_id)


@job(incident_notices.WORD_NOTICE)
async def word_notice(runtime: Runtime, lease: Lease) -> None:
    tenant = await tenant_of_community(runtime, lease.job.community_id)
    await incident_notices.word(runtime, tenant, lease.job.row_id)


@periodic(SWEEP_SECONDS)
async def sweep_unmatched_orders(runtime: Runtime) -> None:
    """Send the jobs of orders that Redis forgot. A job that still waits or runs is not doubled by it."""
    for order_id, community_id in await _left(runtime, "orders"):
        await runtime.send(match_job(order_id, community_id))


@periodic(SWEEP_SECONDS)
async def sweep_untold_incidents(runtime: Runtime) -> None:
    """The same for news of which not every follower was told."""
    for incident_id, community_id in await _left(runtime, "incidents"):
        await runtime.send(Job(incidents.TELL_INCIDENT, incident_id, community_id, lane=Lane.SERVICE))


LEFT = {
    "orders": "SELECT * FROM unmatched_work_orders(:before, :rows)",
    "incidents": "SELECT * FROM untold_incidents(:before, :rows)",
}


async def _left(runtime: Runtime, what: str) -> list[tuple[UUID, UUID]]:
    before = runtime.clock() - timedelta(seconds=SWEEP_SECONDS)
    async with runtime.transaction(None) as session:
        found = await session.execute(text(LEFT[what]), {"before": before, "rows": SWEEP_ROWS_MAX})
        return [(row[0], row.community_id) for row in found]
