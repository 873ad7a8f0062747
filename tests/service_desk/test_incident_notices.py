"""The draft of a notice: the template stands unless the engine words it without adding or losing a fact."""

import json
from datetime import timedelta
from typing import Any

import pytest

from models.engine import EngineFailed, State
from models.scripted_engine import Scripted, ScriptedEngine
from tests.conftest import NOW, Client
from tests.make import Make, Person
from tests.service_desk.neighbourhood import build_house

GOOD = {
    "title_zh": "3栋1单元停水通知", "body_zh": "各位住户：3栋1单元自11月22日10:00起停水，因水泵故障，预计11月22日14:00恢复。敬请谅解。",
    "title_en": "Water off at 3栋1单元", "body_en": "Dear residents, the water at 3栋1单元 is off since 22 Nov 10:00. A pump failed. We expect it back 22 Nov 14:00.",
}  # fmt: skip


async def drafted(client: Client, make: Make) -> tuple[Person, str, dict[str, Any]]:
    staff = await make.staff()
    house = await build_house(make, name="3栋")
    body = {
        "kind": "water", "title": "3栋1单元停水", "resident_text": "水泵故障。", "resident_text_en": "A pump failed.",
        "expected_end_at": (NOW + timedelta(hours=4)).isoformat(), "space_ids": [str(house.units[0])],
    }  # fmt: skip
    incident = (await client.post(f"{staff.place.url}/incidents", json=body, as_=staff)).json()
    url = f"{staff.place.url}/incidents/{incident['id']}/draft-notice"
    assert (await client.get(url, as_=staff)).json()["code"] == "notice_not_drafted"
    answer = await client.post(url, as_=staff)
    assert answer.status_code == 200, answer.text
    return staff, url, answer.json()


async def test_the_template_says_where_since_when_and_until_when_in_both_languages(client: Client, make: Make):
    _, _, draft = await drafted(client, make)
    assert draft["worded_by"] == "template"
    assert draft["title"] == {
        "zh": "关于3栋1单元停水的通知",
        "en": "Notice: the water supply is interrupted (3栋1单元)",
    }
    assert "自11月22日10:00起停水。预计11月22日14:00恢复。水泵故障。" in draft["body"]["zh"]
    assert "since 22 Nov 10:00. It is expected to be restored 22 Nov 14:00. A pump failed." in draft["body"]["en"]


async def test_a_ready_engine_words_it_and_keeps_the_facts(
    client: Client, make: Make, run_jobs: Any, engine: ScriptedEngine
):
    engine.follow([json.dumps(GOOD, ensure_ascii=False)])
    staff, url, _ = await drafted(client, make)
    await run_jobs()
    worded = (await client.get(url, as_=staff)).json()
    assert (worded["worded_by"], worded["body"]["zh"], worded["drafts_count"]) == ("engine", GOOD["body_zh"], 1)
    assert len(engine.requests) == 1


@pytest.mark.parametrize(
    "wording",
    [
        json.dumps(GOOD | {"body_zh": GOOD["body_zh"].replace("14:00", "13:00")}),
        json.dumps(GOOD | {"body_en": GOOD["body_en"] + " Compensation: 50 yuan."}),
        json.dumps(GOOD | {"body_zh": "各位住户：3栋1单元停水，敬请谅解。"}),
        json.dumps(GOOD | {"title_zh": " "}),
        "not json",
    ],
    ids=["another time", "a number of its own", "the end left out", "no title", "no json"],
)
async def test_a_wording_that_changes_the_facts_is_dropped(
    client: Client, make: Make, run_jobs: Any, engine: ScriptedEngine, wording: str
):
    engine.follow(lambda request: Scripted(wording))
    staff, url, draft = await drafted(client, make)
    await run_jobs()
    assert (await client.get(url, as_=staff)).json()["body"] == draft["body"]


@pytest.mark.parametrize("state", [State.OFF, State.FAILING])
async def test_without_the_engine_the_template_stands(
    client: Client, make: Make, run_jobs: Any, engine: ScriptedEngine, state: State
):
    engine.stand(state, "away")
    staff, url, draft = await drafted(client, make)
    await run_jobs()
    again = (await client.post(url, as_=staff)).json()
    assert (again["body"], again["drafts_count"]) == (draft["body"], 1)


async def test_an_engine_that_fails_in_the_middle_costs_nothing(
    client: Client, make: Make, run_jobs: Any, engine: ScriptedEngine
):
    def fails(request: object) -> Scripted:
        raise EngineFailed("gone")

    engine.follow(fails)
    staff, url, draft = await drafted(client, make)
    await run_jobs()
    assert (await client.get(url, as_=staff)).json()["body"] == draft["body"]
