"""Before an order is opened: what is known of it is offered, to residents and to staff, with and without vectors."""

import dataclasses
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from models.embedder import Vectors
from models.engine import State
from models.openai_embedder import EmbedderFailed
from models.scripted_engine import ScriptedEngine
from tests.conftest import NOW, Client
from tests.make import Make, Person
from tests.service_desk.neighbourhood import build_house, report


@pytest.fixture(autouse=True)
def no_engine(engine: ScriptedEngine) -> None:
    engine.stand(State.OFF, "stopped")


class NoEmbedder:
    """A server that is not there."""

    name, width = "away", 8

    async def embed_queries(self, texts: Sequence[str]) -> Vectors:
        raise EmbedderFailed("refused")

    embed_passages = embed_queries


async def asked(client: Client, who: Person, text: str, **body: Any) -> dict[str, Any]:
    """What is known of a report."""
    answer = await client.post("/api/v1/me/workorders/matches", json={"text": text, **body}, as_=who)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def opened(client: Client, staff: Person, **body: Any) -> dict[str, Any]:
    known = {
        "kind": "water", "title": "1栋停水", "began_at": (NOW - timedelta(hours=2)).isoformat(),
        "expected_end_at": (NOW + timedelta(hours=2)).isoformat(),
    }  # fmt: skip
    return dict((await client.post(f"{staff.place.url}/incidents", json=known | body, as_=staff)).json())


@pytest.mark.parametrize("down", [False, True], ids=["embedder up", "embedder down"])
async def test_known_since_when_and_expected_until_is_offered_and_followed(
    client: Client, make: Make, runtime: Any, web: Any, down: bool
):
    if down:
        web[1].state.runtime = dataclasses.replace(runtime, embedder=NoEmbedder())
    staff = await make.staff()
    house, far = await build_house(make, units=2, rooms=1), await build_house(make, rooms=1)
    (here,), (next_door,) = house.people
    incident = await opened(client, staff, space_ids=[str(house.units[0])])
    [match] = (await asked(client, here, "龙头放不出水，怎么回事"))["incidents"]
    assert match["incident_id"] == incident["id"]
    assert "11月22日08:00起已知悉，预计11月22日12:00恢复" in match["offer"]["zh"]
    assert "known since 22 Nov 08:00, expected to end 22 Nov 12:00. Follow it?" in match["offer"]["en"]
    assert not match["following"]
    assert (await client.post(f"/api/v1/me/incidents/{match['incident_id']}/follow", as_=here)).json()["following"]
    assert (await asked(client, here, "no water"))["incidents"][0]["following"]
    for who, text in ((here, "停电了"), (here, "墙皮掉了"), (next_door, "没水"), (far.everybody()[0], "没水")):
        assert (await asked(client, who, text))["incidents"] == []
    # Who says "the whole house" means the unit below it too.
    assert (await asked(client, next_door, "整栋楼都没水", space_id=str(house.id)))["incidents"]


async def test_a_suspicion_that_was_offered_can_be_followed(client: Client, make: Make, run_jobs: Any):
    house = await build_house(make, rooms=4)
    *first, late = house.everybody()
    for who in first:
        await report(client, who, "没水")
    await run_jobs()
    [match] = (await asked(client, late, "没水"))["incidents"]
    assert "正在核实" in match["offer"]["zh"]
    assert (await client.get("/api/v1/me/incidents", as_=late)).json()["items"] == []
    assert (await client.post(f"/api/v1/me/incidents/{match['incident_id']}/follow", as_=late)).status_code == 200
    assert len((await client.get("/api/v1/me/incidents", as_=late)).json()["items"]) == 1


async def test_a_resident_sees_their_own_like_orders_and_how_many_others_there_are(
    client: Client, make: Make, run_jobs: Any
):
    staff = await make.staff()
    one, other = (await build_house(make, rooms=2)).everybody()
    mine, theirs = await report(client, one, "楼道灯不亮"), await report(client, other, "楼道的灯坏了")
    await run_jobs()
    known = await asked(client, one, "楼道灯还是不亮")
    assert [order["order_id"] for order in known["workorders"]] == [mine["id"]]
    assert known["others_count"] == 1
    answer = await client.post(f"{staff.place.url}/workorders/matches", json={"text": "楼道灯不亮"}, as_=staff)
    assert {order["order_id"] for order in answer.json()["workorders"]} == {mine["id"], theirs["id"]}


async def test_asking_changes_nothing_and_names_no_place_of_others(client: Client, make: Make):
    who = (await build_house(make, rooms=1)).everybody()[0]
    missing = await client.post(
        "/api/v1/me/workorders/matches", json={"text": "没水", "space_id": str(uuid4())}, as_=who
    )
    assert (missing.status_code, missing.json()["code"]) == (404, "space_not_found")
    assert await asked(client, who, "没水") == {"incidents": [], "workorders": [], "others_count": 0}
    assert (await client.get("/api/v1/me/workorders", as_=who)).json()["items"] == []


async def test_a_report_of_what_is_known_is_answered_with_an_offer_and_taken_all_the_same(
    client: Client, make: Make, run_jobs: Any
):
    staff = await make.staff()
    house = await build_house(make, units=2, rooms=2)
    (here, neighbour), (next_door, _) = house.people
    incident = await opened(client, staff, space_ids=[str(house.units[0])], resident_text="水泵故障。")
    url = "/api/v1/me/workorders"
    offered = await client.post(url, json={"text": "水龙头放不出水"}, as_=here, headers={"Idempotency-Key": "one"})
    assert (offered.status_code, offered.json()["code"]) == (409, "incident_known")
    [match] = offered.json()["facts"]["incidents"]
    assert match["incident_id"] == incident["id"]
    assert "08:00起已知悉，预计11月22日12:00恢复。要关注进展吗？" in offered.json()["messages"]["zh"]
    assert (await client.get(url, as_=here)).json()["items"] == []
    assert (await client.post(f"/api/v1/me/incidents/{incident['id']}/follow", as_=here)).json()["following"]
    for who, text in ((next_door, "没水"), (here, "停电了"), (here, "电梯停了，有人被困在里面")):
        assert (await client.post(url, json={"text": text}, as_=who)).status_code == 201, text
    body = {"text": "没水", "open_anyway": True}
    taken = await client.post(url, json=body, as_=neighbour, headers={"Idempotency-Key": "one"})
    assert taken.status_code == 201, taken.text
    await run_jobs()
    shown = (await client.get(f"{url}/{taken.json()['id']}", as_=neighbour)).json()
    assert shown["incident_id"] == incident["id"]
