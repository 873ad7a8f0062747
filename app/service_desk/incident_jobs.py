"""Incidents in the background: orders matched, followers told, notices worded, late ones chased; and what
was left over is sent again."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import text

from app.people.callers import tenant_of_community
from app.queue import Job, Lane, Lease, job, periodic
from app.runtime import Runtime
from app.service_desk import incident_chasing, incident_notices, incident_telling, incidents, proposing
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


@job(incident_chasing.CHASE_INCIDENT)
async def chase_incident(runtime: Runtime, lease: Lease) -> None:
    tenant = await tenant_of_community(runtime, lease.job.community_id)
    await incident_chasing.chase(runtime, tenant, lease.job.row_id)


@periodic(SWEEP_SECONDS)
async def sweep_unmatched_orders(runtime: Runtime) -> None:
    """Send the jobs of orders that Redis forgot. A job that still waits or runs is not doubled by it."""
    for order_id, community_id in await _left(runtime, "orders", before=_a_while_ago(runtime)):
        await runtime.send(match_job(order_id, community_id))


@periodic(SWEEP_SECONDS)
async def sweep_untold_incidents(runtime: Runtime) -> None:
    """The same for news of which not every follower was told."""
    for incident_id, community_id in await _left(runtime, "incidents", before=_a_while_ago(runtime)):
        await runtime.send(Job(incidents.TELL_INCIDENT, incident_id, community_id, lane=Lane.SERVICE))


@periodic(SWEEP_SECONDS)
async def sweep_late_incidents(runtime: Runtime) -> None:
    """One job for each incident whose expected end has passed, so that a bad one stops no other."""
    for incident_id, community_id in await _left(runtime, "late", before=runtime.clock()):
        await runtime.send(incident_chasing.job_of(incident_id, community_id))


LEFT = {
    "orders": "SELECT * FROM unmatched_work_orders(:before, :rows)",
    "incidents": "SELECT * FROM untold_incidents(:before, :rows)",
    "late": "SELECT * FROM late_incidents(:before, :rows)",
}


def _a_while_ago(runtime: Runtime) -> datetime:
    """What is younger has its job on the way."""
    return runtime.clock() - timedelta(seconds=SWEEP_SECONDS)


async def _left(runtime: Runtime, what: str, *, before: datetime) -> list[tuple[UUID, UUID]]:
    async with runtime.transaction(None) as session:
        found = await session.execute(text(LEFT[what]), {"before": before, "rows": SWEEP_ROWS_MAX})
        return [(row[0], row.community_id) for row in found]
