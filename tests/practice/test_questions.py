"""The questions that we measure ourselves with say what the documents say. Checked by machine, so that an edit of a
document that makes a question wrong is seen at once."""

import re
from collections import Counter
from datetime import datetime

import pytest
import yaml

from app.practice.world import build
from tests.practice.files import QUESTION_FILES, practice_documents, questions

KINDS = {
    "single_fact", "condition", "list", "superseded", "cross_language", "staff_only", "owners_only", "unanswerable",
    "follow_up",
}  # fmt: skip
ROLES = {"resident", "owner", "tenant", "staff"}
MAY_READ = {"resident": {"all"}, "tenant": {"all"}, "owner": {"all", "owners"}, "staff": {"all", "staff"}}
DOCUMENTS = practice_documents()
every_file = pytest.mark.parametrize("rows", [questions(name) for name in QUESTION_FILES], ids=QUESTION_FILES)


@every_file
def test_every_row_has_the_shape_of_the_format(rows):
    assert len({row["id"] for row in rows}) == len(rows)
    for row in rows:
        assert row["question"].strip()
        assert row["kind"] in KINDS, row["id"]
        assert row["role"] in ROLES, row["id"]
        assert row["language"] in {"zh", "en"}, row["id"]
        assert datetime.fromisoformat(row["as_of"]).tzinfo is not None, row["id"]
        assert row["answerable"] == bool(row["doc"]) == bool(row["must_contain"]), row["id"]
        assert (row["kind"] == "follow_up") == bool(row.get("history")), row["id"]
        is_english = not re.search(r"[\u4e00-\u9fff]", row["question"])
        assert (row["language"] == "en") == is_english, row["id"]


@every_file
def test_the_asker_may_read_the_document_on_that_day(rows):
    for row in rows:
        day = datetime.fromisoformat(row["as_of"]).date()
        allowed = MAY_READ[row["role"]] | {f"building:{row.get('building')}"}
        for name in row["doc"]:
            assert DOCUMENTS[name].header["audience"] in allowed, row["id"]
            assert DOCUMENTS[name].valid_on(day), row["id"]


@every_file
def test_every_wanted_fact_stands_in_the_document(rows):
    for row in rows:
        for alternatives in row["must_contain"]:
            assert len(set(alternatives)) == len(alternatives), row["id"]
            for name in row["doc"]:
                if {"zh", "en"} == {DOCUMENTS[other].header["language"] for other in row["doc"]}:
                    text = "".join(DOCUMENTS[other].text for other in row["doc"])
                else:
                    text = DOCUMENTS[name].text
                assert any(wanted in text for wanted in alternatives), (row["id"], row["question"], alternatives)


@every_file
def test_no_forbidden_fact_stands_in_the_document(rows):
    for row in rows:
        for name in row["doc"]:
            for forbidden in row["must_not_contain"]:
                assert forbidden not in DOCUMENTS[name].text, (row["id"], row["question"], forbidden)


@every_file
def test_a_fact_forbidden_as_old_stands_in_what_was_replaced(rows):
    for row in rows:
        if row["kind"] == "superseded" and "replaces" in DOCUMENTS[row["doc"][0]].header:
            old = DOCUMENTS[DOCUMENTS[row["doc"][0]].header["replaces"]].text
            assert row["must_not_contain"], row["id"]
            for forbidden in row["must_not_contain"]:
                number = re.search(r"\d[\d.:-]*", forbidden)
                assert forbidden in old or (number and number.group() in old), (row["id"], forbidden)


@every_file
def test_a_fact_forbidden_as_secret_stands_in_no_document_that_the_asker_may_read(rows):
    """Else a right answer to something else would count as a leak."""
    for row in rows:
        if row["kind"] in {"staff_only", "owners_only"} and not row["answerable"]:
            assert row["must_not_contain"], row["id"]
            for document in DOCUMENTS.values():
                if document.header["audience"] in MAY_READ[row["role"]]:
                    for forbidden in row["must_not_contain"]:
                        assert forbidden not in document.text, (row["id"], forbidden, document.name)


def test_the_set_has_enough_of_each_kind():
    rows = questions("practice_qa.jsonl")
    kinds = Counter(row["kind"] for row in rows)
    assert len(rows) >= 110
    assert kinds["unanswerable"] >= 0.25 * len(rows)
    assert kinds["superseded"] >= 10
    assert sum(row["kind"] == "staff_only" and not row["answerable"] for row in rows) >= 8
    assert sum(row["kind"] == "staff_only" and row["answerable"] for row in rows) >= 8
    assert kinds["owners_only"] >= 5
    assert kinds["follow_up"] >= 5
    assert len({row["as_of"] for row in rows}) >= 4


def test_cross_language_goes_both_ways():
    rows = [row for row in questions("practice_qa.jsonl") if row["kind"] == "cross_language"]
    for row in rows:
        assert {DOCUMENTS[name].header["language"] for name in row["doc"]} == {"zh", "en"} - {row["language"]}
    assert min(Counter(row["language"] for row in rows).values()) >= 8


def test_held_out_questions_and_approved_answers_are_not_in_the_tuned_set():
    tuned, held_out = (
        {(row["question"], tuple(row.get("history", ()))) for row in questions(name)} for name in QUESTION_FILES
    )
    assert len(held_out) >= 35
    assert not tuned & held_out
    answers_path = build().communities[0].approved_answers
    assert answers_path is not None
    variants = {v for answer in yaml.safe_load(answers_path.read_text(encoding="utf-8")) for v in answer["questions"]}
    assert not variants & {question for question, _ in tuned | held_out}
