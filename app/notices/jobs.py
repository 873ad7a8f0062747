"""Deliveries in the background."""

import asyncio

from sqlalchemy import text

from app.notices import sending
from app.notices.deliveries import DELIVER, job_of
from app.people.callers import tenant_of_community
from app.queue import Lease, job, periodic
from app.runtime import Runtime

SWEEP_SECONDS = 5
SWEEP_ROWS_MAX = 500


@job(DELIVER)
async def deliver(runtime: Runtime, lease: Lease) -> None:
    await sending.deliver(runtime, await tenant_of_community(runtime, lease.job.community_id), lease.job.row_id)


@periodic(SWEEP_SECONDS, without_redis=True)
async def sweep_due_deliveries(runtime: Runtime) -> None:
    """Send what is due: after a failed try, in the morning, or left behind when Redis was away or a worker died.

    Emergencies leave without Redis, too.
    """
    async with runtime.transaction(None) as session:
        rows = await session.execute(
            text("SELECT * FROM due_deliveries(:now, :rows)"), {"now": runtime.clock(), "rows": SWEEP_ROWS_MAX}
        )
        found = rows.all()
    if not found:
        return
    loud = [job_of(row.delivery_id, row.community_id, loud=True) for row in found if row.loud]
    await asyncio.gather(*(runtime.send_or_do(job) for job in loud))
    dead = {
        dead.job.row_id: dead.reason
        for dead in await runtime.queue.dead(limit=runtime.settings.dead_jobs_max)
        if dead.job.name == DELIVER
    }
    for row in found:
        if row.delivery_id in dead:
            tenant = await tenant_of_community(runtime, row.community_id)
            await sending.give_up(runtime, tenant, row.delivery_id, reason=dead[row.delivery_id])
        elif not row.loud:
            # Nobody waits for these: what could leave at once did not come by here.
            await runtime.send(job_of(row.delivery_id, row.community_id, loud=False, bulk=True))
