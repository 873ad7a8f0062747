"""Reads the practice documents and questions as they lie on the disk, without the code that will load them."""

import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from app.practice.world import build

QUALITY = Path(__file__).parent.parent / "quality"
QUESTION_FILES = ("practice_qa.jsonl", "practice_qa_held_out.jsonl")


@dataclass(frozen=True)
class Document:
    name: str
    header: dict[str, Any]
    text: str

    def valid_on(self, day: date) -> bool:
        """Both days of the header are part of the time in which a document holds."""
        last = self.header.get("valid_to")
        return self.header["valid_from"] <= day and (last is None or day <= last)


def documents(folder: Path) -> dict[str, Document]:
    """The documents of a folder by file name."""
    found = {}
    for path in sorted(folder.glob("*.md")):
        _, header, text = path.read_text(encoding="utf-8").split("---\n", 2)
        found[path.name] = Document(path.name, yaml.safe_load(header), text)
    return found


def practice_documents() -> dict[str, Document]:
    return documents(build().communities[0].documents)


def questions(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (QUALITY / name).read_text(encoding="utf-8").splitlines()]
