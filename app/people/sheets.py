"""Tables that people send and take away: CSV and XLSX by content, with columns named in Chinese or English.

A value that a spreadsheet would take for a formula leaves with a quote before it, and comes back without.
"""

import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app import limited_child
from app.errors import Invalid, TooLarge
from app.people.cells import guarded, unguarded, write_csv
from app.safety import packed
from app.settings import Settings

CSV_TYPE = "text/csv; charset=utf-8"
XLSX_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
MEDIA_TYPES = {"csv": CSV_TYPE, "xlsx": XLSX_TYPE}
OLD_OFFICE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
HEADER_ROWS_MAX = 10
"""A title and a note often stand above the names of the columns."""

REFUSALS: dict[str, tuple[str, str]] = {
    "sheet_empty": ("There are no rows in this file.", "文件中没有数据行。"),
    "sheet_broken": ("This file is damaged and cannot be read.", "文件已损坏，无法读取。"),
    "sheet_encrypted": (
        "This file is protected by a password. Remove it and try again.", "文件有密码保护，请去除密码后重试。",
    ),
    "sheet_encoding_unknown": (
        "The characters of this file could not be recognised. Save it as UTF-8.", "无法识别文件编码，请另存为 UTF-8。",
    ),
    "sheet_type_unsupported": ("Send a CSV or an XLSX file.", "请上传 CSV 或 XLSX 文件。"),
    "sheet_too_heavy": (
        "Reading this file took more memory or time than is allowed.", "读取该文件超出了允许的内存或时间。",
    ),
    "sheet_unpacks_too_large": ("This file unpacks to more than is allowed.", "该文件解压后超出允许的大小。"),
    "sheet_too_long": (
        "This file has more rows than one import takes. Split it.", "行数超出一次导入的上限，请拆分后上传。",
    ),
    "sheet_columns_missing": (
        "Columns are missing. Take the template for their names.", "缺少必需的列，请参照导入模板。",
    ),
}  # fmt: skip
"""Every reason to refuse a file, in both languages."""
TOO_LARGE = frozenset({"sheet_too_long", "sheet_unpacks_too_large"})


class SheetRefused(Invalid):
    """A file that cannot be read. `code` tells why (REFUSALS)."""

    def __init__(self, code: str, **facts: Any) -> None:
        super().__init__(*REFUSALS[code], **facts)
        self.code = code  # type: ignore[misc]  # one class for a table of codes
        self.status = 413 if code in TOO_LARGE else 422  # type: ignore[misc]


class SheetTooLarge(TooLarge):
    code = "upload_too_large"

    def __init__(self, bytes_max: int) -> None:
        super().__init__(
            f"The file is larger than {bytes_max} bytes.", f"文件超过 {bytes_max} 字节。", bytes_max=bytes_max
        )


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a sheet. `zh` is its heading in templates and exports; the key and `others` are understood, too."""

    key: str
    zh: str
    example: str
    others: tuple[str, ...] = ()
    required: bool = False

    @property
    def headings(self) -> frozenset[str]:
        return frozenset(plain_heading(one) for one in (self.key, self.zh, *self.others))


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a sheet: the line it stands in, and its cells by column. Columns without a value are not there."""

    line: int
    cells: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Sheet:
    rows: list[Row]
    ignored: list[str]
    """Headings that name no column."""


def plain_heading(text: str) -> str:
    """面积(㎡) * and 面积 are one heading."""
    return re.sub(r"[（(].*?[)）]|[\s*_＊]", "", text).lower()


def kind_of(data: bytes, *, unpacked_bytes_max: int) -> str:
    """csv or xlsx, by content. Raises SheetRefused."""
    if not data.strip():
        raise SheetRefused("sheet_empty")
    if data.startswith(b"PK\x03\x04"):
        try:
            names = packed.names_in(data, unpacked_bytes_max=unpacked_bytes_max)
        except packed.Broken as error:
            raise SheetRefused("sheet_broken") from error
        except packed.Encrypted as error:
            raise SheetRefused("sheet_encrypted") from error
        except packed.UnpacksTooLarge as error:
            raise SheetRefused("sheet_unpacks_too_large", unpacked_bytes=error.unpacked_bytes) from error
        if "xl/workbook.xml" not in names:
            raise SheetRefused("sheet_type_unsupported")
        return "xlsx"
    if data.startswith(OLD_OFFICE):
        encrypted = "EncryptedPackage".encode("utf-16-le") in data
        raise SheetRefused("sheet_encrypted" if encrypted else "sheet_type_unsupported")
    if data.startswith((b"%PDF", b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"\x1f\x8b")):
        raise SheetRefused("sheet_type_unsupported")
    return "csv"


async def read(settings: Settings, data: bytes, columns: Sequence[Column]) -> Sheet:
    """The rows of a file. Raises SheetRefused or SheetTooLarge; nothing of ours dies with a hostile file."""
    if len(data) > settings.upload_bytes_max:
        raise SheetTooLarge(settings.upload_bytes_max)
    kind = kind_of(data, unpacked_bytes_max=settings.unpacked_bytes_max)
    arguments = (str(settings.import_rows_max + HEADER_ROWS_MAX), kind)
    try:
        answer = json.loads(await limited_child.run(settings, "app.people.sheet_child", *arguments, data=data))
    except limited_child.TooHeavy as error:
        raise SheetRefused("sheet_too_heavy") from error
    if "refused" in answer:
        raise SheetRefused(answer["refused"])
    sheet = named(answer["rows"], columns)
    if len(sheet.rows) > settings.import_rows_max:
        raise SheetRefused("sheet_too_long", rows_max=settings.import_rows_max)
    return sheet


def named(rows: list[list[Any]], columns: Sequence[Column]) -> Sheet:
    """Rows of [line, cell, …] whose first ones hold the headings, by column. Raises SheetRefused."""
    key_of = {heading: column.key for column in columns for heading in column.headings}
    required = {column.key for column in columns if column.required}
    places = [[key_of.get(plain_heading(cell)) for cell in row[1:]] for row in rows[:HEADER_ROWS_MAX]]
    # The row that names most columns: a title above it may name one by chance.
    found = max(range(len(places)), key=lambda at: (len(set(places[at]) - {None}), -at), default=None)
    if found is None or not required <= set(places[found]) or not set(places[found]) - {None}:
        have = set() if found is None else set(places[found])
        missing = [column.zh for column in columns if column.key in (required or set(key_of.values())) - have]
        raise SheetRefused("sheet_columns_missing", missing=missing, columns=[column.zh for column in columns])
    keys = places[found]
    ignored = [cell for cell, key in zip(rows[found][1:], keys, strict=True) if cell and key is None]
    data = [
        Row(row[0], {key: text for key, cell in zip(keys, row[1:], strict=False) if key and (text := unguarded(cell))})
        for row in rows[found + 1 :]
    ]
    data = [row for row in data if row.cells]
    if not data:
        raise SheetRefused("sheet_empty")
    return Sheet(data, ignored[:50])


def write(file_format: str, headings: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """A file of these rows. Slow for many of them: call it in a thread."""
    if file_format == "csv":
        return write_csv(headings, rows).encode()
    return _write_xlsx(headings, ([guarded(value) for value in row] for row in rows))


def _write_xlsx(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    from openpyxl import Workbook
    from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

    book = Workbook(write_only=True)
    sheet = book.create_sheet("Linli")
    sheet.freeze_panes = "A2"
    sheet.append(list(headings))
    for row in rows:
        sheet.append([ILLEGAL_CHARACTERS_RE.sub("", value) for value in row])
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()
