"""Which quotes an answer rests on. Small models do not mark their sources reliably, so code does. Pure."""

from typing import Any

from app.knowledge import tokens
from app.safety.grounding import Grounds
from app.safety.numbers import find_facts

SHARED_MIN = 0.35
"""Share of the answer's content tokens that a quote must hold to count without a common number."""


def cited(answer: str, quotes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The quotes that hold a number of the answer or much of its wording; the first quote when there is none."""
    return [quote for quote in quotes if _supports(quote["quote"], answer)] or quotes[:1]


def _supports(quote: str, answer: str) -> bool:
    grounds = Grounds([quote])
    if any(grounds.have(fact) for fact in find_facts(answer)):
        return True
    said = tokens.content_tokens(answer)
    return bool(said) and len(said & tokens.content_tokens(quote)) / len(said) >= SHARED_MIN
