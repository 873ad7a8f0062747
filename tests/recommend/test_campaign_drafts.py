"""Copy is drafted from the facts at once and worded by the engine when it can; a person approves, code checks."""

import json
from typing import Any

import pytest

from app.runtime import Runtime
from models.scripted_engine import Scripted, ScriptedEngine
from tests.conftest import Client
from tests.make import Make
from tests.recommend.campaigning import TEXTS, add_item, get, move, open_campaign


async def test_the_template_passes_its_own_checks_in_every_variant(
    client: Client, make: Make, runtime: Runtime, engine: Any
):
    engine.stand("off")
    manager = await make.staff()
    await client.patch(
        f"{manager.place.url}/settings", json={"service_phone": "021-5555 0100"}, headers={"If-Match": "*"}, as_=manager
    )
    item = await add_item(runtime, manager.place)
    variants = [{"label": label} for label in "ABC"]
    campaign = await open_campaign(client, manager, items=[item], variants=variants)
    assert {one["code"] for one in campaign["variants"][0]["problems"]} == {"missing"}
    for label in "ABC":
        drafted = await move(client, manager, campaign, "draft-copy", label=label)
        assert drafted.status_code == 200, drafted.text
    shown = (await get(client, manager, campaign))["variants"]
    assert [(one["worded_by"], one["problems"], one["approved_at"]) for one in shown] == [("template", [], None)] * 3
    assert len({one["texts"]["title_zh"] for one in shown}) == 3
    assert "时间：12月5日14:00。地点：活动中心。费用：30元。咨询：021-5555 0100。" in shown[0]["texts"]["body_zh"]
    assert (await move(client, manager, campaign, "approve")).status_code == 200
    unknown = await open_campaign(client, manager, items=[item], variants=[{"label": "A"}])
    assert (await move(client, manager, unknown, "draft-copy", label="B")).status_code == 404


@pytest.mark.parametrize(
    ("wording", "worded_by"),
    [
        (json.dumps(TEXTS, ensure_ascii=False), "engine"),
        (json.dumps(TEXTS | {"body_zh": "12月5日14:00，只要25元。"}, ensure_ascii=False), "template"),
        (json.dumps(TEXTS | {"title_en": "The best baking class"}, ensure_ascii=False), "template"),
        ("no json", "template"),
    ],
    ids=["good", "another price", "a superlative", "no json"],
)
async def test_what_the_engine_words_is_kept_only_when_nothing_stands_against_it(
    client: Client, make: Make, runtime: Runtime, run_jobs: Any, engine: ScriptedEngine, wording: str, worded_by: str
):
    engine.follow(lambda request: Scripted(wording))
    manager = await make.staff()
    item = await add_item(runtime, manager.place)
    campaign = await open_campaign(client, manager, items=[item], variants=[{"label": "A"}])
    await move(client, manager, campaign, "draft-copy")
    await run_jobs()
    [variant] = (await get(client, manager, campaign))["variants"]
    assert (variant["worded_by"], variant["approved_at"], variant["problems"]) == (worded_by, None, [])
    if worded_by == "engine":
        assert variant["texts"] == TEXTS
        written = await open_campaign(client, manager, items=[item])
        refused = await move(client, manager, written, "draft-copy")
        assert (refused.status_code, refused.json()["code"]) == (409, "campaign_copy_written_by_person")
        assert (await move(client, manager, written, "draft-copy", replace=True)).status_code == 200
