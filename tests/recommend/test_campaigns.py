"""A campaign from its draft to its results, by HTTP: who is told, who is not and why, and what it brought."""

from typing import Any

from app.recommend.campaign_tables import LeftOut, RecipientStatus
from app.recommend.tables import FeedbackKind
from app.runtime import Runtime
from tests.conftest import NOW, Client
from tests.make import Make
from tests.recommend.campaigning import (
    add_item,
    did,
    flatmate,
    get,
    move,
    open_campaign,
    profile,
    recipients,
    send_now,
    told,
)


async def test_caps_and_opt_outs_hold_to_the_person_and_the_results_have_an_interval(
    client: Client, make: Make, runtime: Runtime, run_jobs: Any, clock: Any
):
    manager = await make.staff()
    building = await make.building()
    people = [await make.resident(building_id=building) for _ in range(60)]
    mates = [await flatmate(runtime, one) for one in people[:10]]
    baking, choir = await add_item(runtime, manager.place), await add_item(runtime, manager.place, categories=["合唱"])
    refuser, nobody, hider, capped = people[0], people[1], people[2], people[3]
    await profile(runtime, refuser, marketing_opted_out=True)
    await profile(runtime, nobody, opted_out=True)
    await profile(runtime, hider, hidden_categories=["亲子"])

    # Two earlier campaigns to one resident use up the community's cap of two a week.
    for number in range(2):
        earlier = await open_campaign(
            client, manager, items=[choir], name=f"合唱{number}", holdout_percent=0,
            filter={"is": "lives", "space_ids": [await room_of(client, manager, capped)]},
        )  # fmt: skip
        await send_now(client, manager, earlier)
        await run_jobs()
    assert len(await told(client, capped)) == 2

    campaign = await open_campaign(
        client, manager, items=[baking], holdout_percent=30,
        filter={"and": [{"is": "lives", "space_ids": [str(building)]}, {"is": "language", "languages": ["zh"]}]},
    )  # fmt: skip
    preview = (await move(client, manager, campaign, "preview")).json()
    # Few households stand behind who is left out, but for those without any way to be told: none is counted out loud.
    assert (preview["nobody"], preview["recipients"], preview["households"]) == (False, 56, 56)
    assert preview["left_out"] == {
        "opted_out": None, "refused_item": None, "not_personalised": 0, "capped": None, "no_channel": 10
    }  # fmt: skip
    assert preview["overlaps"] == [], "who got both is over the cap"

    await send_now(client, manager, campaign)
    await run_jobs()
    shown = await get(client, manager, campaign)
    assert (shown["status"], shown["allowed"], shown["hold"]) == ("sent", [], None)
    rows = await recipients(runtime, manager.place, campaign["id"])
    assert set(rows) == {one.id for one in people} | set(mates)
    left = {who: row.left_out for who, row in rows.items() if row.status is RecipientStatus.LEFT_OUT}
    assert left == {
        refuser.id: LeftOut.OPTED_OUT, nobody.id: LeftOut.OPTED_OUT, hider.id: LeftOut.REFUSED_ITEM,
        capped.id: LeftOut.CAPPED, **dict.fromkeys(mates, LeftOut.NO_CHANNEL),
    }  # fmt: skip
    sent = [one for one in people if rows[one.id].status is RecipientStatus.SENT]
    held = [one for one in people if rows[one.id].status is RecipientStatus.HELD]
    assert len(sent) + len(held) == 56
    for person in people:
        mine = [one for one in await told(client, person) if one["link"] == f"/items/{baking}"]
        assert len(mine) == (person in sent), "each once, and nobody else"
    for one, mate in zip(people, mates, strict=False):
        assert rows[one.id].arm == rows[mate].arm, "who lives together is assigned together"

    # Who plans another one sees whom it would reach once more.
    another = await open_campaign(client, manager, items=[choir], filter={"is": "lives", "roles": ["tenant"]})
    [overlap] = (await move(client, manager, another, "preview")).json()["overlaps"]
    assert (overlap["campaign_id"], overlap["status"], overlap["residents"]) == (campaign["id"], "sent", len(sent))

    # What a message looks like, and that reading and clicking it is counted.
    message = (await told(client, sent[0]))[0]
    assert message["body"]["zh_plain"].startswith("一起做面包。")
    assert "/api/v1/unsubscribe?t=" in message["body"]["en"]
    assert message["link"] == f"/items/{baking}"
    await client.post(f"/api/v1/me/messages/{message['id']}/read", as_=sent[0])
    clock.now = NOW.replace(hour=5)
    for person in sent[: len(sent) // 2]:
        await did(runtime, person, baking, FeedbackKind.JOINED)
    await did(runtime, sent[0], baking, FeedbackKind.CLICKED)
    await did(runtime, held[0], baking, FeedbackKind.JOINED)
    await did(runtime, sent[-1], choir, FeedbackKind.JOINED)

    results = await get(client, manager, campaign, "/results")
    arms = {one["arm"]: one for one in results["arms"]}
    assert set(arms) == {"A", "told", "holdout"}
    assert (arms["A"]["sent"], arms["A"]["delivered"], arms["A"]["read"]) == (len(sent), len(sent), 1)
    assert (arms["told"]["clicked"], arms["told"]["reached_goal"]) == (1, len(sent) // 2)
    assert (arms["holdout"]["sent"], arms["holdout"]["residents"], arms["holdout"]["reached_goal"]) == (0, len(held), 1)
    lift = arms["told"]["lift"]
    assert lift["low"] < lift["difference"] < lift["high"]
    assert abs(lift["difference"] - (arms["told"]["rate"]["share"] - arms["holdout"]["rate"]["share"])) < 0.001
    assert lift["clear"]
    assert results["left_out"]["no_channel"] == 10
    assert results["left_out"]["capped"] is None
    csv = await client.get(f"{manager.place.url}/campaigns/{campaign['id']}/results?format=csv", as_=manager)
    assert csv.text.splitlines()[0].startswith("\ufeffcampaign,arm,hidden,households")
    assert len(csv.text.splitlines()) == 4


async def room_of(client: Client, manager: Any, person: Any) -> str:
    household = await client.get(f"{manager.place.url}/households/{person.household_id}", as_=manager)
    return str(household.json()["room_id"])
