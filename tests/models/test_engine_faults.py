"""How the client meets an engine that fails: honest errors, bounded waiting, nothing wrong shown."""

import asyncio
import json
import socket
import time
from contextlib import aclosing

import pytest

from models.engine import EngineBusy, EngineFailed, Message, Request, State, ToolCall, Usage
from models.scripted_engine import Scripted
from models.vllm_engine import retry_after
from tests.scripted_server import serving

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


def ask(text: str = "你好", **changes) -> Request:
    return Request(messages=(Message("user", text),), max_tokens=50, **changes)


async def read_into(texts: list[str], engine) -> None:
    async with aclosing(engine.stream(ask())) as pieces:
        async for delta in pieces:
            assert delta.finish_reason is None, "a broken answer must not look finished"
            texts.append(delta.text)


async def wait_for_state(engine, wanted: State, *, seconds: float = 5) -> None:
    until = time.monotonic() + seconds
    while (seen := await engine.state()).state is not wanted:
        assert time.monotonic() < until, f"still {seen.state}: {seen.detail}"
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("status", ["503", "429"])
async def test_a_busy_engine_says_when_to_come_back(server, connect, status):
    server.stage.fault = status
    engine = connect(server.url)
    with pytest.raises(EngineBusy) as caught:
        await engine.complete(ask())
    assert caught.value.retry_after_seconds == 2
    assert len(server.stage.bodies) == 1, "busy is not tried again here: the job goes back to the queue"
    assert (await engine.state()).state is State.READY


async def test_an_engine_that_refused_for_too_long_fails_and_answers_again_by_itself(server, connect):
    """Turns were put back for as long as the engine said 503, and nobody who waited ever saw an end."""
    server.stage.fault = "503"
    engine = connect(server.url, engine_refusing_seconds_max=2.3, breaker_open_seconds=0.2, engine_state_seconds=0.05)
    with pytest.raises(EngineBusy):
        await engine.complete(ask())
    await asyncio.sleep(0.5)
    with pytest.raises(EngineFailed, match="has refused all"):
        await engine.complete(ask())
    assert (await engine.state()).state is State.FAILING
    with pytest.raises(EngineFailed):
        await engine.complete(ask())
    server.stage.fault = ""
    await wait_for_state(engine, State.READY)
    assert (await engine.complete(ask())).text


async def test_two_short_refusals_with_an_answer_in_between_are_not_one_long_one(server, connect):
    engine = connect(server.url, engine_refusing_seconds_max=2.3)
    for _ in range(2):
        server.stage.fault = "503"
        with pytest.raises(EngineBusy):
            await engine.complete(ask())
        server.stage.fault = ""
        await engine.complete(ask())
        await asyncio.sleep(0.4)


@pytest.mark.parametrize("fault", ["cut", "truncated", "no_utf8", "error_event", "malformed", "whitespace", "spaces"])
async def test_a_broken_stream_fails_and_is_not_repeated(server, connect, fault):
    server.stage.fault = fault
    engine = connect(server.url)
    texts: list[str] = []
    with pytest.raises(EngineFailed):
        await read_into(texts, engine)
    assert "".join(texts).startswith("这是一")
    assert len("".join(texts)) < 1_000, "endless white space is not passed on"
    assert len(server.stage.bodies) == 1


async def test_a_server_error_before_the_first_token_is_tried_again_once(server, connect):
    server.stage.fault = "500"
    with pytest.raises(EngineFailed, match="HTTP 500"):
        await connect(server.url).complete(ask())
    assert len(server.stage.bodies) == 2


async def test_a_refused_request_is_our_mistake_and_not_tried_again(server, connect):
    server.stage.fault = "400"
    engine = connect(server.url, breaker_failures_max=1)
    with pytest.raises(EngineFailed, match="HTTP 400"):
        await engine.complete(ask())
    assert len(server.stage.bodies) == 1
    assert (await engine.state()).state is State.READY


async def test_no_first_token_fails_in_time(server, connect):
    server.stage.fault = "hang"
    started = time.monotonic()
    with pytest.raises(EngineFailed, match="first token"):
        await connect(server.url, engine_first_token_seconds=0.3).complete(ask())
    assert time.monotonic() - started < 5
    await asyncio.sleep(0.1)
    assert server.stage.running == 0, "the hung request was left open at the server"


