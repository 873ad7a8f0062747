"""What a person may like next, from what they and others did: four sources of scores and a learned blend of them.

A ranker knows items by code, the place of their id in `item_ids`. It keeps nothing of any person: their vector is
folded in from their history at each request, so that a click changes the next answer without training. Trained by
`training/train_ranker.py`; at run time plain numpy.
"""

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
FEATURE_NAMES: Final = (*SOURCES, "popularity", "history")

FORM = 1
SHAPES: dict[str, tuple[int | str, ...]] = {
    "form": (), "item_ids": ("n",), "popularity": ("n",),
    "neighbours_items": ("n", "j"), "neighbours_values": ("n", "j"),
    "ease_items": ("n", "k"), "ease_values": ("n", "k"),
    "sequence_items": ("n", "l"), "sequence_values": ("n", "l"), "sequence_decay": (),
    "factors": ("n", "f"), "factors_alpha": (), "factors_regularization": (),
    "blend_scale": (len(FEATURE_NAMES),), "blend_weights": (len(FEATURE_NAMES),),
}  # fmt: skip
"""n items; j, k, l neighbours kept of each; f factors."""


class ShapeMismatch(ValueError):
    """Features, or a history, are not of the form that the weights were trained with."""


class Ranker:
    """Immutable once made. `item_ids` are the n items it was trained on; codes are places in it."""

    def __init__(self, arrays: dict[str, NDArray[Any]]) -> None:
        """`arrays` as SHAPES lists them; see `load`."""
        self.item_ids: tuple[str, ...] = tuple(arrays["item_ids"].tolist())
        self.code_of: dict[str, int] = {item_id: code for code, item_id in enumerate(self.item_ids)}
        self.popularity = _float(arrays["popularity"])
        self._items = {name: arrays[f"{name}_items"].astype(np.int32) for name in ROWS}
        self._values = {name: _float(arrays[f"{name}_values"]) for name in ROWS}
        self._decay = float(arrays["sequence_decay"])
        self._factors = _float(arrays["factors"])
        self._alpha = float(arrays["factors_alpha"])
        eye = np.eye(self._factors.shape[1], dtype=np.float32)
        self._gram = self._factors.T @ self._factors + float(arrays["factors_regularization"]) * eye
        self._scale, self._weights = _float(arrays["blend_scale"]), _float(arrays["blend_weights"])

    def candidates(
        self, source: Source, history_items: Codes, history_weights: Scores, *, limit: int
    ) -> tuple[Codes, Scores]:
        """The items that one source likes best, best first, those of the history left out.

        Shapes: history (h,), (h,), oldest first -> (m,), (m,), m <= limit; only items with a score above 0.
        """
        scores = self.scores_of(source, history_items, history_weights)
        scores[history_items] = -np.inf
        return best(scores, limit)

    def source_scores(self, history_items: Codes, history_weights: Scores, codes: Codes) -> Scores:
        """What each source says of some items. Shapes: (h,), (h,), (m,) -> (m, len(SOURCES))."""
        columns = [self.scores_of(source, history_items, history_weights)[codes] for source in SOURCES]
        return np.stack(columns, axis=1)

    def features(self, history_items: Codes, history_weights: Scores, codes: Codes) -> Scores:
        """What `score` reads, for some items. Shapes: (h,), (h,), (m,) -> (m, len(FEATURE_NAMES))."""
        voices = self.source_scores(history_items, history_weights, codes)
        return features(voices, self.popularity[codes], history=len(history_items))

    def score(self, features: Scores) -> Scores:
        """How likely each item is taken next, as log odds up to a constant: good for ordering one person's items.

        Shapes: (m, len(FEATURE_NAMES)) -> (m,). Raises: ShapeMismatch.
        """
        if features.shape[1:] != (len(FEATURE_NAMES),):
            raise ShapeMismatch(f"features {features.shape}, trained on {len(FEATURE_NAMES)}")
        scored: Scores = (features / self._scale) @ self._weights
        return scored

    def scores_of(self, source: Source, history_items: Codes, history_weights: Scores) -> Scores:
        """What one source says of every item. Shapes: (h,), (h,) -> (n,)."""
        if history_items.shape != history_weights.shape:
            raise ShapeMismatch(f"{history_items.shape} items, {history_weights.shape} weights")
        if not len(history_items):
            return np.zeros(len(self.item_ids), np.float32)
        if source == "factors":
            return self._factors @ self.vector_of(history_items, history_weights)
        weights = history_weights
        if source == "sequence":
            weights = weights * fading(len(weights), self._decay)
        rows, values = self._items[source][history_items], self._values[source][history_items] * weights[:, None]
        return np.bincount(rows.ravel(), values.ravel(), len(self.item_ids)).astype(np.float32)

    def drivers(self, history_items: Codes, history_weights: Scores, codes: Codes) -> Codes:
        """Which item of the history speaks most for each item: its place there, -1 where none does.

        Of the sources that are rows of neighbours the first that knows one is asked. Shapes: (h,), (h,), (m,) -> (m,).
        """
        found = np.full(len(codes), -1, np.int32)
        for name in ("ease", "neighbours", "sequence") if len(history_items) else ():
            rows, values = self._items[name][history_items], self._values[name][history_items]
            spoken = np.where(rows[:, :, None] == codes, values[:, :, None], 0).max(axis=1) * history_weights[:, None]
            strongest = spoken.argmax(axis=0)
            new = (found < 0) & (spoken[strongest, np.arange(len(codes))] > 0)
            found[new] = strongest[new]
        return found

    def vector_of(self, history_items: Codes, history_weights: Scores) -> Scores:
        """The person's factors, solved from the history. Shapes: (h,), (h,) -> (f,).

        Source: Hu, Koren, Volinsky, ICDM 2008, eq. 4; an item of weight w has confidence alpha * w, others 1.
        """
        known = self._factors[history_items]
        confidence = self._alpha * history_weights
        left = self._gram + (known * (confidence - 1)[:, None]).T @ known
        vector: Scores = np.linalg.solve(left, confidence @ known)
        return vector


