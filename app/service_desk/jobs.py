"""The service desk's work in the background."""

from datetime import timedelta

from sqlalchemy import text, update

from app.people.callers import tenant_of_community
from app.queue import Lease, job, periodic
from app.runtime import Runtime
from app.service_desk import work_orders
from app.service_desk.tables import WorkOrder

SWEEP_SECONDS = 30
SWEEP_ROWS_MAX = 500


@job(work_orders.TRIAGE)
async def triage_order(runtime: Runtime, lease: Lease) -> None:
    """A person looks at what nothing else has looked at."""
    tenant = await tenant_of_community(runtime, lease.job.community_id)
    async with runtime.transaction(tenant) as session:
        await session.execute(
            update(WorkOrder)
            .where(WorkOrder.id == lease.job.row_id, WorkOrder.triage.is_(None))
            .values(triage={"by": "nobody"}, needs_person=True)
        )


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
