"""The ranker: its file, the folding in of a history, and rankers of next to nothing."""

import io

import numpy as np
import pytest

from models import ranker
from models.ranker import SOURCES, ShapeMismatch
from models.training import sources, train_ranker
from models.training.interactions import Events, encode
from models.training.scoring import Batches
from models.training.train_ranker import train, train_and_compare, write
from models.versions import WeightsDamaged

SMALL = sources.Settings(factors=8, factors_regularization=0.1, neighbours_kept=10, ease_kept=12, ease_regularization=5)


def town(users=60, items=30, count=900, seed=0):
    """People who like either the lower or the upper half of the items."""
    random = np.random.default_rng(seed)
    who = random.integers(0, users, count)
    what = random.zipf(1.4, count) % (items // 2) + who % 2 * (items // 2)
    return Events(who.astype(str), np.char.mod("i%02d", what), None, np.arange(count, dtype=float))


@pytest.fixture(scope="module")
def data():
    return train(town(), seed=1, settings=SMALL, tuned=False)[0]


def history(*codes):
    return np.array(codes, np.int32), np.ones(len(codes), np.float32)


def test_a_click_changes_what_every_source_says_and_the_list(data):
    model = ranker.load(data)
    codes = np.arange(len(model.item_ids), dtype=np.int32)
    before, after = history(1, 2), history(1, 2, 7)
    one = model.source_scores(before[0], before[1], codes)
    two = model.source_scores(after[0], after[1], codes)
    assert one.shape == (len(codes), len(SOURCES))
    assert (one != two).any(axis=0).all()
    for source in SOURCES:
        found, scores = model.candidates(source, *history(1, 2, 7), limit=5)
        assert 0 < len(found) <= 5
        assert not set(found.tolist()) & {1, 2, 7}
        assert (np.diff(scores) <= 0).all()
    features = model.features(after[0], after[1], codes)
    assert features.shape == (len(codes), len(ranker.FEATURE_NAMES))
    assert model.score(features).shape == codes.shape
    lower, upper = (model.read(*history(*some)).ranked(limit=5)[0] for some in ((0, 1, 2), (20, 21, 22)))
    assert set(lower.tolist()) <= set(range(15))
    assert set(upper.tolist()) <= set(range(15, 30))


def test_without_a_history_the_most_popular_come_and_wrong_forms_are_refused(data):
    model = ranker.load(data)
    found, _ = model.read(*history()).ranked(limit=4)
    assert found.tolist() == np.argsort(-model.popularity, kind="stable")[:4].tolist()
    assert model.candidates("ease", *history(), limit=4)[0].shape == (0,)
    with pytest.raises(ShapeMismatch):
        model.read(np.array([1], np.int32), np.ones(2, np.float32))
    with pytest.raises(ShapeMismatch):
        model.score(np.zeros((3, 2), np.float32))


def test_one_request_and_the_batches_of_training_say_the_same():
    arrays, _ = train_ranker.fit(town(), seed=1, settings=SMALL, tuned=False)
    known = encode(town())
    batches, model = Batches(arrays, known), ranker.load(write(arrays))
    users = np.array([0, 3, 59])
    everything = np.arange(known.shape[1], dtype=np.int32)
    told = [batches.scores(source, users) for source in SOURCES], batches.blended(users)
    for row, user in enumerate(users):
        reading = model.read(*known.history(user))
        assert np.allclose(reading.voices(everything), np.stack([one[row] for one in told[0]], axis=1), atol=1e-4)
        assert np.allclose(model.score(reading.features(everything)), told[1][row], atol=1e-3)


def test_a_damaged_file_is_refused_and_never_unpickled(data):
    random = np.random.default_rng(0)
    broken = [b"", b"PK", data[: len(data) // 2], b"x" * 500]
    places = random.integers(0, len(data), 40)
    broken += [data[:place] + bytes([data[place] ^ 255]) + data[place + 1 :] for place in places]
    whole = ranker.load(data).item_ids
    for bytes_ in broken:
        try:
            # A flipped bit in what zip does not check, such as a time of day, damages nothing.
            assert ranker.load(bytes_).item_ids == whole
        except WeightsDamaged:
            continue
    pickled = io.BytesIO()
    arrays = ranker.arrays_of(data)
    np.savez(pickled, allow_pickle=True, **{**arrays, "item_ids": arrays["item_ids"].astype(object)})
    with pytest.raises(WeightsDamaged):
        ranker.load(pickled.getvalue())


@pytest.mark.parametrize(
    "change",
    [
        lambda arrays: arrays.pop("factors"),
        lambda arrays: arrays.update(more=np.zeros(3)),
        lambda arrays: arrays.update(factors=arrays["factors"][1:]),
        lambda arrays: arrays.update(blend_weights=arrays["blend_weights"][:, 1:]),
        lambda arrays: arrays.update(form=np.array(99)),
        lambda arrays: arrays.update(popularity=arrays["popularity"] * np.nan),
        lambda arrays: arrays.update(ease_items=arrays["ease_items"] + 1000),
        lambda arrays: arrays.update(ease_codes=arrays["ease_codes"] - 5),
        lambda arrays: arrays.update(ease_items=arrays["ease_items"].astype(float)),
        lambda arrays: arrays.update(item_ids=np.repeat("one", len(arrays["item_ids"]))),
    ],
)
def test_a_file_of_another_form_is_refused(data, change):
    arrays = ranker.arrays_of(data)
    change(arrays)
    with pytest.raises(WeightsDamaged):
        ranker.load(write(arrays))


@pytest.mark.parametrize(
    ("users", "items"), [([], []), (["a"], ["x"]), (["a", "a", "a"], ["x", "y", "z"]), (["a", "b", "c"], ["x"] * 3)]
)
def test_next_to_nothing_gives_a_ranker_all_the_same(users, items):
    for times in (None, np.arange(len(users), dtype=float)):
        data, metrics = train(Events(np.array(users, str), np.array(items, str), None, times), seed=1)
        model = ranker.load(data)
        assert model.item_ids == tuple(sorted(set(items)))
        assert metrics["events"] == len(users)
        codes, scores = model.read(*history(*range(min(1, len(model.item_ids))))).ranked(limit=3)
        assert len(codes) <= max(len(model.item_ids) - 1, 0)
        assert np.isfinite(scores).all()


def test_the_better_of_two_rankers_is_told_on_newer_events_that_neither_learnt_from():
    events = town(count=1500)
    swapped = Events(events.users, events.items[::-1].copy(), None, events.times)
    poor = train(swapped, seed=1, settings=SMALL, tuned=False)[0]
    compared = train_and_compare(events, poor, seed=1)
    assert compared.better
    assert compared.live_metrics is not None
    assert compared.metrics["newest_ndcg@10"] > compared.live_metrics["ndcg@10"]
    assert len(ranker.load(compared.data).item_ids) == len(np.unique(events.items))
    first = train_and_compare(town(), None, seed=1)
    assert first.better
    assert first.live_metrics is None
