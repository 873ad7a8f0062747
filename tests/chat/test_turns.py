"""A question from asking to its answer, with the engine scripted."""

import asyncio
import dataclasses
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.chat.publishing import END_TOKEN
from app.chat.relay import EventStream
from app.feed import Feed
from app.queue import HANDLERS, Lease
from app.runtime import open_embedder
from models.engine import State, Usage
from models.scripted_engine import Scripted
from tests.chat.events import read, read_all, text_of
from tests.make import Person

PARKING = """# 停车管理办法

## 第一条 临时停车收费

临时停车前30分钟免费，之后每小时5元，每天最高40元。

## 第二条 月租车位

月租车位每月300元，需要先到物业服务中心登记。
"""


async def ask(client, person: Person, text: str, **body) -> dict[str, Any]:
    response = await client.post("/api/v1/me/turns", as_=person, json={"text": text, **body})
    assert response.status_code == 202, response.text
    turn: dict[str, Any] = response.json()
    return turn


async def finished(client, person: Person, turn: dict[str, Any]) -> dict[str, Any]:
    response = await client.get(f"/api/v1/turns/{turn['id']}", as_=person)
    now: dict[str, Any] = response.json()
    return now


@pytest.fixture
async def resident(make):
    person = await make.resident()
    await make.document("停车管理办法", PARKING)
    return person


async def test_a_question_is_answered_from_the_documents_with_its_source(client, resident, engine, run_jobs):
    engine.follow([Scripted("临时停车每小时5元，每天最高40元。", usage=Usage(500, 256, 20))])
    turn = await ask(client, resident, "临时停车怎么收费？")
    assert await run_jobs() == 1
    answered = await finished(client, resident, turn)
    assert answered["status"] == "answered"
    assert answered["answer"] == "临时停车每小时5元，每天最高40元。"
    assert (answered["route"], answered["mode"]) == ("knowledge", "model")
    assert answered["citations"][0]["document"] == "停车管理办法"
    assert "5元" in answered["citations"][0]["quote"]
    assert answered["usage"] == {"prompt_tokens": 500, "cached_tokens": 256, "completion_tokens": 20}
    assert len(engine.requests) == 1, "the second delivery must not ask the engine again"


async def test_quotes_come_before_the_first_word_of_the_model(client, resident, engine, run_jobs):
    engine.follow(["每小时5元。"])
    turn = await ask(client, resident, "临时停车怎么收费？")
    await run_jobs()
    events = await read_all(client, turn["events_url"], as_=resident)
    names = [event.name for event in events if event.name != "position"]
    assert names[:3] == ["accepted", "started", "retrieved"]
    assert names[-2:] == ["citation", "done"]
    assert "5元" in "".join(q["quote"] for q in events[names.index("retrieved")].data["quotes"])
    assert text_of(events) == events[-1].data["answer"] == "每小时5元。"


async def test_an_invented_number_is_never_shown_and_the_quotes_stand(client, resident, engine, run_jobs):
    engine.follow(["临时停车每小时8元，很便宜。"])
    turn = await ask(client, resident, "临时停车怎么收费？")
    await run_jobs()
    events = await read_all(client, turn["events_url"], as_=resident)
    assert not any("8" in event.data["text"] for event in events if event.name == "token")
    answered = await finished(client, resident, turn)
    assert answered["mode"] == "quotes"
    assert "每小时5元" in answered["answer"]
    assert "8元" not in answered["answer"]
    assert text_of(events) == answered["answer"]


@pytest.mark.parametrize(
    "words", ["资料中没有提到这个问题。", "", "临时停车怎么收费？", "Parking costs 5 yuan an hour."]
)
async def test_words_that_are_worse_than_the_quotes_are_dropped(client, resident, engine, run_jobs, words):
    engine.follow([words])
    turn = await ask(client, resident, "临时停车怎么收费？")
    await run_jobs()
    answered = await finished(client, resident, turn)
    assert answered["mode"] == "quotes"
    assert "每小时5元" in answered["answer"]


async def test_what_no_document_says_gets_the_fixed_answer_and_no_engine(client, resident, engine, run_jobs):
    turn = await ask(client, resident, "火星上的天气怎么样？")
    await run_jobs()
    answered = await finished(client, resident, turn)
    assert answered["mode"] == "fixed"
    assert answered["answer"].startswith("现有资料里没有找到")
    assert answered["quotes"] == []
    assert engine.requests == []


@pytest.fixture
def unsure(web, runtime):
    """Every question is one that the search alone is not sure of."""
    settings = runtime.settings.model_copy(update={"unsure_score_min": 0.0, "unsure_score_max": 1.1})
    web[1].state.runtime = dataclasses.replace(runtime, settings=settings)
    return web[1].state.runtime


