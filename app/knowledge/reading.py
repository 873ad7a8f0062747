"""What a file is, by its content, and its blocks, read by a child process that a bomb may kill without harm."""

import json
from dataclasses import dataclass
from typing import Any

from app import limited_child
from app.errors import Invalid, TooLarge
from app.knowledge.splitting import Block
from app.safety import packed
from app.settings import Settings

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
        names = packed.names_in(data, unpacked_bytes_max=unpacked_bytes_max)
    except packed.Broken as error:
        raise DocumentRefused("document_broken") from error
    except packed.Encrypted as error:
        raise DocumentRefused("document_encrypted") from error
    except packed.UnpacksTooLarge as error:
        raise DocumentRefused("document_unpacks_too_large", unpacked_bytes=error.unpacked_bytes) from error
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
    arguments = (str(settings.document_chars_max), kind)
    try:
        answer = json.loads(await limited_child.run(settings, "app.knowledge.parse_child", *arguments, data=data))
    except limited_child.TooHeavy as error:
        raise DocumentRefused("document_too_heavy") from error
    if "refused" in answer:
        raise DocumentRefused(answer["refused"])
    return Reading(kind, answer["header"], blocks_from(answer["blocks"]))


def blocks_from(rows: list[dict[str, Any]]) -> list[Block]:
    """Blocks of their JSON form."""
    return [Block(tuple(row["headings"]), row["text"], row["table"], row["page"]) for row in rows]
