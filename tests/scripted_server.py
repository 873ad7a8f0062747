"""The scripted engine as a real OpenAI-protocol server, with the ways in which real ones fail.

`python -m tests.scripted_server --port P --script echo|FILE [--plain]`; FILE is a JSON list of answers (texts, or the
fields of `Scripted`). In a test: `with serving(script) as server: server.url`. `POST /fault {"name": ...}` switches a
fault on for all requests ("" off), `POST /script [...]` replaces the script, `GET /requests` lists the bodies received.
"""

import argparse
import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from models.engine import Message, Request, ToolCall
from models.scripted_engine import Script, Scripted, ScriptEnded, echo, from_list

MODEL = "scripted"
FAULTS = (
    *("503", "429", "500", "400", "truncated", "malformed", "no_utf8", "error_event", "whitespace", "spaces"),
    *("hang", "stall", "cut"),
)
"""`hang` takes the request and says nothing, `stall` says three tokens and then nothing (health stays 200); `cut` closes
after three tokens without an end; `spaces` sends 250,000 of them in one piece."""
VLLM_ONLY = ("priority", "cache_salt", "structured_outputs")


@dataclass
class Stage:
    """What one server knows: its script, the fault now on, what it was asked."""

    script: Script = echo
    plain: bool = False
    priority: bool = True
    fault: str = ""
    healthy: bool = True
    still: bool = False
    """Nothing is generated for anybody until it is False again; health and metrics answer as ever."""
    running: int = 0
    waiting: int = 0
    tokens: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    bodies: list[dict[str, Any]] = field(default_factory=list)
    callers: list[int] = field(default_factory=list)  # the client's port of each request


def build_app(stage: Stage) -> Starlette:
    """The server's application; the paths are vLLM's own, plus three for tests."""

    async def chat(http: HttpRequest) -> Response:
        body = await http.json()
        stage.bodies.append(body)
        stage.callers.append(http.client.port if http.client else 0)
        return await answer_chat(stage, http, body)

    async def models(http: HttpRequest) -> Response:
        return JSONResponse({"object": "list", "data": [{"id": MODEL, "object": "model"}]})

    async def metrics(http: HttpRequest) -> Response:
        return PlainTextResponse(
            f'vllm:num_requests_running{{model_name="{MODEL}"}} {float(stage.running)}\n'
            f'vllm:num_requests_waiting{{model_name="{MODEL}"}} {float(stage.waiting)}\n'
            f'vllm:generation_tokens_total{{model_name="{MODEL}"}} {float(stage.tokens)}\n'
            f'vllm:prefix_cache_queries_total{{model_name="{MODEL}"}} {float(stage.prompt_tokens)}\n'
            f'vllm:prefix_cache_hits_total{{model_name="{MODEL}"}} {float(stage.cached_tokens)}\n'
        )

    async def health(http: HttpRequest) -> Response:
        return Response(status_code=200 if stage.healthy else 503)

    async def version(http: HttpRequest) -> Response:
        return JSONResponse({"version": "0.0.scripted"})

    async def fault(http: HttpRequest) -> Response:
        stage.fault = (await http.json())["name"]
        return JSONResponse({"fault": stage.fault})

    async def script(http: HttpRequest) -> Response:
        stage.script = load_script(await http.json())
        return JSONResponse({})

    async def requests(http: HttpRequest) -> Response:
        return JSONResponse(stage.bodies)

    routes = [
        Route("/v1/chat/completions", chat, methods=["POST"]),
        Route("/v1/models", models),
        Route("/fault", fault, methods=["POST"]),
        Route("/script", script, methods=["POST"]),
        Route("/requests", requests),
    ]
    if not stage.plain:
        routes += [Route("/metrics", metrics), Route("/health", health), Route("/version", version)]
    return Starlette(routes=routes)


def load_script(answers: str | list[Any]) -> Script:
    """ "echo", or a list of answers as JSON has them."""
    if answers == "echo":
        return echo
    return from_list([one if isinstance(one, str) else scripted(one) for one in answers])


def scripted(fields: dict[str, Any]) -> Scripted:
    calls = tuple(ToolCall(**call) for call in fields.pop("tool_calls", []))
    return Scripted(**fields, tool_calls=calls)


async def answer_chat(stage: Stage, http: HttpRequest, body: dict[str, Any]) -> Response:
    if body.get("model") != MODEL:
        return refused(404, f"The model `{body.get('model')}` does not exist.")
    unknown = [name for name in VLLM_ONLY if name in body]
    if stage.plain and unknown:
        return refused(400, f"Unrecognized request arguments supplied: {', '.join(unknown)}")
    if body.get("priority") and not stage.priority:
        return refused(400, "Got priority 1 but Priority scheduling is not enabled.")
    request = to_request(body)
    fault = stage.fault
    answer = Scripted("好") if body.get("max_tokens") == 1 and not body.get("stream") else None
    if not fault and answer is None:
        try:
            said = stage.script(request)
        except ScriptEnded as error:
            return refused(400, str(error))
        answer = Scripted(said) if isinstance(said, str) else said
        fault = answer.fault
    answer = answer or Scripted("这是一个会出错的回答，后面的内容不会再来了。")
    if answer.busy_seconds is not None:
        return refused(503, "busy", {"retry-after": str(answer.busy_seconds)})
    if fault.isdigit():
        return refused(int(fault), "scripted fault", {"retry-after": "2"})
    if body.get("stream"):
        return StreamingResponse(events(stage, request, answer, fault), media_type="text/event-stream")
    if fault in ("hang", "stall"):
        await asyncio.sleep(3_600)
    await until_it_moves(stage)
    return JSONResponse(whole(request, answer))


