"""Photos and documents of work orders. What a file is, its content says; photos are drawn anew by a child process.

Nothing is held open meanwhile: whether the caller may add a file is asked in a transaction of its own, then the file is
checked and stored, and only then the request's session sends its first statement. A file whose row was not written lies
in the storage unseen, and the next attempt writes it again.
"""

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession

import app
from app import file_storage
from app.db import Tenant
from app.errors import Conflict, Invalid, NotFound
from app.knowledge import reading
from app.knowledge.reading import UploadTooLarge
from app.people import audit
from app.people.callers import Caller, CallerKind, system_caller
from app.queue import Job, Lane, send_after_commit
from app.runtime import Runtime
from app.service_desk import work_orders
from app.service_desk.errors import CommentHidden
from app.service_desk.tables import EventKind, Visibility, WorkOrder, WorkOrderFile
from app.settings import Settings

FORGET = "service_desk.forget_file"
"""The job that deletes what was removed; its row is the file."""
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
"""What a photo of an iPhone says it is, after `ftyp`."""
PICTURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"BM")
MEDIA_TYPES = {
    "pdf": "application/pdf",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "txt": "text/plain",
    "md": "text/plain",
}
"""Documents that may be attached. A page of HTML may not: it would run in the browser of whoever opens it."""

REFUSALS: dict[str, tuple[str, str]] = {
    "file_broken": ("This picture is damaged and cannot be read.", "图片已损坏，无法读取。"),
    "file_too_many_pixels": ("This picture is larger than is allowed.", "图片尺寸过大。"),
    "file_too_heavy": (
        "Reading this picture took more memory or time than is allowed.",
        "处理该图片超出了允许的内存或时间。",
    ),
    "file_type_unsupported": (
        "Attach photos (JPEG, PNG, WebP, HEIC, GIF, BMP), pdf, docx, xlsx or text.",
        "请上传照片（JPEG、PNG、WebP、HEIC、GIF、BMP）或 pdf、docx、xlsx、文本文件。",
    ),
}


class FileRefused(Invalid):
    """`code` tells why (REFUSALS)."""

    def __init__(self, code: str) -> None:
        super().__init__(*REFUSALS[code])
        self.code = code  # type: ignore[misc]  # one class for a table of codes


class TooManyFiles(Conflict):
    code = "too_many_files"

    def __init__(self, files_max: int) -> None:
        super().__init__(
            f"A work order takes {files_max} files.", f"每个工单最多 {files_max} 个附件。", files_max=files_max
        )


class FileNotFoundHere(NotFound):
    code = "work_order_file_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such file.", "没有这个附件。")


@dataclass(frozen=True)
class Checked:
    """A file as it will be kept."""

    data: bytes
    media_type: str
    width: int | None = None
    height: int | None = None


def files_of(caller: Caller, order: WorkOrder, *, own: bool = False) -> Select[WorkOrderFile]:
    """The files of an order that `work_orders.get` gave; with `own`, what its reporter may see."""
    statement = select(WorkOrderFile).where(
        WorkOrderFile.community_id == caller.community_id,
        WorkOrderFile.work_order_id == order.id,
        WorkOrderFile.removed_at.is_(None),
    )
    return statement.where(WorkOrderFile.visibility == Visibility.RESIDENT) if own else statement


async def add(
    session: AsyncSession, runtime: Runtime, caller: Caller, order_id: UUID, *, data: bytes, name: str,
    visibility: Visibility, own: bool = False,
) -> WorkOrderFile:  # fmt: skip
    """Check, store and note a file. The same file again is the one that is there.

    Raises: WorkOrderNotFound, CommentHidden, UploadTooLarge, FileRefused, DocumentRefused, TooManyFiles, StorageAway.
    """
    if caller.kind is CallerKind.RESIDENT and visibility is not Visibility.RESIDENT:
        raise CommentHidden
    async with runtime.transaction(caller.tenant) as before:
        await work_orders.lock(before, caller, order_id, own=own)
    checked = await check(runtime.settings, data, name)
    digest = sha256(checked.data).hexdigest()
    key = f"work-orders/{caller.community_id}/{order_id}/{digest}"
    await file_storage.put(runtime.settings, key, checked.data)
    order = await work_orders.lock(session, caller, order_id, own=own)
    everything = files_of(caller, order)
    there = await _same(session, order, digest, visibility)
    if there is not None and there.removed_at is None:
        return there
    if not await file_storage.has(runtime.settings, key):
        # Removed a moment ago, between being stored and the lock.
        await file_storage.put(runtime.settings, key, checked.data)
    files_max = runtime.settings.files_per_order_max
    if (await session.scalar(everything.with_only_columns(func.count())) or 0) >= files_max:
        raise TooManyFiles(files_max)
    kept = there or WorkOrderFile(
        community_id=caller.community_id, work_order_id=order.id, visibility=visibility,
        media_type=checked.media_type, bytes_count=len(checked.data), width=checked.width, height=checked.height,
        sha256=digest, storage_key=key,
    )  # fmt: skip
    kept.author_kind, kept.author_id, kept.name = caller.kind, caller.id, name
    kept.created_at, kept.removed_at = runtime.clock(), None
    session.add(kept)
    await session.flush()
    facts: dict[str, Any] = {"file_id": kept.id, "media_type": kept.media_type, "visibility": visibility}
    await work_orders.record(session, runtime, caller, order, EventKind.FILE_ADDED, facts=facts)
    return kept


async def _same(session: AsyncSession, order: WorkOrder, digest: str, visibility: Visibility) -> WorkOrderFile | None:
    """The same file on the order, also one that was removed and is not yet forgotten."""
    statement = select(WorkOrderFile).where(
        WorkOrderFile.work_order_id == order.id, WorkOrderFile.sha256 == digest, WorkOrderFile.visibility == visibility
    )
    return (await session.scalars(statement)).one_or_none()


