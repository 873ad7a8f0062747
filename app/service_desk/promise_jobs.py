"""Promises in the background: a sweep finds those that run out, a job each deals with them."""

from sqlalchemy import text

from app.people.callers import tenant_of_community
from app.queue import Lease, job, periodic
from app.runtime import Runtime
from app.service_desk import promise_sweeps

SWEEP_SECONDS = 15
SWEEP_ROWS_MAX = 1_000


@job(promise_sweeps.PRESS)
async def press_promise(runtime: Runtime, lease: Lease) -> None:
    tenant = await tenant_of_community(runtime, lease.job.community_id)
    await promise_sweeps.press(runtime, tenant, lease.job.row_id)


@periodic(SWEEP_SECONDS)
async def sweep_pressing_promises(runtime: Runtime) -> None:
    """One job a promise, so that one which cannot be dealt with stops no other."""
    async with runtime.transaction(None) as session:
        found = await session.execute(
            text("SELECT * FROM pressing_promises(:at, :rows)"), {"at": runtime.clock(), "rows": SWEEP_ROWS_MAX}
        )
        pressing = [(row.promise_id, row.community_id) for row in found]
    for promise_id, community_id in pressing:
        await runtime.send(promise_sweeps.job_of(promise_id, community_id))