async def until_it_moves(stage: Stage) -> None:
    while stage.still:  # noqa: ASYNC110 (the test sets it from another thread)
        await asyncio.sleep(0.02)


def to_request(body: dict[str, Any]) -> Request:
    schema = ((body.get("response_format") or {}).get("json_schema") or {}).get("schema")
    choices = (body.get("structured_outputs") or {}).get("choice")
    return Request(
        messages=tuple(Message(one["role"], one["content"]) for one in body["messages"]),
        max_tokens=body.get("max_tokens", 16),
        temperature=body.get("temperature", 1.0),
        json_schema=schema,
        choices=tuple(choices) if choices else None,
        priority=body.get("priority", 0),
        salt=body.get("cache_salt"),
        model=body["model"],
    )


def refused(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": {"message": message, "code": status}}, status_code=status, headers=headers)


async def events(stage: Stage, request: Request, answer: Scripted, fault: str) -> AsyncIterator[bytes]:
    """The answer as vLLM streams it. Starlette cancels this when the client closes, and the count falls."""
    stage.running += 1
    try:
        if fault == "hang":
            await asyncio.sleep(3_600)
        yield event({"role": "assistant", "content": ""})
        for number, token in enumerate(answer.tokens):
            if number == 3 and (nonsense := NONSENSE.get(fault)):
                async for part in nonsense():
                    yield part
                return
            await asyncio.sleep(answer.first_token_seconds if number == 0 else answer.between_tokens_seconds)
            if number in (answer.hang_at, answer.fail_at):
                if number == answer.fail_at:
                    return
                await asyncio.sleep(3_600)
            await until_it_moves(stage)
            stage.tokens += 1
            yield event({"content": token})
        if answer.tool_calls:
            for index, call in enumerate(answer.tool_calls):
                head = {"name": call.name, "arguments": ""}
                yield event({"tool_calls": [{"index": index, "id": call.id, "type": "function", "function": head}]})
                for half in (call.arguments[:5], call.arguments[5:]):
                    yield event({"tool_calls": [{"index": index, "function": {"arguments": half}}]})
        counted = answer.counted(request)
        stage.prompt_tokens += counted.prompt_tokens
        stage.cached_tokens += counted.cached_tokens
        yield event({}, finish_reason=answer.finish_reason)
        yield line({"choices": [], "usage": usage_of(request, answer)})
        yield b"data: [DONE]\n\n"
    finally:
        stage.running -= 1


async def _cut() -> AsyncIterator[bytes]:
    return
    yield b""


async def _truncated() -> AsyncIterator[bytes]:
    yield b'data: {"choices": [{"index": 0, "del'


async def _malformed() -> AsyncIterator[bytes]:
    yield b"data: {this is no json}\n\n"
    await asyncio.sleep(3_600)


async def _no_utf8() -> AsyncIterator[bytes]:
    yield b'data: {"choices": [{"index": 0, "delta": {"content": "\xff\xfe"}}]}\n\n'


async def _error_event() -> AsyncIterator[bytes]:
    yield line({"error": {"message": "EngineCore died", "code": 500}})


async def _stall() -> AsyncIterator[bytes]:
    await asyncio.sleep(3_600)
    yield b""


async def _spaces() -> AsyncIterator[bytes]:
    yield event({"content": " " * 250_000})
    await asyncio.sleep(3_600)


async def _whitespace() -> AsyncIterator[bytes]:
    for _ in range(250_000):
        yield event({"content": " \n"})
        await asyncio.sleep(0)


NONSENSE = {
    "cut": _cut,
    "truncated": _truncated,
    "malformed": _malformed,
    "no_utf8": _no_utf8,
    "error_event": _error_event,
    "whitespace": _whitespace,
    "spaces": _spaces,
    "stall": _stall,
}


def event(delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
    return line({"model": MODEL, "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]})


def line(payload: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(payload, ensure_ascii=False)}\n\n".encode()


def usage_of(request: Request, answer: Scripted) -> dict[str, Any]:
    usage = answer.counted(request)
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
    }


def whole(request: Request, answer: Scripted) -> dict[str, Any]:
    calls = [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in answer.tool_calls
    ]
    message = {"role": "assistant", "content": answer.text, "tool_calls": calls}
    return {
        "object": "chat.completion",
        "model": MODEL,
        "choices": [{"index": 0, "message": message, "finish_reason": answer.finish_reason}],
        "usage": usage_of(request, answer),
    }


@dataclass(frozen=True)
class Served:
    """A running server: its base URL (ending in /v1) and its stage, which the test may change at any time."""

    url: str
    port: int
    stage: Stage


@contextmanager
def serving(
    script: Script | Iterable[Scripted | str] = echo, *, plain: bool = False, priority: bool = True, port: int = 0
) -> Iterator[Served]:
    """A server in a thread of this process; on leaving, running answers are dropped as by a crash."""
    stage = Stage(script if callable(script) else from_list(script), plain, priority)
    listening = socket.create_server(("127.0.0.1", port))
    port = listening.getsockname()[1]
    config = uvicorn.Config(build_app(stage), log_level="error", lifespan="off", timeout_graceful_shutdown=0)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    try:
        yield Served(f"http://127.0.0.1:{port}/v1", port, stage)
    finally:
        server.should_exit = server.force_exit = True
        thread.join(timeout=5)
        listening.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--script", default="echo", help="echo, or a JSON file with a list of answers")
    parser.add_argument("--plain", action="store_true", help="be a server that is not vLLM")
    given = parser.parse_args()
    script = load_script("echo" if given.script == "echo" else json.loads(Path(given.script).read_text()))
    uvicorn.run(build_app(Stage(script, given.plain)), host="127.0.0.1", port=given.port, log_level="warning")


if __name__ == "__main__":
    main()
