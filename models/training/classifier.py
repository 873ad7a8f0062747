"""Trains `models.intent.IntentClassifier` on any labelled texts. Nothing here is tuned to one set.

The constants were chosen by cross-validation on the training part of our own utterances and are kept for every set.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import ngrams
from models.embedder import Vectors
from models.intent import Scores, meaning_logits, mix, probabilities

HIDDEN_UNITS = 512
NETWORKS = 2
"""Trained from different beginnings and averaged."""
EPOCHS, STEPS_MIN, BATCH_ROWS = 25, 2_000, 128
"""Small sets are gone over more often."""
DECAY = 0.01
SCALE = 20.0
"""Centred vectors are short; the networks learn from them at about unit variance."""
WORDS_C = 20.0
FOLDS = 5
FOLDED_ROWS_MAX = 6_000
"""Larger sets are calibrated on one fold: five fits of them say the same for five times the minutes."""
WORDS_SHARES = tuple(step / 20 for step in range(0, 21))
TEMPERATURES = tuple(float(value) for value in np.geomspace(0.2, 4.0, 80))
ITERATIONS_MAX = 400


@dataclass(frozen=True)
class Trained:
    """Weights as `versions.CLASSIFIER_SHAPES` lists them, and what cross-validation says of them.

    `held` are the rows whose out-of-fold logits were used: all of them, or one fold of a large set.
    """

    arrays: dict[str, NDArray[Any]]
    held: NDArray[np.int64]
    meaning: Scores
    words: Scores
    figures: dict[str, float]


def train(texts: Sequence[str], labels: Sequence[str], vectors: Vectors, *, embedder: str, seed: int) -> Trained:
    """Fit both voices, their mix and their temperatures. The same input and seed give the same weights.

    Shapes: n texts, n labels, vectors (n, d). Every label needs at least as many rows as there are folds.
    """
    names = np.array(sorted(set(labels)))
    targets = np.searchsorted(names, np.array(labels))
    held, meaning, words = _out_of_fold(texts, targets, vectors, classes=len(names), seed=seed)
    truth = targets[held]
    share = min(WORDS_SHARES, key=lambda one: _loss_at_best(mix(meaning, words, one, (1, 1, 1))[0], truth))
    mixed, _ = mix(meaning, words, share, (1, 1, 1))
    temperatures = [_best_temperature(logits, truth) for logits in (mixed, meaning, words)]
    mean = vectors.mean(axis=0)
    idf = _idf(texts)
    network = _fit_meaning(vectors - mean, targets, seed=seed)
    words_weights, words_bias = _fit_words(_sparse(texts, idf), targets)
    arrays: dict[str, NDArray[Any]] = {
        "labels": names, "embedder": np.array(embedder), "mean": mean.astype(np.float32),
        "hidden": network.hidden.astype(np.float16), "hidden_bias": network.hidden_bias,
        "meaning": network.meaning.astype(np.float16), "meaning_bias": network.meaning_bias,
        "idf": idf.astype(np.float16), "words": words_weights.astype(np.float16),
        "words_bias": words_bias.astype(np.float32), "words_share": np.array(share, np.float32),
        "temperatures": np.array(temperatures, np.float32),
    }  # fmt: skip
    figures = {"words_share": share}
    for name, logits, temperature in zip(
        ("both", "meaning", "words"), (mixed, meaning, words), temperatures, strict=True
    ):
        figures[f"{name}_accuracy"] = float((logits.argmax(axis=1) == truth).mean())
        figures[f"{name}_loss"] = _loss(logits, truth, temperature)
        figures[f"{name}_temperature"] = temperature
        figures[f"{name}_calibration_error"] = calibration_error(probabilities(logits, temperature), truth)
    return Trained(arrays, held, meaning, words, figures)


def _out_of_fold(
    texts: Sequence[str], targets: NDArray[np.int64], vectors: Vectors, *, classes: int, seed: int
) -> tuple[NDArray[np.int64], Scores, Scores]:
    """Logits for rows by classifiers that did not see them."""
    selection: Any = import_module("sklearn.model_selection")
    splits = list(selection.StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(targets, targets))
    if len(texts) > FOLDED_ROWS_MAX:
        splits = splits[:1]
    meaning, words = (np.zeros((len(texts), classes), np.float32) for _ in range(2))
    for seen, unseen in splits:
        mean = vectors[seen].mean(axis=0)
        meaning[unseen] = _fit_meaning(vectors[seen] - mean, targets[seen], seed=seed).logits(vectors[unseen] - mean)
        idf = _idf([texts[at] for at in seen])
        weights, bias = _fit_words(_sparse([texts[at] for at in seen], idf), targets[seen])
        words[unseen] = _sparse([texts[at] for at in unseen], idf) @ weights + bias
    held = np.sort(np.concatenate([unseen for _, unseen in splits]))
    return held, meaning[held], words[held]


def _idf(texts: Sequence[str]) -> NDArray[np.float32]:
    rows = ngrams.rows_of(texts)
    seen_in = np.bincount(rows.columns, minlength=ngrams.BUCKETS)
    return (np.log((1 + len(texts)) / (1 + seen_in)) + 1).astype(np.float16).astype(np.float32)


def _sparse(texts: Sequence[str], idf: NDArray[np.float32]) -> Any:
    sparse: Any = import_module("scipy.sparse")
    rows = ngrams.rows_of(texts, idf)
    return sparse.csr_matrix((rows.values, rows.columns, rows.starts), shape=(len(texts), ngrams.BUCKETS))


@dataclass(frozen=True)
class _Network:
    """One hidden layer. Shapes: hidden (d, h), hidden_bias (h,), meaning (h, k), meaning_bias (k,)."""

    hidden: Scores
    hidden_bias: Scores
    meaning: Scores
    meaning_bias: Scores

    def logits(self, centred: Vectors) -> Scores:
        return meaning_logits(centred, self.hidden, self.hidden_bias, self.meaning, self.meaning_bias)


def _fit_meaning(centred: Vectors, targets: NDArray[np.int64], *, seed: int) -> _Network:
    """NETWORKS networks side by side in one, so that its logits are the average of theirs."""
    neural: Any = import_module("sklearn.neural_network")
    hidden, hidden_bias, meaning, meaning_bias = [], [], [], []
    epochs = max(EPOCHS, STEPS_MIN * BATCH_ROWS // len(targets))
    for number in range(NETWORKS):
        model = neural.MLPClassifier(
            (HIDDEN_UNITS,),
            alpha=DECAY,
            max_iter=epochs,
            batch_size=min(BATCH_ROWS, len(targets)),
            random_state=seed + number,
        )
        with warnings.catch_warnings():
            # It is meant to stop before it has learnt its sentences by heart.
            warnings.simplefilter("ignore", import_module("sklearn.exceptions").ConvergenceWarning)
            model.fit(centred * SCALE, targets)
        (first, second), (first_bias, second_bias) = model.coefs_, model.intercepts_
        hidden.append(first * SCALE)
        hidden_bias.append(first_bias)
        meaning.append(second / NETWORKS)
        meaning_bias.append(second_bias / NETWORKS)
    return _Network(
        np.concatenate(hidden, axis=1).astype(np.float32), np.concatenate(hidden_bias).astype(np.float32),
        np.concatenate(meaning).astype(np.float32), np.sum(meaning_bias, axis=0).astype(np.float32),
    )  # fmt: skip


def _fit_words(features: Any, targets: NDArray[np.int64]) -> tuple[Scores, Scores]:
    """Weights (d, k) and bias (k,) of a multinomial logistic regression."""
    linear: Any = import_module("sklearn.linear_model")
    model = linear.LogisticRegression(C=WORDS_C, max_iter=ITERATIONS_MAX, tol=1e-3)
    model.fit(features, targets)
    assert len(model.classes_) > 2, "two classes would share one row of weights"
    return model.coef_.T.astype(np.float32), model.intercept_.astype(np.float32)


def _loss(logits: Scores, truth: NDArray[np.int64], temperature: float) -> float:
    shares = probabilities(logits, temperature)
    return float(-np.log(np.maximum(shares[np.arange(len(truth)), truth], 1e-12)).mean())


def _best_temperature(logits: Scores, truth: NDArray[np.int64]) -> float:
    return min(TEMPERATURES, key=lambda value: _loss(logits, truth, value))


def _loss_at_best(logits: Scores, truth: NDArray[np.int64]) -> float:
    return _loss(logits, truth, _best_temperature(logits, truth))


def calibration_error(shares: Scores, truth: NDArray[np.int64], *, bins: int = 10) -> float:
    """How far the stated probability of the best class is from its share of right ones, on average over the rows.

    Shapes: shares (n, k), truth (n,). Source: Guo et al., ICML 2017 (expected calibration error).
    """
    best, right = shares.max(axis=1), shares.argmax(axis=1) == truth
    which = np.minimum((best * bins).astype(int), bins - 1)
    gaps = [abs(best[which == at].mean() - right[which == at].mean()) * (which == at).mean() for at in np.unique(which)]
    return float(sum(gaps))
