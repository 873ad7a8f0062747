"""What a number, time, date, phone or address in a text is, and the page on which the finders mark what they read."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from app.safety.calendar import Date

WIDE = str.maketrans("０１２３４５６７８９：．％￥（）／－～＠\u3000﹣‐‑‒−", "0123456789:.%¥()/-~@ -----")
"""One character for one, so that places in the text stay the same."""

ARABIC = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?"
SEGMENT = re.compile(r"\n+|(?<=[。！？])|(?<=[.!?])\s+(?=[A-Z])")
RANGE_WORD = r"(?:[-–—~～]|至|到|\bto\b|\bthrough\b|\buntil\b|\btill\b)"
LIST_WORD = rf"(?:{RANGE_WORD}|、|和|或|或者|与|\band\b|\bor\b|,\s|&|/)"
GAP = re.compile(rf"\s*{LIST_WORD}?\s*")
RANGE_GAP = re.compile(rf"\s*{RANGE_WORD}\s*")


class Kind(StrEnum):
    NUMBER = "number"
    TIME = "time"
    DATE = "date"
    WEEKDAY = "weekday"
    PHONE = "phone"
    CODE = "code"
    LINK = "link"


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact in a text, at [start, end).

    `value` by kind: Fraction for a number (money in yuan, percent, durations in minutes or months); frozenset of
    minutes of the day that a time may mean; Date; frozenset of weekdays from 1; digits of a phone; a code in
    capitals; a link without its scheme. `unit` is what a number measures, "" when nothing says so.
    """

    start: int
    end: int
    kind: Kind
    value: Fraction | frozenset[int] | Date | str
    unit: str = ""


class Page:
    """A segment being read: which characters are taken, and the facts so far."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.taken = bytearray(len(text))
        self.latin = any("a" <= char <= "z" for char in text)
        self.facts: list[Fact] = []

    def free(self, start: int, end: int) -> bool:
        return self.taken.find(1, start, end) < 0

    def find(self, pattern: re.Pattern[str]) -> Iterator[re.Match[str]]:
        """The matches over characters that nothing has taken yet."""
        for found in pattern.finditer(self.text):
            if self.free(found.start(), found.end()):
                yield found

    def take(self, start: int, end: int) -> None:
        self.taken[start:end] = b"\1" * (end - start)

    def add(self, found: re.Match[str], kind: Kind, value: Fraction | frozenset[int] | Date | str) -> None:
        self.add_span(found.start(), found.end(), kind, value)

    def add_span(
        self, start: int, end: int, kind: Kind, value: Fraction | frozenset[int] | Date | str, unit: str = ""
    ) -> None:
        self.take(start, end)
        self.facts.append(Fact(start, end, kind, value, unit))


def normalise(text: str) -> str:
    """The text in lower case with half-width digits and signs, character by character."""
    wide = text.translate(WIDE)
    low = wide.lower()
    # A few letters of other scripts grow when they are lowered.
    return low if len(low) == len(wide) else "".join(low if len(low := char.lower()) == 1 else char for char in wide)


def segments(text: str) -> Iterator[tuple[int, str]]:
    """The lines and sentences of a text, with their places."""
    start = 0
    for found in SEGMENT.finditer(text):
        if found.end() > start:
            yield start, text[start : found.end()]
            start = found.end()
    if start < len(text):
        yield start, text[start:]