async def test_an_engine_that_stops_mid_answer_is_found_long_before_the_limits_of_an_answer(server, connect):
    engine = connect(server.url, engine_stall_seconds_min=0.5)
    await engine.complete(ask())
    server.stage.fault = "stall"
    texts: list[str] = []
    started = time.monotonic()
    with pytest.raises(EngineFailed, match="next token"):
        await read_into(texts, engine)
    assert "".join(texts) == "这是一"
    assert time.monotonic() - started < 30 / 2, "between tokens 30 s are allowed, of a healthy engine"
    seen = await engine.state()
    assert seen.state is State.FAILING
    assert "hangs" in seen.detail


async def test_an_engine_that_is_silent_to_the_limit_of_an_answer_is_not_called_ready(server, connect):
    engine = connect(server.url, engine_stall_seconds_min=5, engine_between_tokens_seconds=0.5, breaker_open_seconds=60)
    await engine.state()
    server.stage.fault = "stall"
    with pytest.raises(EngineFailed, match="next token"):
        await read_into([], engine)
    assert (await engine.state()).state is State.FAILING


async def test_all_who_wait_at_a_hung_engine_are_told_at_once(server, connect):
    engine = connect(server.url, engine_stall_seconds_min=0.5)
    await engine.complete(ask())
    server.stage.fault = "hang"
    ended = await asyncio.gather(*(engine.complete(ask()) for _ in range(5)), return_exceptions=True)
    assert [type(one).__name__ for one in ended] == ["EngineHung"] * 5
    assert (await engine.state()).state is State.FAILING


async def test_a_slow_engine_is_not_called_hung(connect):
    """Its pauses are eight times the least silence that may mean a hang."""
    with serving(lambda request: Scripted("一二三四五六", between_tokens_seconds=0.8)) as server:
        engine = connect(server.url, engine_stall_seconds_min=0.1)
        for _ in range(2):
            completion = await engine.complete(ask())
            assert completion.text == "一二三四五六"
        assert (await engine.state()).state is State.READY


async def test_a_long_prompt_is_not_called_a_hang(connect):
    """The first answer teaches how long reading takes here; a longer prompt may take longer in proportion."""

    def reads(request):
        return Scripted("好的", first_token_seconds=len(request.messages[0].content) / 4_000)

    with serving(reads) as server:
        engine = connect(server.url, engine_stall_seconds_min=0.1)
        for chars in (2_000, 6_000):
            assert (await engine.complete(ask("字" * chars))).text == "好的"
        assert (await engine.state()).state is State.READY


async def test_while_the_engine_works_for_others_a_stalled_answer_does_not_eject_it(server, connect):
    engine = connect(server.url, engine_stall_seconds_min=0.3, engine_between_tokens_seconds=1.5)
    await engine.complete(ask())
    server.stage.fault = "stall"

    async def work_for_others() -> None:
        while True:
            server.stage.tokens += 1
            await asyncio.sleep(0.02)

    others = asyncio.create_task(work_for_others())
    with pytest.raises(EngineFailed, match="next token") as caught:
        await read_into([], engine)
    others.cancel()
    assert type(caught.value).__name__ == "EngineSilent", "this answer is given up, the engine is not"
    server.stage.fault = ""
    assert (await engine.state()).state is State.READY


async def test_a_slow_reader_of_ours_is_not_called_a_hang(connect):
    with serving([Scripted("一二三四五六", between_tokens_seconds=0.01)]) as server:
        engine = connect(server.url, engine_stall_seconds_min=0.1)
        async with aclosing(engine.stream(ask())) as pieces:
            texts = []
            async for delta in pieces:
                texts.append(delta.text)
                if len(texts) == 2:
                    await asyncio.sleep(1)
    assert "".join(texts) == "一二三四五六"


