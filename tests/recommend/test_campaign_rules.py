"""Rules: some hours after an event its resident is told, with the same caps, opt-outs, audience and hold-out."""

from datetime import timedelta
from typing import Any

from sqlalchemy import select

from app.people.tables import ResidentRole
from app.recommend.campaign_jobs import sweep_due_campaigns
from app.recommend.campaign_tables import CampaignWait
from app.runtime import Runtime
from tests.conftest import NOW, Client, Clock
from tests.make import Make, Person
from tests.recommend.campaigning import TEXTS, add_item, get, move, open_campaign, profile, send_now, told

WELCOME = {
    "title_zh": "欢迎入住", "title_en": "Welcome", "body_zh": "欢迎您，有事请找物业。", "body_en": "Welcome, we are here for you.",
    "plain_zh": "欢迎您。", "plain_en": "Welcome.",
}  # fmt: skip
NEW = {
    "title_zh": "新项目：{item}", "title_en": "New: {item}", "body_zh": "{item}开始了。", "body_en": "{item} is here.",
    "plain_zh": "{item}开始了。", "plain_en": "{item} is here.",
}  # fmt: skip


async def open_triggered(client: Client, manager: Person, texts: dict[str, str], **body: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"kind": "triggered", "holdout_percent": 0, "variants": [{"label": "A", "texts": texts}]}
    campaign = await open_campaign(client, manager, **(given | body))
    await send_now(client, manager, campaign)
    return campaign


async def open_rule(client: Client, manager: Person, campaign: dict[str, Any], **body: Any) -> dict[str, Any]:
    given = {"campaign_id": campaign["id"]} | body
    answer = await client.post(f"{manager.place.url}/campaign-rules", json=given, as_=manager)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def join(client: Client, person: Person, item: Any) -> None:
    body = {"item_id": str(item), "kind": "joined"}
    answer = await client.post("/api/v1/me/recommendation-feedback", json=body, as_=person)
    assert answer.status_code == 200, answer.text


async def outcomes(runtime: Runtime, manager: Person) -> dict[Any, str]:
    async with runtime.transaction(manager.tenant) as session:
        rows = await session.execute(select(CampaignWait.resident_id, CampaignWait.outcome))
        return {row.resident_id: row.outcome for row in rows}


async def test_who_joined_is_told_once_after_the_hours_and_who_refused_is_not(
    client: Client, make: Make, runtime: Runtime, run_jobs: Any, clock: Clock
):
    manager = await make.staff()
    joined, refuser, regrets, other, plain = [await make.resident() for _ in range(5)]
    baking, choir = await add_item(runtime, manager.place), await add_item(runtime, manager.place, categories=["合唱"])
    next_one = await add_item(runtime, manager.place, title="亲子读书", title_en="Reading together")
    await profile(runtime, refuser, marketing_opted_out=True)
    await profile(runtime, plain, personalised=False)
    campaign = await open_triggered(client, manager, TEXTS, items=[next_one])
    rule = await open_rule(client, manager, campaign, event="feedback", what=["joined"], category="亲子", wait_hours=2)
    for person in (joined, refuser, regrets, plain):
        await join(client, person, baking)
    await join(client, other, choir)
    await client.delete(f"/api/v1/me/recommendation-feedback/{baking}?kind=joined", as_=regrets)

    clock.now = NOW + timedelta(hours=1)
    await sweep_due_campaigns(runtime)
    await run_jobs()
    assert await told(client, joined) == [], "not before its hours"
    clock.now = NOW + timedelta(hours=2)
    for _ in range(2):
        await sweep_due_campaigns(runtime)
        await run_jobs()
    people = (joined, refuser, regrets, other, plain)
    assert [len(await told(client, person)) for person in people] == [1, 0, 0, 0, 0]
    assert await outcomes(runtime, manager) == {
        joined.id: "told", refuser.id: "opted_out", plain.id: "not_personalised"
    }  # fmt: skip

    # Paused, its events wait; cancelled, they come to nothing.
    await move(client, manager, campaign, "pause")
    await join(client, other, next_one)
    clock.now = NOW + timedelta(hours=5)
    await sweep_due_campaigns(runtime)
    await run_jobs()
    assert (await outcomes(runtime, manager))[other.id] == ""
    await move(client, manager, campaign, "cancel")
    clock.now = NOW + timedelta(hours=7)
    await sweep_due_campaigns(runtime)
    await run_jobs()
    assert (await outcomes(runtime, manager))[other.id] == "campaign_over"
    assert await told(client, other) == []

    # Of the rule itself.
    url = f"{manager.place.url}/campaign-rules/{rule['id']}"
    stale = await client.patch(url, json={"wait_hours": 3}, headers={"If-Match": '"9"'}, as_=manager)
    assert stale.status_code == 412
    changed = await client.patch(url, json={"enabled": False}, headers={"If-Match": '"1"'}, as_=manager)
    assert (changed.json()["enabled"], changed.json()["version"]) == (False, 2)
    foreign = await make.staff(place=await make.place())
    assert (await client.get(f"{foreign.place.url}/campaign-rules/{rule['id']}", as_=foreign)).status_code == 404
    assert (await client.delete(url, as_=manager)).status_code == 204
    assert (await client.get(f"{manager.place.url}/campaign-rules", as_=manager)).json()["items"] == []


async def test_a_new_item_is_told_to_who_likes_its_kind_and_who_moves_in_is_welcomed(
    client: Client, make: Make, runtime: Runtime, run_jobs: Any
):
    manager, fan, other = await make.staff(), await make.resident(), await make.resident()
    new_here = await make.resident(verified=False, role=ResidentRole.OWNER)
    baking = await add_item(runtime, manager.place)
    await join(client, fan, baking)
    announcing = await open_triggered(client, manager, NEW, item_ids=[])
    welcome = await open_triggered(
        client, manager, WELCOME, item_ids=[], filter={"is": "lives", "roles": ["owner"]}, goal="clicked"
    )
    await open_rule(client, manager, announcing, event="item_created", category="亲子")
    await open_rule(client, manager, welcome, event="moved_in")
    broadcast = await open_campaign(client, manager, items=[baking])
    for body, code in (
        ({"event": "moved_in", "campaign_id": broadcast["id"]}, "campaign_rule_needs_triggered"),
        ({"event": "item_created", "campaign_id": welcome["id"]}, "campaign_rule_incomplete"),
    ):
        refused = await client.post(f"{manager.place.url}/campaign-rules", json=body, as_=manager)
        assert refused.json()["code"] == code

    for title, categories in (("亲子读书", ["亲子"]), ("合唱团", ["音乐"]), ("亲子画画", ["亲子"])):
        item = {"kind": "activity", "title": title, "title_en": "Something new", "categories": categories}
        answer = await client.post(f"{manager.place.url}/items", json=item, as_=manager)
        assert answer.status_code == 201, answer.text
    for person in (new_here, other):
        await client.post(f"{manager.place.url}/residents/{person.id}/verify", json={}, as_=manager)
    await run_jobs()
    await sweep_due_campaigns(runtime)
    await run_jobs()
    assert [one["title"]["zh"] for one in await told(client, fan)] == ["新项目：亲子读书"]
    assert [one["title"]["en"] for one in await told(client, new_here)] == ["Welcome"]
    assert await told(client, other) == [], "was verified before, and is no owner"
    results = await get(client, manager, announcing, "/results")
    assert [(one["arm"], one["hidden"]) for one in results["arms"]] == [("A", True), ("told", True)]
