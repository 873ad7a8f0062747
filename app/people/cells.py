"""Cells of tables that leave the house: a spreadsheet shows them and runs none. Pure."""

import csv
import io
from collections.abc import Iterable, Sequence

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""What makes a spreadsheet take a cell for a formula, in full width too."""
BYTE_ORDER_MARK = "\ufeff"
"""Without it the most used spreadsheet reads Chinese in the wrong encoding."""


def guarded(value: object) -> str:
    """The cell's text. One that begins like a formula gets an apostrophe before it; numbers stay numbers."""
    text = "" if value is None else str(value)
    return f"'{text}" if isinstance(value, str) and _is_formula(text) else text


def unguarded(text: str) -> str:
    """What `guarded` was given, without the spaces around it."""
    text = text.strip()
    return text[1:] if text.startswith("'") and _is_formula(text[1:]) else text


def _is_formula(text: str) -> bool:
    return text.lstrip(" ").startswith(FORMULA_STARTS)


def write_csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """The whole file, lines ended as RFC 4180 has it."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(header)
    writer.writerows([guarded(value) for value in row] for row in rows)
    return BYTE_ORDER_MARK + out.getvalue()
