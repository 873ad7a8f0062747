"""Photos and documents of work orders over REST, for residents and for staff."""

from typing import Annotated, Any
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, Depends, File, Form, Response, UploadFile
from sqlalchemy.ext.asyncio import AsyncSession

from app.people.callers import Caller, SessionDep, require, require_in_community
from app.people.doors import DoorRoute
from app.rest.pages import Page, PageQuery, fetch_page, page_query
from app.runtime import Runtime, RuntimeDep
from app.service_desk import files, work_orders
from app.service_desk.schemas import FileOut
from app.service_desk.tables import Visibility, WorkOrderFile

UPLOAD_BODY_BYTES_MAX = 110_000_000
"""Of a whole upload; `upload_bytes_max` limits the file within it."""

staff = APIRouter(prefix="/workorders/{order_id}/files", route_class=DoorRoute)
mine = APIRouter(prefix="/workorders/{order_id}/files", route_class=DoorRoute)

Own = Annotated[Caller, Depends(require("workorders:own"))]
Reader = Annotated[Caller, Depends(require_in_community("workorders:read"))]
Writer = Annotated[Caller, Depends(require_in_community("workorders:write"))]
PageDep = Annotated[PageQuery, Depends(page_query)]
Upload = Annotated[UploadFile, File(description="A photo (JPEG, PNG, WebP, HEIC, GIF, BMP), pdf, docx, xlsx or text.")]
BYTES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The file, as an attachment.",
        "content": {
            name: {"schema": {"type": "string", "format": "binary"}}
            for name in sorted({"image/jpeg", *files.MEDIA_TYPES.values()})
        },
    }
}


@mine.get("")
async def get_my_files(order_id: UUID, caller: Own, session: SessionDep, page: PageDep) -> Page[FileOut]:
    order = await work_orders.get(session, caller, order_id, own=True)
    statement = files.files_of(caller, order, own=True)
    rows, cursor = await fetch_page(session, statement, id_column=WorkOrderFile.id, query=page)
    return Page(items=[FileOut.model_validate(row) for row in rows], next_cursor=cursor)


@mine.post("", status_code=201, max_body_size=UPLOAD_BODY_BYTES_MAX)
async def post_my_file(order_id: UUID, caller: Own, session: SessionDep, runtime: RuntimeDep, file: Upload) -> FileOut:
    """Attach a photo or a document. The same file again is the one that is there."""
    return await _add(session, runtime, caller, order_id, file, Visibility.RESIDENT, own=True)


@mine.get("/{file_id}", response_class=Response, responses=BYTES)
async def get_my_file(order_id: UUID, file_id: UUID, caller: Own, runtime: RuntimeDep) -> Response:
    return await _download(runtime, caller, order_id, file_id, own=True)


@mine.delete("/{file_id}", status_code=204)
async def delete_my_file(order_id: UUID, file_id: UUID, caller: Own, session: SessionDep, runtime: RuntimeDep) -> None:
    """Take a file off again that the caller added."""
    await files.remove(session, runtime, caller, order_id, file_id, own=True)


@staff.get("")
async def get_files(order_id: UUID, caller: Reader, session: SessionDep, page: PageDep) -> Page[FileOut]:
    order = await work_orders.get(session, caller, order_id)
    statement = files.files_of(caller, order)
    rows, cursor = await fetch_page(session, statement, id_column=WorkOrderFile.id, query=page)
    return Page(items=[FileOut.model_validate(row) for row in rows], next_cursor=cursor)


@staff.post("", status_code=201, max_body_size=UPLOAD_BODY_BYTES_MAX)
async def post_file(
    order_id: UUID, caller: Writer, session: SessionDep, runtime: RuntimeDep, file: Upload,
    visibility: Annotated[Visibility, Form()] = Visibility.RESIDENT,
) -> FileOut:  # fmt: skip
    """Attach a photo or a document, for the resident too or for colleagues alone."""
    return await _add(session, runtime, caller, order_id, file, visibility, own=False)


@staff.get("/{file_id}", response_class=Response, responses=BYTES, openapi_extra={"x-personal-data": True})
async def get_file(order_id: UUID, file_id: UUID, caller: Reader, runtime: RuntimeDep) -> Response:
    return await _download(runtime, caller, order_id, file_id, own=False)


@staff.delete("/{file_id}", status_code=204)
async def delete_file(order_id: UUID, file_id: UUID, caller: Writer, session: SessionDep, runtime: RuntimeDep) -> None:
    """Take a file off the order. That it was there, and who removed it, stays in its events."""
    await files.remove(session, runtime, caller, order_id, file_id)


async def _add(
    session: AsyncSession, runtime: Runtime, caller: Caller, order_id: UUID, file: UploadFile, visibility: Visibility,
    *, own: bool,
) -> FileOut:  # fmt: skip
    data = await file.read(runtime.settings.upload_bytes_max + 1)
    name = (file.filename or "file").replace("\\", "/").rsplit("/", 1)[-1].replace("\x00", "")[:200] or "file"
    kept = await files.add(session, runtime, caller, order_id, data=data, name=name, visibility=visibility, own=own)
    return FileOut.model_validate(kept)


async def _download(runtime: Runtime, caller: Caller, order_id: UUID, file_id: UUID, *, own: bool) -> Response:
    found, data = await files.download(runtime, caller, order_id, file_id, own=own)
    headers = {
        # Never shown inside our own page, whatever is in it.
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(found.name)}",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "Cache-Control": "private, max-age=3600",
    }
    return Response(data, media_type=found.media_type, headers=headers)
