"""Blocks of a document to passages: by structure, never through a sentence. Pure."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from app.knowledge.language import text_width

SENTENCE_END = re.compile(r"[。！？!?；;…]+[”’」』）)\"']*|(?<=[A-Za-z0-9)%\"'])\.(?=\s|$)[”’\"']*|\n+")
ABBREVIATION = re.compile(r"(?:\b(?:No|Mr|Mrs|Ms|Dr|St|Tel|Ext|approx|e\.g|i\.e|etc|vs)|^\s*\d{1,2})$", re.IGNORECASE)
"""Full stops after these end no sentence; the last is a list number like "1."."""
SENTENCE_WIDTH_MAX = 1_000
"""Text without any stop for this long is no sentence but a dump, and is cut."""


@dataclass(frozen=True, slots=True)
class Block:
    """One paragraph, list item or table of a document, under its headings. A table's rows are lines of their own."""

    headings: tuple[str, ...]
    text: str
    table: bool = False
    page: int | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """A passage before it is stored."""

    headings: tuple[str, ...]
    text: str
    page: int | None


def sentences(text: str) -> list[tuple[int, int]]:
    """Offsets (start, end) of each sentence, white space outside."""
    found: list[tuple[int, int]] = []
    start = 0
    for match in SENTENCE_END.finditer(text):
        if match.group().startswith(".") and ABBREVIATION.search(text[max(start, match.start() - 8) : match.start()]):
            continue
        _keep(text, start, match.end(), found)
        start = match.end()
    _keep(text, start, len(text), found)
    return found


def _keep(text: str, start: int, end: int, found: list[tuple[int, int]]) -> None:
    part = text[start:end]
    start += len(part) - len(part.lstrip())
    end -= len(part) - len(part.rstrip())
    if any(char.isalnum() for char in text[start:end]):
        found.append((start, end))


def split(blocks: Sequence[Block], *, width_max: int) -> list[Piece]:
    """Passages up to `width_max` wide (see `text_width`): whole sections where they fit, else at sentence or row ends.

    Blocks are joined only under the same headings, so that the heading path in front of a passage is true of all of it.
    """
    pieces: list[Piece] = []
    held: list[Block] = []
    for block in blocks:
        if held and (block.headings != held[0].headings or _width(held) + text_width(block.text) > width_max):
            pieces.extend(_pieces(held, width_max))
            held = []
        held.append(block)
    pieces.extend(_pieces(held, width_max))
    return [piece for piece in pieces if piece.text]


def _width(blocks: Sequence[Block]) -> float:
    return sum(text_width(block.text) for block in blocks)


def _pieces(held: Sequence[Block], width_max: int) -> Iterator[Piece]:
    if not held:
        return
    text = "\n".join(block.text.strip() for block in held).strip()
    for part in _parts(text, held[0].table, width_max):
        yield Piece(held[0].headings, part, held[0].page)


def _parts(text: str, table: bool, width_max: int) -> Iterator[str]:
    if text_width(text) <= width_max:
        yield text
        return
    held = ""
    units = text.splitlines() if table else [text[start:end] for start, end in _long_cut(text)]
    joint = "\n" if table else ""
    for unit in units:
        if held and text_width(held) + text_width(unit) > width_max:
            yield held.strip()
            held = ""
        held += (joint if held else "") + unit
    if held.strip():
        yield held.strip()


def _long_cut(text: str) -> Iterator[tuple[int, int]]:
    """As `sentences`, but with the white space between them kept at the end, and dumps cut."""
    spans = sentences(text)
    for (start, _), following in zip(spans, [*(span[0] for span in spans[1:]), len(text)], strict=True):
        if text_width(text[start:following]) <= SENTENCE_WIDTH_MAX:
            yield start, following
        else:
            yield from (
                (at, min(at + SENTENCE_WIDTH_MAX, following)) for at in range(start, following, SENTENCE_WIDTH_MAX)
            )
