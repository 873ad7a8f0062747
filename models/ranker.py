"""What a person may like next, from what they and others did: four sources of scores and a learned blend of them.

A ranker knows items by code, the place of their id in `item_ids`. It keeps nothing of any person: their vector is
folded in from their history at each request, so that a click changes the next answer without training. Trained by
`training/train_ranker.py`; at run time plain numpy.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, Final, Literal
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from models import versions
from models.versions import WeightsDamaged

Codes = NDArray[np.int32]
Scores = NDArray[np.float32]
Source = Literal["neighbours", "ease", "factors", "sequence"]
SOURCES: Final[tuple[Source, ...]] = ("neighbours", "ease", "factors", "sequence")
"""Item-item BM25, EASE^R, implicit ALS factors, and what follows what in time."""
ROWS: Final[tuple[Source, ...]] = ("neighbours", "ease", "sequence")
"""The sources that are a row of the strongest neighbours for each item."""
BLENDED: Final = (*SOURCES, "popularity")
"""What the blend adds up, each with its weight."""
FEATURE_NAMES: Final = (*BLENDED, "history")
"""`history` is how many items the history has: short and long ones have their own weights."""
HISTORY_EDGES: Final = (6, 31)
"""From how many items on a history is of middle length, and long."""
BLEND_CANDIDATES = 200
"""How many of each source's best the blend looks at."""

FORM = 1
SHAPES: dict[str, tuple[int | str, ...]] = {
    "form": (), "item_ids": ("n",), "popularity": ("n",),
    "neighbours_codes": ("a",), "neighbours_items": ("a", "j"), "neighbours_values": ("a", "j"),
    "ease_codes": ("b",), "ease_items": ("b", "k"), "ease_values": ("b", "k"),
    "sequence_codes": ("c",), "sequence_items": ("c", "l"), "sequence_values": ("c", "l"), "sequence_decay": (),
    "factors": ("n", "f"), "factors_alpha": (), "factors_regularization": (),
    "blend_weights": (len(HISTORY_EDGES) + 1, len(BLENDED)),
}  # fmt: skip
"""n items; a, b, c of them have a row in a source; j, k, l neighbours kept in a row; f factors."""


class ShapeMismatch(ValueError):
    """Features, or a history, are not of the form that the weights were trained with."""


@dataclass(eq=False)
class Reading:
    """A history as the ranker reads it: what each source says of every item, worked out once, when first asked."""

    ranker: "Ranker"
    items: Codes
    weights: Scores
    _scores: dict[str, Scores] = field(default_factory=dict)
    _sizes: dict[str, float] = field(default_factory=dict)

    def scores(self, source: Source) -> Scores:
        """What one source says of every item. Shapes: -> (n,). Not to be written to."""
        if source not in self._scores:
            self._scores[source], self._sizes[source] = self.ranker.say(source, self.items, self.weights)
        return self._scores[source]

    def candidates(self, source: Source, *, limit: int) -> tuple[Codes, Scores]:
        """The items that one source likes best, best first, those of the history left out; only scores above 0."""
        scores = self.scores(source).copy()
        scores[self.items] = 0
        return best(scores, limit)

    def voices(self, codes: Codes) -> Scores:
        """What each source says of some items. Shapes: (m,) -> (m, len(SOURCES))."""
        return np.stack([self.scores(source)[codes] for source in SOURCES], axis=1)

    def drivers(self, codes: Codes) -> Codes:
        """Which item of the history speaks most for each item: its place there, -1 where none does.

        Of the sources that are rows of neighbours the first that knows one is asked. Shapes: (m,) -> (m,).
        """
        found = np.full(len(codes), -1, np.int32)
        for source in ("ease", "neighbours", "sequence") if len(self.items) and len(codes) else ():
            if (found >= 0).all():
                break
            spoken = self.ranker.spoken(source, self.items, codes) * self.weights[:, None]
            strongest = spoken.argmax(axis=0).astype(np.int32)
            new = (found < 0) & (spoken[strongest, np.arange(len(codes))] > 0)
            found[new] = strongest[new]
        return found

    def features(self, codes: Codes) -> Scores:
        """What `Ranker.score` reads of some items. Shapes: (m,) -> (m, len(FEATURE_NAMES))."""
        voices = self.voices(codes)
        sizes = np.array([self._sizes[source] for source in SOURCES], np.float32)
        return features(voices, sizes, self.ranker.popularity[codes], history=len(self.items))

    def ranked(self, *, limit: int) -> tuple[Codes, Scores]:
        """The blend's best among the best of all sources, best first, those of the history left out.

        Shapes: -> (m,), (m,), m <= limit. A history that says nothing gives the most popular items.
        """
        found = [self.candidates(source, limit=max(limit, BLEND_CANDIDATES))[0] for source in SOURCES]
        codes = np.unique(np.concatenate(found))
        if not len(codes):
            popular = self.ranker.popularity.copy()
            popular[self.items] = 0
            return best(popular, limit)
        scores = self.ranker.score(self.features(codes))
        order = np.lexsort((codes, -scores))[:limit]
        return codes[order], scores[order]


