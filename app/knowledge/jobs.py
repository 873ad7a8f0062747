"""Ingestion of documents by the worker."""

from datetime import timedelta
from uuid import UUID

import structlog
from sqlalchemy import text

from app.db import Tenant
from app.knowledge import ingest
from app.queue import Lease, job, periodic
from app.runtime import Runtime

log = structlog.get_logger(__name__)

SWEEP_SECONDS = 30
SWEEP_ROWS_MAX = 200


@job(ingest.JOB)
async def ingest_document(runtime: Runtime, lease: Lease) -> None:
    tenant = Tenant(None, lease.job.community_id)
    try:
        await ingest.ingest(runtime, tenant, lease.job.row_id)
    except ingest.EmbedderMismatch as error:
        # The row says so; trying again would find the same.
        log.error("document_refused", document_id=str(lease.job.row_id), error=str(error))


@periodic(SWEEP_SECONDS)
async def sweep_waiting_documents(runtime: Runtime) -> None:
    """Send the jobs of documents that Redis forgot. A job that still waits or runs is not doubled by it."""
    before = runtime.clock() - timedelta(seconds=runtime.settings.document_wait_seconds)
    async with runtime.transaction(None) as session:
        found = await session.execute(
            text("SELECT * FROM waiting_documents(:before, :rows)"), {"before": before, "rows": SWEEP_ROWS_MAX}
        )
        waiting: list[tuple[UUID, UUID]] = [(row.document_id, row.community_id) for row in found]
    for document_id, community_id in waiting:
        await runtime.send(ingest.job_of(document_id, community_id))