async def test_an_idle_engine_that_hangs_is_found_within_a_few_canaries(server, connect):
    interval = 0.5
    engine = connect(
        server.url, engine_canary_seconds=interval, engine_stall_seconds_min=interval, engine_state_seconds=0.05
    )
    await engine.state()
    await engine.complete(ask())
    server.stage.fault = "hang"
    started = time.monotonic()
    await wait_for_state(engine, State.FAILING, seconds=60)
    assert (time.monotonic() - started) / interval < 20, "two intervals when nothing else loads the machine"


async def test_white_space_broken_by_a_letter_now_and_then_ends_at_the_total_limit(connect):
    endless = Scripted((" \n" * 50 + "字") * 400, between_tokens_seconds=0.005)
    with serving([endless]) as server, pytest.raises(EngineFailed, match="silent"):
        await connect(server.url, engine_total_seconds=1).complete(ask())


async def test_a_stall_between_tokens_fails_in_time(connect):
    with serving([Scripted("一二三四五六", hang_at=3)]) as server:
        engine = connect(server.url, engine_between_tokens_seconds=0.3)
        texts: list[str] = []
        with pytest.raises(EngineFailed, match="next token"):
            await read_into(texts, engine)
    assert "".join(texts) == "一二三"


async def test_a_drip_of_tokens_ends_at_the_total_limit(connect):
    with serving([Scripted("字" * 200, between_tokens_seconds=0.05)]) as server:
        engine = connect(server.url, engine_total_seconds=0.5)
        started = time.monotonic()
        with pytest.raises(EngineFailed):
            await engine.complete(ask())
    assert time.monotonic() - started < 5


async def test_a_slow_reader_of_ours_is_not_the_engines_silence(connect):
    with serving([Scripted("一二三四五六", between_tokens_seconds=0.01)]) as server:
        engine = connect(server.url, engine_between_tokens_seconds=0.3)
        async with aclosing(engine.stream(ask())) as pieces:
            texts = []
            async for delta in pieces:
                texts.append(delta.text)
                if len(texts) == 2:
                    await asyncio.sleep(0.6)
    assert "".join(texts) == "一二三四五六"


async def test_an_answer_that_breaks_its_schema_is_asked_for_once_more(connect):
    with serving(['{"n": "one"}', '{"n": 1}', "no json", "no json"]) as server:
        engine = connect(server.url)
        assert json.loads((await engine.complete(ask(json_schema=SCHEMA))).text) == {"n": 1}
        first, second = server.stage.bodies
        assert first["temperature"] == 0
        assert second["temperature"] > 0, "the same again would come out the same"
        with pytest.raises(EngineFailed, match="no JSON"):
            await engine.complete(ask(json_schema=SCHEMA))
        assert (await engine.state()).state is State.READY, "a poor answer is no outage"


async def test_tool_calls_come_whole_with_the_last_delta(connect):
    call = ToolCall("call-1", "open_order", '{"text": "水管漏水"}')
    usage = Usage(100, 64, 7)
    with serving([Scripted("", (call,), "tool_calls", usage)]) as server:
        completion = await connect(server.url).complete(ask())
    assert completion.tool_calls == (call,)
    assert completion.finish_reason == "tool_calls"
    assert completion.usage == usage


async def test_vllm_gets_its_own_fields_and_a_plain_server_does_not(connect):
    request = ask(choices=("甲", "乙"), priority=3, salt="c1")
    with serving() as vllm, serving(plain=True) as plain:
        assert (await connect(vllm.url).complete(request)).text == "甲"
        assert (await connect(plain.url).complete(request)).text == "甲"
        assert vllm.stage.bodies[0]["cache_salt"] == "c1"
        assert vllm.stage.bodies[0]["priority"] == 3
        assert vllm.stage.bodies[0]["structured_outputs"] == {"choice": ["甲", "乙"]}
        assert not {"cache_salt", "priority", "structured_outputs"} & set(plain.stage.bodies[0])
        assert "response_format" in plain.stage.bodies[0]


async def test_vllm_without_priority_scheduling_still_answers(connect):
    with serving(priority=False) as server:
        engine = connect(server.url)
        for _ in range(2):
            assert (await engine.complete(ask(priority=3))).text
    assert ["priority" in body for body in server.stage.bodies] == [True, False, False]