class Ranker:
    """Immutable once made. `item_ids` are the n items it was trained on; codes are places in it."""

    def __init__(self, arrays: dict[str, NDArray[Any]]) -> None:
        """`arrays` as SHAPES lists them; see `load`."""
        self.item_ids: tuple[str, ...] = tuple(arrays["item_ids"].tolist())
        self.code_of: dict[str, int] = {item_id: code for code, item_id in enumerate(self.item_ids)}
        self.popularity = _float(arrays["popularity"])
        self._items = {name: arrays[f"{name}_items"].astype(np.int32) for name in ROWS}
        self._values = {name: _float(arrays[f"{name}_values"]) for name in ROWS}
        self._row_of = {name: _places(arrays[f"{name}_codes"], len(self.item_ids)) for name in ROWS}
        self._decay = float(arrays["sequence_decay"])
        self._factors = _float(arrays["factors"])
        self._alpha = float(arrays["factors_alpha"])
        self._gram = self._factors.T @ self._factors
        self._prior = float(arrays["factors_regularization"]) * np.eye(len(self._gram), dtype=np.float32)
        self._weights = _float(arrays["blend_weights"])

    def read(self, history_items: Codes, history_weights: Scores) -> Reading:
        """A history, oldest first, to ask the sources about. Shapes: (h,), (h,). Raises: ShapeMismatch."""
        if history_items.ndim != 1 or history_items.shape != history_weights.shape:
            raise ShapeMismatch(f"history of {history_items.shape} items, {history_weights.shape} weights")
        return Reading(self, history_items, history_weights.astype(np.float32))

    def candidates(
        self, source: Source, history_items: Codes, history_weights: Scores, *, limit: int
    ) -> tuple[Codes, Scores]:
        """The items that one source likes best, best first, those of the history left out.

        Shapes: history (h,), (h,), oldest first -> (m,), (m,), m <= limit; only items with a score above 0.
        """
        return self.read(history_items, history_weights).candidates(source, limit=limit)

    def source_scores(self, history_items: Codes, history_weights: Scores, codes: Codes) -> Scores:
        """What each source says of some items. Shapes: (h,), (h,), (m,) -> (m, len(SOURCES))."""
        return self.read(history_items, history_weights).voices(codes)

    def features(self, history_items: Codes, history_weights: Scores, codes: Codes) -> Scores:
        """What `score` reads, for some items. Shapes: (h,), (h,), (m,) -> (m, len(FEATURE_NAMES))."""
        return self.read(history_items, history_weights).features(codes)

    def score(self, features: Scores) -> Scores:
        """How the blend orders one person's items: greater is better, 0 is an item that nothing speaks for.

        Shapes: (m, len(FEATURE_NAMES)) -> (m,). Raises: ShapeMismatch.
        """
        if features.ndim != 2 or features.shape[1] != len(FEATURE_NAMES):
            raise ShapeMismatch(f"features {features.shape}, trained on {len(FEATURE_NAMES)}")
        weights = self._weights[np.searchsorted(HISTORY_EDGES, features[:, -1], side="right")]
        scored: Scores = np.einsum("mf,mf->m", features[:, :-1], weights)
        return scored

    def say(self, source: Source, items: Codes, weights: Scores) -> tuple[Scores, float]:
        """What one source says of every item, and the size of it (root mean square). Shapes: (h,), (h,) -> (n,), ()."""
        n = len(self.item_ids)
        if not len(items):
            return np.zeros(n, np.float32), 0.0
        if source == "factors":
            vector = self.vector_of(items, weights)
            return self._factors @ vector, float(np.sqrt(max(float(vector @ self._gram @ vector), 0.0) / n))
        if source == "sequence":
            weights = weights * fading(len(weights), self._decay)
        rows = self._row_of[source][items]
        rows, weights = rows[rows >= 0], weights[rows >= 0]
        values = self._values[source][rows] * weights[:, None]
        scores = np.bincount(self._items[source][rows].ravel(), values.ravel(), n).astype(np.float32)
        return scores, float(np.sqrt(scores @ scores / n))

    def spoken(self, source: Source, items: Codes, codes: Codes) -> Scores:
        """What a row of neighbours says by itself: of each item for each other. Shapes: (h,), (m,) -> (h, m)."""
        rows = self._row_of[source][items]
        spoken = np.zeros((len(items), len(codes)), np.float32)
        place_of = np.full(len(self.item_ids), -1, np.int32)
        place_of[codes] = np.arange(len(codes))
        places = place_of[self._items[source][rows]]
        places[rows < 0] = -1
        who, where = np.nonzero(places >= 0)
        np.maximum.at(spoken, (who, places[who, where]), self._values[source][rows[who], where])
        return spoken

    def vector_of(self, items: Codes, weights: Scores) -> Scores:
        """The person's factors, solved from the history. Shapes: (h,), (h,) -> (f,).

        Source: Hu, Koren, Volinsky, ICDM 2008, eq. 4; an item of weight w has confidence alpha * w, others 1.
        """
        known, confidence = self._factors[items], self._alpha * weights
        left = self._gram + self._prior + (known * (confidence - 1)[:, None]).T @ known
        vector: Scores = np.linalg.solve(left, confidence @ known)
        return vector


