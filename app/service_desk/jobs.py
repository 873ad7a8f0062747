"""The service desk's work in the background."""

from datetime import timedelta

from sqlalchemy import text

from app.queue import Lease, job, periodic
from app.runtime import Runtime
from app.service_desk import triaging, work_orders

SWEEP_SECONDS = 30
SWEEP_ROWS_MAX = 500


@job(work_orders.TRIAGE)
async def triage_order(runtime: Runtime, lease: Lease) -> None:
    await triaging.triage_order(runtime, lease)


@periodic(SWEEP_SECONDS)
async def sweep_untriaged_orders(runtime: Runtime) -> None:
    """Send the jobs of orders that Redis forgot. A job that still waits or runs is not doubled by it."""
    before = runtime.clock() - timedelta(seconds=SWEEP_SECONDS)
    async with runtime.transaction(None) as session:
        found = await session.execute(
            text("SELECT * FROM untriaged_work_orders(:before, :rows)"), {"before": before, "rows": SWEEP_ROWS_MAX}
        )
        waiting = [(row.work_order_id, row.community_id) for row in found]
    for order_id, community_id in waiting:
        await runtime.send(work_orders.triage_job(order_id, community_id))
