"""The scripted engine and its server keep to their script, since other tests stand on them."""

import json
import socket
import subprocess
import sys
import time
from contextlib import aclosing

import httpx
import jsonschema
import pytest

from models.engine import EngineBusy, EngineFailed, Message, Request, State, ToolCall
from models.scripted_engine import Scripted, ScriptedEngine, ScriptEnded, smallest


def ask(text: str = "你好", **changes) -> Request:
    return Request(messages=(Message("user", text),), max_tokens=50, **changes)


async def test_answers_come_in_order_requests_are_kept_and_the_end_is_loud():
    engine = ScriptedEngine(["一", Scripted("二", (ToolCall("1", "open_order", "{}"),), "tool_calls")])
    assert (await engine.complete(ask("first"))).text == "一"
    second = await engine.complete(ask("second"))
    assert (second.text, second.finish_reason, second.tool_calls[0].name) == ("二", "tool_calls", "open_order")
    assert [request.messages[-1].content for request in engine.requests] == ["first", "second"]
    with pytest.raises(ScriptEnded, match="third"):
        await engine.complete(ask("third"))


async def test_it_fails_where_the_script_says_so():
    script = [Scripted("一二三四", fail_at=2), Scripted("x", busy_seconds=7), Scripted("一二", hang_at=1)]
    engine = ScriptedEngine(script, silence_seconds=0.05)
    texts: list[str] = []

    async def read() -> None:
        async with aclosing(engine.stream(ask())) as pieces:
            async for delta in pieces:
                texts.append(delta.text)  # noqa: PERF401 (what came before a failure counts)

    with pytest.raises(EngineFailed, match="token 2"):
        await read()
    assert texts == ["一", "二"]
    with pytest.raises(EngineBusy) as caught:
        await read()
    assert caught.value.retry_after_seconds == 7
    with pytest.raises(EngineFailed, match="silent"):
        await read()
    assert engine.running == 0


async def test_it_can_be_off_and_back():
    engine = ScriptedEngine()
    engine.stand(State.OFF, "gone")
    assert (await engine.state()).slots == 0
    with pytest.raises(EngineFailed, match="gone"):
        await engine.complete(ask())
    engine.stand(State.READY)
    assert "你好" in (await engine.complete(ask())).text


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"type": "string", "minLength": 3}, "b": {"type": ["null", "string"]}}},
        {"type": "array", "items": {"enum": ["x", "y"]}, "minItems": 2},
        {"anyOf": [{"type": "integer", "minimum": 5}, {"type": "null"}]},
        {"type": "object", "properties": {"c": {"const": 4}, "d": {"type": "boolean"}}, "required": ["c"]},
    ],
)
def test_the_smallest_answer_fits_its_schema(schema):
    jsonschema.validate(smallest(schema), schema)


def test_the_server_runs_as_a_program_with_a_script_file(tmp_path):
    script = tmp_path / "script.json"
    script.write_text(json.dumps(["第一个回答", {"text": "第二个回答", "between_tokens_seconds": 0.01}]))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.scripted_server", "--port", str(port), "--script", str(script)]
    )
    try:
        base = f"http://127.0.0.1:{port}"
        until = time.monotonic() + 20
        while True:
            try:
                assert httpx.get(f"{base}/health").status_code == 200
                break
            except httpx.TransportError:
                assert time.monotonic() < until
                time.sleep(0.05)
        body = {"model": "scripted", "messages": [{"role": "user", "content": "?"}], "max_tokens": 20}
        answers = [httpx.post(f"{base}/v1/chat/completions", json=body).json() for _ in range(2)]
        texts = [answer["choices"][0]["message"]["content"] for answer in answers]
        assert texts == ["第一个回答", "第二个回答"]
        assert httpx.post(f"{base}/v1/chat/completions", json=body).status_code == 400
        httpx.post(f"{base}/fault", json={"name": "503"})
        assert httpx.post(f"{base}/v1/chat/completions", json=body).status_code == 503
        assert len(httpx.get(f"{base}/requests").json()) == 4
        assert "vllm:num_requests_running" in httpx.get(f"{base}/metrics").text
    finally:
        child.terminate()
        child.wait(timeout=10)