def load(data: bytes) -> Ranker:
    """The ranker of a file that `training.train_ranker` wrote. Raises WeightsDamaged."""
    return Ranker(arrays_of(data))


def arrays_of(data: bytes) -> dict[str, NDArray[Any]]:
    """The arrays of a file, as SHAPES lists them, checked. Raises WeightsDamaged."""
    try:
        with np.load(BytesIO(data), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    # What numpy and zipfile raise of bytes that are no such file, seen by damaging one at every place.
    except (ValueError, OSError, EOFError, KeyError, BadZipFile, zlib.error, AttributeError, TypeError,
            NotImplementedError, RuntimeError, SyntaxError, OverflowError, MemoryError) as error:  # fmt: skip
        raise WeightsDamaged(f"ranker: {error}") from error
    versions.check_shapes(arrays, SHAPES, name="ranker")
    _check_values(arrays)
    return arrays


def _check_values(arrays: dict[str, NDArray[Any]]) -> None:
    for name, array in arrays.items():
        kinds = "U" if name == "item_ids" else "iu" if name.endswith(("_items", "_codes")) or name == "form" else "f"
        if array.dtype.kind not in kinds:
            raise WeightsDamaged(f"ranker: {name} holds {array.dtype}")
        if kinds == "f" and not np.isfinite(array).all():
            raise WeightsDamaged(f"ranker: {name} is not finite")
    if int(arrays["form"]) != FORM:
        raise WeightsDamaged(f"ranker: form {int(arrays['form'])}, expected {FORM}")
    n = len(arrays["item_ids"])
    for name in [f"{source}_{part}" for source in ROWS for part in ("codes", "items")]:
        if arrays[name].size and not (arrays[name].min() >= 0 and arrays[name].max() < n):
            raise WeightsDamaged(f"ranker: {name} points outside of {n} items")
    if len(set(arrays["item_ids"].tolist())) != n:
        raise WeightsDamaged("ranker: item_ids repeat")


def features(voices: Scores, sizes: Sequence[float] | Scores, popularity: Scores, *, history: int) -> Scores:
    """What the blend reads of m items: voices per size, so that sources and persons compare; popularity; history.

    Shapes: voices (m, len(SOURCES)), sizes (len(SOURCES),), popularity (m,) -> (m, len(FEATURE_NAMES)).
    """
    sizes = np.asarray(sizes, np.float32)
    told = np.empty((len(popularity), len(FEATURE_NAMES)), np.float32)
    told[:, : len(SOURCES)] = voices * np.divide(1, sizes, out=np.zeros_like(sizes), where=sizes > 0)
    told[:, len(SOURCES)] = popularity
    told[:, len(SOURCES) + 1] = history
    return told


def fading(length: int, decay: float) -> Scores:
    """Weights of a history, oldest first: 1 for the newest, `decay` times the next one's for each before it."""
    return (decay ** np.arange(length - 1, -1, -1)).astype(np.float32)


def best(scores: Scores, limit: int) -> tuple[Codes, Scores]:
    """Places of the greatest scores above 0, best first, ties by place, and the scores. Shapes: (n,) -> (m,), (m,)."""
    places = np.flatnonzero(scores > 0)  # Few, of sources that are rows of neighbours.
    if len(places) > limit:
        places = places[np.argpartition(scores[places], len(places) - limit)[len(places) - limit :]]
    places = places[np.lexsort((places, -scores[places]))]
    return places.astype(np.int32), scores[places]


def _float(array: NDArray[Any]) -> NDArray[np.float32]:
    return array.astype(np.float32)


def _places(codes: NDArray[Any], n: int) -> Codes:
    """Where each of n codes stands in `codes`, -1 for those that do not."""
    places = np.full(n, -1, np.int32)
    places[codes] = np.arange(len(codes))
    return places
