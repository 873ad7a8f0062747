"""The ranker: its file, the folding in of a history, and rankers of next to nothing."""

import numpy as np
import pytest

from models import ranker
from models.training.train_ranker import Events, train


@pytest.fixture(scope="module")
def data():
    random = np.random.default_rng(0)
    users, items = random.integers(0, 40, 900), random.zipf(1.5, 900) % 30
    events = Events(users.astype(str), items.astype(str), None, random.random(900))
    return train(events, seed=1)[0]


def test_a_click_changes_what_every_source_says(data):
    model = ranker.load(data)
    before, ones = np.array([1, 2], np.int32), np.ones(3, np.float32)
    after = np.array([1, 2, 7], np.int32)
    codes = np.arange(len(model.item_ids), dtype=np.int32)
    one, two = model.source_scores(before, ones[:2], codes), model.source_scores(after, ones, codes)
    assert one.shape == (len(codes), len(ranker.SOURCES))
    assert (one != two).any(axis=0).all()
    for source in ranker.SOURCES:
        found, scores = model.candidates(source, after, ones, limit=5)
        assert not set(found) & set(after)
        assert (np.diff(scores) <= 0).all()
        assert len(found) <= 5
    assert model.score(model.features(after, ones, codes)).shape == codes.shape
