"""The figures of the emergency rules may not fall. No file was made by a program that swaps words.

`emergencies.jsonl` is what rules and classifier were made with; the classifier also learnt from a dozen other authors.
`emergencies_held_out.jsonl` was written before the first rule, `emergencies_held_out_2.jsonl` before the classifier, in
the voice of a residents' group chat; their errors were never looked at one by one. `emergencies_held_out_3.jsonl` is by
two authors who knew nothing of Linli and were asked for hard sentences; its errors were looked at once, before the
classifier learnt from other authors, and nothing was tuned on them.
"""

import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.evals import emergencies, intents
from app.evals.commands import evals as commands
from app.evals.lines import BadLine, read_rows
from app.safety import emergencies as safety
from app.safety import second_voice
from models.embedder import Vectors
from models.training import train_intent

FOLDER = Path(__file__).parent
TUNED, HELD_OUT = FOLDER / "emergencies.jsonl", FOLDER / "emergencies_held_out.jsonl"
HELD_OUT_2, HELD_OUT_3 = FOLDER / "emergencies_held_out_2.jsonl", FOLDER / "emergencies_held_out_3.jsonl"
TRAINED = train_intent.DATA / "emergencies_train.jsonl"
UNTRAINED = FOLDER / "emergencies_untrained.jsonl"
"""Looked at when the rules were last tuned, after the classifier was trained."""


def rows_of(file: Path) -> list[emergencies.Told]:
    return read_rows(file, emergencies.parse_told)


def test_there_are_enough_sentences_each_once_and_none_in_both_files():
    files = [rows_of(file) for file in (TUNED, TRAINED, UNTRAINED, HELD_OUT, HELD_OUT_2, HELD_OUT_3)]
    texts = [row.text for rows in files for row in rows]
    assert len(texts) == len(set(texts))
    held_out = [row for rows in files[3:] for row in rows]
    assert sum(row.emergency for row in held_out) >= 300
    assert sum(not row.emergency for row in held_out) >= 300
    for rows in files:
        assert {row.kind for row in rows} == emergencies.KINDS
        assert {row.language for row in rows} == {"zh", "en"}


FLOORS = [
    (TUNED, emergencies.RULES, 0.95, 0.048),
    (TUNED, emergencies.WORDING, 0.993, 0.016),
    (UNTRAINED, emergencies.RULES, 0.95, 0.095),
    (UNTRAINED, emergencies.WORDING, 0.975, 0.06),
    (UNTRAINED, emergencies.WHOLE, 0.985, 0.06),
    (HELD_OUT, emergencies.RULES, 0.98, 0.02),
    (HELD_OUT, emergencies.WORDING, 0.98, 0.03),
    (HELD_OUT, emergencies.WHOLE, 0.99, 0.04),
    (HELD_OUT_2, emergencies.RULES, 0.88, 0.065),
    (HELD_OUT_2, emergencies.WORDING, 0.98, 0.045),
    (HELD_OUT_2, emergencies.WHOLE, 0.99, 0.03),
    (HELD_OUT_3, emergencies.RULES, 0.70, 0.115),
    (HELD_OUT_3, emergencies.WORDING, 0.91, 0.055),
    (HELD_OUT_3, emergencies.WHOLE, 0.955, 0.035),
]
"""Recall at least, false alarms at most: a sentence below what was measured."""


@pytest.fixture(scope="module")
def vectors(embedder) -> Callable[[Path], Awaitable[Vectors]]:
    kept: dict[Path, Vectors] = {}

    async def of(file: Path) -> Vectors:
        if file not in kept:
            kept[file] = await intents.embed(embedder, [row.text for row in rows_of(file)])
        return kept[file]

    return of


@pytest.mark.parametrize(("file", "voice", "recall_min", "false_alarms_max"), FLOORS)
async def test_emergencies_are_found_and_little_else(
    file: Path, voice: str, recall_min: float, false_alarms_max: float, vectors, record_property
):
    words = None if voice == emergencies.RULES else second_voice.by_wording
    heard = emergencies.evaluate(rows_of(file), words, await vectors(file) if voice == emergencies.WHOLE else None)
    all_of_them = emergencies.figures(heard, voice)
    times = emergencies.microseconds(heard)
    record_property(
        "report",
        f"{file.name}, {voice}: recall {all_of_them.recall:.3f}, false alarms {all_of_them.false_alarms:.3f}, "
        f"{times['median']:.0f} microseconds a text",
    )
    wrong = [one.told.text for one in heard if (one.kinds[voice] is not None) != one.told.emergency]
    shown = wrong if file in (TUNED, UNTRAINED) else len(wrong)
    assert all_of_them.recall is not None
    assert all_of_them.recall >= recall_min, shown
    assert all_of_them.false_alarms is not None
    assert all_of_them.false_alarms <= false_alarms_max, shown


