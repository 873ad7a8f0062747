"""The four sources of `models.ranker`, each fitted on interactions."""

import time
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.ranker import Codes, Scores
from models.training.interactions import Interactions

FEW_EVENTS = 50_000


@dataclass(frozen=True)
class Rows:
    """The strongest neighbours of some items. Shapes: (a,), (a, k), (a, k), value 0 where there are fewer."""

    codes: Codes
    items: Codes
    values: Scores


@dataclass(frozen=True)
class Settings:
    """Where training starts from; `tuning` chooses anew among a few on part of the events."""

    neighbours_k1: float = 100.0
    neighbours_b: float = 0.3
    neighbours_kept: int = 100
    ease_regularization: float = 400.0
    ease_user_power: float = 0.5
    """How much less a busy person's every item says: each person counts as (their items) ** -power."""
    ease_items_max: int = 8_000
    """EASE's time grows with the third power of items, its memory with the second: 8,000 are half a gibibyte."""
    ease_kept: int = 300
    factors: int = 64
    factors_alpha: float = 10.0
    factors_regularization: float = 100.0
    factors_iterations: int = 15
    sequence_window: int = 8
    sequence_decay: float = 0.7
    sequence_kept: int = 100


def threads_for(known: Interactions) -> int:
    """What `implicit` takes for all cores, or one thread where waiting for each other would take longer."""
    return 0 if len(known.items) > FEW_EVENTS else 1


def strongest(matrix: Any, kept: int) -> tuple[Codes, Scores]:
    """The `kept` entries of greatest size of each row of a dense or CSR matrix, by item within a row."""
    n = matrix.shape[0]
    kept = max(min(kept, matrix.shape[1]), 1)
    items, values = np.zeros((n, kept), np.int32), np.zeros((n, kept), np.float32)
    everything = np.arange(matrix.shape[1])
    for row in range(n):
        if isinstance(matrix, np.ndarray):
            columns, found = everything, matrix[row]
        else:
            part = slice(matrix.indptr[row], matrix.indptr[row + 1])
            columns, found = matrix.indices[part], matrix.data[part]
        if len(found) > kept:
            places = np.sort(np.argpartition(-np.abs(found), kept - 1)[:kept])
            columns, found = columns[places], found[places]
        items[row, : len(found)], values[row, : len(found)] = columns, found
    return items, values


def fit_neighbours(known: Interactions, settings: Settings) -> Rows:
    """Items taken by the same people, weighed as words of a text are (BM25). Source: the library `implicit`."""
    users, n = known.shape
    if not users or not n:
        return _nothing()
    nearest: Any = import_module("implicit.nearest_neighbours")
    weighed = nearest.bm25_weight(known.matrix().T, settings.neighbours_k1, settings.neighbours_b).T.tocsr()
    kept = settings.neighbours_kept + 1  # Itself among them, which is taken out.
    similar = nearest.all_pairs_knn(weighed, kept, show_progress=False, num_threads=threads_for(known)).tocsr()
    similar.setdiag(0)
    similar.eliminate_zeros()
    return Rows(np.arange(n, dtype=np.int32), *strongest(similar, settings.neighbours_kept))


def fit_ease(known: Interactions, settings: Settings) -> Rows:
    """EASE^R in closed form, over the `ease_items_max` items most taken, the strongest weights of each kept.

    Source: Steck, WWW 2019: B = I - P / diag(P), P = (X'X + lambda I)^-1, diagonal 0; here X'WX, W by person.
    """
    chosen = np.sort(np.argsort(-known.counts(), kind="stable")[: settings.ease_items_max]).astype(np.int32)
    if not len(chosen) or not known.shape[0]:
        return _nothing()
    lengths = np.diff(known.starts).astype(np.float64)
    people = lengths**-settings.ease_user_power
    matrix = known.matrix(binary=True)[:, chosen]
    weights = ease_weights(matrix, settings.ease_regularization, people / people.mean())
    items, values = strongest(weights, settings.ease_kept)
    return Rows(chosen, chosen[items], values)


