"""Assignment by household, and intervals against published values and against what happens."""

import random
from collections import Counter
from uuid import UUID

import pytest

from app.recommend.campaign_assignment import HOLDOUT, arm_of
from app.recommend.campaign_statistics import Rate, lift_of, newcombe, rate_of, wilson

HOUSEHOLDS = [UUID(int=number) for number in range(4_000)]
VARIANTS = [("A", 50), ("B", 50)]


def test_assignment_is_always_the_same_in_the_shares_asked_for_and_anew_with_another_seed():
    def arms(seed: str) -> list[str]:
        return [arm_of(seed, one, holdout_percent=20, variants=VARIANTS) for one in HOUSEHOLDS]

    first, again, other = arms("seed"), arms("seed"), arms("another")
    assert first == again
    counts = Counter(first)
    assert {name: round(counts[name] / len(first), 1) for name in (HOLDOUT, "A", "B")} == {
        HOLDOUT: 0.2,
        "A": 0.4,
        "B": 0.4,
    }
    both = sum(one == two == HOLDOUT for one, two in zip(first, other, strict=True))
    assert 0.02 < both / len(first) < 0.06, "two campaigns hold out independently"
    assert set(Counter(arm_of("s", one, holdout_percent=0, variants=[("A", 1)]) for one in HOUSEHOLDS)) == {"A"}


@pytest.mark.parametrize(
    ("count", "number", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_interval_of_a_share_is_newcombes_method_3(count, number, low, high):
    """Newcombe 1998, table I."""
    found = wilson(count / number, number)
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


@pytest.mark.parametrize(
    ("one", "other", "low", "high"),
    [
        ((56, 70), (48, 80), 0.0524, 0.3339), ((9, 10), (3, 10), 0.1705, 0.8090), ((6, 7), (2, 7), 0.0582, 0.8062),
        ((5, 56), (0, 29), -0.0381, 0.1926), ((0, 10), (0, 20), -0.1611, 0.2775), ((10, 10), (0, 20), 0.6791, 1.0),
    ],
)  # fmt: skip
def test_the_interval_of_a_difference_is_newcombes_method_10(one, other, low, high):
    """Newcombe 1998, table II."""
    found = newcombe(*(Rate(count, number, number, number) for count, number in (one, other)))
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


def test_households_of_one_are_strangers_and_households_that_act_as_one_count_once():
    alone = rate_of([(1, 1)] * 30 + [(1, 0)] * 70)
    assert alone.effective == pytest.approx(100, rel=0.02)
    together = rate_of([(4, 4)] * 30 + [(4, 0)] * 70)
    assert (together.people, together.share) == (400, 0.3)
    assert together.effective == pytest.approx(100, rel=0.02)
    assert rate_of([(4, 0)] * 10).effective == 10, "nobody did it: nothing is known of how alike they are"
    assert lift_of(alone, rate_of([])) is None


def test_where_nothing_was_achieved_the_interval_says_so_as_often_as_promised():
    """Households of three in which everybody does what the first one does: naive counting is sure far too often."""
    chance = random.Random(5)
    wrong = naive = 0
    for _ in range(400):
        told, held = ([(3, 3 * (chance.random() < 0.3)) for _ in range(number)] for number in (120, 60))
        one, other = rate_of(told), rate_of(held)
        found = lift_of(one, other)
        assert found is not None
        wrong += found.clear
        strangers = [Rate(rate.count, rate.people, rate.households, rate.people) for rate in (one, other)]
        interval = newcombe(*strangers)
        naive += interval.low > 0 or interval.high < 0
    assert wrong / 400 < 0.08
    assert naive / 400 > 0.15
