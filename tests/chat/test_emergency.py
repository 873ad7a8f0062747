"""An emergency in chat: the card at once, an order for the staff, whatever else is down."""

import asyncio
import dataclasses
import json
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from redis.asyncio import Redis
from sqlalchemy import text as sql_text

from app.feed import Feed
from app.main import create_app
from app.queue import Queue
from app.safety import second_voice
from app.settings import Settings
from models.engine import State
from tests.chat.events import read_all, text_of
from tests.chat.test_turns import ask, finished
from tests.make import Person

LIFT = "我被困在电梯里了,3栋2单元"
OPEN_DOOR = "/api/v1/emergencies"


@pytest.fixture
async def resident(make):
    return await make.resident()


@pytest.fixture
async def manager(make):
    return await make.staff()


async def orders_of(client, manager: Person) -> list[dict[str, Any]]:
    listed = await client.get(f"{manager.place.url}/workorders", as_=manager)
    assert listed.status_code == 200, listed.text
    rows: list[dict[str, Any]] = listed.json()["items"]
    return rows


async def comments_of(client, manager: Person, order: dict[str, Any]) -> list[str]:
    listed = await client.get(f"{manager.place.url}/workorders/{order['id']}/comments", as_=manager)
    return [row["text"] for row in listed.json()["items"]]


async def test_somebody_in_the_lift_gets_the_card_at_once_and_the_staff_an_order(client, resident, manager, engine):
    turn = await ask(client, resident, LIFT)
    assert (turn["status"], turn["route"], turn["mode"]) == ("answered", "emergency", "fixed")
    assert "119" in turn["answer"]
    assert "不要扒门" in turn["answer"]
    assert engine.requests == []
    [order] = await orders_of(client, manager)
    assert (order["urgency"], order["emergency_kind"], order["status"]) == ("emergency", "trapped", "submitted")
    assert order["text"] == LIFT
    assert order["place_text"] == "3栋2单元"
    assert f"{order['number']} 号" in turn["answer"]
    shown = (await client.get(f"{manager.place.url}/workorders/{order['id']}", as_=manager)).json()
    assert (shown["conversation_id"], shown["turn_id"]) == (turn["conversation_id"], turn["id"])
    assert await finished(client, resident, turn) == turn


async def test_whoever_is_on_call_is_rung_and_a_second_message_rings_nobody_again(client, resident, manager, runtime):
    for text in (LIFT, "快来人,电梯里出不去"):
        await ask(client, resident, text)
    [order] = await orders_of(client, manager)
    jobs = [lease.job for lease in await runtime.queue.take(8, wait_seconds=0)]
    assert [(job.name, str(job.row_id)) for job in jobs] == [("service_desk.ring_on_call", order["id"])]


async def test_the_stream_and_the_feed_of_the_turn_say_the_card(client, resident):
    headers = {"Accept": "text/event-stream"}
    async with client.stream("POST", "/api/v1/me/turns", as_=resident, json={"text": LIFT}, headers=headers) as got:
        body = (await got.aread()).decode()
    names = [line[7:] for line in body.splitlines() if line.startswith("event: ")]
    assert names == ["accepted", "token", "done"]
    turn = json.loads([line[6:] for line in body.splitlines() if line.startswith("data: ")][-1])
    events = await read_all(client, turn["events_url"], as_=resident)
    assert text_of(events) == events[-1].data["answer"] == turn["answer"]


@pytest.mark.parametrize("stream", [False, True])
async def test_the_openai_door_says_the_card(client, make, manager, stream: bool):
    key = await make.api_key("chat:write")
    body = {"model": "linli", "messages": [{"role": "user", "content": "I smell gas in my kitchen"}], "stream": stream}
    answer = await client.post("/v1/chat/completions", as_=key, json=body)
    assert answer.status_code == 200, answer.text
    assert "Close the main gas valve" in answer.text
    assert [order["emergency_kind"] for order in await orders_of(client, manager)] == ["gas"]


async def test_a_second_message_joins_the_order_and_another_place_or_kind_opens_one(client, resident, manager, clock):
    first = await ask(client, resident, LIFT)
    again = await ask(client, resident, "快来人,我还困在电梯里,喘不上气", conversation_id=first["conversation_id"])
    assert again["status"] == "answered"
    orders = await orders_of(client, manager)
    assert sorted(order["emergency_kind"] for order in orders) == ["medical", "trapped"], "a graver one is its own"
    await ask(client, resident, "电梯里出不去,快点")
    trapped = next(order for order in await orders_of(client, manager) if order["emergency_kind"] == "trapped")
    assert await comments_of(client, manager, trapped) == ["电梯里出不去,快点"]
    await ask(client, resident, "9栋1单元电梯困人了")
    clock.now += timedelta(minutes=20)
    await ask(client, resident, LIFT)
    kinds = [order["emergency_kind"] for order in await orders_of(client, manager)]
    assert sorted(kinds) == ["medical", "trapped", "trapped", "trapped"]


