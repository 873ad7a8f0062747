"""Deadlines, staffing and ringing in the background. A sweep asks for ids only, and looks at each order by itself."""

import asyncio
from uuid import UUID

from sqlalchemy import text

from app.db import Tenant
from app.people.callers import tenant_of_community
from app.queue import Job, Lane, Lease, job, periodic
from app.runtime import Runtime
from app.service_desk import assigning, deadline_checks, ringing
from app.service_desk.duty_hearing import ASSIGN, CHECK_DEADLINES, RING, ring_job

SWEEP_SECONDS = 10
RING_SECONDS = 3
ROWS_MAX = 500
BATCHES_MAX = 20
AT_ONCE = 4
"""Orders looked at side by side: fewer than a process has connections, so that others get some."""


@job(CHECK_DEADLINES)
async def check_deadlines(runtime: Runtime, lease: Lease) -> None:
    await deadline_checks.check(runtime, await _tenant(runtime, lease), lease.job.row_id, {})


@job(ASSIGN)
async def assign_order(runtime: Runtime, lease: Lease) -> None:
    await assigning.assign(runtime, await _tenant(runtime, lease), lease.job.row_id)


@job(RING)
async def ring_on_call(runtime: Runtime, lease: Lease) -> None:
    await ringing.ring(runtime, await _tenant(runtime, lease), lease.job.row_id)


async def _tenant(runtime: Runtime, lease: Lease) -> Tenant:
    return await tenant_of_community(runtime, lease.job.community_id)


@periodic(SWEEP_SECONDS)
async def sweep_deadlines(runtime: Runtime) -> None:
    """Look at every order whose moment has come. What is left after so many batches comes with the next sweep."""
    houses: deadline_checks.Houses = {}
    for _ in range(BATCHES_MAX):
        found = await _due(runtime, "due_order_checks")
        await _each(runtime, found, houses)
        if len(found) < ROWS_MAX:
            return


@periodic(SWEEP_SECONDS)
async def sweep_unassigned(runtime: Runtime) -> None:
    """Send the jobs of orders that wait for staff: Redis forgot them, or nobody grabbed what was offered."""
    for order_id, community_id in await _due(runtime, "due_assignments"):
        await runtime.send(Job(ASSIGN, order_id, community_id, lane=Lane.SERVICE))


@periodic(RING_SECONDS, without_redis=True)
async def sweep_rings(runtime: Runtime) -> None:
    """Ring whoever is next about emergencies that nobody answered, and about those that nobody was rung about."""
    for order_id, community_id in await _due(runtime, "due_rings"):
        await runtime.send_or_do(ring_job(order_id, community_id))


async def _due(runtime: Runtime, function: str) -> list[tuple[UUID, UUID]]:
    async with runtime.transaction(None) as session:
        rows = await session.execute(
            text(f"SELECT * FROM {function}(:now, :rows)"),  # noqa: S608 (one of three names above)
            {"now": runtime.clock(), "rows": ROWS_MAX},
        )
        return [(row.work_order_id, row.community_id) for row in rows]


async def _each(runtime: Runtime, found: list[tuple[UUID, UUID]], houses: deadline_checks.Houses) -> None:
    places = asyncio.Semaphore(AT_ONCE)

    async def look_at(order_id: UUID, community_id: UUID) -> None:
        async with places:
            tenant = await tenant_of_community(runtime, community_id)
            await deadline_checks.check_safely(runtime, tenant, order_id, houses)

    await asyncio.gather(*(look_at(*one) for one in found))
