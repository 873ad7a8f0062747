"""Which candidates stand where, why, and what another ranking would have brought: pure."""

from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from app.recommend import candidates, estimates, reasons
from app.recommend.candidates import Source
from app.recommend.catalogue import HOUSE
from app.recommend.feedback import MEANINGS
from app.recommend.meaning import top
from app.recommend.ranking import Rules, choose
from app.recommend.signals import FEATURES, WEIGHTS
from models import ranker as ranker_model

SHANGHAI = ZoneInfo("Asia/Shanghai")


def test_tables_are_complete():
    names = [source.name for source in candidates.SOURCES]
    assert len(set(names)) == len(names)
    assert names[-1] == "popular"
    assert set(ranker_model.SOURCES) <= set(names)
    assert not candidates.SOURCES[-1].personal, "popular always answers"
    assert set(WEIGHTS) == set(FEATURES)
    assert set(reasons.DID) == {kind for kind, meaning in MEANINGS.items() if meaning.positive}
    assert all(zh and en for zh, en in (*reasons.WORDS.values(), *reasons.COHORTS.values()))


def test_categories_are_spread_and_providers_have_their_share():
    scores = np.linspace(1, 0.5, 40).astype(np.float32)
    categories = np.array([5] * 20 + [7] * 20, np.int32)
    providers = np.array([1] * 20 + [HOUSE] * 20, np.int32)
    plain = choose(scores, categories, np.full(40, HOUSE, np.int32), limit=10, rules=Rules(), seed=1)
    assert {categories[pick.place] for pick in plain} == {5, 7}
    assert plain[0].place == 0
    fair = choose(scores, categories, providers, limit=10, rules=Rules(share_max=0.3), seed=1)
    assert sum(providers[pick.place] == 1 for pick in fair) == 3
    # While nobody else has anything, the share is no reason to show less.
    alone = choose(scores, categories, np.ones(40, np.int32), limit=10, rules=Rules(share_max=0.3), seed=1)
    assert len(alone) == 10
    assert choose(scores[:0], categories[:0], providers[:0], limit=10, rules=Rules(), seed=1) == []


def test_lots_are_drawn_by_the_seed_with_the_propensities_that_are_kept():
    scores, categories = np.linspace(1, 0, 30).astype(np.float32), np.arange(30, dtype=np.int32)
    rules, providers = Rules(exploration=0.3), np.full(30, HOUSE, np.int32)
    same = [choose(scores, categories, providers, limit=5, rules=rules, seed=7) for _ in range(2)]
    assert same[0] == same[1]
    # How often each stood first is what its propensity said.
    firsts = [choose(scores, categories, providers, limit=5, rules=rules, seed=seed)[0] for seed in range(4_000)]
    shares = np.bincount([pick.place for pick in firsts], minlength=30) / len(firsts)
    told = {pick.place: pick.propensity for pick in firsts}
    assert all(abs(shares[place] - propensity) < 0.03 for place, propensity in told.items())
    assert told[0] == pytest.approx(0.7 + 0.3 / 15)
    assert all(pick.by_lot == (pick.place != 0) for pick in firsts)


def test_what_another_ranking_would_have_brought_is_estimated_from_what_was_shown():
    lots = np.random.default_rng(3)
    shown_by, wanted_by = np.array([0.7, 0.2, 0.1]), np.array([0.1, 0.2, 0.7])
    liked = np.array([0.1, 0.3, 0.6])
    shown = lots.choice(3, 20_000, p=shown_by)
    rewards = (lots.random(20_000) < liked[shown]).astype(np.float64)
    for estimate in (estimates.ips, estimates.snips):
        found = estimate(rewards, shown_by[shown], wanted_by[shown])
        assert abs(found.value - float(wanted_by @ liked)) < 4 * found.error
        assert 1_000 < found.worth < 20_000
    assert estimates.snips(rewards[:0], rewards[:0], rewards[:0]).worth == 0
    # Self-normalised, it stays within what can be had.
    assert estimates.snips(np.ones(5), np.full(5, 0.01), np.ones(5)).value == 1


def test_the_best_are_found_with_ties_by_place():
    assert top(np.array([0, 3, 1, 3, 2, 3.0]), 2).tolist() == [1, 3]
    assert top(np.array([0, 0.0]), 2).tolist() == []
    assert top(np.zeros(0), 2).tolist() == []


@pytest.mark.parametrize(
    ("days", "zh", "en"),
    [(0, "今天14:00", "today 14:00"), (1, "明天14:00", "tomorrow 14:00"), (3, "本周六14:00", "Sat 28 Nov 14:00"),
     (5, "下周一14:00", "Mon 30 Nov 14:00"), (12, "12月7日14:00", "Mon 7 Dec 14:00")],
)  # fmt: skip
def test_when_something_begins_is_said_as_people_say_it(days, zh, en):
    now = datetime(2026, 11, 25, 10, tzinfo=SHANGHAI)  # a Wednesday
    at = datetime(2026, 11, 25, 14, tzinfo=SHANGHAI) + timedelta(days=days)
    assert reasons.day_and_time(at, now, SHANGHAI, "zh") == zh
    assert reasons.day_and_time(at, now, SHANGHAI, "en") == en


def test_a_source_that_fails_is_left_out_and_one_that_is_slow_rests():
    def broken(situation, limit):
        raise ZeroDivisionError

    def slow(situation, limit):
        sum(range(200_000))
        return np.array([3], np.int32)

    anyone: Any = SimpleNamespace(personalised=True)
    sources = (
        Source("broken", broken, limit=5, timeout_ms=50),
        Source("slow", slow, limit=5, timeout_ms=0),
        Source("popular", lambda situation, limit: np.array([1, 3], np.int32), limit=5, timeout_ms=50, personal=False),
    )
    resting: dict[str, float] = {}
    first, second = (candidates.gather(anyone, limit=2, sources=sources, resting=resting) for _ in range(2))
    assert (first.codes.tolist(), first.sources, first.failed) == ([3, 1], ["slow", "popular"], ["broken"])
    assert (second.codes.tolist(), set(resting)) == ([1, 3], {"slow"})
    # Who wants nothing personal is not looked at by personal sources.
    anyone.personalised = False
    assert candidates.gather(anyone, limit=2, sources=sources).failed == []
