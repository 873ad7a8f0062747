"""The classifier of intents: shapes, released weights, what it says of plain sentences, and training from scratch."""

import dataclasses
import json
from collections import Counter, defaultdict

import numpy as np
import pytest

from models import intent, ngrams, versions
from models.intent import EMERGENCIES, IntentClassifier, ShapeMismatch, load_categories, load_intents
from models.training import classifier, train_intent

PLAIN = {
    "厨房水管漏水了,麻烦派个师傅": "repair_unit",
    "电梯里有人被困住了,快来": "emg_trapped",
    "家里闻到很浓的煤气味": "emg_gas_fire",
    "楼上半夜还在放音乐太吵了": "noise",
    "帮我开一张物业费的发票": "invoice",
    "转人工客服": "human",
    "I want to pay my property fee": "bill_pay",
    "My parcel is not in the locker": "parcel",
}


def utterances(name: str):
    return train_intent.read_rows(train_intent.DATA / f"intents_{name}.jsonl")


async def test_plain_sentences_are_understood_with_meaning_and_wording(embedder):
    model = load_intents()
    scores = model.scores(await embedder.embed_queries(list(PLAIN)), list(PLAIN))
    assert scores.shape == (len(PLAIN), len(model.labels))
    assert scores.dtype == np.float32
    assert np.allclose(scores.sum(axis=1), 1, atol=1e-4)
    heard = [model.labels[best] for best in scores.argmax(axis=1)]
    assert sum(said == meant for said, meant in zip(heard, PLAIN.values(), strict=True)) >= len(PLAIN) - 1
    assert model.emergency_share(scores)[1] > 0.5
    assert model.emergency_share(scores)[4] < 0.1


async def test_either_voice_speaks_alone_and_wording_is_less_sure(embedder):
    model, texts = load_intents(), [row["text"] for row in utterances("held_out")][::20]
    vectors = await embedder.embed_queries(texts)
    both, meaning, wording = model.scores(vectors, texts), model.scores(vectors), model.scores(None, texts)
    assert both.shape == meaning.shape == wording.shape
    assert wording.max(axis=1).mean() < both.max(axis=1).mean()
    assert model.scores(vectors[:0], []).shape == (0, len(model.labels))
    assert model.understands(embedder.name)
    assert not model.understands("another-embedder")
    with pytest.raises(ShapeMismatch):
        model.scores(np.zeros((1, 17), np.float32), ["灯"])


@pytest.mark.parametrize("version", versions.LIVE, ids=lambda version: version.name)
def test_released_weights_are_small_and_what_they_claim(version):
    assert version.path.stat().st_size < 2_000_000
    assert set(versions.load(version)) == set(version.shapes)


def test_damaged_weights_are_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr(versions, "WEIGHTS", tmp_path)
    with pytest.raises(versions.WeightsDamaged, match=r"intents\.npz"):
        versions.load(versions.INTENTS)
    arrays = {"a": np.zeros((2, 3)), "b": np.zeros(4)}
    digest = train_intent.write(arrays, tmp_path / "x.npz")
    good = versions.Version("x", "x.npz", digest, {"a": (2, "k"), "b": (4,)})
    assert versions.load(good)["a"].shape == (2, 3)
    for broken in ({"sha256": "0" * 64}, {"shapes": {"a": (2, "k"), "b": ("k",)}}, {"shapes": {"a": (2, "k")}}):
        with pytest.raises(versions.WeightsDamaged):
            versions.load(dataclasses.replace(good, **broken))


def test_every_intent_has_at_least_forty_utterances_of_both_languages_and_a_held_out_fifth():
    train, held_out = utterances("train"), utterances("held_out")
    counts = Counter(row["intent"] for row in train + held_out)
    languages: dict[str, Counter[str]] = defaultdict(Counter)
    for row in train + held_out:
        languages[row["intent"]][row["language"]] += 1
    assert len(counts) == 54
    assert min(counts.values()) >= 40
    assert set(EMERGENCIES) <= set(counts)
    assert all(min(own["zh"], own["en"]) >= 12 for own in languages.values())
    held = Counter(row["intent"] for row in held_out)
    assert all(held[name] >= 8 for name in counts)
    texts = [ngrams.normalise(row["text"]) for row in train + held_out + utterances("held_out_2")]
    assert len(set(texts)) == len(texts), "a held-out utterance is not also trained on"
    assert tuple(sorted(counts)) == load_intents().labels
    assert {example.label for example in train_intent.category_examples()} == set(load_categories().labels)


def test_training_on_any_labelled_texts_is_repeatable(tmp_path):
    pytest.importorskip("sklearn")
    random = np.random.default_rng(3)
    labels = [name for name in ("water", "light", "lift") for _ in range(12)]
    words = {"water": "水管漏水", "light": "楼道灯不亮", "lift": "电梯抖"}
    texts = [f"{words[label]}{'啊' * (at % 5)}{at}" for at, label in enumerate(labels)]
    centres = {label: random.normal(size=8) for label in words}
    vectors = np.stack([centres[label] + random.normal(size=8) / 10 for label in labels]).astype(np.float32)
    trained = [classifier.train(texts, labels, vectors, embedder="tiny", seed=5) for _ in range(2)]
    assert len({train_intent.write(one.arrays, tmp_path / "w.npz") for one in trained}) == 1
    model = IntentClassifier(trained[0].arrays)
    assert model.labels == ("lift", "light", "water")
    assert [model.labels[best] for best in model.scores(vectors, texts).argmax(axis=1)] == labels
    assert trained[0].figures["both_accuracy"] > 0.9
    assert "0" in json.dumps(trained[0].figures)


def test_probabilities_stay_probabilities_however_large_the_logits():
    shares = intent.probabilities(np.array([[1e4, -1e4, 0.0], [0.0, 0.0, 0.0]], np.float32), 0.3)
    assert np.isfinite(shares).all()
    assert np.allclose(shares.sum(axis=1), 1)


def test_wording_does_not_care_for_width_case_or_which_room():
    assert ngrams.normalise("ＭＹ flat 1502 ３栋") == "my flat 0000 0栋"
    same = ngrams.rows_of(["我家1502漏水", "我家1701漏水"])
    assert list(same.columns[: same.starts[1]]) == list(same.columns[same.starts[1] :])
    assert ngrams.rows_of(["", "!!!"]).starts.tolist() == [0, 0, 0]
