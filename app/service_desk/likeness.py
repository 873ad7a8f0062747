"""How far two reports tell of the same thing: by what failed, by meaning, by category. Pure."""

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from app.service_desk.incident_kinds import IncidentKind

Vector = NDArray[np.float32]

SAME_CATEGORY = 0.25
COSINE_LOW, COSINE_HIGH = 0.45, 0.8
"""Centred cosines: short reports about one place reach .64 without being of one matter, paraphrases often stay below,
so meaning alone must be strong; a common category lets a weaker likeness do."""
PAIRS_LOW, PAIRS_HIGH = 0.1, 0.55
"""The same for the share of letter pairs in common, which stands in when no vector is there."""


@dataclass(frozen=True, slots=True)
class Telling:
    """What is compared of a report or an incident. `vector` is centred and of unit length, or missing."""

    text: str
    kinds: frozenset[IncidentKind]
    category_id: object = None
    vector: Vector | None = None


def likeness(one: Telling, other: Telling) -> float:
    """From 0, unrelated, to 1, the same matter.

    Where the words of both say what failed, they decide: vectors put water and power side by side. Else meaning
    counts, with the category as a second hint; without vectors the letters in common stand in for meaning.
    """
    if one.kinds and other.kinds:
        return 1.0 if one.kinds & other.kinds else 0.0
    meaning = _meaning(one, other)
    if one.category_id is not None and other.category_id is not None:
        meaning += SAME_CATEGORY if one.category_id == other.category_id else -SAME_CATEGORY
    return min(1.0, max(0.0, meaning))


def _meaning(one: Telling, other: Telling) -> float:
    if one.vector is not None and other.vector is not None:
        return _between(float(one.vector @ other.vector), COSINE_LOW, COSINE_HIGH)
    return _between(pairs_in_common(one.text, other.text), PAIRS_LOW, PAIRS_HIGH)


def _between(value: float, low: float, high: float) -> float:
    return min(1.0, max(0.0, (value - low) / (high - low)))


def pairs_in_common(one: str, other: str) -> float:
    """Dice's share of letter pairs that two texts have in common, from 0 to 1."""
    left, right = _pairs(one), _pairs(other)
    both = sum((left & right).values())
    total = left.total() + right.total()
    return 2 * both / total if total else 0.0


def _pairs(text: str) -> Counter[str]:
    letters = [letter for letter in text.lower() if letter.isalnum()]
    return Counter(a + b for a, b in pairwise(letters))