async def remove(
    session: AsyncSession, runtime: Runtime, caller: Caller, order_id: UUID, file_id: UUID, *, own: bool = False
) -> None:
    """Take a file off an order; that it was there stays in the order's events. Safe to repeat until a job has deleted
    its bytes.

    Residents remove what they added themselves, staff any. Raises: WorkOrderNotFound, FileNotFoundHere.
    """
    order = await work_orders.lock(session, caller, order_id, own=own)
    statement = select(WorkOrderFile).where(WorkOrderFile.work_order_id == order.id, WorkOrderFile.id == file_id)
    if own:
        statement = statement.where(WorkOrderFile.author_kind == caller.kind, WorkOrderFile.author_id == caller.id)
    found: WorkOrderFile | None = await session.scalar(statement)
    if found is None:
        raise FileNotFoundHere
    if found.removed_at is not None:
        return
    found.removed_at = runtime.clock()
    facts: dict[str, Any] = {"file_id": found.id, "media_type": found.media_type, "visibility": found.visibility}
    await work_orders.record(session, runtime, caller, order, EventKind.FILE_REMOVED, facts=facts)
    send_after_commit(session, forget_job(found.id, caller.community_id))


def forget_job(file_id: UUID, community_id: UUID) -> Job:
    return Job(FORGET, file_id, community_id, lane=Lane.SERVICE)


async def forget(runtime: Runtime, tenant: Tenant, file_id: UUID) -> None:
    """Delete the bytes of a file that was removed, then its row. Safe to run twice.

    Raises StorageAway: the row stays, so that a sweep sends the job again.
    """
    async with runtime.transaction(tenant) as session:
        statement = select(WorkOrderFile).where(WorkOrderFile.id == file_id, WorkOrderFile.removed_at.is_not(None))
        found = (await session.scalars(statement)).one_or_none()
        if found is None:
            return
        # Who adds the same file again waits for this, or is found here.
        await work_orders.lock(session, system_caller(tenant), found.work_order_id)
        await session.refresh(found)
        if found.removed_at is None:
            return
        others = select(WorkOrderFile.id).where(
            WorkOrderFile.work_order_id == found.work_order_id, WorkOrderFile.storage_key == found.storage_key,
            WorkOrderFile.id != found.id,
        )  # fmt: skip
        if await session.scalar(others.limit(1)) is None:
            await file_storage.delete(runtime.settings, found.storage_key)
        await session.delete(found)


async def download(
    runtime: Runtime, caller: Caller, order_id: UUID, file_id: UUID, *, own: bool = False
) -> tuple[WorkOrderFile, bytes]:
    """A file with its bytes. Somebody else's photo is a look at that resident.

    Raises: WorkOrderNotFound, FileNotFoundHere, FileGone, StorageAway.
    """
    async with runtime.transaction(caller.tenant) as session:
        order = await work_orders.get(session, caller, order_id, own=own)
        found = await session.scalar(files_of(caller, order, own=own).where(WorkOrderFile.id == file_id))
        if found is None:
            raise FileNotFoundHere
        if not own and order.reporter_id is not None:
            await audit.note(
                session, caller, action="service_desk.file.get_file", object_kind="file", object_id=found.id,
                residents=[order.reporter_id], reads=True,
            )  # fmt: skip
    return found, await file_storage.get(runtime.settings, found.storage_key)


async def check(settings: Settings, data: bytes, name: str) -> Checked:
    """What the file is, by its content, and what is kept of it.

    Raises: UploadTooLarge, FileRefused, DocumentRefused.
    """
    if len(data) > settings.upload_bytes_max:
        raise UploadTooLarge(settings.upload_bytes_max)
    webp, heif = data[:4] == b"RIFF" and data[8:12] == b"WEBP", data[4:8] == b"ftyp" and data[8:12] in HEIF_BRANDS
    if data.startswith(PICTURES) or webp or heif:
        return await _draw_anew(settings, data)
    kind = reading.kind_of(data, name, unpacked_bytes_max=settings.unpacked_bytes_max)
    if kind not in MEDIA_TYPES:
        raise FileRefused("file_type_unsupported")
    return Checked(data, MEDIA_TYPES[kind])


async def _draw_anew(settings: Settings, data: bytes) -> Checked:
    async with _slots(settings.parser_processes_max):
        output = await _run_child(settings, data)
    head, _, drawn = output.partition(b"\n")
    told = json.loads(head)
    if "refused" in told:
        raise FileRefused(told["refused"])
    return Checked(drawn, "image/jpeg", told["width"], told["height"])


_slots_by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


def _slots(processes_max: int) -> asyncio.Semaphore:
    """Twenty photos at once must not become twenty children's memory at once."""
    return _slots_by_loop.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(processes_max))


async def _run_child(settings: Settings, data: bytes) -> bytes:
    limits = (
        settings.parser_memory_bytes, settings.parser_cpu_seconds, settings.photo_pixels_max,
        settings.photo_side_pixels_max,
    )  # fmt: skip
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "app.service_desk.image_child", *(str(limit) for limit in limits),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        cwd="/", env={"PYTHONPATH": str(Path(app.__file__).parent.parent), "PATH": os.environ.get("PATH", "")},
    )  # fmt: skip
    try:
        async with asyncio.timeout(settings.parser_seconds):
            output, _ = await child.communicate(data)
    except TimeoutError as error:
        raise FileRefused("file_too_heavy") from error
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode != 0:
        raise FileRefused("file_too_heavy")
    return output
