"""The four sources of `models.ranker`, each fitted on interactions."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.ranker import Codes, Scores
from models.training.interactions import Interactions


@dataclass(frozen=True)
class Rows:
    """The strongest neighbours of each item. Shapes: (n, k), (n, k); value 0 where there are fewer."""

    items: Codes
    values: Scores


@dataclass(frozen=True)
class Settings:
    """What was chosen on validation parts of public sets, never on their test parts."""

    neighbours_k1: float = 20.0
    neighbours_b: float = 0.4
    neighbours_kept: int = 100
    ease_regularization: float = 400.0
    ease_items_max: int = 8_000
    ease_kept: int = 200
    factors: int = 64
    factors_alpha: float = 5.0
    factors_regularization: float = 0.1
    factors_iterations: int = 15
    sequence_window: int = 8
    sequence_decay: float = 0.8
    sequence_kept: int = 100


def strongest(matrix: Any, kept: int) -> Rows:
    """The `kept` entries of greatest size of each row of a dense or CSR matrix, by item within a row."""
    n = matrix.shape[0]
    kept = max(min(kept, n), 1)
    items, values = np.zeros((n, kept), np.int32), np.zeros((n, kept), np.float32)
    dense = isinstance(matrix, np.ndarray)
    for row in range(n):
        if dense:
            columns, found = np.arange(matrix.shape[1]), matrix[row]
        else:
            part = slice(matrix.indptr[row], matrix.indptr[row + 1])
            columns, found = matrix.indices[part], matrix.data[part]
        if len(found) > kept:
            places = np.sort(np.argpartition(-np.abs(found), kept - 1)[:kept])
            columns, found = columns[places], found[places]
        items[row, : len(found)], values[row, : len(found)] = columns, found
    return Rows(items, values)


def fit_neighbours(known: Interactions, settings: Settings) -> Rows:
    """Items taken by the same people, weighed as words of a text are (BM25). Source: the library `implicit`."""
    nearest: Any = import_module("implicit.nearest_neighbours")
    users, n = known.shape
    if not users or not n:
        return _nothing(n)
    weighed = nearest.bm25_weight(known.matrix().T, settings.neighbours_k1, settings.neighbours_b).T.tocsr()
    similar = nearest.all_pairs_knn(weighed, settings.neighbours_kept + 1, show_progress=False, num_threads=0).tocsr()
    similar.setdiag(0)
    similar.eliminate_zeros()
    return strongest(similar, settings.neighbours_kept)


def fit_ease(known: Interactions, settings: Settings) -> Rows:
    """EASE^R in closed form, over the `ease_items_max` items most taken, the strongest weights kept.

    Source: Steck, WWW 2019: B = I - P / diag(P), P = (X'X + lambda I)^-1, diagonal 0.
    """
    n = known.shape[1]
    chosen = np.sort(np.argsort(-known.counts(), kind="stable")[: settings.ease_items_max])
    if not len(chosen):
        return _nothing(n)
    weights = ease_weights(known.matrix(binary=True)[:, chosen], settings.ease_regularization)
    part = strongest(weights, settings.ease_kept)
    items, values = (np.zeros((n, part.items.shape[1]), kind) for kind in (np.int32, np.float32))
    items[chosen], values[chosen] = chosen[part.items], part.values
    return Rows(items, values)


def ease_weights(matrix: Any, regularization: float) -> Scores:
    """B (n, n) of a CSR matrix (u, n): row i is what having taken item i says of every item."""
    gram = np.asarray((matrix.T @ matrix).todense(), dtype=np.float64)
    gram[np.diag_indices_from(gram)] += regularization
    inverse = np.linalg.inv(gram)
    weights = inverse / -np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    return weights.astype(np.float32)


def fit_factors(known: Interactions, settings: Settings, *, seed: int) -> Scores:
    """Item factors (n, f) of implicit ALS. Source: Hu, Koren, Volinsky, ICDM 2008, by the library `implicit`."""
    n = known.shape[1]
    width = min(settings.factors, n)
    if min(known.shape) < 2:
        return np.zeros((n, max(width, 1)), np.float32)
    # Its threads each call BLAS, whose own threads would only be in their way; the library warns of it.
    threads: Any = import_module("threadpoolctl")
    with threads.threadpool_limits(1, "blas"):
        als: Any = import_module("implicit.cpu.als")
        model = als.AlternatingLeastSquares(
            factors=width, regularization=settings.factors_regularization, alpha=settings.factors_alpha,
            iterations=settings.factors_iterations, random_state=seed, num_threads=0,
        )  # fmt: skip
        model.fit(known.matrix(), show_progress=False)
    return np.asarray(model.item_factors, np.float32)


def fit_sequence(known: Interactions, settings: Settings) -> Rows:
    """What was taken soon after what: nearer in the history counts more, and what everybody takes counts less."""
    sparse: Any = import_module("scipy.sparse")
    n = known.shape[1]
    if known.times is None or not n:
        return _nothing(n)
    owner = np.repeat(np.arange(known.shape[0]), np.diff(known.starts))
    follows: Any = sparse.csr_matrix((n, n), dtype=np.float32)
    for step in range(1, settings.sequence_window + 1):
        same = owner[step:] == owner[:-step]
        before, after = known.items[:-step][same], known.items[step:][same]
        nearness = np.full(len(before), settings.sequence_decay ** (step - 1), np.float32)
        follows = follows + sparse.csr_matrix((nearness, (before, after)), shape=(n, n))
    taken = np.maximum(known.counts(), 1).astype(np.float32)
    scaled = sparse.diags(1 / np.sqrt(taken)) @ follows @ sparse.diags(1 / np.sqrt(taken))
    return strongest(scaled.tocsr(), settings.sequence_kept)


def _nothing(n: int) -> Rows:
    return Rows(np.zeros((n, 1), np.int32), np.zeros((n, 1), np.float32))


def fit_all(known: Interactions, settings: Settings, *, seed: int) -> dict[str, NDArray[Any]]:
    """The arrays of `ranker.SHAPES` that the sources make."""
    arrays: dict[str, NDArray[Any]] = {}
    fitted = {
        "neighbours": fit_neighbours(known, settings),
        "ease": fit_ease(known, settings),
        "sequence": fit_sequence(known, settings),
    }
    for name, rows in fitted.items():
        arrays |= {f"{name}_items": rows.items, f"{name}_values": rows.values}
    return arrays | {
        "item_ids": known.item_ids.astype(str),
        "popularity": np.log1p(known.counts()).astype(np.float32),
        "sequence_decay": np.array(settings.sequence_decay, np.float32),
        "factors": fit_factors(known, settings, seed=seed),
        "factors_alpha": np.array(settings.factors_alpha, np.float32),
        "factors_regularization": np.array(settings.factors_regularization, np.float32),
    }
