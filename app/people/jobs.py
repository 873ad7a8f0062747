"""What the worker does about people from time to time."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import text

from app.people import background_jobs, background_work
from app.queue import Lease, job, periodic
from app.runtime import Runtime

REFRESH_TOKENS_KEPT_DAYS = 7
"""Ended families stay a while, so that a reused token can still be told from an unknown one in the logs."""

PURGE_ROWS = 5_000
PURGES_MAX = 100
"""What is left then goes an hour later."""


@periodic(3600)
async def forget_old_rows(runtime: Runtime) -> None:
    """Delete kept answers and refresh tokens past their time, of all tenants: by a function of the owner."""
    now = runtime.clock()
    async with runtime.transaction(None) as session:
        await session.execute(
            text("SELECT forget_old_rows(:idempotency_before, :tokens_before)"),
            {
                "idempotency_before": now - timedelta(hours=runtime.settings.idempotency_hours),
                "tokens_before": now - timedelta(days=REFRESH_TOKENS_KEPT_DAYS),
            },
        )


@periodic(3600)
async def forget_audit_events(runtime: Runtime) -> None:
    """Delete what is older than `audit_days`, a few thousand rows at a time: by a function of the owner, since the
    app's role may delete none.
    """
    before = runtime.clock() - timedelta(days=runtime.settings.audit_days)
    for _ in range(PURGES_MAX):
        async with runtime.transaction(None) as session:
            statement = text("SELECT forget_audit_events(:before, :rows)")
            gone = await session.scalar(statement, {"before": before, "rows": PURGE_ROWS})
        if gone < PURGE_ROWS:
            return


SWEEP_SECONDS = 30
SWEEP_ROWS_MAX = 200
DEAD_MAX = 1_000
"""Dead jobs of all kinds that are looked at, the newest first."""


@job(background_jobs.JOB)
async def run_background_job(runtime: Runtime, lease: Lease) -> None:
    """Imports and exports."""
    await background_work.run(runtime, lease.job.community_id, lease.job.row_id, token=lease.token)


@periodic(SWEEP_SECONDS)
async def sweep_background_jobs(runtime: Runtime) -> None:
    """Send the imports and exports that Redis forgot; a job that still waits or runs is not doubled by it. Of one whose
    attempts are used up, who waits for it is told.
    """
    before = runtime.clock() - timedelta(seconds=runtime.settings.background_job_wait_seconds)
    async with runtime.transaction(None) as session:
        found = await session.execute(
            text("SELECT * FROM open_background_jobs(:before, :rows)"), {"before": before, "rows": SWEEP_ROWS_MAX}
        )
        waiting: list[tuple[UUID, UUID]] = [(row.job_id, row.community_id) for row in found]
    dead = {one.job.row_id for one in await runtime.queue.dead(limit=DEAD_MAX) if one.job.name == background_jobs.JOB}
    for job_id, community_id in waiting:
        if job_id in dead:
            await background_work.give_up(runtime, community_id, job_id)
        else:
            await runtime.send(background_jobs.queue_job(job_id, community_id))


@periodic(3600)
async def forget_background_jobs(runtime: Runtime) -> None:
    """Reports and exported files hold names and phone numbers, and go after some days."""
    before = runtime.clock() - timedelta(days=runtime.settings.background_job_days)
    async with runtime.transaction(None) as session:
        await session.execute(text("SELECT forget_background_jobs(:before)"), {"before": before})
