"""The webhooks' work in the background."""

from datetime import timedelta

from sqlalchemy import text

from app.queue import Lease, job, periodic
from app.runtime import Runtime
from app.service_desk import webhook_sending
from app.service_desk.webhooks import DELIVER, job_of

SWEEP_SECONDS = 3
SWEEP_ROWS_MAX = 1_000
PURGE_ROWS = 2_000
PURGES_MAX = 100


@job(DELIVER)
async def deliver_webhooks(runtime: Runtime, lease: Lease) -> None:
    await webhook_sending.deliver(runtime, lease)


@periodic(SWEEP_SECONDS)
async def sweep_webhooks(runtime: Runtime) -> None:
    """Send again for every webhook with something due: what a lost queue forgot, and what was to be tried later."""
    async with runtime.transaction(None) as session:
        rows = await session.execute(
            text("SELECT * FROM waiting_webhooks(:now, :rows)"), {"now": runtime.clock(), "rows": SWEEP_ROWS_MAX}
        )
        found = rows.all()
    for row in found:
        await runtime.send(job_of(row.webhook_id, row.community_id))


@periodic(3600)
async def forget_webhook_log(runtime: Runtime) -> None:
    """Delete deliveries that ended `webhook_log_days` ago, and events that nobody waits for, of all tenants."""
    before = runtime.clock() - timedelta(days=runtime.settings.webhook_log_days)
    for _ in range(PURGES_MAX):
        async with runtime.transaction(None) as session:
            statement = text("SELECT forget_webhook_log(:before, :rows)")
            gone = await session.scalar(statement, {"before": before, "rows": PURGE_ROWS})
        if not gone:
            return
