"""Which items mean something alike: cosines of centred vectors, quick also among a hundred thousand.

Raw vectors of texts all point much the same way. With their common centre taken away, meaning is left. Among many items
the nearest are looked for in few dimensions, those that keep most of the differences, and only what was found there is
compared in all of them.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.knowledge.centres import Centres, own_share
from app.knowledge.language import Language

Vector = NDArray[np.float32]
Codes = NDArray[np.int32]

ALL_DIMENSIONS_ITEMS_MAX = 5_000
"""As many vectors are compared as they are, about two million products."""
FEW_DIMENSIONS = 64
SAMPLE_ITEMS = 4_000
CHUNK_ITEMS = 10_000
LOOK_CLOSER = 4
"""So many times the wanted items are compared in all dimensions."""
GROWTH = 1.2
"""Centre and dimensions are chosen anew when there are so many times the items."""


@dataclass(slots=True)
class Meaning:
    """Shapes: centre (w,), basis (w, k) or None for all dimensions, near (n, k) unit rows, zeros without a vector.

    `stale`: codes whose vectors changed since.
    """

    centre: Vector
    basis: NDArray[np.float32] | None
    near: NDArray[np.float32]
    items: int
    stale: set[int] = field(default_factory=set)

    def project(self, centred: NDArray[np.float32]) -> NDArray[np.float32]:
        """Shapes: (…, w) -> (…, k), unit rows."""
        return unit(centred if self.basis is None else centred @ self.basis)


def build(
    vectors: NDArray[np.float16], embedded: NDArray[np.bool_], centres: Centres, *, before: Meaning | None
) -> Meaning:  # fmt: skip
    """The meaning of items, made from the one `before` where that is still good. Shapes: (n, w), (n,)."""
    count = int(embedded.sum())
    if (
        before is not None
        and before.items <= count <= before.items * GROWTH
        and before.centre.shape[0] == vectors.shape[1]
    ):
        return _amended(vectors, embedded, before)
    if vectors.shape[1] != next(iter(centres.passages.values())).shape[0]:
        prior, share = np.zeros(vectors.shape[1], np.float32), 1.0
    else:
        prior, share = (
            np.mean([centres.passages[one] for one in Language], axis=0),
            own_share(np.zeros(1, np.float32), count),
        )
    sample = _sample(vectors, embedded, count)
    own = sample.mean(axis=0) if count else prior
    centre = (own * share + prior * (1 - share)).astype(np.float32)
    basis = None if count <= ALL_DIMENSIONS_ITEMS_MAX else _main_dimensions(sample - centre)
    made = Meaning(centre, basis, np.zeros((0, 0), np.float32), count)
    parts = [
        _rows(made, vectors[start : start + CHUNK_ITEMS], embedded[start : start + CHUNK_ITEMS])
        for start in range(0, len(vectors), CHUNK_ITEMS)
    ]
    made.near = np.concatenate(parts)
    return made


def _amended(vectors: NDArray[np.float16], embedded: NDArray[np.bool_], before: Meaning) -> Meaning:
    if len(vectors) > len(before.near):
        before.stale.update(range(len(before.near), len(vectors)))
        grown = np.zeros((len(vectors), before.near.shape[1]), np.float32)
        grown[: len(before.near)] = before.near
        before.near = grown
    if before.stale:
        codes = np.fromiter(before.stale, np.int64)
        before.near[codes] = _rows(before, vectors[codes], embedded[codes])
        before.stale.clear()
    return before


def _rows(
    made: Meaning, vectors: NDArray[np.float16], embedded: NDArray[np.bool_]
) -> NDArray[np.float32]:  # fmt: skip
    return made.project(vectors.astype(np.float32) - made.centre) * embedded[:, None]


def _sample(vectors: NDArray[np.float16], embedded: NDArray[np.bool_], count: int) -> NDArray[np.float32]:
    codes = np.flatnonzero(embedded)
    step = max(1, count // SAMPLE_ITEMS)
    return vectors[codes[::step]].astype(np.float32)


def _main_dimensions(centred: NDArray[np.float32]) -> NDArray[np.float32]:
    """Directions in which the items differ most. Shapes: (m, w) -> (w, k)."""
    _, directions = np.linalg.eigh(centred.T @ centred)
    return np.ascontiguousarray(directions[:, ::-1][:, :FEW_DIMENSIONS], dtype=np.float32)


def unit(vectors: NDArray[Any]) -> NDArray[np.float32]:
    """Rows of length 1; a row of zeros stays one."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    units: NDArray[np.float32] = (vectors / np.maximum(lengths, 1e-9)).astype(np.float32)
    return units


def centred(meaning: Meaning, vectors: NDArray[np.float16], codes: Any) -> NDArray[np.float32]:
    """What items mean, in all dimensions. Shapes: (n, w), (m,) -> (m, w), unit rows."""
    return unit(vectors[codes].astype(np.float32) - meaning.centre)


def rows(
    meaning: Meaning, vectors: NDArray[np.float16], embedded: NDArray[np.bool_], codes: Codes
) -> NDArray[np.float32]:  # fmt: skip
    """As `centred`, quicker for many, and zeros for what has no vector. Shapes: (n, w), (n,), (m,) -> (m, w)."""
    if meaning.basis is None:
        return meaning.near[codes]
    return centred(meaning, vectors, codes) * embedded[codes][:, None]


def nearest(
    meaning: Meaning, vectors: NDArray[np.float16], wanted: Vector, mask: NDArray[np.bool_], *, limit: int
) -> tuple[Codes, NDArray[np.float32]]:
    """The items nearest to what is wanted, best first, of those that the mask allows, and their cosines.

    Shapes: vectors (n, w), wanted (w,) centred, mask (n,) -> (m,), (m,), m <= limit.
    """
    scores = meaning.near @ meaning.project(wanted)
    scores[~mask] = -2
    found = top(scores, limit if meaning.basis is None else limit * LOOK_CLOSER, above=-1.5)
    if meaning.basis is None:
        return found, scores[found]
    exact = centred(meaning, vectors, found) @ unit(wanted)
    order = np.lexsort((found, -exact))[:limit]
    return found[order], exact[order]


def top(scores: NDArray[Any], limit: int, *, above: float = 0.0) -> Codes:
    """Places of the greatest scores that are above a bound, best first, ties by place. Shapes: (n,) -> (m,)."""
    places = np.flatnonzero(scores > above)
    if len(places) > limit:
        kept = scores[places]
        # Ties at the edge are cut by place, so that one seed gives one list.
        edge = np.partition(kept, len(kept) - limit)[len(kept) - limit]
        over, equal = places[kept > edge], places[kept == edge]
        places = np.concatenate((over, equal[: limit - len(over)]))
    return places[np.lexsort((places, -scores[places]))].astype(np.int32)
