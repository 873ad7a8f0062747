"""Meaning and wording to one order. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

MEANING_WEIGHT, WORDING_WEIGHT, COVER_WEIGHT = 26.8, 14.3, 11.3
OTHER_LANGUAGE = 2.5
"""Fitted by a softmax over each question's candidates, on CMRC 2018's dev questions and half of the practice questions
with equal weight; reported on the rest (bench/bench_search.py). A passage of another language has no wording to
compare: the last number stands in for it."""


@dataclass(frozen=True, slots=True)
class Near:
    """A passage near the question: plain cosine, and cosine with the language's centres taken away."""

    passage_id: UUID
    language: str
    cosine: float
    meaning: float


@dataclass(frozen=True, slots=True)
class Alike:
    """How a passage is worded like a question: BM25, and the share of the question's content that it mentions."""

    score: float
    cover: float


NOT_ALIKE = Alike(0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Scores:
    """Of one passage for one question. `wording` is BM25, 0 without a shared token or across languages."""

    cosine: float
    meaning: float
    wording: float
    fused: float


def centred(
    products: NDArray[np.float64],
    *,
    query: NDArray[np.float32],
    query_centre: NDArray[np.float32],
    passage_centre: NDArray[np.float32],
) -> NDArray[np.float64]:
    """Cosines of p - c and q - d, from inner products alone.

    Shapes: products (n, 2) with p·(q - d) and p·c for unit vectors p; the others (width,) -> (n,).
    """
    shifted = (query - query_centre).astype(np.float64)
    centre = passage_centre.astype(np.float64)
    over = products[:, 0] - centre @ shifted
    length = np.sqrt(np.maximum(1.0 - 2.0 * products[:, 1] + centre @ centre, 1e-9))
    cosines: NDArray[np.float64] = over / (length * max(float(np.linalg.norm(shifted)), 1e-9))
    return cosines


def fuse(
    near: Sequence[Near], alike: Mapping[UUID, Alike], *, language: str, wording_whole: float
) -> list[tuple[UUID, Scores]]:
    """Best first: a weighted sum of meaning, BM25 as a share of `wording_whole`, and cover.

    `wording_whole` is the score of a passage that holds every asked token often. A passage's score does not depend on
    the other candidates. Rank fusion loses to this: it counts a passage that only one side found as half bad, and
    wording never finds a passage of the other language.
    """
    scored = []
    for item in near:
        found = alike.get(item.passage_id, NOT_ALIKE)
        fused = MEANING_WEIGHT * item.meaning + OTHER_LANGUAGE
        if item.language == language:
            share = found.score / max(wording_whole, 1e-9)
            fused = MEANING_WEIGHT * item.meaning + WORDING_WEIGHT * share + COVER_WEIGHT * found.cover
        scored.append((item.passage_id, Scores(item.cosine, item.meaning, found.score, fused)))
    return sorted(scored, key=lambda one: -one[1].fused)
