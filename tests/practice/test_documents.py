"""The practice documents have the header that the loader reads, and agree with the world."""

import re
from datetime import date, timedelta

import pytest
import yaml

from app.practice.world import build
from tests.practice.files import documents, practice_documents

COMMUNITIES = build().communities
TODAY = date(2026, 11, 22)
HEADER_KEYS = {"title", "audience", "valid_from", "valid_to", "language", "replaces"}


@pytest.mark.parametrize("community", COMMUNITIES, ids=lambda community: community.slug)
def test_every_header_is_valid(community):
    buildings = {space.name for space in build().spaces if space.community_id == community.id}
    audiences = {"all", "owners", "staff"} | {f"building:{name}" for name in buildings}
    for document in documents(community.documents).values():
        header = document.header
        assert set(header) <= HEADER_KEYS, document.name
        assert header["title"], document.name
        assert header["audience"] in audiences, document.name
        assert header["language"] in {"zh", "en"}, document.name
        assert isinstance(header["valid_from"], date), document.name
        assert header.get("valid_to", date.max) >= header["valid_from"], document.name


@pytest.mark.parametrize("community", COMMUNITIES, ids=lambda community: community.slug)
def test_what_is_replaced_ends_the_day_before_its_successor_begins(community):
    found = documents(community.documents)
    for document in found.values():
        if "replaces" in document.header:
            old = found[document.header["replaces"]]
            assert old.header["valid_to"] + timedelta(days=1) == document.header["valid_from"], document.name
            assert old.header["audience"] == document.header["audience"], document.name


def test_there_are_enough_documents_of_each_sort():
    found = practice_documents().values()
    assert len(found) >= 28
    assert sum(document.header["audience"] == "staff" for document in found) >= 5
    assert sum(document.header["audience"] == "owners" for document in found) >= 2
    assert sum(document.header["language"] == "en" for document in found) >= 4
    assert sum("replaces" in document.header for document in found) >= 3
    assert sum(document.valid_on(TODAY) for document in found) >= 28


def test_documents_are_short_enough_to_read_and_cut_into_sections():
    found = practice_documents().values()
    for document in found:
        assert 300 <= len(document.text) <= 2500, (document.name, len(document.text))
        assert document.text.count("\n## ") >= 3, document.name
    assert sum(document.text.count("\n## ") for document in found) >= 130


def test_every_phone_number_is_of_a_block_that_reaches_nobody():
    for community in COMMUNITIES:
        for document in documents(community.documents).values():
            for number in re.findall(r"\d{3,4}-\d{4}-\d{3,4}", document.text):
                assert number.startswith(("0700-", "154-0000-")), (document.name, number)
            assert not re.search(r"(?<!\d)1[3-9]\d{9}(?!\d)", document.text), document.name


def test_the_numbers_of_the_handbook_are_those_of_the_world():
    text = practice_documents()["resident-handbook.md"].text
    assert "14栋、1192户" in text
    for row in ("一期 | 1栋至5栋 | 18层", "二期 | 6栋至10栋 | 24层", "三期 | 11栋至14栋 | 22层"):
        assert row in text


def test_staff_named_in_documents_work_here():
    people = {staff.phone: staff.name for staff in build().staff}
    assert people["15400000611"].startswith("张")  # 9栋外墙: 张工, 154-0000-0611
    assert people["15400000721"].startswith("邵")  # 桂影里: 邵工, 154-0000-0721


def test_approved_answers_name_a_section_of_a_document_that_everyone_may_read():
    path = COMMUNITIES[0].approved_answers
    assert path is not None
    found = practice_documents()
    answers = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert len(answers) >= 8
    for answer in answers:
        document = found[answer["document"]]
        assert document.header["audience"] == "all"
        assert document.valid_on(TODAY)
        assert f"## {answer['section']}" in document.text, answer["id"]
        assert len(answer["questions"]) >= 5
        assert answer["language"] in {"zh", "en"}
        for number in re.findall(r"\d[\d.:-]*\d|\d", answer["answer"]):
            assert number in document.text, (answer["id"], number)
    variants = [question for answer in answers for question in answer["questions"]]
    assert len(set(variants)) == len(variants)
    assert len({answer["id"] for answer in answers}) == len(answers)
