"""An OpenAI-protocol server on a fixed token schedule, cheap enough to stand behind every side of a measurement.

`tests/scripted_server.py` spends about 0.1 ms a token in its framework; this one writes prepared bytes to the socket.
Every token is one event, one word that ends in ";": whoever counts ";" in a stream counts tokens, however they were
gathered on the way. `POST /schedule {"tokens": 64, "first": 0.0, "every": 0.05}` sets the answers that follow.

`python -m bench.paced_engine --port P`
"""

import argparse
import asyncio
import json
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import Any, cast

import uvloop

MODEL = "paced"
WORDS = ("quiet", "lift", "garden", "guest", "parcel", "window", "bench", "keys", "stairs", "lamp", "gate", "court")
"""Plain words: none begins like a number, so nothing is held back for a check."""


@dataclass
class Schedule:
    """One answer: how many tokens, seconds to the first, seconds between two. 0 sends all at once, an event each."""

    tokens: int = 64
    first: float = 0.0
    every: float = 0.0
    events: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.events = [
            chunked({"choices": [{"index": 0, "delta": {"content": word}, "finish_reason": None}]})
            for word in self.words
        ]

    @property
    def words(self) -> list[str]:
        # A line ends after each round of words: sentences end in real answers too.
        return [f"{word};\n" if word == WORDS[-1] else f"{word}; " for word in islice(cycle(WORDS), self.tokens)]


def chunked(event: dict[str, Any] | str) -> bytes:
    """An event as one chunk of a chunked body."""
    head = {"id": "chatcmpl-paced", "object": "chat.completion.chunk", "created": 1, "model": MODEL}
    data = event if isinstance(event, str) else json.dumps(head | event, separators=(",", ":"))
    line = f"data: {data}\n\n".encode()
    return b"%x\r\n%s\r\n" % (len(line), line)


STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
ROLE = chunked({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]})
STOP = chunked({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
LAST = b"0\r\n\r\n"


class Connection(asyncio.Protocol):
    """One client connection: requests one after the other, as long as the client likes."""

    schedule = Schedule()

    def __init__(self) -> None:
        self._rest = b""
        self._answering: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answering is not None:
            self._answering.cancel()

    def data_received(self, data: bytes) -> None:
        self._rest += data
        head, found, rest = self._rest.partition(b"\r\n\r\n")
        if not found:
            return
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line[15:])
        if len(rest) < length:
            return
        body, self._rest = rest[:length], rest[length:]
        self._answer(head.split(b" ", 2)[1].split(b"?")[0], body)

    def _answer(self, path: bytes, body: bytes) -> None:
        if path == b"/v1/chat/completions":
            asked = json.loads(body)
            if asked.get("stream"):
                self._answering = asyncio.create_task(self._stream(Connection.schedule, asked))
            else:
                self._answering = asyncio.create_task(self._whole(Connection.schedule, asked))
        elif path == b"/schedule":
            Connection.schedule = Schedule(**json.loads(body))
            self._json({})
        elif path == b"/v1/models":
            self._json({"object": "list", "data": [{"id": MODEL, "object": "model"}]})
        elif path == b"/version":
            self._json({"version": "0.0.paced"})
        else:
            self._json({})

    def _json(self, value: dict[str, Any]) -> None:
        data = json.dumps(value).encode()
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(data)
        self._transport.write(head + data)

    async def _whole(self, schedule: Schedule, asked: dict[str, Any]) -> None:
        await asyncio.sleep(schedule.first + schedule.every * (schedule.tokens - 1))
        message = {"role": "assistant", "content": "".join(schedule.words)}
        self._json(
            {
                "id": "chatcmpl-paced",
                "object": "chat.completion",
                "created": 1,
                "model": MODEL,
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": usage(schedule, asked),
            }
        )

    async def _stream(self, schedule: Schedule, asked: dict[str, Any]) -> None:
        write = self._transport.write
        write(STREAM_HEAD + ROLE)
        due = asyncio.get_running_loop().time() + schedule.first
        for event in schedule.events:
            # By the clock, not by pauses: a busy machine delays tokens, it does not stretch the answer.
            if (left := due - asyncio.get_running_loop().time()) > 0:
                await asyncio.sleep(left)
            write(event)
            due += schedule.every
        end = STOP
        if (asked.get("stream_options") or {}).get("include_usage"):
            end += chunked({"choices": [], "usage": usage(schedule, asked)})
        write(end + chunked("[DONE]") + LAST)


def usage(schedule: Schedule, asked: dict[str, Any]) -> dict[str, int]:
    prompt = sum(len(str(message["content"])) for message in asked["messages"]) // 4 + 1
    return {
        "prompt_tokens": prompt,
        "completion_tokens": schedule.tokens,
        "total_tokens": prompt + schedule.tokens,
    }


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    uvloop.run(serve(parser.parse_args().port))
