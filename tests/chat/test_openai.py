"""The OpenAI-compatible door, opened with OpenAI's own client."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import openai
import pytest

from app import worker
from app.chat import openai_api
from app.feed import Event
from tests.chat.test_turns import PARKING


@pytest.fixture
async def working(runtime) -> AsyncIterator[None]:
    """A worker in this process, since the client waits for its answer."""
    stop = asyncio.Event()
    task = asyncio.create_task(worker.run(runtime, stop=stop))
    yield
    stop.set()
    await task


@pytest.fixture
async def door(client, make, working):
    await make.home()
    await make.document("停车管理办法", PARKING)
    key = await make.api_key("chat:write")
    async with openai.AsyncOpenAI(base_url=f"{client.base_url}/v1", api_key=key, max_retries=0) as door:
        yield door


QUESTION: list[Any] = [{"role": "user", "content": "临时停车怎么收费？"}]


async def test_an_openai_client_streams_an_answer_with_its_source(door, engine):
    engine.follow(["临时停车每小时5元。"])
    stream = await door.chat.completions.create(
        model="linli", messages=QUESTION, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text.startswith("临时停车每小时5元。\n\n来源：《停车管理办法》")
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-2].linli["citations"][0]["document"] == "停车管理办法"
    assert chunks[-1].usage.completion_tokens > 0


async def test_an_answer_in_one_piece_with_the_clients_own_history(door, engine):
    engine.follow(["每月300元。"])
    answered = await door.chat.completions.create(
        model="linli",
        messages=[
            {"role": "system", "content": "You are a pirate."},
            *QUESTION,
            {"role": "assistant", "content": "每小时5元。"},
            {"role": "user", "content": [{"type": "text", "text": "那月租车位呢？"}]},
        ],
    )
    assert answered.choices[0].message.content.startswith("每月300元。")
    said = [message.content for message in engine.requests[0].messages]
    assert said[1:3] == ["临时停车怎么收费？", "每小时5元。"]
    assert not any("pirate" in words for words in said)


async def test_the_models_are_one(door):
    assert [model.id async for model in await door.models.list()] == ["linli"]


async def test_replaced_words_are_followed_by_the_quotes(door, engine):
    engine.follow(["临时停车很便宜，每小时8元。"])
    stream = await door.chat.completions.create(model="linli", messages=QUESTION, stream=True)
    text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])
    assert "8元" not in text
    assert "每小时5元" in text


def token(text: str, at: int) -> Event:
    return Event("", "token", {"text": text, "at": at})


ANEW = Event("", "restart", {"attempt": 2})


@pytest.mark.parametrize(
    ("told", "answer", "sent"),
    [
        ([token("每小时", 0), token("5元。", 3)], "每小时5元。", "每小时5元。"),
        ([], "每小时5元。", "每小时5元。"),
        ([token("每小时", 0), ANEW, token("每", 0), token("小时5元。", 1)], "每小时5元。", "每小时5元。"),
        ([token("每小时", 0), ANEW, token("免费，", 0), token("之后5元。", 3)], "免费，之后5元。", "每小时\n\n免费，之后5元。"),
        ([token("很便宜", 0), Event("", "replaced", {"text": "原文"})], "原文", "很便宜\n\n原文"),
        # What took the words back was not heard; the end tells the whole answer.
        ([token("很便宜", 0)], "原文", "很便宜\n\n原文"),
    ],
)  # fmt: skip
async def test_what_a_client_holds_in_the_end_is_the_answer(told: list[Event], answer: str, sent: str):
    async def events() -> AsyncGenerator[Event, None]:
        for event in told:
            yield event
        done = {"id": "1", "answer": answer, "mode": "fixed", "citations": [], "quotes": [], "route": "knowledge"}
        yield Event("", "done", done)

    got = [line async for line in openai_api._chunks({}, events(), with_usage=False)]
    choices = [json.loads(line[6:])["choices"][0] for line in got[:-1]]
    assert "".join(choice["delta"].get("content", "") for choice in choices) == sent
    assert (choices[-1]["finish_reason"], got[-1]) == ("stop", b"data: [DONE]\n\n")


@pytest.mark.parametrize(
    ("messages", "status", "code"),
    [
        ([{"role": "assistant", "content": "hi"}], 422, "no_user_message"),
        ([], 422, "request_invalid"),
        ([{"role": "user", "content": "水" * 5_000}], 422, "question_too_long"),
    ],
)
async def test_bad_requests_are_problems(door, messages, status, code):
    with pytest.raises(openai.APIStatusError) as refused:
        await door.chat.completions.create(model="linli", messages=messages)
    assert (refused.value.status_code, refused.value.response.json()["code"]) == (status, code)


async def test_a_key_without_the_scope_is_refused(client, make):
    key = await make.api_key("knowledge:read")
    async with openai.AsyncOpenAI(base_url=f"{client.base_url}/v1", api_key=key, max_retries=0) as door:
        with pytest.raises(openai.PermissionDeniedError):
            await door.chat.completions.create(model="linli", messages=QUESTION)