def load(data: bytes) -> Ranker:
    """The ranker of a file that `training.train_ranker` wrote. Raises WeightsDamaged."""
    try:
        with np.load(BytesIO(data), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (ValueError, OSError, EOFError, KeyError, BadZipFile, AttributeError, TypeError) as error:
        raise WeightsDamaged(f"ranker: {error}") from error
    versions.check_shapes(arrays, SHAPES, name="ranker")
    _check_values(arrays)
    return Ranker(arrays)


def _check_values(arrays: dict[str, NDArray[Any]]) -> None:
    for name, array in arrays.items():
        kinds = "U" if name == "item_ids" else "iu" if name.endswith("_items") or name == "form" else "f"
        if array.dtype.kind not in kinds:
            raise WeightsDamaged(f"ranker: {name} holds {array.dtype}")
        if kinds == "f" and not np.isfinite(array).all():
            raise WeightsDamaged(f"ranker: {name} is not finite")
    if int(arrays["form"]) != FORM:
        raise WeightsDamaged(f"ranker: form {int(arrays['form'])}, expected {FORM}")
    n = len(arrays["item_ids"])
    for name in ROWS:
        items = arrays[f"{name}_items"]
        if items.size and not (items.min() >= 0 and items.max() < n):
            raise WeightsDamaged(f"ranker: {name}_items points outside of {n} items")
    if len(set(arrays["item_ids"].tolist())) != n:
        raise WeightsDamaged("ranker: item_ids repeat")
    if not (arrays["blend_scale"] > 0).all():
        raise WeightsDamaged("ranker: blend_scale is not above 0")


def features(voices: Scores, popularity: Scores, *, history: int) -> Scores:
    """What the blend reads of m items. Shapes: voices (m, len(SOURCES)), popularity (m,) -> (m, len(FEATURE_NAMES)).

    Source scores grow with the history, so they are told per item of it.
    """
    told = np.empty((len(popularity), len(FEATURE_NAMES)), np.float32)
    told[:, : len(SOURCES)] = voices
    told[:, len(SOURCES)] = popularity
    told[:, len(SOURCES) + 1] = np.log1p(history)
    return told


def fading(length: int, decay: float) -> Scores:
    """Weights of a history, oldest first: 1 for the newest, `decay` times the next one's for each before it."""
    return (decay ** np.arange(length - 1, -1, -1)).astype(np.float32)


def best(scores: Scores, limit: int) -> tuple[Codes, Scores]:
    """Places of the greatest scores above 0, best first, ties by place, and the scores. Shapes: (n,) -> (m,), (m,)."""
    limit = min(limit, len(scores))
    if limit <= 0:
        return np.empty(0, np.int32), np.empty(0, np.float32)
    places = np.argpartition(-scores, limit - 1)[:limit]
    places = places[scores[places] > 0]
    places = places[np.lexsort((places, -scores[places]))]
    return places.astype(np.int32), scores[places]


def _float(array: NDArray[Any]) -> NDArray[np.float32]:
    return array.astype(np.float32)
