"""Runs an import or an export: a batch of rows a transaction, so that it goes on where it stopped."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.db import Tenant
from app.people import background_jobs, exports, resident_import, sheets, space_import, space_index
from app.people.background_jobs import Outcome
from app.people.callers import tenant_of_community
from app.people.sheets import Column, Row
from app.people.tables import BackgroundJob, Community, JobKind
from app.runtime import Runtime

BATCH_ROWS = 1_000


@dataclass(frozen=True)
class Importer:
    """What a kind of import reads, what a row is about, and how a batch is written."""

    columns: tuple[Column, ...]
    key_of: Callable[[Row], object]
    write: Callable[[AsyncSession, UUID, Sequence[Row], Mapping[int, int], datetime], Awaitable[Outcome]]


async def _write_spaces(
    session: AsyncSession, community_id: UUID, rows: Sequence[Row], repeated: Mapping[int, int], now: datetime
) -> Outcome:
    return await space_import.import_rows(session, community_id, rows, repeated)


async def _write_residents(
    session: AsyncSession, community_id: UUID, rows: Sequence[Row], repeated: Mapping[int, int], now: datetime
) -> Outcome:
    return await resident_import.import_rows(session, community_id, rows, repeated, now=now)


IMPORTERS: dict[JobKind, Importer] = {
    JobKind.IMPORT_SPACES: Importer(space_import.COLUMNS, space_import.key_of, _write_spaces),
    JobKind.IMPORT_RESIDENTS: Importer(resident_import.COLUMNS, resident_import.key_of, _write_residents),
}
"""What is imported, by kind; features above add theirs."""
EXPORTERS: dict[JobKind, Callable[[AsyncSession, UUID], Awaitable[exports.Cells]]] = {
    JobKind.EXPORT_SPACES: exports.space_rows,
    JobKind.EXPORT_RESIDENTS: exports.resident_rows,
}


def payload_of(rows: Sequence[Row]) -> list[Any]:
    return [[row.line, dict(row.cells)] for row in rows]


async def run(runtime: Runtime, community_id: UUID, job_id: UUID, *, token: int) -> None:
    """Do what is left of a job. Safe to run twice: rows are done once, and a newer run stops an older one."""
    tenant = await tenant_of_community(runtime, community_id)
    async with runtime.transaction(tenant) as session:
        job = await background_jobs.claim(session, job_id, token=token, now=runtime.clock())
    if job is None:
        return
    if job.kind in IMPORTERS:
        await _import(runtime, tenant, job, IMPORTERS[job.kind], token=token)
    else:
        await _export(runtime, tenant, job, token=token)


async def _import(runtime: Runtime, tenant: Tenant, job: BackgroundJob, importer: Importer, *, token: int) -> None:
    rows = [Row(line, cells) for line, cells in job.payload]
    repeated = await asyncio.to_thread(space_index.repeated, rows, importer.key_of)
    over = False
    while not over:
        async with runtime.transaction(tenant) as session:
            # Spaces and households are changed under this lock everywhere.
            await session.execute(
                select(Community.id).where(Community.id == job.community_id).with_for_update(key_share=True)
            )
            held = await background_jobs.hold(session, job.id, token=token)
            if held is None:
                return
            now, batch = runtime.clock(), rows[held.next_row : held.next_row + BATCH_ROWS]
            outcome = await importer.write(session, job.community_id, batch, repeated, now)
            background_jobs.note(session, held, outcome, rows=len(batch), now=now)
            over = held.next_row >= held.total
            if over:
                background_jobs.finish(held, now=now)


async def _export(runtime: Runtime, tenant: Tenant, job: BackgroundJob, *, token: int) -> None:
    async with runtime.transaction(tenant) as session:
        rows = await EXPORTERS[job.kind](session, job.community_id)
    file = await asyncio.to_thread(sheets.write, job.notes["format"], exports.headings(job.kind), rows)
    async with runtime.transaction(tenant) as session:
        held = await background_jobs.hold(session, job.id, token=token)
        if held is not None:
            held.total = held.next_row = held.done = len(rows)
            background_jobs.finish(held, now=runtime.clock(), file=file)


async def give_up(runtime: Runtime, community_id: UUID, job_id: UUID) -> None:
    """Mark a job as failed whose attempts are used up."""
    tenant = await tenant_of_community(runtime, community_id)
    async with runtime.transaction(tenant) as session:
        await background_jobs.give_up(session, job_id, now=runtime.clock())