def ease_weights(matrix: Any, regularization: float, people: NDArray[np.float64] | None = None) -> Scores:
    """B (n, n) of a CSR matrix (u, n): row i is what having taken item i says of every item. `people` (u,) weigh."""
    linear: Any = import_module("scipy.linalg.lapack")
    weighed = matrix if people is None else matrix.multiply(people[:, None]).tocsr()
    gram = np.asarray((matrix.T @ weighed).todense(), dtype=np.float64, order="F")
    gram[np.diag_indices_from(gram)] += regularization
    # Positive definite, so Cholesky does it, in place and in half the time of a general inverse.
    factor, failed = linear.dpotrf(gram, lower=1, overwrite_a=1)
    assert not failed, "a Gram matrix with a positive diagonal added is positive definite"
    inverse, failed = linear.dpotri(factor, lower=1, overwrite_c=1)
    assert not failed
    lower = np.tril(inverse, -1)
    weights: Scores = ((lower + lower.T) / -np.diag(inverse)).astype(np.float32)
    return weights


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
            iterations=settings.factors_iterations, random_state=seed, num_threads=threads_for(known),
        )  # fmt: skip
        model.fit(known.matrix(), show_progress=False)
    return np.nan_to_num(np.asarray(model.item_factors, np.float32))


def fit_sequence(known: Interactions, settings: Settings) -> Rows:
    """What was taken soon after what: nearer in the history counts more, and what everybody takes counts less."""
    n = known.shape[1]
    if known.times is None or not n:
        return _nothing()
    sparse: Any = import_module("scipy.sparse")
    owner = np.repeat(np.arange(known.shape[0]), np.diff(known.starts))
    follows: Any = sparse.csr_matrix((n, n), dtype=np.float32)
    for step in range(1, settings.sequence_window + 1):
        same = owner[step:] == owner[:-step]
        before, after = known.items[:-step][same], known.items[step:][same]
        nearness = np.full(len(before), settings.sequence_decay ** (step - 1), np.float32)
        follows = follows + sparse.csr_matrix((nearness, (before, after)), shape=(n, n))
    taken = sparse.diags(1 / np.sqrt(np.maximum(known.counts(), 1)).astype(np.float32))
    items, values = strongest((taken @ follows @ taken).tocsr(), settings.sequence_kept)
    return Rows(np.arange(n, dtype=np.int32), items, values)


def _nothing() -> Rows:
    return Rows(np.zeros(0, np.int32), np.zeros((0, 1), np.int32), np.zeros((0, 1), np.float32))


def fit_all(
    known: Interactions, settings: Settings, *, seed: int, seconds: dict[str, float] | None = None
) -> dict[str, NDArray[Any]]:
    """The arrays of `ranker.SHAPES` that the sources make; the blend's are missing. Fills in the `seconds` of each."""
    arrays: dict[str, NDArray[Any]] = {}
    spent = {} if seconds is None else seconds
    fits = {"neighbours": fit_neighbours, "ease": fit_ease, "sequence": fit_sequence}
    for name, fit in fits.items():
        started = time.perf_counter()
        rows = fit(known, settings)
        arrays |= {f"{name}_codes": rows.codes, f"{name}_items": rows.items, f"{name}_values": rows.values}
        spent[name] = time.perf_counter() - started
    started = time.perf_counter()
    factors = fit_factors(known, settings, seed=seed)
    spent["factors"] = time.perf_counter() - started
    taken = np.log1p(known.counts())
    return arrays | {
        "item_ids": known.item_ids.astype(str),
        "popularity": (taken / max(taken.max(initial=0), 1e-9)).astype(np.float32),
        "sequence_decay": np.array(settings.sequence_decay, np.float32),
        "factors": factors,
        "factors_alpha": np.array(settings.factors_alpha, np.float32),
        "factors_regularization": np.array(settings.factors_regularization, np.float32),
    }
