"""What counts as right, missing, forbidden, refused and invented, on answers a reader can check by eye."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from app.errors import AppError
from app.evals.lines import read_rows
from app.evals.qa_judge import Question, Shown, judge, parse_question, says, tally

PASSAGE = "未登记的外来车辆进场30分钟内免费；超过30分钟的，每小时5元，24小时内最高40元。"
ASKED = Question(
    id="1", text="临停多少钱", answerable=True, kind="single_fact", files=("parking.md",),
    must_contain=(("5元", "五元", "5 yuan"), ("40元",)), must_not_contain=("6元",),
)  # fmt: skip
UNANSWERABLE = Question(id="2", text="有没有马场", answerable=False, kind="unanswerable", must_not_contain=("K3",))


def shown(words, **more):
    return Shown(words, passages=(PASSAGE,), **{"cited": frozenset({"parking.md"}), **more})


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("每月10次", "10次"),
        ("每月 10 次", "10次"),
        ("每月１０次", "10 次"),
        ("1,200 元", "1200元"),
        ("No Need to register", "no need"),
        ("5元。", "5元"),
    ],
)
def test_words_are_found_in_any_width_case_and_spacing(text, wanted):
    assert says(text, wanted)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("16次", "6次"), ("25元", "5元"), ("1.5元", "5元"), ("电话1101", "110"), ("8.5", "8"), ("12:30", "2:30")],
)
def test_a_number_is_found_only_as_a_whole(text, wanted):
    assert not says(text, wanted)


def test_right_when_all_facts_are_seen_and_nothing_forbidden():
    verdict = judge(ASKED, shown("每小时五元，一天最高40元[1]。"))
    assert verdict.right
    assert verdict.words_right
    assert verdict.cited_right
    assert verdict.invented == ()


def test_quotes_count_for_what_is_seen_but_not_for_the_words():
    verdict = judge(ASKED, shown("每小时5元。", quotes=(PASSAGE,)))
    assert verdict.right
    assert not verdict.words_right


def test_a_missing_fact_is_named_by_its_first_form():
    verdict = judge(ASKED, shown("每小时5元。"))
    assert not verdict.right
    assert verdict.missing == ("40元",)


def test_a_forbidden_fact_is_wrong_also_in_a_quote():
    verdict = judge(ASKED, shown("每小时5元，最高40元。", quotes=("旧版每小时6元",)))
    assert not verdict.right
    assert verdict.forbidden == ("6元",)


def test_a_refused_answerable_question_is_wrong():
    verdict = judge(ASKED, Shown("现有资料里没有找到。", refused=True))
    assert not verdict.right
    assert verdict.refusal == "wrong"
    assert verdict.missing == ()


def test_an_unanswerable_question_wants_the_fixed_answer():
    assert judge(UNANSWERABLE, Shown("现有资料里没有找到。", refused=True)).refusal == "right"
    verdict = judge(UNANSWERABLE, shown("资料里没有提到马场。"))
    assert verdict.refusal == "missing"
    assert not verdict.right


def test_a_failed_turn_is_neither_a_refusal_nor_right():
    assert judge(UNANSWERABLE, Shown("", refused=True, failed="EngineFailed")).refusal == "missing"
    assert not judge(ASKED, Shown("每小时5元，40元", failed="TimeoutError")).right


def test_invented_numbers_are_those_of_no_shown_passage():
    assert judge(ASKED, shown("停3小时15元，每小时5元，最高40元")).invented == ("3小时", "15元")
    assert judge(ASKED, shown("15元", numbers_matter=False)).invented == ()


def test_citing_another_document_is_not_right():
    assert judge(ASKED, shown("每小时5元，最高40元", cited=frozenset({"pets.md"}))).cited_right is False


def test_tallies_by_kind_and_over_all():
    pairs = [(ASKED, shown("每小时5元，最高40元。", mode="model", quote_ms=100, total_ms=900))]
    pairs += [
        (ASKED, shown("每小时5元", mode="quotes", quote_ms=300, total_ms=500)),
        (UNANSWERABLE, Shown("没有", refused=True)),
    ]
    tallies = tally([(question, seen, judge(question, seen)) for question, seen in pairs])
    assert list(tallies) == ["single_fact", "unanswerable", "all"]
    figures = tallies["all"].figures()
    assert (figures["asked"], figures["right"], figures["missing"], figures["refused_rightly"]) == (3, 2, 1, 1)
    assert (figures["quote_ms_p50"], figures["quote_ms_p90"], figures["total_ms_p50"]) == (200, 300, 700)


def test_a_line_becomes_a_question_and_unknown_fields_are_ignored():
    question = parse_question(
        {
            "question": "周六可以吗", "answerable": True, "as_of": "2026-11-22T10:00:00+08:00", "history": ["几点能施工"],
            "doc": ["a.md"], "must_contain": [["9:00", "9点"]], "extra": 1,
        },
        7,
    )  # fmt: skip
    assert question.id == "7"
    assert question.role == "resident"
    assert question.as_of == datetime(2026, 11, 22, 10, tzinfo=ZoneInfo("Asia/Shanghai"))
    assert question.history == ({"role": "user", "content": "几点能施工"},)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b'{"answerable": true}', "question"),
        (b'{"question": " ", "answerable": true}', "empty"),
        (b'{"question": "a", "answerable": "yes"}', "neither true nor false"),
        (b'{"question": "a", "answerable": true, "role": "king"}', "king"),
        (b'{"question": "a", "answerable": true, "as_of": "2026-01-01T00:00:00"}', "no time zone"),
        (b'{"question": "a", "answerable": true, "must_contain": ["5", ["6"]], "doc": [3]}', "doc"),
        (b"[1]", "not an object"),
        (b"{", "line 3"),
        ("{“question”}".encode("gbk"), "UTF-8"),
    ],
)
def test_a_bad_line_is_named_by_its_number(tmp_path, line, why):
    file = tmp_path / "questions.jsonl"
    file.write_bytes('\ufeff{"question": "好吗", "answerable": false}\n\n'.encode() + line + b"\n")
    with pytest.raises(AppError) as raised:
        read_rows(file, parse_question)
    assert "line 3" in raised.value.message_en
    assert why in raised.value.message_en


def test_an_empty_file_is_refused(tmp_path):
    file = tmp_path / "questions.jsonl"
    file.write_text("\n")
    with pytest.raises(AppError):
        read_rows(file, parse_question)
