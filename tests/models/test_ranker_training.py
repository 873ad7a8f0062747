"""Sources against their formulas, splits without leaks, measures against values worked out by hand."""

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

from models.ranker import BLENDED
from models.training import blend, measures, sources, splits
from models.training.interactions import Events, encode
from models.training.measures import Asked

TAKEN = np.array([[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 0], [0, 0, 1, 1], [1, 0, 0, 1]], float)


def events_of(matrix):
    users, items = np.nonzero(matrix)
    return Events(users.astype(str), items.astype(str), None, np.arange(len(users), dtype=float))


def test_ease_is_the_closed_form():
    weights = sources.ease_weights(scipy.sparse.csr_matrix(TAKEN), 2.0)
    inverse = np.linalg.inv(TAKEN.T @ TAKEN + 2 * np.eye(4))
    expected = np.eye(4) - inverse / np.diag(inverse)
    assert np.allclose(weights, expected, atol=1e-6)
    assert np.allclose(np.diag(weights), 0)
    rows = sources.fit_ease(encode(events_of(TAKEN)), sources.Settings(ease_regularization=2, ease_user_power=0))
    kept = np.zeros((4, 4))
    np.put_along_axis(kept, rows.items.astype(int), rows.values, axis=1)
    assert np.allclose(kept, expected, atol=1e-6)
    # Only the two items most taken have rows, and name each other alone.
    few = sources.fit_ease(encode(events_of(TAKEN)), sources.Settings(ease_items_max=2, ease_user_power=0))
    assert few.codes.tolist() == [0, 1]
    assert set(few.items.ravel().tolist()) <= {0, 1}


def test_neighbours_are_weighed_by_bm25():
    known = encode(events_of(TAKEN))
    rows = sources.fit_neighbours(known, sources.Settings(neighbours_k1=1.2, neighbours_b=0.75))
    # By hand: people are the terms, items the documents.
    idf = np.log(4) - np.log1p(TAKEN.sum(axis=1))
    lengths = TAKEN.sum(axis=0)
    norm = 0.25 + 0.75 * lengths / lengths.mean()
    weighed = TAKEN * 2.2 / (1.2 * norm[None, :] + TAKEN) * idf[:, None]
    expected = weighed.T @ weighed
    np.fill_diagonal(expected, 0)
    found = np.zeros((4, 4))
    for code, items, values in zip(rows.codes, rows.items, rows.values, strict=True):
        np.add.at(found[code], items, values)
    assert np.allclose(found, expected, atol=1e-5)


def test_what_follows_is_learnt_only_where_times_are_known():
    users, items = np.array(["a"] * 3 + ["b"] * 3), np.array(["x", "y", "z"] * 2)
    known = encode(Events(users, items, None, np.array([1, 2, 3, 4, 5, 6.0])))
    rows = sources.fit_sequence(known, sources.Settings(sequence_decay=0.5))
    said = {(code, item): value for code, row, values in zip(rows.codes, rows.items, rows.values, strict=True)
            for item, value in zip(row, values, strict=True) if value}  # fmt: skip
    assert said == pytest.approx({(0, 1): 1.0, (0, 2): 0.5, (1, 2): 1.0})
    assert not len(sources.fit_sequence(encode(Events(users, items)), sources.Settings()).codes)


def test_a_pair_that_comes_again_is_one_with_the_greatest_weight_and_the_latest_time():
    users, items = np.array(["a", "a", "a"]), np.array(["y", "x", "y"])
    known = encode(Events(users, items, np.array([3, 1, 2], np.float32), np.array([1.0, 2.0, 3.0])))
    codes, weights = known.history(0)
    assert [known.item_ids[code] for code in codes] == ["x", "y"]
    assert weights.tolist() == [1, 3]
    left = encode(Events(users, items), item_ids=["q", "y"])
    assert left.items.tolist() == [1]


EVENTS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 7), st.integers(0, 9)), max_size=60)


@settings(max_examples=60, deadline=None)
@given(EVENTS, st.sampled_from(["random", "leave-one-out", "temporal"]), st.integers(0, 3))
def test_no_split_leaks(rows, protocol, seed):
    users, items, times = (np.array([row[place] for row in rows], dtype=float) for place in range(3))
    events = Events(users.astype(int).astype(str), items.astype(int).astype(str), None, times)
    train, test = splits.divide(events, protocol, seed=seed)
    assert train.times is not None
    assert test.times is not None
    known = set(zip(train.users.tolist(), train.items.tolist(), strict=True))
    asked = list(zip(test.users.tolist(), test.items.tolist(), strict=True))
    assert not known & set(asked)
    assert len(asked) == len(set(asked))
    assert known | set(asked) == set(zip(events.users.tolist(), events.items.tolist(), strict=True))
    for user in set(test.users.tolist()):
        mine = train.times[train.users == user]
        if protocol == "leave-one-out":
            assert (test.users == user).sum() == 1
            assert len(mine)
            assert mine.max() <= test.times[test.users == user][0]
        if protocol == "random":
            assert (test.users == user).sum() == (len(mine) + (test.users == user).sum()) // 4
    if protocol == "temporal" and len(test) and len(train):
        assert train.times.max() < test.times.min()


def test_measures_are_those_worked_out_by_hand():
    # One person knows item 0; 1 and 4 are asked for, and one that nobody knows. Another is asked for item 2.
    known = encode(Events(np.array(["a", "b", "b"]), np.array(["0", "1", "0"])), item_ids=list("01234"))
    asked = Asked(np.array([0, 1]), np.array([0, 3, 4]), np.array([1, 4, -1, 2]))
    scores = np.array([[9, 5, 4, 3, 2], [0, 0, 1, 1, 0]], np.float32)
    figures = measures.measure(known, asked, lambda users: scores[users].copy())
    # a: item 0 is left out; 1 comes first, 4 comes fourth. b: 2 comes first of two that are equal, by place.
    ideal = 1 + 1 / np.log2(3) + 1 / 2
    assert figures["ndcg@10"] == pytest.approx(((1 + 1 / np.log2(5)) / ideal + 1) / 2)
    assert figures["recall@20"] == pytest.approx((2 / 3 + 1) / 2)
    assert figures["mrr"] == pytest.approx((1 + 1 / 1.5) / 2)
    assert figures["coverage"] == pytest.approx(4 / 5)
    # Shown: a 1 2 3 4, b 2 3 4; 1 is known to one of two, the others to nobody, which counts as one.
    assert figures["novelty"] == pytest.approx(1)
    assert figures["users"] == 2


def test_the_blend_finds_the_source_that_knows_and_is_never_worse_than_the_best():
    random = np.random.default_rng(0)
    people, items = 200, 40
    hits = random.random((people, items)) < 0.1
    hits[:, 0] |= ~hits.any(axis=1)
    features = random.normal(size=(people, items, len(BLENDED))).astype(np.float32)
    features[..., 1] += hits
    features[..., 2] += 2 * hits
    ideal = np.array([(1 / np.log2(np.arange(2, 2 + min(count, 10)))).sum() for count in hits.sum(axis=1)])
    lesson = blend.Lesson(features, hits, np.zeros_like(hits), ideal, np.full(people, 3))
    alone = [blend.ndcg(lesson, weights) for weights in np.eye(len(BLENDED), dtype=np.float32)]
    reached = blend.ascend(lesson, np.eye(len(BLENDED), dtype=np.float32)[2])
    assert int(np.argmax(alone)) == 2
    assert blend.ndcg(lesson, reached) > 1.02 * max(alone)
    assert reached[2] > reached[1] > reached[0]
