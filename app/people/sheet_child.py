"""The child process of sheets.py: limits itself, reads a table from standard input, writes its rows as JSON."""

import csv
import io
import json
import sys
from collections.abc import Iterable, Iterator

from app.limited_child import limit_itself
from app.safety.packed import cell_text, cells_in

COLUMNS_MAX = 60
CELL_CHARS_MAX = 1_000
CELLS_MAX = 2_000_000
SEPARATORS = ",;\t"


class CannotRead(Exception):
    """`code` is one of sheets.REFUSALS."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def decode(data: bytes) -> str:
    """Text in UTF-8 with or without a mark, UTF-16 with one, or GB18030. Raises CannotRead."""
    for name in ("utf-16",) if data.startswith((b"\xff\xfe", b"\xfe\xff")) else ("utf-8-sig", "gb18030"):
        try:
            return data.decode(name)
        except UnicodeDecodeError:
            continue
    raise CannotRead("sheet_encoding_unknown")


def csv_rows(data: bytes) -> Iterator[tuple[int, list[str]]]:
    text = decode(data)
    first = text.lstrip("\r\n").split("\n", 1)[0]
    separator = max(SEPARATORS, key=first.count)
    csv.field_size_limit(100_000)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    line = 1
    try:
        for row in reader:
            yield line, row
            line = reader.line_num + 1
    except csv.Error as error:
        raise CannotRead("sheet_broken") from error


def xlsx_rows(data: bytes) -> Iterator[tuple[int, list[str]]]:
    import openpyxl

    try:
        if cells_in(data) > CELLS_MAX:
            raise CannotRead("sheet_too_long")
        book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        sheet = book.worksheets[0]
        for line, row in enumerate(sheet.iter_rows(values_only=True, max_col=COLUMNS_MAX), start=1):
            yield line, [cell_text(value) for value in row]
    except CannotRead:
        raise
    except Exception as error:
        # openpyxl lets lxml's, zipfile's and its own errors through; for the uploader they are all one.
        raise CannotRead("sheet_broken") from error


READERS = {"csv": csv_rows, "xlsx": xlsx_rows}


def kept(rows: Iterable[tuple[int, list[str]]], rows_max: int) -> list[list[object]]:
    """Rows that say anything, as [line, cell, …]. Raises CannotRead."""
    found: list[list[object]] = []
    for line, row in rows:
        # What Postgres cannot store is no loss.
        cells = [cell[:CELL_CHARS_MAX].replace("\x00", "").strip() for cell in row[:COLUMNS_MAX]]
        if any(cells):
            found.append([line, *cells])
        if len(found) > rows_max:
            raise CannotRead("sheet_too_long")
    return found


def main() -> int:
    """Exit 0 with {"rows"} or {"refused": code} on standard output; anything else is a crash."""
    memory_bytes, cpu_seconds, rows_max = (int(value) for value in sys.argv[1:4])
    limit_itself(memory_bytes=memory_bytes, cpu_seconds=cpu_seconds)
    answer: dict[str, object]
    try:
        answer = {"rows": kept(READERS[sys.argv[4]](sys.stdin.buffer.read()), rows_max)}
    except CannotRead as refusal:
        answer = {"refused": refusal.code}
    except (MemoryError, RecursionError):
        answer = {"refused": "sheet_too_heavy"}
    json.dump(answer, sys.stdout, ensure_ascii=True)
    sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
