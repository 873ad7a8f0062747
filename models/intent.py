"""What a text is about, by the embedder's vector and by the text's character n-grams.

Two voices: the meaning (a network of one hidden layer over vectors) and the wording (a multinomial logistic regression
over n-grams). Their logits are mixed and divided by a temperature, so that 0.8 means right four times in five on
sentences nobody trained on. Either voice can speak alone: without the embedder, or under another one than the weights
were trained with, only the wording does, less sure of itself. Trained by `training/train_intent.py`; at run time plain
numpy.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import ngrams, versions
from models.embedder import Vectors

Scores = NDArray[np.float32]
EMERGENCIES = ("emg_trapped", "emg_gas_fire", "emg_water", "emg_person", "emg_security")
"""The intents whose confusion with anything else costs most."""
NO_EMERGENCY = "none"
"""The class of the emergency classifier that is no emergency; all its others are one."""
BOTH, MEANING, WORDING = 0, 1, 2
"""Places in `temperatures`."""


class ShapeMismatch(ValueError):
    """The vectors are not of the width that the weights were trained with."""


class IntentClassifier:
    """Immutable once made. `labels` are the k classes, `embedder` names whose vectors the weights understand."""

    def __init__(self, arrays: dict[str, NDArray[Any]]) -> None:
        """`arrays` as `versions.CLASSIFIER_SHAPES` lists them."""
        self.labels: tuple[str, ...] = tuple(str(label) for label in arrays["labels"])
        self.embedder = str(arrays["embedder"])
        self.width: int = arrays["mean"].shape[0]
        self._mean, self._idf = _float(arrays["mean"]), _float(arrays["idf"])
        self._hidden, self._hidden_bias = _float(arrays["hidden"]), _float(arrays["hidden_bias"])
        self._meaning, self._meaning_bias = _float(arrays["meaning"]), _float(arrays["meaning_bias"])
        self._words, self._words_bias = _float(arrays["words"]), _float(arrays["words_bias"])
        self._words_share = float(arrays["words_share"])
        self._temperatures = [float(value) for value in arrays["temperatures"]]
        self.emergencies: list[int] = [
            at
            for at, name in enumerate(self.labels)
            if (name != NO_EMERGENCY if NO_EMERGENCY in self.labels else name in EMERGENCIES)
        ]

    def understands(self, embedder: str) -> bool:
        """Whether vectors of this embedder may be scored."""
        return embedder == self.embedder

    def scores(self, vectors: Vectors | None = None, texts: Sequence[str] | None = None) -> Scores:
        """Probability of each class, from what is given: query vectors, the texts themselves, or both.

        Shapes: vectors (n, width), n texts -> (n, k), rows sum to 1; n = 0 returns an empty array.
        Raises: ShapeMismatch when the vectors are of another width.
        """
        if vectors is not None and vectors.shape[1:] != (self.width,):
            raise ShapeMismatch(f"vectors {vectors.shape}, trained on {self.width}")
        meaning: Scores | None = None
        if vectors is not None:
            layers = (self._hidden, self._hidden_bias, self._meaning, self._meaning_bias)
            meaning = meaning_logits(vectors - self._mean, *layers)
        words = self._wording(texts) if texts is not None else None
        return probabilities(*mix(meaning, words, self._words_share, self._temperatures))

    def _wording(self, texts: Sequence[str]) -> Scores:
        return ngrams.product(ngrams.rows_of(texts, self._idf), self._words) + self._words_bias

    def emergency_share(self, scores: Scores) -> NDArray[np.float32]:
        """How likely each row is an emergency of any kind. Shapes: (n, k) -> (n,)."""
        share: NDArray[np.float32] = scores[:, self.emergencies].sum(axis=1)
        return share


def _float(array: NDArray[Any]) -> NDArray[np.float32]:
    return array.astype(np.float32)


def meaning_logits(centred: Vectors, hidden: Scores, hidden_bias: Scores, out: Scores, out_bias: Scores) -> Scores:
    """What the network says. Shapes: centred (n, d), hidden (d, h), hidden_bias (h,), out (h, k), out_bias (k,)."""
    units = np.maximum(centred @ hidden + hidden_bias, 0)
    logits: Scores = (units @ out + out_bias).astype(np.float32)
    return logits


def mix(
    meaning: Scores | None, words: Scores | None, words_share: float, temperatures: Sequence[float]
) -> tuple[Scores, float]:
    """The logits of the voices there are, and the temperature that goes with them."""
    if meaning is not None and words is not None:
        return (1 - words_share) * meaning + words_share * words, temperatures[BOTH]
    if meaning is not None:
        return meaning, temperatures[MEANING]
    assert words is not None, "something is to be scored"
    return words, temperatures[WORDING]


def probabilities(logits: Scores, temperature: float) -> Scores:
    """Softmax of logits / temperature, row by row."""
    scaled = logits / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True, initial=-np.inf))
    shares: Scores = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    return shares


@cache
def load_intents() -> IntentClassifier:
    """The released classifier of DOMAIN's intents, read once. Raises WeightsDamaged."""
    return IntentClassifier(versions.load(versions.INTENTS))


@cache
def load_categories() -> IntentClassifier:
    """The released classifier of work-order categories, read once. Raises WeightsDamaged."""
    return IntentClassifier(versions.load(versions.CATEGORIES))


@cache
def load_emergencies() -> IntentClassifier:
    """The released classifier of emergencies by kind, and of none. Read once. Raises WeightsDamaged."""
    return IntentClassifier(versions.load(versions.EMERGENCIES))
