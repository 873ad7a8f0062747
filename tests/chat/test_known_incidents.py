"""A resident tells in chat of what is known already: they hear how it stands, and follow or report all the same."""

import dataclasses
from datetime import timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from app.feed import Feed
from app.queue import Queue
from models.engine import State
from tests.chat.test_turns import ask
from tests.conftest import NOW
from tests.make import Person
from tests.service_desk.neighbourhood import build_house, messages


@pytest.fixture
async def house(make):
    return await build_house(make, units=3, rooms=1, name="8栋")


@pytest.fixture
async def manager(make):
    return await make.staff()


async def open_incident(client, manager: Person, **body: Any) -> dict[str, Any]:
    known = {
        "kind": "water", "title": "8栋3单元停水", "began_at": (NOW - timedelta(hours=2)).isoformat(),
        "expected_end_at": (NOW + timedelta(hours=2)).isoformat(), "resident_text": "水泵故障，正在抢修。",
    }  # fmt: skip
    answer = await client.post(f"{manager.place.url}/incidents", json=known | body, as_=manager)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


@pytest.mark.parametrize("down", [False, True], ids=["all up", "engine and Redis down"])
async def test_a_known_outage_is_told_from_its_row_and_followed_by_a_word(
    client, house, manager, run_jobs, engine, runtime, web, down: bool
):
    engine.stand(State.OFF, "stopped")
    if down:
        redis = Redis.from_url("redis://127.0.0.1:1", socket_connect_timeout=0.2)
        parts = {"redis": redis, "queue": Queue(redis, runtime.settings), "feed": Feed(redis, runtime.settings)}
        web[1].state.runtime = dataclasses.replace(runtime, **parts)
    incident = await open_incident(client, manager, space_ids=[str(house.units[2])])
    (here,) = house.people[2]
    turn = await ask(client, here, "三单元没水")
    assert (turn["status"], turn["route"], turn["mode"]) == ("answered", "incident", "fixed")
    assert "8栋3单元停水：11月22日08:00起已知悉，预计11月22日12:00恢复。水泵故障，正在抢修。" in turn["answer"]
    assert "回复“关注”" in turn["answer"]
    followed = await ask(client, here, "好的，关注一下吧", conversation_id=turn["conversation_id"])
    assert "已为您关注" in followed["answer"]
    mine = (await client.get(f"/api/v1/me/incidents/{incident['id']}", as_=here)).json()
    assert mine["following"]
    again = await ask(client, here, "no water in unit 3", conversation_id=turn["conversation_id"])
    assert "You follow it" in again["answer"]
    assert engine.requests == []
    assert (await client.get("/api/v1/me/workorders", as_=here)).json()["items"] == []


async def test_the_place_that_is_named_counts_and_rules_are_no_reports(client, house, manager):
    await open_incident(client, manager, space_ids=[str(house.units[2])])
    (elsewhere,), _, (here,) = house.people
    for who, text in (
        (elsewhere, "没水"), (here, "8栋一单元没水"), (here, "停电了"), (here, "漏水的维修费用谁承担"),
        (here, "停水通知在哪里看"), (here, "好的"), (manager, "三单元没水"),
    ):  # fmt: skip
        assert (await ask(client, who, text))["route"] != "incident", text
    assert (await ask(client, elsewhere, "三单元没水"))["route"] == "incident"


async def test_who_reports_all_the_same_gets_an_order_in_their_own_words(client, house, manager, run_jobs):
    incident = await open_incident(client, manager, space_ids=[str(house.id)])
    (here,) = house.people[0]
    turn = await ask(client, here, "我家没水，只有我家")
    reported = await ask(client, here, "报修", conversation_id=turn["conversation_id"])
    [order] = (await client.get("/api/v1/me/workorders", as_=here)).json()["items"]
    assert f"工单 {order['number']} 号" in reported["answer"]
    assert (order["text"], order["channel"]) == ("我家没水，只有我家", "ai")
    await client.post(f"{manager.place.url}/incidents/{incident['id']}/close", json={}, as_=manager)
    late = await ask(client, here, "没水")
    assert late["route"] is None, "what is over is no longer offered"


async def test_an_offer_that_is_over_and_one_in_a_persons_hands_are_not_taken_up(client, house, manager, run_jobs):
    incident = await open_incident(client, manager, space_ids=[])
    (here,), (there,), _ = house.people
    turn, other = await ask(client, here, "没水"), await ask(client, there, "没水")
    await ask(client, there, "转人工", conversation_id=other["conversation_id"])
    passed_on = await ask(client, there, "报修", conversation_id=other["conversation_id"])
    assert passed_on["status"] == "passed_on"
    assert (await client.get("/api/v1/me/workorders", as_=there)).json()["items"] == []
    await client.post(f"{manager.place.url}/incidents/{incident['id']}/close", json={}, as_=manager)
    over = await ask(client, here, "关注", conversation_id=turn["conversation_id"])
    assert "已经结束" in over["answer"]
    await run_jobs()
    assert await messages(client, here, "incident.") == []
