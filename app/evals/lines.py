"""Evaluation files: JSON Lines whose bad line is named by its number."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from app.errors import Invalid

Row = TypeVar("Row")


class BadLine(Invalid):
    """A line of an evaluation file that cannot be used."""

    code = "evaluation_line_bad"

    def __init__(self, path: Path, number: int, why: str) -> None:
        super().__init__(f"{path}, line {number}: {why}", f"{path} 第 {number} 行：{why}", line=number)


class NothingToAsk(Invalid):
    code = "evaluation_empty"

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} has no lines.", f"{path} 没有内容。")


def read_rows(path: Path, parse: Callable[[dict[str, Any], int], Row]) -> list[Row]:
    """Every line as `parse` makes it from (object, line number); a ValueError of it names the line.

    Raises: BadLine, NothingToAsk.
    """
    rows = []
    for number, line in _lines(path):
        try:
            told = json.loads(line)
            if not isinstance(told, dict):
                raise ValueError("is not an object")
            rows.append(parse(told, number))
        except (ValueError, KeyError, TypeError) as error:
            why = f"field {error} is missing" if isinstance(error, KeyError) else str(error)
            raise BadLine(path, number, why) from None
    if not rows:
        raise NothingToAsk(path)
    return rows


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    # Bytes first: one line in a wrong encoding is named like any other bad line.
    for number, raw in enumerate(path.read_bytes().splitlines(), 1):
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        except UnicodeDecodeError:
            raise BadLine(path, number, "is not UTF-8") from None
        if line:
            yield number, line