async def test_an_adapter_is_addressed_by_its_name(server, connect):
    with pytest.raises(EngineFailed, match="does not exist"):
        await connect(server.url).complete(ask(model="adapter-7"))
    assert server.stage.bodies[0]["model"] == "adapter-7"


async def test_the_breaker_opens_and_closes_again_by_itself(server, connect):
    engine = connect(server.url, breaker_failures_max=3, breaker_open_seconds=0.3, engine_attempts_max=1)
    server.stage.fault = "500"
    for _ in range(3):
        with pytest.raises(EngineFailed):
            await engine.complete(ask())
    seen = await engine.state()
    assert (seen.state, seen.slots) == (State.FAILING, 0)
    asked = len(server.stage.bodies)
    with pytest.raises(EngineFailed, match="rests"):
        await engine.complete(ask())
    assert len(server.stage.bodies) == asked, "an open breaker sends nothing"
    server.stage.fault = ""
    await wait_for_state(engine, State.READY)
    assert (await engine.complete(ask())).text


async def test_a_hung_engine_with_good_health_is_found_by_the_canary(server, connect):
    engine = connect(server.url, engine_canary_seconds=0.1, engine_canary_wait_seconds=0.3, breaker_open_seconds=0.2)
    assert (await engine.state()).state is State.READY
    server.stage.fault = "hang"
    await wait_for_state(engine, State.FAILING)
    server.stage.fault = ""
    await wait_for_state(engine, State.READY)


async def test_a_busy_engine_that_makes_our_canary_wait_is_not_called_hung(server, connect):
    engine = connect(server.url, engine_canary_seconds=0.05, engine_canary_wait_seconds=0.2, engine_state_seconds=0)
    assert (await engine.state()).state is State.READY
    server.stage.fault = "hang"
    for _ in range(30):
        server.stage.tokens += 1  # other processes get their tokens
        assert (await engine.state()).state is State.READY
        await asyncio.sleep(0.03)


async def test_engine_gone_and_back(connect, tmp_path):
    with serving() as server:
        engine = connect(server.url, engine_state_seconds=0.05, breaker_failures_max=1, breaker_open_seconds=60)
        assert (await engine.state()).state is State.READY
    await wait_for_state(engine, State.OFF)
    for _ in range(2):
        with pytest.raises(EngineFailed):
            await engine.complete(ask())
    assert (await engine.state()).state is State.OFF, "nobody there is not the same as somebody failing"
    with serving(port=server.port):
        await wait_for_state(engine, State.READY)
        assert (await engine.complete(ask())).text


async def test_people_see_the_engine_warming_up(connect, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    engine = connect(f"http://127.0.0.1:{port}/v1", engine_state_seconds=0)
    assert (await engine.state()).state is State.OFF
    status = tmp_path / "engine_status.json"
    status.write_text(json.dumps({"state": "warming", "detail": "installing torch", "percent": 40}))
    await wait_for_state(engine, State.WARMING)
    assert (await engine.state()).detail == "installing torch (40%)"
    status.write_text("{half a fi")
    await wait_for_state(engine, State.OFF)


async def test_an_unset_engine_is_off(connect):
    seen = await connect("").state()
    assert (seen.state, seen.slots) == (State.OFF, 0)


async def test_a_server_that_dies_mid_answer_fails_the_stream(connect):
    with serving([Scripted("字" * 100, between_tokens_seconds=0.05)]) as server:
        engine = connect(server.url)
        pieces = engine.stream(ask())
        await anext(pieces)
    with pytest.raises(EngineFailed):
        async for _ in pieces:
            pass


@pytest.mark.parametrize(
    ("header", "seconds"), [(None, 1), ("3", 3), ("0", 0.1), ("100000", 60), ("Sun, 22 Nov 2026 01:00:00 GMT", 1)]
)
def test_retry_after_is_bounded(header, seconds):
    assert retry_after(header) == seconds


async def test_one_connection_serves_one_answer_after_the_other(server, connect):
    engine = connect(server.url)
    for _ in range(5):
        await engine.complete(ask())
    assert len(set(server.stage.callers)) == 1, "a connection was thrown away after each answer"
