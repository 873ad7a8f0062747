"""`linli eval search`: figures on a set small enough to check by hand."""

import json

import pytest

from app.evals import search
from app.evals.lines import BadLine

CORPUS = [
    {"id": "pool", "text": "泳池每天6:00至21:00开放。"},
    {"id": "parking", "text": "外来车辆停车每小时5元。"},
    {"id": "rooms", "text": "A guest room costs 220 yuan a night."},
]
QUESTIONS = [
    {"id": 1, "question": "泳池几点开放", "gold": ["pool"]},
    {"id": 2, "question": "How much is visitor parking per hour?", "gold": ["parking"], "kind": "cross_language"},
    {"id": 3, "question": "谁都没写的事", "gold": [], "answerable": False},
]


def written(path, rows):
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    return path


async def test_meaning_finds_across_languages_and_wording_does_not(runtime, tmp_path):
    corpus, file = written(tmp_path / "corpus.jsonl", CORPUS), written(tmp_path / "q.jsonl", QUESTIONS)
    wanted = search.read_wanted(file)
    assert [one.id for one in wanted] == ["1", "2"], "what no document answers is not ranked"
    report = await search.evaluate(runtime, wanted, corpus)
    assert report.figures("cross_language")["wording"]["recall@10"] == 0
    assert report.figures()["fused"]["recall@1"] == 1.0
    assert [kind for kind, *_ in search.lines(report)][:4] == ["all"] * 4


def test_reading_sets_in_squad_form(tmp_path):
    asked = {"id": "Q1", "question": "谁？"}
    told = {"data": [{"id": "A", "paragraphs": [{"id": "P", "context": "甲。", "qas": [asked]}]}]}
    (path := tmp_path / "set.json").write_text(json.dumps(told), encoding="utf-8")
    assert search.read_corpus(path) == [("P", "甲。")]
    assert search.read_wanted(path)[0].gold == {"P"}


def test_measures_and_bad_lines(tmp_path):
    assert search.measures([1, 2, 0, 20]) == {"recall@1": 0.25, "recall@5": 0.5, "recall@10": 0.5, "MRR@10": 0.375}
    with pytest.raises(BadLine, match="line 1"):
        search.read_wanted(written(tmp_path / "q.jsonl", [{"id": 1, "gold": ["a"]}]))