async def deliver(runtime) -> None:
    for lease in await runtime.queue.take(8, wait_seconds=0):
        await HANDLERS[lease.job.name](runtime, lease)
        await runtime.queue.finish(lease)


async def test_a_reader_who_finds_no_answer_takes_the_quotes_back(client, resident, engine, unsure):
    engine.follow(["没有"])
    turn = await ask(client, resident, "临时停车怎么收费？")
    await deliver(unsure)
    events = await read_all(client, turn["events_url"], as_=resident)
    assert {"retrieved", "replaced"} <= {event.name for event in events}
    answered = await finished(client, resident, turn)
    assert (answered["mode"], answered["quotes"]) == ("fixed", [])
    assert text_of(events) == answered["answer"]


async def test_a_reader_who_finds_the_answer_lets_it_be_worded(client, resident, engine, unsure):
    engine.follow(["有", "每小时5元。"])
    turn = await ask(client, resident, "临时停车怎么收费？")
    await deliver(unsure)
    assert (await finished(client, resident, turn))["answer"] == "每小时5元。"
    judgement, answer = engine.requests
    assert judgement.session == answer.session == turn["conversation_id"], "both go where the conversation is cached"
    assert judgement.choices == ("有", "没有")
    assert "每小时5元" in judgement.messages[-1].content
    assert answer.choices is None


async def test_without_a_reader_the_search_decides(client, resident, engine, unsure):
    engine.follow([Scripted("有", fail_at=0), "每小时5元。"])
    turn = await ask(client, resident, "临时停车怎么收费？")
    await deliver(unsure)
    assert (await finished(client, resident, turn))["mode"] in ("model", "quotes")


async def test_with_the_engine_off_the_passages_are_quoted_and_it_says_so(client, resident, engine, run_jobs):
    engine.stand(State.OFF, "stopped")
    first = await ask(client, resident, "临时停车怎么收费？")
    await run_jobs()
    answered = await finished(client, resident, first)
    assert answered["mode"] == "quotes"
    assert answered["answer"].startswith("智能回答暂时不可用")
    assert "每小时5元" in answered["answer"]
    engine.stand(State.READY)
    engine.follow(["每小时5元。"])
    second = await ask(client, resident, "临时停车怎么收费？", conversation_id=first["conversation_id"])
    await run_jobs()
    assert (await finished(client, resident, second))["mode"] == "model"


async def test_a_warming_engine_is_told_with_its_progress(client, resident, engine, run_jobs):
    engine.stand(State.WARMING, "loading the model (80 %)")
    turn = await ask(client, resident, "临时停车怎么收费？")
    await run_jobs()
    events = {event.name: event.data for event in await read_all(client, turn["events_url"], as_=resident)}
    assert events["retrieved"]["engine"] == {"state": "warming", "detail": "loading the model (80 %)"}
    assert events["done"]["answer"].startswith("智能回答正在启动")


async def test_an_engine_that_dies_mid_answer_leaves_the_quotes(client, resident, engine, run_jobs):
    engine.follow([Scripted("临时停车每小时5元，每天最高40元。", fail_at=3)])
    turn = await ask(client, resident, "临时停车怎么收费？")
    await run_jobs()
    answered = await finished(client, resident, turn)
    assert answered["mode"] == "quotes"
    assert text_of(await read_all(client, turn["events_url"], as_=resident)) == answered["answer"]


async def test_without_the_embedder_the_resident_is_told_and_the_turn_ends(client, web, runtime, resident):
    settings = runtime.settings.model_copy(
        update={"embedder_url": "http://127.0.0.1:9/v1", "embedder_model": "gone", "embedder_width": 384}
    )
    broken = dataclasses.replace(runtime, embedder=open_embedder(settings))
    turn = await ask(client, resident, "临时停车怎么收费？")
    await deliver(broken)
    answered = await finished(client, resident, turn)
    assert (answered["status"], answered["mode"]) == ("answered", "fixed")
    assert answered["answer"].startswith("资料检索暂时不可用")


@pytest.mark.parametrize(
    ("words", "shown"),
    [("请到物业服务中心办理。", "请到物业服务中心办理。"), ("临时停车很便宜，每小时8元。", "现有资料里没有找到")],
    ids=["no number", "a number"],
)
async def test_without_retrieval_the_engine_answers_alone_but_may_not_name_a_number(
    client, resident, engine, runtime, words, shown
):
    engine.follow([words])
    settings = runtime.settings.model_copy(update={"retrieval": False})
    turn = await ask(client, resident, "临时停车怎么收费？")
    await deliver(dataclasses.replace(runtime, settings=settings))
    answered = await finished(client, resident, turn)
    assert (answered["status"], answered["quotes"]) == ("answered", [])
    assert answered["answer"].startswith(shown)
    assert "5元" not in engine.requests[0].messages[-1].content
    events = await read_all(client, turn["events_url"], as_=resident)
    assert text_of(events) == answered["answer"]


