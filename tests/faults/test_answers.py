"""An answer under way, and what may happen to it."""

import asyncio
import dataclasses
import time

import pytest
from redis.asyncio import Redis

from app.feed import Feed
from app.queue import Queue
from tests.chat.events import Sent, read, read_all, text_of
from tests.chat.test_turns import PARKING, ask, finished
from tests.faults.conftest import SLOW


@pytest.fixture
async def resident(make):
    person = await make.resident()
    await make.document("停车管理办法", PARKING)
    return person


async def until_tokens(client, turn, as_, count: int) -> list[Sent]:
    """The first events, up to `count` token events; then the connection is dropped."""
    seen: list[Sent] = []
    async with client.stream("GET", turn["events_url"], as_=as_) as response:
        async for event in read(response):
            seen.append(event)
            if sum(1 for e in seen if e.name == "token") >= count or event.name in ("done", "failed"):
                return seen
    return seen


async def rest_of(client, turn, as_, seen: list[Sent]) -> list[Sent]:
    last = next(event.id for event in reversed(seen) if event.id)
    return await read_all(client, turn["events_url"], as_=as_, headers={"Last-Event-ID": last})


async def test_a_client_that_comes_back_misses_and_repeats_nothing(client, resident, start_worker):
    start_worker()
    turn = await ask(client, resident, "临时停车怎么收费？")
    seen = await until_tokens(client, turn, resident, 3)
    await asyncio.sleep(0.5)
    seen += await rest_of(client, turn, resident, seen)
    assert text_of(seen) == seen[-1].data["answer"] == SLOW.text
    assert "restart" not in {event.name for event in seen}


async def test_stopping_an_answer_stops_the_engine_and_keeps_what_was_said(
    client, resident, start_worker, engine_server
):
    start_worker()
    turn = await ask(client, resident, "临时停车怎么收费？")
    seen = await until_tokens(client, turn, resident, 2)
    # The engine's test token may be running beside the answer.
    answers = [body for body in engine_server.stage.bodies if body["max_tokens"] > 1]
    assert len(answers) == 1
    await client.post(f"/api/v1/turns/{turn['id']}/stop", as_=resident)
    seen += await rest_of(client, turn, resident, seen)
    deadline = time.monotonic() + 10
    while engine_server.stage.running:
        assert time.monotonic() < deadline, "the engine goes on"
        await asyncio.sleep(0.05)
    assert engine_server.stage.tokens < len(SLOW.text)
    stopped = await finished(client, resident, turn)
    assert stopped["status"] == "stopped"
    assert SLOW.text.startswith(stopped["answer"])
    assert 0 < len(stopped["answer"]) < len(SLOW.text)
    assert text_of(seen) == stopped["answer"]


async def test_an_answer_survives_a_killed_worker(client, resident, start_worker):
    first = start_worker()
    turn = await ask(client, resident, "临时停车怎么收费？")
    seen = await until_tokens(client, turn, resident, 2)
    first.kill()
    start_worker()
    seen += await rest_of(client, turn, resident, seen)
    assert "restart" in {event.name for event in seen}
    assert text_of(seen) == SLOW.text
    listed = await client.get(f"/api/v1/me/conversations/{turn['conversation_id']}/turns", as_=resident)
    assert [row["answer"] for row in listed.json()["items"]] == [SLOW.text]


async def test_a_worker_told_to_leave_hands_its_answer_over(client, resident, start_worker):
    first = start_worker()
    turn = await ask(client, resident, "临时停车怎么收费？")
    seen = await until_tokens(client, turn, resident, 2)
    start_worker()
    first.terminate()
    seen += await rest_of(client, turn, resident, seen)
    assert text_of(seen) == SLOW.text


async def test_redis_flushed_mid_answer_loses_nothing(client, runtime, resident, start_worker):
    start_worker()
    turn = await ask(client, resident, "临时停车怎么收费？")
    seen = await until_tokens(client, turn, resident, 2)
    await runtime.redis.flushall()
    seen += await rest_of(client, turn, resident, seen)
    assert seen[-1].name == "done"
    assert seen[-1].data["answer"] == SLOW.text
    again = await read_all(client, turn["events_url"], as_=resident)
    assert again[-1].data["answer"] == SLOW.text


async def test_without_the_engine_quotes_and_with_it_again_words_without_a_restart(
    client, make, resident, start_worker, engine_server
):
    start_worker()
    engine_server.stage.fault = "cut"
    turn = await ask(client, resident, "临时停车怎么收费？")
    events = await read_all(client, turn["events_url"], as_=resident)
    assert events[-1].data["mode"] == "quotes"
    assert text_of(events) == events[-1].data["answer"]
    engine_server.stage.fault = ""
    for _ in range(40):
        turn = await ask(client, resident, "临时停车怎么收费？")
        if (await read_all(client, turn["events_url"], as_=resident))[-1].data["mode"] == "model":
            return
        await asyncio.sleep(0.5)
    pytest.fail("the engine came back and nobody noticed")


async def test_a_question_to_an_engine_that_goes_on_refusing_ends_in_quotes(
    client, resident, start_worker, engine_server
):
    """It was put back again and again: the stream lived, said restart after restart, and never ended."""
    engine_server.stage.fault = "503"
    start_worker()
    turn = await ask(client, resident, "临时停车怎么收费？")
    async with asyncio.timeout(60):
        events = await read_all(client, turn["events_url"], as_=resident)
    assert events[-1].data["mode"] == "quotes"
    assert text_of(events) == events[-1].data["answer"]


async def test_a_message_sent_while_the_answer_runs_is_answered_after_it(client, resident, start_worker):
    start_worker()
    start_worker()
    first = await ask(client, resident, "临时停车怎么收费？")
    await until_tokens(client, first, resident, 1)
    second = await ask(client, resident, "月租车位多少钱？", conversation_id=first["conversation_id"])
    assert second["id"] != first["id"]
    assert (await finished(client, resident, second))["status"] == "waiting"
    await read_all(client, second["events_url"], as_=resident)
    ended = [await finished(client, resident, turn) for turn in (first, second)]
    assert ended[0]["finished_at"] < ended[1]["finished_at"]


async def test_a_question_asked_while_redis_is_away_is_kept(web, runtime, client, resident):
    gone = Redis.from_url("redis://127.0.0.1:9", socket_connect_timeout=1)
    app = web[1]
    app.state.runtime = dataclasses.replace(
        runtime, redis=gone, queue=Queue(gone, runtime.settings), feed=Feed(gone, runtime.settings)
    )
    turn = await ask(client, resident, "临时停车怎么收费？")
    app.state.runtime = runtime
    assert (await finished(client, resident, turn))["status"] == "waiting"
    await gone.aclose()