async def test_where_it_is_and_that_all_is_well_reach_the_staff_and_close_nothing(client, resident, manager):
    first = await ask(client, resident, "电梯困人了")
    conversation = {"conversation_id": first["conversation_id"]}
    where = await ask(client, resident, "5栋1单元左边那部", **conversation)
    well = await ask(client, resident, "误报,没事了", **conversation)
    assert (where["route"], well["route"]) == ("emergency", "emergency")
    assert "值班人员" in where["answer"]
    assert "确认后" in well["answer"]
    [order] = await orders_of(client, manager)
    assert order["status"] == "submitted"
    assert await comments_of(client, manager, order) == ["5栋1单元左边那部", "误报,没事了"]
    elsewhere = await ask(client, resident, "5栋1单元怎么走")
    assert elsewhere["status"] == "waiting", "without an emergency it is a question like any other"


async def test_the_community_s_own_card_is_given(client, resident, manager):
    listed = (await client.get(f"{manager.place.url}/emergency-cards", as_=manager)).json()["items"]
    card = next(card for card in listed if card["kind"] == "trapped")
    body = {"text_zh": "别急。\n1. 打 {fire_phone}。\n2. 等我们来。"}
    url = f"{manager.place.url}/emergency-cards/{card['id']}"
    changed = await client.patch(url, as_=manager, json=body, headers={"If-Match": "*"})
    assert changed.status_code == 200
    turn = await ask(client, resident, LIFT)
    assert "1. 打 119。\n2. 等我们来。" in turn["answer"]


async def test_nobody_in_need_is_refused_for_asking_often_or_for_a_conversation_that_is_gone(
    client, resident, web, runtime
):
    settings = runtime.settings.model_copy(update={"turns_per_minute_max": 1})
    web[1].state.runtime = dataclasses.replace(runtime, settings=settings)
    await ask(client, resident, "物业费多少钱")
    refused = await client.post("/api/v1/me/turns", as_=resident, json={"text": "停车费多少钱"})
    assert refused.status_code == 429
    turn = await ask(client, resident, LIFT, conversation_id=str(uuid4()))
    assert turn["status"] == "answered"
    assert (await ask(client, resident, LIFT + "啊" * 5000))["status"] == "answered"
    doubtful = "露台烤肉冒烟正常吗"
    assert second_voice.hear(doubtful).asks_meaning, "the meaning is asked, and that is limited"
    assert (await ask(client, resident, doubtful))["status"] == "answered"


async def test_a_retry_with_the_same_key_opens_one_order(client, resident, manager):
    headers = {"Idempotency-Key": uuid4().hex}
    answers = [
        await client.post("/api/v1/me/turns", as_=resident, json={"text": LIFT}, headers=headers) for _ in range(3)
    ]
    assert len({answer.json()["id"] for answer in answers}) == 1
    [order] = await orders_of(client, manager)
    assert await comments_of(client, manager, order) == []


async def test_a_question_about_lifts_is_a_question(client, resident, manager):
    turn = await ask(client, resident, "如果被困电梯应该怎么做?")
    assert turn["status"] == "waiting"
    assert await orders_of(client, manager) == []


# With Redis, engine and embedder gone


class Gone:
    """An engine and an embedder that fail whoever asks them."""

    name = "gone"
    width = 384

    async def state(self) -> State:
        raise ConnectionError

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} was asked")


@pytest.fixture
async def bare(web, runtime, services):
    """The app with a Redis at which nobody listens, without engine and embedder. Rate limits have no Redis either."""
    nowhere = Settings(**(runtime.settings.model_dump() | {"redis_url": "redis://127.0.0.1:1/0"}), _env_file=None)
    redis = Redis.from_url(nowhere.redis_url, socket_connect_timeout=1)
    feed = Feed(redis, nowhere)
    gone: Any = Gone()
    parts = dataclasses.replace(
        runtime, settings=nowhere, redis=redis, queue=Queue(redis, nowhere), feed=feed, engine=gone, embedder=gone
    )
    app = create_app(parts)
    async with app.router.lifespan_context(app):
        yield app
    await feed.close()
    await redis.aclose()


@pytest.fixture
async def bare_client(bare, client):
    import httpx

    from tests.conftest import Client

    async with Client(transport=httpx.ASGITransport(bare), base_url="http://linli", timeout=30) as found:
        found.settings, found.clock = client.settings, client.clock
        yield found