async def test_a_burst_of_short_messages_becomes_one_turn(client, resident, engine, run_jobs):
    engine.follow(["每小时5元。"])
    first = await ask(client, resident, "你好")
    second = await ask(client, resident, "临时停车", conversation_id=first["conversation_id"])
    third = await ask(client, resident, "怎么收费？", conversation_id=first["conversation_id"])
    assert first["id"] == second["id"] == third["id"]
    assert third["messages"] == ["你好", "临时停车", "怎么收费？"]
    assert await run_jobs() == 1
    listed = await client.get(f"/api/v1/me/conversations/{first['conversation_id']}/turns", as_=resident)
    assert [row["status"] for row in listed.json()["items"]] == ["answered"]


async def test_a_second_question_sees_the_first(client, resident, engine, run_jobs):
    engine.follow(["每小时5元。", "每月300元。"])
    first = await ask(client, resident, "临时停车怎么收费？")
    await run_jobs()
    await ask(client, resident, "那月租车位呢？", conversation_id=first["conversation_id"])
    await run_jobs()
    said = [message.content for message in engine.requests[1].messages]
    assert said[1:3] == ["临时停车怎么收费？", "每小时5元。"]


async def test_stopping_a_waiting_turn_ends_it_at_once(client, resident, engine, run_jobs):
    turn = await ask(client, resident, "临时停车怎么收费？")
    stopped = (await client.post(f"/api/v1/turns/{turn['id']}/stop", as_=resident)).json()
    assert stopped["status"] == "stopped"
    assert await run_jobs() == 0
    assert engine.requests == []
    events = await read_all(client, turn["events_url"], as_=resident)
    assert events[-1].name == "done"


async def test_nobody_else_reads_or_stops_my_turn(client, make, resident, run_jobs):
    turn = await ask(client, resident, "你好")
    neighbour = await make.resident()
    stranger = await make.resident(place=await make.place())
    for other in (neighbour, stranger):
        for method, url in (
            ("GET", f"/api/v1/turns/{turn['id']}"),
            ("GET", turn["events_url"]),
            ("POST", f"/api/v1/turns/{turn['id']}/stop"),
            ("GET", f"/api/v1/me/conversations/{turn['conversation_id']}/turns"),
        ):
            refused = await client.request(method, url, as_=other)
            assert refused.status_code == 404, (method, url)
        body = {"text": "你好", "conversation_id": turn["conversation_id"]}
        refused = await client.post("/api/v1/me/turns", as_=other, json=body)
        assert refused.json()["code"] == "conversation_not_found"


async def test_staff_read_the_trace_and_residents_do_not(client, make, resident, engine, run_jobs):
    engine.follow(["每小时5元。"])
    turn = await ask(client, resident, "临时停车怎么收费？")
    await run_jobs()
    url = f"{resident.place.url}/turns/{turn['id']}/trace"
    trace = (await client.get(url, as_=await make.staff())).json()
    assert trace["trace"]["passages"][0]["document"] == "停车管理办法"
    assert {"quotes_ms", "first_token_ms", "total_ms"} <= set(trace["trace"]["times"])
    assert (await client.get(url, as_=resident)).json()["code"] == "scope_missing"
    elsewhere = await make.staff(place=await make.place())
    assert (await client.get(url, as_=elsewhere)).status_code == 404


@pytest.mark.parametrize(
    ("text", "code"),
    [("", "question_empty"), ("  \n\x00\u200b ", "question_empty"), ("水" * 100_000, "question_too_long")],
)
async def test_a_question_that_is_none_is_refused_and_kept_nowhere(client, resident, text, code):
    refused = await client.post("/api/v1/me/turns", as_=resident, json={"text": text})
    assert (refused.status_code, refused.json()["code"]) == (422, code)
    assert (await client.get("/api/v1/me/conversations", as_=resident)).json()["items"] == []


async def test_unknown_conversation(client, resident):
    refused = await client.post(
        "/api/v1/me/turns", as_=resident, json={"text": "你好", "conversation_id": str(uuid4())}
    )
    assert (refused.status_code, refused.json()["code"]) == (404, "conversation_not_found")


