"""What every engine promises: the scripted one, the client on two servers, the client on real vLLM."""

import asyncio
import json
import time
from contextlib import aclosing

import jsonschema
import pytest

from models.engine import Delta, EngineFailed, Message, Request, State, Tool
from tests.models.conftest import Subject

PERSON = "你是小区的客服助手。"
REPORT = {
    "type": "object",
    "properties": {
        "intent": {"type": "string", "enum": ["repair", "fee", "other"]},
        "urgent": {"type": "boolean"},
    },
    "required": ["intent", "urgent"],
    "additionalProperties": False,
}


def ask(text: str, **changes) -> Request:
    fields = {"max_tokens": 24, **changes}
    return Request(messages=(Message("system", PERSON), Message("user", text)), **fields)


async def gather(subject: Subject, request: Request) -> list[Delta]:
    async with aclosing(subject.engine.stream(request)) as pieces:
        return [delta async for delta in pieces]


async def test_text_streams_in_order_and_ends_with_reason_and_usage(subject):
    deltas = await gather(subject, ask("请介绍一下小区的游泳池。"))
    *before, last = deltas
    assert len("".join(delta.text for delta in before)) > 3
    assert len(before) > 3, "one lump is no stream"
    assert all(delta.finish_reason is None and delta.usage is None for delta in before)
    assert last.finish_reason in ("stop", "length")
    assert last.usage is not None
    assert last.usage.prompt_tokens > 0
    assert last.usage.completion_tokens > 3


async def test_the_whole_answer_is_what_the_stream_said(subject):
    request = ask("停车怎么收费？")
    streamed = "".join(delta.text for delta in await gather(subject, request))
    completion = await subject.engine.complete(request)
    assert completion.text
    assert completion.usage.completion_tokens > 0
    if subject.kind != "client_on_real_vllm":  # bf16 sums differ with the batch, so real text may differ
        assert completion.text == streamed


async def test_answer_in_a_schema_is_valid(subject):
    completion = await subject.engine.complete(ask("厨房水管爆了，水流满地！", json_schema=REPORT, max_tokens=60))
    jsonschema.validate(json.loads(completion.text), REPORT)


async def test_answer_is_one_of_the_choices(subject):
    choices = ("报修", "缴费", "其他")
    deltas = await gather(subject, ask("灯坏了，属于哪一类？", choices=choices))
    assert "".join(delta.text for delta in deltas) in choices


async def test_the_shares_of_the_choices_are_told_or_left_out(subject):
    completion = await subject.engine.complete(ask("1+1=2，对吗？只回答“对”或“错”。", choices=("对", "错")))
    if completion.shares:
        assert set(completion.shares) == {"对", "错"}
        assert sum(completion.shares.values()) == pytest.approx(1.0)
        assert completion.shares[completion.text] >= 0.5
    else:
        assert subject.kind != "client_on_real_vllm", "vLLM says how likely each choice was"


async def test_priority_and_salt_are_accepted(subject):
    completion = await subject.engine.complete(ask("你好", priority=5, salt="community-1", max_tokens=4))
    assert completion.finish_reason in ("stop", "length")


async def test_tools_do_not_disturb_an_answer(subject):
    tool = Tool("open_order", "Opens a work order.", {"type": "object", "properties": {"text": {"type": "string"}}})
    completion = await subject.engine.complete(ask("你好", tools=(tool,), max_tokens=8))
    assert completion.finish_reason


async def test_a_left_stream_stops_the_generation(subject):
    request = ask("请写一篇很长的文章，介绍小区的历史、设施和居民。", max_tokens=600)
    async with aclosing(subject.engine.stream(request)) as pieces:
        async for delta in pieces:
            if delta.text:
                break
        assert subject.running() == 1
    left_at = time.monotonic()
    while subject.running() > 0:
        assert time.monotonic() - left_at < 5, "still running 5 s after the stream was closed"
        await asyncio.sleep(0.05)
    assert (await subject.engine.state()).slots > 0


async def test_a_cancelled_task_stops_the_generation(subject):
    task = asyncio.create_task(subject.engine.complete(ask("请写一篇很长的文章。", max_tokens=600)))
    while subject.running() == 0:
        assert not task.done()
        await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    left_at = time.monotonic()
    while subject.running() > 0:
        assert time.monotonic() - left_at < 5
        await asyncio.sleep(0.05)


async def test_streams_at_once_keep_their_texts_apart(subject):
    words = ("苹果", "香蕉", "橘子", "葡萄")
    requests = [ask(f"只回答这两个字：{word}", choices=(word, "错误")) for word in words]
    texts = [
        "".join(delta.text for delta in deltas)
        for deltas in await asyncio.gather(*(gather(subject, request) for request in requests))
    ]
    assert len(texts) == len(words)
    for text, word in zip(texts, words, strict=True):
        assert text in (word, "错误")


async def test_a_model_that_is_not_there_fails(subject):
    if subject.kind == "scripted":
        pytest.skip("the scripted engine has no models")
    with pytest.raises(EngineFailed, match="does not exist"):
        await subject.engine.complete(ask("你好", model="no-such-adapter"))
    assert (await subject.engine.state()).state is State.READY, "a wrong name is our mistake, not the engine's"


async def test_the_second_asking_comes_from_the_prefix_cache(subject):
    if subject.kind != "client_on_real_vllm":
        pytest.skip("only vLLM has a prefix cache")
    passage = "小区游泳池开放时间为上午八点到晚上九点，周一闭馆清洗。" * 30
    first = await subject.engine.complete(ask(passage, salt="a", max_tokens=2))
    again = await subject.engine.complete(ask(passage, salt="a", max_tokens=2))
    other = await subject.engine.complete(ask(passage, salt="b", max_tokens=2))
    assert first.usage.cached_tokens == 0
    assert again.usage.cached_tokens > again.usage.prompt_tokens * 0.6
    assert other.usage.cached_tokens == 0, "another community's salt must not share the cache"


async def test_state_is_ready_and_slots_fall_while_streams_run(subject):
    before = await subject.engine.state()
    assert before.state is State.READY
    async with aclosing(subject.engine.stream(ask("请写一篇很长的文章。", max_tokens=600))) as pieces:
        await anext(pieces)
        assert (await subject.engine.state()).slots == before.slots - 1
