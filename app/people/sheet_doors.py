"""What every door for sheets does: gives the template, takes the sheet, opens the job that imports it."""

import asyncio
from hashlib import sha256
from typing import Annotated, Any

from fastapi import File, Header, Query, Request, Response, UploadFile
from sqlalchemy.ext.asyncio import AsyncSession

from app.people import background_jobs, sheets
from app.people.background_work import IMPORTERS, payload_of
from app.people.callers import Caller
from app.people.import_schemas import JobOut, SheetFormat
from app.people.tables import JobKind
from app.rest.idempotency import Once
from app.runtime import Runtime

FormatDep = Annotated[SheetFormat, Query(alias="format")]
Key = Annotated[str | None, Header(alias="Idempotency-Key", min_length=1, max_length=200)]
Sheet = Annotated[UploadFile, File(description="CSV (UTF-8 or GB18030) or XLSX with the columns of the template.")]

UPLOAD_BODY_BYTES_MAX = 110_000_000
"""Of a whole upload; `upload_bytes_max` limits the file within it."""
FILE_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The file.",
        "content": {media_type: {"schema": {"type": "string", "format": "binary"}} for media_type in (
            "text/csv", sheets.XLSX_TYPE,
        )},
    }
}  # fmt: skip
ACCEPTED: dict[str, Any] = {"status_code": 202, "response_model": JobOut}


async def template_of(kind: JobKind, file_format: str) -> Response:
    columns = IMPORTERS[kind].columns
    example = [[column.example for column in columns]]
    data = await asyncio.to_thread(sheets.write, file_format, [column.zh for column in columns], example)
    return sheet_answer(file_format, f"{kind}-template", data)


def sheet_answer(file_format: str, name: str, data: bytes) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}.{file_format}"', "Cache-Control": "no-store"}
    return Response(data, media_type=sheets.MEDIA_TYPES[file_format], headers=headers)


async def import_sheet(
    request: Request, runtime: Runtime, caller: Caller, session: AsyncSession, kind: JobKind, file: UploadFile,
    key: str | None,
) -> Response:  # fmt: skip
    data = await file.read(runtime.settings.upload_bytes_max + 1)
    name = (file.filename or "sheet").replace("\\", "/").rsplit("/", 1)[-1].replace("\x00", "")[:200] or "sheet"
    # Read before the first statement, so no connection is held while the parser runs.
    sheet = await sheets.read(runtime.settings, data, IMPORTERS[kind].columns)
    once = Once(request, key, sha256(data + name.encode()).hexdigest())
    if replayed := await once.replay(session, caller.community_id, caller.key):
        return replayed
    job = await background_jobs.open_job(
        session, runtime, caller, kind=kind, file_name=name, payload=payload_of(sheet.rows), total=len(sheet.rows),
        notes={"ignored_columns": sheet.ignored},
    )  # fmt: skip
    return await once.keep(session, 202, JobOut.model_validate(job))
