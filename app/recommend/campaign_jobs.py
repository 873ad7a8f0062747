"""Campaigns in the background: sent, worded, started by events; and what was left over is sent again."""

from uuid import UUID

from sqlalchemy import text

from app.people.callers import tenant_of_community
from app.people.residents import MOVED_IN
from app.queue import Lease, job, periodic
from app.recommend import campaign_drafting, campaign_hearing, campaign_sending, campaigns
from app.runtime import Runtime

SWEEP_SECONDS = 30
SWEEP_ROWS_MAX = 500


@job(campaigns.SEND)
async def send_campaign(runtime: Runtime, lease: Lease) -> None:
    tenant = await tenant_of_community(runtime, lease.job.community_id)
    await campaign_sending.run(runtime, tenant, lease.job.row_id)


@job(campaign_drafting.WORD_COPY)
async def word_campaign_copy(runtime: Runtime, lease: Lease) -> None:
    tenant = await tenant_of_community(runtime, lease.job.community_id)
    await campaign_drafting.word(runtime, tenant, lease.job.row_id)


@job(MOVED_IN)
async def hear_of_move(runtime: Runtime, lease: Lease) -> None:
    tenant = await tenant_of_community(runtime, lease.job.community_id)
    async with runtime.transaction(tenant) as session:
        await campaign_hearing.hear_of_move(
            session, community_id=lease.job.community_id, residency_id=lease.job.row_id, now=runtime.clock()
        )


@periodic(SWEEP_SECONDS)
async def sweep_due_campaigns(runtime: Runtime) -> None:
    """Send what is due: as scheduled, in the morning, some hours after an event, or left behind by a dead worker."""
    async with runtime.transaction(None) as session:
        statement = text("SELECT * FROM due_campaigns(:now, :rows)")
        found = await session.execute(statement, {"now": runtime.clock(), "rows": SWEEP_ROWS_MAX})
        due: list[tuple[UUID, UUID]] = [(row.campaign_id, row.community_id) for row in found]
    for campaign_id, community_id in due:
        await runtime.send(campaigns.job_of(campaign_id, community_id))
