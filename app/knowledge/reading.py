"""What a file is, by its content, and its blocks, read by a child process that a bomb may kill without harm."""

import asyncio
import io
import json
import os
import sys
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import app
from app.errors import Invalid, TooLarge
from app.knowledge.splitting import Block
from app.settings import Settings

ZIP_RATIO_MAX = 200
"""A docx of text packs about 10 to 1, of repeated tables 50 to 1."""
ZIP_FILES_MAX = 10_000
OLD_OFFICE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
BINARY_KINDS = frozenset({"pdf", "docx", "xlsx"})

REFUSALS: dict[str, tuple[str, str]] = {
    "document_empty": (
        "No text was found in this file. A scan needs text recognition first.",
        "文件中没有找到文字，扫描件请先做文字识别。",
    ),
    "document_broken": ("This file is damaged and cannot be read.", "文件已损坏，无法读取。"),
    "document_encrypted": (
        "This file is protected by a password. Remove it and try again.",
        "文件有密码保护，请去除密码后重试。",
    ),
    "document_encoding_unknown": (
        "The characters of this text file could not be recognised. Save it as UTF-8.",
        "无法识别文本编码，请另存为 UTF-8。",
    ),
    "document_header_invalid": ("The YAML header of this file cannot be read.", "文件开头的 YAML 信息无法读取。"),
    "document_type_unsupported": (
        "Files of this kind are not read. Use md, txt, html, pdf, docx or xlsx.",
        "不支持该类型的文件，请使用 md、txt、html、pdf、docx 或 xlsx。",
    ),
    "document_type_mismatch": ("The file's content does not match its name.", "文件内容与扩展名不符。"),
    "document_too_heavy": (
        "Reading this file took more memory or time than is allowed.",
        "读取该文件超出了允许的内存或时间。",
    ),
    "document_unpacks_too_large": ("This file unpacks to more than is allowed.", "该文件解压后超出允许的大小。"),
    "document_too_long": (
        "This document has more text than is allowed. Split it.",
        "文档文字超出允许的长度，请拆分后上传。",
    ),
}
"""Every reason to refuse a file, in both languages."""
TOO_LARGE = frozenset({"document_too_long", "document_unpacks_too_large"})


class DocumentRefused(Invalid):
    """A file that cannot be read. `code` tells why (REFUSALS)."""

    def __init__(self, code: str, **facts: Any) -> None:
        super().__init__(*REFUSALS[code], **facts)
        self.code = code  # type: ignore[misc]  # one class for a table of codes
        self.status = 413 if code in TOO_LARGE else 422  # type: ignore[misc]


class UploadTooLarge(TooLarge):
    code = "upload_too_large"

    def __init__(self, bytes_max: int) -> None:
        super().__init__(
            f"The file is larger than {bytes_max} bytes.", f"文件超过 {bytes_max} 字节。", bytes_max=bytes_max
        )


@dataclass(frozen=True)
class Reading:
    """A file that was read."""

    kind: str
    header: dict[str, Any]
    blocks: list[Block]


def kind_of(data: bytes, file_name: str, *, unpacked_bytes_max: int) -> str:
    """md, txt, html, pdf, docx or xlsx, by content. Raises DocumentRefused."""
    named = file_name.rsplit(".", 1)[-1].lower() if "." in file_name else ""
    kind = _content_kind(data, named, unpacked_bytes_max)
    if kind != named and named in BINARY_KINDS:
        raise DocumentRefused("document_type_mismatch", content=kind, name=file_name)
    return kind


def _content_kind(data: bytes, named: str, unpacked_bytes_max: int) -> str:
    if not data.strip():
        raise DocumentRefused("document_empty")
    if b"%PDF-" in data[:1024]:
        return "pdf"
    if data.startswith(b"PK\x03\x04"):
        return _zip_kind(data, unpacked_bytes_max)
    if data.startswith(OLD_OFFICE):
        # Office wraps an encrypted docx or xlsx into the old container.
        encrypted = named in BINARY_KINDS or "EncryptedPackage".encode("utf-16-le") in data
        raise DocumentRefused("document_encrypted" if encrypted else "document_type_unsupported")
    if named in BINARY_KINDS:
        raise DocumentRefused("document_broken")
    if b"\x00" in data[:4096] and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DocumentRefused("document_type_unsupported")
    start = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html")) or named in ("html", "htm"):
        return "html"
    return "md" if named in ("md", "markdown") else "txt"


def _zip_kind(data: bytes, unpacked_bytes_max: int) -> str:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            files = packed.infolist()
            names = {file.filename for file in files}
            unpacked = sum(file.file_size for file in files)
            if any(file.flag_bits & 1 for file in files):
                raise DocumentRefused("document_encrypted")
            bomb = any(
                file.file_size > 1_000_000 and file.file_size > ZIP_RATIO_MAX * file.compress_size for file in files
            )
            if bomb or unpacked > unpacked_bytes_max or len(files) > ZIP_FILES_MAX:
                raise DocumentRefused("document_unpacks_too_large", unpacked_bytes=unpacked)
    except (zipfile.BadZipFile, zlib.error, ValueError, OSError, NotImplementedError) as error:
        raise DocumentRefused("document_broken") from error
    if "word/document.xml" in names:
        return "docx"
    if "xl/workbook.xml" in names:
        return "xlsx"
    raise DocumentRefused("document_type_unsupported")


async def read(settings: Settings, data: bytes, file_name: str) -> Reading:
    """The blocks of a file. Raises DocumentRefused or UploadTooLarge; nothing of ours dies with a hostile file."""
    if len(data) > settings.upload_bytes_max:
        raise UploadTooLarge(settings.upload_bytes_max)
    kind = kind_of(data, file_name, unpacked_bytes_max=settings.unpacked_bytes_max)
    async with _slots(settings.parser_processes_max):
        output = await _run_child(settings, kind, data)
    answer = json.loads(output)
    if "refused" in answer:
        raise DocumentRefused(answer["refused"])
    return Reading(kind, answer["header"], blocks_from(answer["blocks"]))


_slots_by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


def _slots(processes_max: int) -> asyncio.Semaphore:
    """Twenty uploads at once must not become twenty parsers' memory at once."""
    return _slots_by_loop.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(processes_max))


async def _run_child(settings: Settings, kind: str, data: bytes) -> bytes:
    limits = (settings.parser_memory_bytes, settings.parser_cpu_seconds, settings.document_chars_max)
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "app.knowledge.parse_child", kind, *(str(limit) for limit in limits),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        cwd="/", env={"PYTHONPATH": str(Path(app.__file__).parent.parent), "PATH": os.environ.get("PATH", "")},
    )  # fmt: skip
    try:
        async with asyncio.timeout(settings.parser_seconds):
            output, _ = await child.communicate(data)
    except TimeoutError as error:
        raise DocumentRefused("document_too_heavy") from error
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode != 0:
        raise DocumentRefused("document_too_heavy")
    return output


def blocks_from(rows: list[dict[str, Any]]) -> list[Block]:
    """Blocks of their JSON form."""
    return [Block(tuple(row["headings"]), row["text"], row["table"], row["page"]) for row in rows]
