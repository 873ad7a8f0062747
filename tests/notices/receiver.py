"""Somebody else's server: takes what it is sent, remembers it, and answers as a test wants, well or badly."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(serve: Serve, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Serves connections until the block ends; the port. Those still served then are cut off: a connection that is left
    open keeps the loop from closing.
    """
    serving: set[asyncio.Task[None]] = set()

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await serve(reader, writer)
        serving.discard(task)
        writer.close()

    server = await asyncio.start_server(served, host, 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving)


@dataclass(frozen=True)
class Seen:
    """One request. Names of headers are lower case."""

    path: str
    headers: dict[str, str]
    body: bytes


def answer(status: int = 200, body: bytes = b"ok", *headers: str) -> bytes:
    """A whole HTTP answer."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


@dataclass
class Receiver:
    """`say` gives the answer to a request; `seconds` is how long it takes to think."""

    port: int = 0
    seen: list[Seen] = field(default_factory=list)
    say: Callable[[Seen], bytes] = field(default=lambda seen: answer())
    seconds: float = 0.0
    endless: bool = False
    connections: int = 0
    at_once: int = 0
    at_once_max: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.at_once += 1
        self.at_once_max = max(self.at_once_max, self.at_once)
        try:
            await self._serve(reader, writer)
        finally:
            self.at_once -= 1

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        self.seen.append(Seen(head[0].split(" ")[1], headers, body))
        await asyncio.sleep(self.seconds)
        writer.write(self.say(self.seen[-1]))
        await writer.drain()
        while self.endless:
            writer.write(b"more and more " * 1000)
            await writer.drain()


@asynccontextmanager
async def receiving(*, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> AsyncIterator[Receiver]:
    receiver = Receiver()
    async with listening(receiver.serve, host=host, tls=tls) as receiver.port:
        yield receiver