WITH_IT = {
    "zh": (
        "你好，{}", "{}，怎么办", "{}，什么时候能来人", "{}。打哪个电话？", "昨晚开始{}", "{}，谁负责", "如果没人来就糟了，{}",
        "{}，要赔偿吗", "看新闻的时候{}", "{}，不知道是不是误报", "{}，没人受伤", "我没带钥匙，{}", "{}。不是演习",
    ),
    "en": (
        "hello, {}", "{}, what should I do?", "{}, when will someone come", "{} - who do I call?", "Since yesterday {}",
        "{}, nobody is helping", "if nobody comes soon... {}", "{}, no one is hurt",
    ),
}  # fmt: skip
"""What people say along with it, full of words that elsewhere make it none."""


@pytest.mark.parametrize("language", sorted(WITH_IT))
def test_what_people_say_along_with_it_takes_no_alarm_back(language: str):
    told = [row.text for row in rows_of(TUNED) if row.emergency and row.language == language][::16]
    told = [text for text in told if safety.find(text)]
    texts = [pattern.format(text) for pattern in WITH_IT[language] for text in told]
    missed = [text for text in texts if safety.find(text) is None]
    assert len(missed) <= len(texts) * 0.005, missed


def test_the_practice_questions_alarm_nobody():
    for name in ("practice_qa.jsonl", "practice_qa_held_out.jsonl"):
        lines = (FOLDER / name).read_text(encoding="utf-8").splitlines()
        rows = [emergencies.Told(json.loads(line)["question"], False, "none", "zh") for line in lines]
        heard = emergencies.evaluate(rows, None)
        assert [one.told.text for one in heard if one.kinds["rules"]] == []


def test_ordinary_questions_are_not_embedded_and_no_emergency_goes_unheard_for_that():
    """Embedding costs ten times all else that is done with a question before it waits."""
    lines = (FOLDER / "practice_qa.jsonl").read_text(encoding="utf-8").splitlines()
    ordinary = [second_voice.hear(json.loads(line)["question"]) for line in lines]
    assert sum(heard.asks_meaning for heard in ordinary) <= len(ordinary) * 0.2
    for file in (TUNED, TRAINED, UNTRAINED):
        told = [(row.text, second_voice.hear(row.text)) for row in rows_of(file) if row.emergency]
        assert [text for text, heard in told if heard.found is None and not heard.asks_meaning] == []


def test_a_long_text_costs_no_more_than_its_length():
    """Linear in the text: ten times the words may not cost a hundred times the time."""
    safety.rules()
    own: list[float] = []
    for count in (20, 200):
        text, started = "今天天气很好，物业费在哪里交，谢谢你们。" * count, time.thread_time()
        for _ in range(20):
            safety.read(text)
        own.append(time.thread_time() - started)
    assert own[1] < own[0] * 40


def test_the_command_prints_recall_and_false_alarms(tmp_path: Path):
    out = tmp_path / "out.json"
    told = CliRunner().invoke(commands, ["emergencies", str(HELD_OUT), "--limit", "20", "--json", str(out)])
    assert told.exit_code == 0, told.output
    assert "false alarms" in told.output
    rows = json.loads(out.read_text())["rows"]
    assert len(rows) == 20
    assert rows[0]["found"]["rules"] == rows[0]["kind"]


@pytest.mark.parametrize(
    "line",
    ['{"text": "着火了", "emergency": "yes", "kind": "fire"}', '{"text": "着火了", "emergency": true, "kind": "volcano"}',
     '{"text": "着火了", "emergency": false, "kind": "fire"}', '{"emergency": true, "kind": "fire"}', "[]"],
)  # fmt: skip
def test_a_bad_line_is_named_by_its_number(tmp_path: Path, line: str):
    file = tmp_path / "bad.jsonl"
    file.write_text('{"text": "早", "emergency": false, "kind": "none"}\n' + line + "\n", encoding="utf-8")
    with pytest.raises(BadLine, match="line 2"):
        rows_of(file)
