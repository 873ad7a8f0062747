"""`linli eval intents`: figures on sets small enough to check by hand, and every kind of file that is read."""

import json

import numpy as np
import pytest

from app.evals import intents, labelled
from app.evals.lines import BadLine, NothingToAsk
from models.intent import load_intents

ROWS = [
    {"text": "电梯里有人被困住了", "intent": "emg_trapped", "language": "zh"},
    {"text": "3栋2单元502厨房水管漏水", "intent": "repair_unit", "slots": {"building": "3", "unit": "2", "room": "502", "category": "plumbing"}},
    {"text": "写一首关于月亮的诗", "intent": "out_of_scope"},
    {"text": "How do I pay the property fee?", "intent": "noise", "language": "en"},
]  # fmt: skip


def written(path, rows):
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    return path


async def test_a_file_gets_its_figures_its_costliest_errors_and_its_slots(embedder, tmp_path):
    rows = labelled.read(written(tmp_path / "set.jsonl", ROWS), split="test")
    assert [row.language for row in rows] == ["zh", "zh", "zh", "en"], "found where it is not said"
    vectors = await intents.embed(embedder, [row.text for row in rows])
    report = intents.evaluate(load_intents(), rows, vectors, slots=True)
    told = intents.figures(report.heard)
    assert (told["texts"], told["accuracy"], told["out_of_scope_recall"]) == (4, 0.75, 1.0)
    assert intents.confusion(report.heard)["noise"] == {"bill_pay": 1}
    cost = intents.costliest(report.heard)
    assert (cost["emergencies"], cost["heard_as_the_right_one"], cost["missed"]) == (1, 1.0, [])
    slots = intents.slot_figures(report.heard)
    assert all(slots[name]["recall"] == 1 for name in ("building", "unit", "room", "category"))
    assert report.heard[3].told()["heard"] == "bill_pay"
    alone = intents.evaluate(load_intents(), rows, None, slots=False)
    assert alone.voice == "wording"


def test_f1_by_hand():
    heard = [
        intents.Heard(labelled.Labelled("x", wanted, "zh"), said, 0.9, "", 0.0)
        for wanted, said in (("a", "a"), ("a", "b"), ("b", "b"), ("b", "b"))
    ]
    assert intents.by_label(heard)["a"] == {"texts": 2, "precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3)}
    assert intents.macro_f1(heard) == pytest.approx((2 / 3 + 0.8) / 2)
    assert intents.plain("三栋") == intents.plain("3号楼") == "3"


def test_sets_of_others_are_read_as_they_come(tmp_path):
    (table := tmp_path / "bank.csv").write_text(
        'text,category\n"Where, please, is my card?",card_arrival\n', encoding="utf-8"
    )
    assert labelled.read(table, split="train")[0] == labelled.Labelled(
        "Where, please, is my card?", "card_arrival", "en"
    )
    splits = {"train": [["hi", "greet"]], "oos_train": [["moon", "oos"]], "test": [["bye", "part"]], "oos_test": []}
    (path := tmp_path / "splits.json").write_text(json.dumps(splits), encoding="utf-8")
    assert [row.label for row in labelled.read(path, split="train")] == ["greet", "oos"]
    assert [row.label for row in labelled.read(path, split="test")] == ["part"]


def test_bad_files_are_named_by_line(tmp_path):
    for bad in (
        {"text": "灯"},
        {"intent": "noise"},
        {"text": "灯", "intent": 3},
        {"text": "灯", "intent": "x", "slots": [1]},
    ):
        with pytest.raises(BadLine, match="line 2"):
            labelled.read(written(tmp_path / "bad.jsonl", [ROWS[0], bad]), split="test")
    (empty := tmp_path / "empty.csv").write_text("text,label\n", encoding="utf-8")
    with pytest.raises(NothingToAsk):
        labelled.read(empty, split="test")
    (other := tmp_path / "list.json").write_text("[1, 2]", encoding="utf-8")
    with pytest.raises(BadLine):
        labelled.read(other, split="test")


def test_no_emergencies_no_view_of_them():
    heard = [intents.Heard(labelled.Labelled("x", "a", "zh"), "a", 1.0, "", 0.0)]
    assert intents.costliest(heard) == {}
    assert np.isclose(intents.figures(heard)["macro_f1"], 1)
