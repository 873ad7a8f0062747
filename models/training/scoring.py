"""What a ranker's sources and its blend say of all items for many users at once: the same sums as `models.ranker`."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.ranker import BLENDED, HISTORY_EDGES, ROWS, SOURCES, Scores, Source, fading
from models.training.interactions import Interactions

Arrays = Mapping[str, NDArray[Any]]
"""As `ranker.SHAPES` lists them; the blend's may be missing until it is learnt."""


class Batches:
    """The sources of `arrays`, asked about users of `known`, whose items are those that the arrays were made of."""

    def __init__(self, arrays: Arrays, known: Interactions) -> None:
        sparse: Any = import_module("scipy.sparse")
        n = known.shape[1]
        self.known, self.arrays = known, arrays
        self._rows: dict[str, Any] = {}
        for name in ROWS:
            codes, items = arrays[f"{name}_codes"], arrays[f"{name}_items"]
            rows = np.repeat(codes, items.shape[1])
            values = arrays[f"{name}_values"].astype(np.float32).ravel()
            self._rows[name] = sparse.csr_matrix((values, (rows, items.ravel())), shape=(n, n))
        self._histories = known.matrix()
        self._factors = arrays["factors"].astype(np.float32)
        eye = np.eye(self._factors.shape[1], dtype=np.float32)
        self._left = self._factors.T @ self._factors + float(arrays["factors_regularization"]) * eye

    def scores(self, source: Source, users: NDArray[np.int64]) -> Scores:
        """What one source says. Shapes: (b,) -> (b, n)."""
        if source == "factors":
            return self.vectors(users) @ self._factors.T
        histories = self._histories[users] if source != "sequence" else self._faded(users)
        scored: Scores = (histories @ self._rows[source]).toarray()
        return scored

    def vectors(self, users: NDArray[np.int64]) -> Scores:
        """The factors of people. Shapes: (b,) -> (b, f)."""
        alpha = float(self.arrays["factors_alpha"])
        vectors = np.zeros((len(users), self._factors.shape[1]), np.float32)
        threads: Any = import_module("threadpoolctl")
        # Many small systems: threads within one would wait for each other longer than they work.
        with threads.threadpool_limits(1, "blas"):
            for place, user in enumerate(users):
                items, weights = self.known.history(user)
                known, confidence = self._factors[items], alpha * weights
                left = self._left + (known * (confidence - 1)[:, None]).T @ known
                vectors[place] = np.linalg.solve(left, confidence @ known)
        return vectors

    def _faded(self, users: NDArray[np.int64]) -> Any:
        sparse: Any = import_module("scipy.sparse")
        decay = float(self.arrays["sequence_decay"])
        histories = [self.known.history(user) for user in users]
        values = [weights * fading(len(weights), decay) for _, weights in histories]
        starts = np.concatenate([[0], np.cumsum([len(one) for one in values])]).astype(np.int64)
        items = np.concatenate([items for items, _ in histories]) if histories else np.zeros(0, np.int32)
        data = np.concatenate(values) if values else np.zeros(0, np.float32)
        return sparse.csr_matrix((data, items, starts), shape=(len(users), self.known.shape[1]))

    def popularity(self, users: NDArray[np.int64]) -> Scores:
        """The same for everybody. Shapes: (b,) -> (b, n)."""
        return np.tile(self.arrays["popularity"].astype(np.float32), (len(users), 1))

    def sized(self, users: NDArray[np.int64]) -> list[Scores]:
        """What the blend adds up, in the order of BLENDED. Shapes: (b,) -> 5 of (b, n)."""
        told = []
        for source in SOURCES:
            scores = self.scores(source, users)
            size = np.sqrt(np.einsum("bn,bn->b", scores, scores) / max(scores.shape[1], 1))[:, None]
            told.append(np.divide(scores, size, out=np.zeros_like(scores), where=size > 0))
        return [*told, self.popularity(users)]

    def lengths(self, users: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many items the histories have. Shapes: (b,) -> (b,)."""
        return self.known.starts[users + 1] - self.known.starts[users]

    def blended(self, users: NDArray[np.int64]) -> Scores:
        """What the blend says. Shapes: (b,) -> (b, n)."""
        weights = self.arrays["blend_weights"][stage(self.lengths(users))]
        total = np.zeros((len(users), self.known.shape[1]), np.float32)
        for place, scores in enumerate(self.sized(users)):
            total += weights[:, place, None] * scores
        return total


def stage(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Which row of the blend's weights histories of these lengths use. Shapes: (b,) -> (b,)."""
    return np.searchsorted(HISTORY_EDGES, lengths, side="right")


assert BLENDED[:-1] == SOURCES, "sized() and blended() rely on this order"
