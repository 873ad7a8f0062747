"""An HTTP client for load: one connection, one request at a time, and as little work per byte as Python allows.

It counts tokens by the ";" that ends each word of `paced_engine`, in whatever events they travel, and notes when the
first came. The same code asks every side of a measurement.
"""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self, cast
from urllib.parse import urlsplit

LAST_CHUNK = b"0\r\n\r\n"
ANSWER_SECONDS_MAX = 120


@dataclass(slots=True)
class Heard:
    """One answer as it came. Times are seconds since the request left; `first` is -1 when no token came."""

    status: int = 0
    tokens: int = 0
    first: float = -1.0
    end: float = 0.0
    body: bytes = b""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    text: str = ""


class AnswerBroken(Exception):
    """The server closed in mid-answer or refused."""


class Connection(asyncio.Protocol):
    """Asks one server. `on_tokens`, when set, is called with the number of tokens in each piece that comes."""

    def __init__(self, *, keep_body: bool = False) -> None:
        self.on_tokens: Callable[[int], object] | None = None
        self.closed = False
        self.last_event = b""
        """What follows the start of this event is not counted: our own `done` holds the whole answer again."""
        self._keep_body = keep_body
        self._done: asyncio.Future[Heard] | None = None

    @classmethod
    async def open(cls, url: str, *, keep_body: bool = False) -> Self:
        """A connection to the host and port of `url`."""
        parts = urlsplit(url)
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(
            lambda: cls(keep_body=keep_body), parts.hostname or "", parts.port or 80
        )
        return connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        if self._done is not None and not self._done.done():
            self._done.set_exception(AnswerBroken("closed in mid-answer"))

    def close(self) -> None:
        self._transport.close()

    async def post(self, path: str, body: dict[str, Any], headers: dict[str, str] | None = None) -> Heard:
        """The answer, read to its end. Raises AnswerBroken, also for a status other than 200 and 202."""
        return await self.send(request_bytes(path, body, headers))

    async def send(self, request: bytes) -> Heard:
        """The answer to prepared bytes."""
        loop = asyncio.get_running_loop()
        self._done, self._heard = loop.create_future(), Heard()
        self._head, self._left, self._tail, self._over = b"", -1, b"", False
        self._started = time.perf_counter()
        self._transport.write(request)
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            heard = await self._done
        if heard.status not in (200, 202):
            raise AnswerBroken(f"HTTP {heard.status}: {heard.body[:300]!r}")
        return heard

    def data_received(self, data: bytes) -> None:
        heard = self._heard
        if heard.status == 0:
            self._head += data
            head, found, data = self._head.partition(b"\r\n\r\n")
            if not found:
                return
            self._read_head(head)
            if not data and self._left != 0:
                return
        if self._keep_body or heard.status >= 300:
            heard.body += data
        counted = data
        if self.last_event and (self._over or self.last_event in data):
            counted, self._over = b"" if self._over else data[: data.index(self.last_event)], True
        if tokens := counted.count(b";"):
            if heard.tokens == 0:
                heard.first = time.perf_counter() - self._started
            heard.tokens += tokens
            if self.on_tokens is not None:
                self.on_tokens(tokens)
        if self._left >= 0:
            self._left -= len(data)
            ended = self._left <= 0
        else:
            self._tail = (self._tail + data)[-len(LAST_CHUNK) - 2 :]
            ended = self._tail.endswith(b"\r\n" + LAST_CHUNK)
        if ended and self._done is not None and not self._done.done():
            heard.end = time.perf_counter() - self._started
            self._done.set_result(heard)

    def _read_head(self, head: bytes) -> None:
        self._heard.status = int(head[9:12])
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                self._left = int(line[15:])


class ReadingConnection(Connection):
    """Reads every event of an OpenAI stream, as a real engine's must be; tokens are what the server says."""

    def __init__(self, *, keep_body: bool = False) -> None:
        super().__init__(keep_body=keep_body)
        self._line = b""

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # The sizes of chunks stand on lines of their own, so they fall out with all that is no data.
        *lines, self._line = (self._line + data).split(b"\n")
        for line in lines:
            if line.startswith(b"data: {"):
                self._read_event(json.loads(line[6:]))

    def _read_event(self, event: dict[str, Any]) -> None:
        heard = self._heard
        for choice in event.get("choices") or []:
            text = (choice.get("delta") or {}).get("content") or ""
            if text and not heard.text:
                heard.first = time.perf_counter() - self._started
            heard.text += text
        if usage := event.get("usage"):
            heard.tokens, heard.prompt_tokens = usage["completion_tokens"], usage["prompt_tokens"]
            heard.cached_tokens = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0


def request_bytes(path: str, body: dict[str, Any], headers: dict[str, str] | None = None) -> bytes:
    """A POST with a JSON body."""
    data = json.dumps(body, ensure_ascii=False).encode()
    lines = {"host": "bench", "content-type": "application/json", "content-length": str(len(data)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + data
