"""Whether a report says again what was reported just now: pure."""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from app.service_desk.tables import Channel, OrderKind, Urgency

SIMILARITY_MIN = 0.6
"""Of letter pairs: "厨房水管漏水" and "厨房的水管漏水了" have .67, "厨房灯不亮" and "卧室灯不亮" .5."""


@dataclass(frozen=True)
class Said:
    """What a report says, new or recent."""

    kind: OrderKind
    category_id: UUID | None
    space_id: UUID | None
    place_text: str
    text: str
    reporter_id: UUID | None


@dataclass(frozen=True)
class Recent(Said):
    id: UUID
    duplicate_of_id: UUID | None
    created_at: datetime
    ended: bool
    urgency: Urgency
    channel: Channel


def find_original(said: Said, recent: Iterable[Recent], *, now: datetime, hours: int) -> UUID | None:
    """The first order that this report repeats: by the same person on the same matter, or almost in the same words
    by the same person or from the same place.
    """
    since = now - timedelta(hours=hours)
    for other in recent:
        if not other.ended and other.created_at > since and repeats(said, other):
            return other.duplicate_of_id or other.id
    return None


def repeats(said: Said, other: Said) -> bool:
    same_person = said.reporter_id is not None and said.reporter_id == other.reporter_id
    same_place = said.space_id is not None and said.space_id == other.space_id
    if said.kind is not other.kind or not (same_person or same_place):
        return False
    same_matter = said.category_id is not None and said.category_id == other.category_id
    if same_person and same_matter and (said.space_id, said.place_text) == (other.space_id, other.place_text):
        return True
    return similarity(said.text, other.text) >= SIMILARITY_MIN


def similarity(one: str, other: str) -> float:
    """Dice's coefficient over pairs of letters, 0 to 1; blanks and punctuation do not count."""
    left, right = _pairs(one), _pairs(other)
    if not left or not right:
        return float(_letters(one) == _letters(other) != "")
    return 2 * len(left & right) / (len(left) + len(right))


def _letters(text: str) -> str:
    return "".join(letter for letter in text.lower() if letter.isalnum())


def _pairs(text: str) -> frozenset[str]:
    return frozenset(first + second for first, second in itertools.pairwise(_letters(text)))
