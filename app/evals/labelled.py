"""Labelled texts from files: our JSON Lines, any {text, label}, CSV with a header, CLINC150's one file of splits."""

import csv
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.evals import lines
from app.evals.lines import BadLine, NothingToAsk
from app.knowledge.language import language_of

LABELS = ("intent", "label", "category")
"""Names that a label may have, in this order."""
TEXT_CHARS_MAX = 4_000


@dataclass(frozen=True)
class Labelled:
    text: str
    label: str
    language: str
    slots: dict[str, str] = field(default_factory=dict)


def read(path: Path, *, split: str) -> list[Labelled]:
    """Every row of a file. `split` chooses among the splits of a file that holds several: train or test.

    Raises: BadLine, NothingToAsk.
    """
    if path.suffix.lower() == ".csv":
        return _read_csv(path)
    if path.suffix.lower() == ".json":
        return _read_splits(path, split)
    return lines.read_rows(path, lambda row, _: parse(row))


def parse(row: dict[str, Any]) -> Labelled:
    """One row; ValueError says what is wrong with it."""
    text, label = row.get("text"), next((row[name] for name in LABELS if row.get(name)), None)
    if not isinstance(text, str) or not text.strip():
        raise ValueError("has no text")
    if not isinstance(label, str):
        raise ValueError(f"has none of {', '.join(LABELS)}")
    slots = row.get("slots") or {}
    if not isinstance(slots, dict):
        raise ValueError("slots are no object")
    language = row.get("language") or language_of(text)
    return Labelled(text[:TEXT_CHARS_MAX], label, str(language), {name: str(value) for name, value in slots.items()})


def _read_csv(path: Path) -> list[Labelled]:
    rows = []
    with path.open(encoding="utf-8-sig", newline="") as file:
        for number, row in enumerate(csv.DictReader(file), 2):
            try:
                rows.append(parse(row))
            except ValueError as error:
                raise BadLine(path, number, str(error)) from None
    if not rows:
        raise NothingToAsk(path)
    return rows


def _read_splits(path: Path, split: str) -> list[Labelled]:
    """`{"train": [[text, label], …], "oos_train": …}`, as CLINC150 comes: out-of-scope rows belong to their split."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        pairs = [pair for name, part in told.items() if name in (split, f"oos_{split}") for pair in part]
        rows = [parse({"text": text, "label": label}) for text, label in pairs]
    except (ValueError, AttributeError, TypeError) as error:
        raise BadLine(path, 1, f"is not an object of splits: {error}") from None
    if not rows:
        raise NothingToAsk(path)
    return rows
