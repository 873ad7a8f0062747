"""Sheets of spaces and residents over REST: templates, imports, exports, and the jobs that do them."""

import asyncio
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from sqlalchemy.ext.asyncio import AsyncSession

from app.people import audit, background_jobs, residents, sheets
from app.people.callers import Caller, SessionDep, require_in_community
from app.people.doors import DoorRoute
from app.people.import_schemas import ExportIn, JobOut, JobProblemOut
from app.people.sheet_doors import (
    ACCEPTED,
    FILE_ANSWER,
    UPLOAD_BODY_BYTES_MAX,
    FormatDep,
    Key,
    Sheet,
    import_sheet,
    sheet_answer,
    template_of,
)
from app.people.tables import BackgroundJob, BackgroundJobProblem, JobKind, Resident
from app.rest.idempotency import Once, OnceDep
from app.rest.pages import Page, PageQuery, fetch_page, page_query
from app.runtime import Runtime, RuntimeDep

router = APIRouter(prefix="/communities/{cid}", route_class=DoorRoute)

PageDep = Annotated[PageQuery, Depends(page_query)]
SpaceReader = Annotated[Caller, Depends(require_in_community("spaces:read"))]
SpaceWriter = Annotated[Caller, Depends(require_in_community("spaces:write"))]
ResidentWriter = Annotated[Caller, Depends(require_in_community("residents:write"))]
JobReader = Annotated[Caller, Depends(require_in_community("jobs:read"))]

NOT_YET: dict[int | str, dict[str, Any]] = {
    409: {
        "description": "It has no file, or not yet.",
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
}


@router.get("/spaces/import/template", tags=["spaces"], responses=FILE_ANSWER, response_class=Response)
async def get_space_template(caller: SpaceWriter, file_format: FormatDep = "xlsx") -> Response:
    """A sheet with the columns of an import and a row as an example."""
    return await template_of(JobKind.IMPORT_SPACES, file_format)


@router.post("/spaces/import", tags=["spaces"], max_body_size=UPLOAD_BODY_BYTES_MAX, **ACCEPTED)
async def post_space_import(
    request: Request, runtime: RuntimeDep, caller: SpaceWriter, session: SessionDep, file: Sheet, key: Key = None
) -> Response:
    """Open or change spaces as the sheet says. Ask `/jobs/{id}` how far it is; rows with mistakes are left out."""
    return await import_sheet(request, runtime, caller, session, JobKind.IMPORT_SPACES, file, key)


@router.post("/spaces/export", tags=["spaces"], **ACCEPTED)
async def post_space_export(
    body: ExportIn, runtime: RuntimeDep, caller: SpaceReader, session: SessionDep, once: OnceDep
) -> Response:
    """All spaces as a sheet that an import takes back; it lies at `/jobs/{id}/file` when the job is done."""
    return await _export(runtime, caller, session, once, JobKind.EXPORT_SPACES, body.format)


@router.get("/residents/import/template", tags=["residents"], responses=FILE_ANSWER, response_class=Response)
async def get_resident_template(caller: ResidentWriter, file_format: FormatDep = "xlsx") -> Response:
    """A sheet with the columns of an import and a row as an example."""
    return await template_of(JobKind.IMPORT_RESIDENTS, file_format)


@router.post("/residents/import", tags=["residents"], max_body_size=UPLOAD_BODY_BYTES_MAX, **ACCEPTED)
async def post_resident_import(
    request: Request, runtime: RuntimeDep, caller: ResidentWriter, session: SessionDep, file: Sheet, key: Key = None
) -> Response:
    """Write residents, where they live and in which role, as the sheet says. Rows with mistakes are left out."""
    return await import_sheet(request, runtime, caller, session, JobKind.IMPORT_RESIDENTS, file, key)


@router.post("/residents/export", tags=["residents"], **ACCEPTED)
async def post_resident_export(
    body: ExportIn, runtime: RuntimeDep, caller: ResidentWriter, session: SessionDep, once: OnceDep
) -> Response:
    """All residents as a sheet that an import takes back; it lies at `/jobs/{id}/file` when the job is done."""
    return await _export(runtime, caller, session, once, JobKind.EXPORT_RESIDENTS, body.format)


@router.get("/jobs", tags=["jobs"])
async def get_jobs(caller: JobReader, session: SessionDep, page: PageDep) -> Page[JobOut]:
    """Imports and exports of the kinds that the caller may start, newest first."""
    rows, cursor = await fetch_page(
        session, background_jobs.visible_to(caller), id_column=BackgroundJob.id, query=page, newest_first=True
    )
    return Page(items=[JobOut.model_validate(row) for row in rows], next_cursor=cursor)


@router.get("/jobs/{job_id}", tags=["jobs"])
async def get_job(job_id: UUID, caller: JobReader, session: SessionDep) -> JobOut:
    """How far it is."""
    return JobOut.model_validate(await background_jobs.get(session, caller, job_id))


@router.get("/jobs/{job_id}/problems", tags=["jobs"])
async def get_job_problems(job_id: UUID, caller: JobReader, session: SessionDep, page: PageDep) -> Page[JobProblemOut]:
    """What was wrong, cell by cell, in the order of the file."""
    statement = background_jobs.problems_of(caller, await background_jobs.get(session, caller, job_id))
    rows, cursor = await fetch_page(session, statement, id_column=BackgroundJobProblem.id, query=page)
    return Page(items=[JobProblemOut.model_validate(row) for row in rows], next_cursor=cursor)


@router.get("/jobs/{job_id}/problems.csv", tags=["jobs"], responses=FILE_ANSWER, response_class=Response)
async def get_job_problems_csv(job_id: UUID, caller: JobReader, session: SessionDep) -> Response:
    """The same as a sheet."""
    job = await background_jobs.get(session, caller, job_id)
    statement = background_jobs.problems_of(caller, job).order_by(BackgroundJobProblem.id)
    rows = [[one.line, one.column_name, one.value, one.zh, one.en] for one in await session.scalars(statement)]
    headings = ("行 line", "列 column", "内容 value", "问题", "problem")
    return sheet_answer("csv", f"problems-{job.id}", await asyncio.to_thread(sheets.write, "csv", headings, rows))


@router.get("/jobs/{job_id}/file", tags=["jobs"], responses=FILE_ANSWER | NOT_YET, response_class=Response)
async def get_job_file(job_id: UUID, caller: JobReader, session: SessionDep) -> Response:
    """What an export made. 409 until it is done."""
    job = await background_jobs.get(session, caller, job_id, with_file=True)
    if job.file is None:
        raise background_jobs.NoFile(job.status)
    if job.kind is JobKind.EXPORT_RESIDENTS:
        everybody = await session.scalars(residents.visible_to(caller).with_only_columns(Resident.id))
        audit.about(*everybody)
    return sheet_answer(job.notes["format"], f"{job.kind.removeprefix('export_')}-{job.created_at:%Y%m%d}", job.file)


async def _export(
    runtime: Runtime, caller: Caller, session: AsyncSession, once: Once, kind: JobKind, file_format: str
) -> Response:
    if replayed := await once.replay(session, caller.community_id, caller.key):
        return replayed
    job = await background_jobs.open_job(
        session, runtime, caller, kind=kind, file_name="", payload=[], total=0, notes={"format": file_format}
    )
    return await once.keep(session, 202, JobOut.model_validate(job))
