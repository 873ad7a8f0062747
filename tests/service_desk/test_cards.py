"""Emergency cards: what residents are told in need, worded by the community if it wishes."""

from typing import Any

import pytest

from app.people.tables import StaffRole
from app.safety.emergencies import EmergencyKind
from app.service_desk import cards

OWN = "先打 {ambulance_phone}，再打 {emergency_phone}。\n1. 报楼栋。\n2. 打燃气公司 {gas_company_phone}。\n3. 等人来。"


async def card_of(client, person, kind: str) -> dict[str, Any]:
    listed = (await client.get(f"{person.place.url}/emergency-cards", as_=person)).json()["items"]
    found: dict[str, Any] = next(card for card in listed if card["kind"] == kind)
    return found


def test_there_is_a_card_for_every_kind_in_both_languages_with_somebody_to_call():
    assert set(cards.built_in()) == set(cards.KINDS) == {str(kind) for kind in EmergencyKind} | {"other"}
    for kind in cards.KINDS:
        for language in cards.LANGUAGES:
            cards.check_text(cards.built_in()[kind].text[language])
            shown = cards.written(kind, language, cards.phones_of({}, {}))
            assert "{" not in shown
            assert any(number in shown for number in ("119", "120", "110")), (kind, language)
            lines = shown.splitlines()
            assert max(len(line) for line in lines) <= (60 if language == "zh" else 120), "a line for old eyes is short"


def test_numbers_come_from_the_settings_and_lines_without_one_are_left_out():
    phones = cards.phones_of({"emergency_phone": "0700-8800-1010"}, {"gas_company_phone": "0700-9600-777"})
    shown = cards.written("gas", "zh", phones)
    assert "0700-9600-777" in shown
    assert "0700-8800-1010" in shown
    bare = cards.written("gas", "zh", cards.phones_of({}, {}))
    assert "燃气公司抢修" not in bare
    assert [line[:2] for line in bare.splitlines() if "到室外" in line or "有人晕倒" in line] == ["2.", "3."]


async def test_staff_word_a_card_and_take_it_back(client, make):
    manager = await make.staff()
    card = await card_of(client, manager, "gas")
    url = f"{manager.place.url}/emergency-cards/{card['id']}"
    assert (card["built_in"], card["version"]) == (True, 0)
    got = await client.get(url, as_=manager)
    changed = await client.patch(url, as_=manager, json={"text_zh": OWN}, headers={"If-Match": got.headers["etag"]})
    assert changed.status_code == 200, changed.text
    assert (changed.json()["text_zh"], changed.json()["version"], changed.json()["built_in"]) == (OWN, 1, False)
    assert changed.json()["text_en"] == card["text_en"], "what was not worded anew stays"
    stale = await client.patch(url, as_=manager, json={"text_zh": OWN}, headers={"If-Match": got.headers["etag"]})
    assert (stale.status_code, stale.json()["code"]) == (412, "version_changed")
    assert (await client.patch(url, as_=manager, json={"text_zh": OWN})).status_code == 428
    assert (await client.delete(url, as_=manager)).status_code == 204
    again = (await client.get(url, as_=manager)).json()
    assert (again["built_in"], again["text_zh"], again["version"]) == (True, card["text_zh"], 2)
    versions = (await client.get(f"{url}/versions", as_=manager)).json()["items"]
    assert [row["version"] for row in versions] == [2, 1]
    assert versions[1]["text_zh"] == OWN


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("请打 {secret_key}，不要慌张。", "emergency_card_phone_unknown"),
        ("请大家不要慌张，有人会来。", "emergency_card_without_phone"),
        ("短", "request_invalid"),
        ("1" * 2001, "request_invalid"),
    ],
)  # fmt: skip
async def test_a_card_that_would_help_nobody_is_refused(client, make, text: str, code: str):
    manager = await make.staff()
    card = await card_of(client, manager, "fire")
    url = f"{manager.place.url}/emergency-cards/{card['id']}"
    refused = await client.patch(url, as_=manager, json={"text_zh": text}, headers={"If-Match": "*"})
    assert (refused.status_code, refused.json()["code"]) == (422, code)
    assert (await client.get(url, as_=manager)).json()["version"] == 0


async def test_only_those_who_run_the_desk_word_cards_and_only_their_own(client, make):
    manager, engineer = await make.staff(), await make.staff(role=StaffRole.ENGINEER)
    elsewhere = await make.staff(place=await make.place())
    card = await card_of(client, engineer, "fire")
    url = f"{manager.place.url}/emergency-cards/{card['id']}"
    body = {"json": {"text_zh": "着火请打 119，马上离开。"}, "headers": {"If-Match": "*"}}
    assert (await client.patch(url, as_=engineer, **body)).json()["code"] == "scope_missing"
    assert (await client.get(url, as_=await make.resident())).json()["code"] == "scope_missing"
    theirs = f"{elsewhere.place.url}/emergency-cards/{card['id']}"
    assert (await client.patch(theirs, as_=elsewhere, **body)).json()["code"] == "emergency_card_not_found"
    assert (await client.patch(url, as_=manager, **body)).status_code == 200
