"""Whether two reports tell of one matter: by their words, by their meaning, and with the embedder down."""

import numpy as np
import pytest

from app.service_desk.incident_kinds import kinds_of
from app.service_desk.likeness import Telling, Vector, likeness, pairs_in_common

ALIKE = 0.6


def telling(text: str, *, category: str | None = None, vector: Vector | None = None) -> Telling:
    return Telling(text, kinds_of(text), category, vector)


def at(cosine: float) -> Vector:
    return np.asarray([cosine, np.sqrt(1 - cosine**2)], dtype=np.float32)


NO_WATER = [
    "三单元没水", "3单元停水了", "家里水龙头不出水", "单元里怎么没水啊", "厨房卫生间都没水了", "水停了", "No water in unit 3", "停水了什么时候来",
]  # fmt: skip


@pytest.mark.parametrize("text", NO_WATER)
def test_one_failure_in_many_words_is_one_matter_also_without_vectors(text):
    assert likeness(telling("三单元没水"), telling(text)) == 1.0


def test_water_and_power_are_two_matters_however_near_their_vectors_are():
    assert likeness(telling("三单元没水", vector=at(1)), telling("三单元停电了", vector=at(0.99))) == 0.0


@pytest.mark.parametrize(
    ("cosine", "category", "alike"),
    [(0.9, None, True), (0.64, None, False), (0.6, "same", True), (0.4, "same", False), (0.7, "other", False)],
)
def test_where_words_tell_nothing_meaning_and_category_decide(cosine, category, alike):
    one = telling("外墙瓷砖快掉了", category="same" if category else None, vector=at(1))
    other = telling("墙面的砖松了", category=category, vector=at(cosine))
    assert (likeness(one, other) >= ALIKE) is alike


def test_without_vectors_the_letters_in_common_stand_in():
    assert likeness(telling("外墙瓷砖快掉下来了"), telling("外墙的瓷砖快掉下来了")) >= ALIKE
    assert likeness(telling("外墙瓷砖快掉下来了"), telling("快递柜开不开")) < ALIKE
    assert pairs_in_common("", "外墙") == 0
