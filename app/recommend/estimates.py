"""What another ranking would have brought, estimated from lists that were shown with their propensities. Pure."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """`value`: reward per impression. `error`: its standard error. `worth`: of how many impressions it is as good."""

    value: float
    error: float
    worth: float


def ips(rewards: Numbers, propensities: Numbers, wanted: Numbers) -> Estimate:
    """Inverse propensity scoring: unbiased, and wild where a wanted impression was rare.

    Shapes: (n,) each: what came of an impression, how likely it was to be shown, how likely the other ranking would
    have shown it in the same place. Source: Horvitz, Thompson, JASA 1952.
    """
    if not len(rewards):
        return Estimate(0.0, 0.0, 0.0)
    weights = _weights(propensities, wanted)
    each = weights * rewards
    return Estimate(float(each.mean()), float(each.std() / np.sqrt(len(each))), _worth(weights))


def snips(rewards: Numbers, propensities: Numbers, wanted: Numbers) -> Estimate:
    """The same divided by the weights' own sum: a little biased, far steadier, never outside of the rewards.

    Shapes and meaning as `ips`. Source: Swaminathan, Joachims, NIPS 2015 (self-normalised estimator); its error by the
    delta method.
    """
    weights = _weights(propensities, wanted)
    total = float(weights.sum())
    if total <= 0:
        return Estimate(0.0, 0.0, 0.0)
    value = float(weights @ rewards) / total
    error = float(np.sqrt(np.square(weights * (rewards - value)).sum())) / total
    return Estimate(value, error, _worth(weights))


def _weights(propensities: Numbers, wanted: Numbers) -> Numbers:
    assert (propensities > 0).all(), "what was shown could be shown"
    return wanted / propensities


def _worth(weights: Numbers) -> float:
    squares = float(np.square(weights).sum())
    return float(weights.sum()) ** 2 / squares if squares > 0 else 0.0