async def test_a_replayed_key_asks_once_and_another_body_is_refused(client, resident, engine, run_jobs):
    key = {"Idempotency-Key": uuid4().hex}
    body = {"text": "你好"}
    answers = await asyncio.gather(
        *(client.post("/api/v1/me/turns", as_=resident, json=body, headers=key) for _ in range(8))
    )
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert await run_jobs() == 1
    other = await client.post("/api/v1/me/turns", as_=resident, json={"text": "再见"}, headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


async def test_a_worker_that_woke_up_late_cannot_write(runtime, client, resident, engine, run_jobs):
    engine.follow(["每小时5元。", "每天最高40元。"])
    turn = await ask(client, resident, "临时停车怎么收费？")
    [lease] = await runtime.queue.take(1, wait_seconds=0)
    handler = HANDLERS[lease.job.name]
    await handler(runtime, Lease(job=lease.job, token=lease.token + 5, attempt=2))
    before = await finished(client, resident, turn)
    await handler(runtime, lease)
    assert await finished(client, resident, turn) == before


async def test_a_flushed_redis_loses_no_turn(runtime, client, resident, engine, run_jobs, clock):
    from datetime import timedelta

    from app.chat.jobs import sweep_open_turns

    engine.follow(["每小时5元。"])
    turn = await ask(client, resident, "临时停车怎么收费？")
    await runtime.redis.flushall()
    assert await run_jobs() == 0
    clock.now += timedelta(minutes=1)
    await sweep_open_turns(runtime)
    assert await run_jobs() >= 1
    assert (await finished(client, resident, turn))["status"] == "answered"


async def test_a_turn_whose_job_died_fails_and_says_so(runtime, client, resident, run_jobs, clock):
    from datetime import timedelta

    from app.chat.jobs import sweep_open_turns

    turn = await ask(client, resident, "临时停车怎么收费？")
    [lease] = await runtime.queue.take(1, wait_seconds=0)
    await runtime.queue.fail(lease, reason="the worker was killed")
    clock.now += timedelta(minutes=1)
    await sweep_open_turns(runtime)
    assert (await finished(client, resident, turn))["status"] == "failed"
    events = await read_all(client, turn["events_url"], as_=resident)
    assert events[-1].name == "failed"


async def test_a_resident_who_closes_the_page_is_followed_no_more(client, resident, runtime):
    turn = await ask(client, resident, "临时停车怎么收费？")
    async with client.stream("GET", turn["events_url"], as_=resident) as response:
        assert response.status_code == 200
        await anext(response.aiter_bytes())
        assert runtime.feed.followers == 1
    async with asyncio.timeout(10):
        while runtime.feed.followers:  # noqa: ASYNC110 (nobody is told)
            await asyncio.sleep(0.02)


async def test_a_stream_whose_library_swallowed_the_leaving_ends_all_the_same():
    """The follower of a closed page stayed for as long as its turn was open."""
    swallowed = 0

    async def frames():
        nonlocal swallowed
        while True:
            yield b": idle\n\n"
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                swallowed += 1
                if swallowed > 1:
                    raise

    async def leave():
        return {"type": "http.disconnect"}

    async def send(message):
        return None

    stream = asyncio.create_task(EventStream(frames())._run(leave, send))
    await asyncio.wait_for(stream, 10)
    assert (swallowed, stream.cancelling()) == (2, 0)


async def test_words_whose_taking_back_nobody_heard_are_taken_back_by_the_row(
    client, web, runtime, resident, engine, run_jobs
):
    """A stream that was quiet for a moment read its row, which had just ended, and ended with words that were dropped."""
    settings = runtime.settings.model_copy(update={"feed_idle_seconds": 0.3})
    web[1].state.runtime = dataclasses.replace(runtime, feed=Feed(runtime.redis, settings))
    engine.stand(State.OFF, "no model here")
    turn = await ask(client, resident, "临时停车怎么收费？")
    # Above every claim: what the worker says after it is heard by nobody.
    await runtime.feed.publish(UUID(turn["id"]), "token", {"text": "临时停车很便", "at": 0}, token=END_TOKEN)
    async with asyncio.timeout(20), client.stream("GET", turn["events_url"], as_=resident) as response:
        events = []
        async for event in read(response):
            events.append(event)
            if event.name == "token":
                await run_jobs()
    assert [event.name for event in events[-3:]] == ["token", "replaced", "done"]
    assert text_of(events) == events[-1].data["answer"] == (await finished(client, resident, turn))["answer"]


async def test_a_page_that_comes_back_with_an_id_of_nothing_is_told_or_reads_all(client, resident, engine, run_jobs):
    engine.stand(State.OFF, "no model here")
    turn = await ask(client, resident, "临时停车怎么收费？")
    await run_jobs()
    for way in ({"params": {"cursor": "\U0009fe44"}}, {"headers": {"Last-Event-ID": "abc"}}):
        told = await client.get(turn["events_url"], as_=resident, **way)
        assert (told.status_code, told.json()["code"]) == (422, "invalid_event_id")
    for way in ({"params": {"cursor": ""}}, {"headers": {"Last-Event-ID": f"9{0:012}-7"}}):
        events = await read_all(client, turn["events_url"], as_=resident, **way)
        assert (events[-1].name, "每小时5元" in events[-1].data["answer"]) == ("done", True)
