"""How alike two texts are worded: BM25 over the tokens of tokens.py. Pure."""

import math
from collections import Counter
from collections.abc import Container, Iterable, Mapping

K1, B = 1.2, 0.75
"""The usual values (Robertson and Zaragoza 2009)."""
FREQUENT_SHARE = 0.5
"""A token in more than half of the passages proposes no candidates; it still counts in their score."""


def inverse_frequency(passages: int, holding: int) -> float:
    return math.log(1.0 + (passages - holding + 0.5) / (holding + 0.5))


def bm25(
    times: Mapping[str, int], length: float, *, idf: Mapping[str, float], length_mean: float, asked: Mapping[str, int]
) -> float:
    """Score of one passage: `times` it holds each asked token, `idf` of each."""
    spread = K1 * (1.0 - B + B * length / max(length_mean, 1.0))
    return sum(asked[token] * idf[token] * count * (K1 + 1.0) / (count + spread) for token, count in times.items())


def whole(idf: Mapping[str, float], asked: Mapping[str, int]) -> float:
    """The score that BM25 nears when a passage holds every asked token often."""
    return (K1 + 1.0) * sum(asked[token] * idf[token] for token in idf)


def cover(held: Container[str], content: Iterable[str], idf: Mapping[str, float]) -> float:
    """Share of a question's content tokens that a passage holds, rare ones counting more; 0 to 1."""
    weights = {token: idf.get(token, 1.0) for token in content}
    total = sum(weights.values())
    return sum(weight for token, weight in weights.items() if token in held) / total if total else 0.0


def quoted(token: str) -> str:
    """A token as a lexeme of `tsquery` or `tsvector`."""
    return "'" + token.replace("\\", "\\\\").replace("'", "''") + "'"


def tsvector(found: Counter[str]) -> str:
    """Tokens as a `tsvector`; a token's number of positions is how often it occurs (Postgres keeps up to 255)."""
    return " ".join(
        f"{quoted(token)}:{','.join(str(at) for at in range(1, min(times, 255) + 1))}" for token, times in found.items()
    )
