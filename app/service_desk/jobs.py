"""The service desk's work in the background."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import text

from app.people.callers import tenant_of_community
from app.queue import Lease, job, periodic
from app.runtime import Runtime
from app.service_desk import files, triaging, work_orders

SWEEP_SECONDS = 30
SWEEP_ROWS_MAX = 500


@job(work_orders.TRIAGE)
async def triage_order(runtime: Runtime, lease: Lease) -> None:
    await triaging.triage_order(runtime, lease)


@job(files.FORGET)
async def forget_file(runtime: Runtime, lease: Lease) -> None:
    await files.forget(runtime, await tenant_of_community(runtime, lease.job.community_id), lease.job.row_id)


@periodic(SWEEP_SECONDS)
async def sweep_untriaged_orders(runtime: Runtime) -> None:
    """Send the jobs of orders that Redis forgot. A job that still waits or runs is not doubled by it."""
    for order_id, community_id in await _left(runtime, "SELECT * FROM untriaged_work_orders(:before, :rows)"):
        await runtime.send(work_orders.triage_job(order_id, community_id))


@periodic(SWEEP_SECONDS)
async def sweep_removed_files(runtime: Runtime) -> None:
    """The same for files whose bytes are still there."""
    for file_id, community_id in await _left(runtime, "SELECT * FROM removed_work_order_files(:before, :rows)"):
        await runtime.send(files.forget_job(file_id, community_id))


async def _left(runtime: Runtime, statement: str) -> list[tuple[UUID, UUID]]:
    before = runtime.clock() - timedelta(seconds=SWEEP_SECONDS)
    async with runtime.transaction(None) as session:
        found = await session.execute(text(statement), {"before": before, "rows": SWEEP_ROWS_MAX})
        return [(row[0], row.community_id) for row in found]
