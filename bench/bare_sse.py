"""The least that streams an answer to a client: one event per token, no queue, no worker, nothing kept.

`loop` makes up the tokens itself on `paced_engine`'s schedule, `relay` passes an engine's events on; both are plain
ASGI under uvicorn, with uvloop and httptools. `ENGINE_URL`, `TOKENS` and `EVERY` come from the environment.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from typing import Any

import httpx

from bench.paced_engine import Schedule

HEAD: dict[str, Any] = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/event-stream")],
}
_clients: list[httpx.AsyncClient] = []


async def loop(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """An event per token, made when it is due."""
    if scope["type"] != "http":
        return
    if scope["method"] == "GET":
        await _empty(send)
        return
    await receive()
    schedule = Schedule(int(os.environ["TOKENS"]), every=float(os.environ["EVERY"]))
    await send(HEAD)
    now = asyncio.get_running_loop().time
    due = now()
    for word in schedule.words:
        if (left := due - now()) > 0:
            await asyncio.sleep(left)
        delta = {"index": 0, "delta": {"content": word}, "finish_reason": None}
        chunk = {"id": "chatcmpl-bare", "object": "chat.completion.chunk", "created": 1, "model": "bare"}
        await _event(send, json.dumps({**chunk, "choices": [delta]}))
        due += schedule.every
    await _event(send, "[DONE]")
    await send({"type": "http.response.body", "body": b""})


async def relay(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """The engine's events as they come, read and written anew."""
    if scope["type"] != "http":
        return
    if scope["method"] == "GET":
        await _empty(send)
        return
    if not _clients:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=256)
        _clients.append(httpx.AsyncClient(timeout=None, limits=limits, trust_env=False))
    body = (await receive())["body"]
    await send(HEAD)
    url = os.environ["ENGINE_URL"] + "/chat/completions"
    async with _clients[0].stream("POST", url, content=body) as response:
        async for data in _payloads(response):
            if data == "[DONE]":
                break
            await _event(send, json.dumps(json.loads(data)))
    await _event(send, "[DONE]")
    await send({"type": "http.response.body", "body": b""})


async def _payloads(response: httpx.Response) -> AsyncIterator[str]:
    async for line in response.aiter_lines():
        if line.startswith("data: "):
            yield line[6:]


async def _event(send: Any, data: str) -> None:
    await send({"type": "http.response.body", "body": f"data: {data}\n\n".encode(), "more_body": True})


async def _empty(send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})
