"""Rates of households that were assigned together, and the difference of two of them with its interval. Pure.

A share of residents whose households were assigned as a whole varies more than one of as many strangers. How much more
(the design effect) is measured from the households; by it the number of residents is divided, and with that effective
number the intervals are Wilson's for one share and Newcombe's for a difference, which hold for small and extreme
shares, too.

Sources: Kish, Survey Sampling, 1965 (variance of a ratio over clusters, effective size); Dean, Pagano, Biometrical
Journal 57, 2015 (Wilson's interval with the effective size); Newcombe, Statistics in Medicine 17, 1998, 857 and 873
(methods 3 and 10).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

CONFIDENCE = 0.95
Z = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)


@dataclass(frozen=True, slots=True)
class Interval:
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Rate:
    """Of `people` in `households`, `count` did it. `effective`: the residents that they are worth as strangers."""

    count: int
    people: int
    households: int
    effective: float

    @property
    def share(self) -> float:
        return self.count / self.people if self.people else 0.0

    @property
    def interval(self) -> Interval:
        return wilson(self.share, self.effective)


@dataclass(frozen=True, slots=True)
class Lift:
    """How much more did it of those who were told than of those held out.

    `difference` in shares, with its interval; `ratio` of the difference to the share held out, where that is not 0.
    `clear`: the interval does not hold 0.
    """

    difference: float
    interval: Interval
    ratio: float | None
    clear: bool


def rate_of(households: Sequence[tuple[int, int]]) -> Rate:
    """The rate of (people, of whom did it) a household. Households without people are none."""
    kept = [(people, count) for people, count in households if people]
    people, count = sum(one for one, _ in kept), sum(one for _, one in kept)
    return Rate(count, people, len(kept), _effective(kept, people, count))


def _effective(households: Sequence[tuple[int, int]], people: int, count: int) -> float:
    """People divided by the design effect, which is taken to be 1 at least: by chance it comes out smaller."""
    number = len(households)
    if number < 2 or count in (0, people):
        # Nothing is seen of how alike a household is, so its members count as one.
        return float(number)
    share = count / people
    residuals = sum((did - share * size) ** 2 for size, did in households)
    variance = number / (number - 1) * residuals / people**2
    design_effect = max(1.0, variance / (share * (1 - share) / people))
    return people / design_effect


def wilson(share: float, number: float) -> Interval:
    """The score interval of a share of `number`; everything from 0 to 1 when there is nobody."""
    if number <= 0:
        return Interval(0.0, 1.0)
    middle = (share + Z**2 / (2 * number)) / (1 + Z**2 / number)
    half = Z / (1 + Z**2 / number) * math.sqrt(share * (1 - share) / number + Z**2 / (4 * number**2))
    return Interval(max(0.0, middle - half), min(1.0, middle + half))


def lift_of(told: Rate, held: Rate) -> Lift | None:
    """The lift of those told over those held out; None when one of the two is nobody."""
    if not told.people or not held.people:
        return None
    difference, interval = told.share - held.share, newcombe(told, held)
    return Lift(
        difference=difference, interval=interval, ratio=difference / held.share if held.count else None,
        clear=interval.low > 0 or interval.high < 0,
    )  # fmt: skip


def newcombe(one: Rate, other: Rate) -> Interval:
    """The interval of one share less another, from the score intervals of both."""
    first, second = one.interval, other.interval
    low = math.hypot(one.share - first.low, second.high - other.share)
    high = math.hypot(first.high - one.share, other.share - second.low)
    difference = one.share - other.share
    return Interval(difference - low, difference + high)