async def test_with_redis_engine_and_embedder_stopped_the_lift_case_gets_its_card_and_order(
    bare_client, client, resident, manager
):
    turn = (await bare_client.post("/api/v1/me/turns", as_=resident, json={"text": LIFT})).json()
    assert (turn["status"], turn["route"]) == ("answered", "emergency")
    signed_out = await bare_client.post(OPEN_DOOR, json={"community": manager.place.slug, "text": "8栋着火了"})
    assert signed_out.status_code == 200, signed_out.text
    assert signed_out.json()["reported"] is True
    assert "119" in signed_out.json()["card"]
    assert sorted(row["emergency_kind"] for row in await orders_of(client, manager)) == ["fire", "trapped"]


async def test_with_the_tables_locked_whoever_cries_for_help_gets_the_card(client, resident, manager, runtime):
    """As under a migration, or a database that is overloaded: statements end by their time limit."""
    async with runtime.transaction(manager.tenant) as locking:
        await locking.execute(sql_text("LOCK TABLE work_orders, conversations IN ACCESS EXCLUSIVE MODE"))
        chat, door, question = await asyncio.gather(
            client.post("/api/v1/me/turns", as_=resident, json={"text": LIFT}),
            client.post(OPEN_DOOR, json={"community": manager.place.slug, "text": LIFT}),
            client.post("/api/v1/me/turns", as_=resident, json={"text": "几点开门？"}),
        )
    assert (chat.status_code, chat.json()["code"]) == (503, "emergency_not_reported")
    assert "不要扒门" in chat.json()["detail"]
    assert (door.status_code, door.json()["reported"]) == (200, False)
    assert "不要扒门" in door.json()["card"]
    assert (question.status_code, question.json()["code"]) == (503, "store_unavailable")


# Signed out


async def test_signed_out_somebody_gets_the_card_and_the_staff_an_unverified_order(client, manager):
    body = {"community": manager.place.slug, "text": "电梯里有人被困", "place": "6栋", "contact_phone": "13800000000"}
    first = await client.post(OPEN_DOOR, json=body)
    assert first.status_code == 200, first.text
    told = first.json()
    assert (told["kind"], told["reported"]) == ("trapped", True)
    assert "不要扒门" in told["card"]
    again = await client.post(OPEN_DOOR, json=body | {"text": "电梯困人,怎么还没来"})
    assert again.json()["number"] == told["number"], "the same caller's second message joins"
    [order] = await orders_of(client, manager)
    shown = (await client.get(f"{manager.place.url}/workorders/{order['id']}", as_=manager)).json()
    assert shown["triage"]["unverified_caller"] is True
    assert (shown["contact_phone"], shown["place_text"]) == ("13800000000", "6栋")


async def test_signed_out_a_stray_character_stops_nobody(client, manager):
    body = {"community": manager.place.slug, "text": "8栋着火了\x00", "place": "8\x00栋", "contact_phone": "1380\x00"}
    told = await client.post(OPEN_DOOR, json=body)
    assert (told.status_code, told.json()["reported"]) == (200, True), told.text
    [order] = await orders_of(client, manager)
    assert (order["text"], order["place_text"]) == ("8栋着火了", "8栋")


async def test_signed_out_the_kind_may_be_chosen_and_what_is_none_wakes_nobody(client, manager):
    place = {"community": manager.place.slug}
    chosen = (await client.post(OPEN_DOOR, json={**place, "text": "快来", "kind": "gas"})).json()
    assert (chosen["kind"], chosen["reported"]) == ("gas", True)
    none = (await client.post(OPEN_DOOR, json={**place, "text": "物业费在哪里交"})).json()
    assert (none["kind"], none["reported"], none["number"]) == ("other", False, None)
    assert all(number in none["card"] for number in ("119", "120", "110"))
    unknown = await client.post(OPEN_DOOR, json={"community": "nowhere", "text": "着火了"})
    assert unknown.json()["code"] == "community_not_found"
    english = (await client.post(OPEN_DOOR, json={**place, "text": "There is a fire in block 3"})).json()
    assert (english["language"], english["kind"]) == ("en", "fire")


async def test_the_open_door_takes_so_many_from_one_address(client, manager, web, runtime):
    settings = runtime.settings.model_copy(update={"emergencies_per_minute_max": 2})
    web[1].state.runtime = dataclasses.replace(runtime, settings=settings)
    body = {"community": manager.place.slug, "text": "着火了"}
    statuses = [(await client.post(OPEN_DOOR, json=body)).status_code for _ in range(4)]
    assert statuses == [200, 200, 429, 429]
