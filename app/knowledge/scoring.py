"""Meaning and wording to one order. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

MEANING_WEIGHT, WORDING_WEIGHT = 0.6, 0.4
"""Measured on the practice questions, as is the next."""
SURE_SHARE = 0.3
"""Wording counts in full when its best passage has this share of what a passage with every asked token would have.
Below, the match is a matter of common pairs of characters, and the weight falls with it."""


@dataclass(frozen=True, slots=True)
class Near:
    """A passage near the question: plain cosine, and cosine with the language's centres taken away."""

    passage_id: UUID
    language: str
    cosine: float
    meaning: float


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


def z_scores(values: Sequence[float]) -> NDArray[np.float64]:
    """Distance from the mean in standard deviations; all 0 when the values are alike."""
    array = np.asarray(values, np.float64)
    spread = array.std()
    return (array - array.mean()) / spread if len(array) > 1 and spread > 1e-9 else np.zeros(len(array))


def fuse(
    near: Sequence[Near], wording: Mapping[UUID, float], *, language: str, wording_whole: float
) -> list[tuple[UUID, Scores]]:
    """Best first: the weighted sum of z-scores of meaning and, within the question's language, wording.

    `wording_whole` is the score of a passage that holds every asked token often. Rank fusion loses to this: it counts a
    passage that only one side found as half bad, and wording never finds a passage of the other language. A passage of
    another language is neither helped nor harmed by wording.
    """
    if not near:
        return []
    meaning = z_scores([item.meaning for item in near])
    own = [n for n, item in enumerate(near) if item.language == language]
    words = np.zeros(len(near))
    words[own] = z_scores([wording.get(near[n].passage_id, 0.0) for n in own])
    sure = min(1.0, max(wording.values(), default=0.0) / max(wording_whole * SURE_SHARE, 1e-9))
    fused = MEANING_WEIGHT * meaning + WORDING_WEIGHT * sure * words
    order = np.argsort(-fused, kind="stable")
    return [
        (
            near[n].passage_id,
            Scores(near[n].cosine, near[n].meaning, wording.get(near[n].passage_id, 0.0), float(fused[n])),
        )
        for n in order
    ]
