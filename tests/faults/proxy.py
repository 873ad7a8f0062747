"""A TCP proxy that does to a connection what networks do. Its verbs are toxiproxy's.

with proxied(("127.0.0.1", 5432)) as link:      # runs in a thread of this process
    connect to link.port
    link.down.latency_seconds = 0.5             # "down": from the server to the client; "up": to the server
    link.up.stalled = True                      # bytes are taken and not passed on (toxiproxy's `timeout`)
    link.cut()                                  # reset_peer: every open connection ends with an RST
    link.refuse()                               # nobody listens any more, and what was open is cut
    link.heal()                                 # all as before; connections that were cut stay cut

Everything may be switched at any time and works on connections that are open already.
"""

import asyncio
import random
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields

CHUNK_BYTES = 65_536
LINGER_NOT = struct.pack("ii", 1, 0)
"""Close with an RST instead of a FIN."""


@dataclass
class Toxics:
    """What happens to the bytes of one direction. The defaults do nothing."""

    latency_seconds: float = 0
    jitter_seconds: float = 0
    bytes_per_second: float = 0
    """Bandwidth; 0 is no limit."""
    slice_bytes: int = 0
    """Longest piece handed on at once (slicer), with `slice_pause_seconds` between two."""
    slice_pause_seconds: float = 0
    limit_bytes: int = 0
    """The connection ends, without an RST, after so many bytes of this direction (limit_data)."""
    slow_close_seconds: float = 0
    """The end of a connection is passed on so much later."""
    stalled: bool = False

    def clear(self) -> None:
        for one in fields(self):
            setattr(self, one.name, one.default)


@dataclass(eq=False)
class _Connection:
    client: asyncio.StreamWriter
    server: asyncio.StreamWriter

    def cut(self) -> None:
        for writer in (self.client, self.server):
            if (found := writer.get_extra_info("socket")) is not None:
                with suppress(OSError):
                    found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
            writer.transport.abort()


@dataclass
class Link:
    """One proxied address. `connections` counts those ever accepted."""

    target: tuple[str, int]
    port: int = 0
    up: Toxics = field(default_factory=Toxics)
    down: Toxics = field(default_factory=Toxics)
    connections: int = 0
    _open: set[_Connection] = field(default_factory=set)
    _server: asyncio.Server | None = None
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)

    @property
    def open_connections(self) -> int:
        return len(self._open)

    def refuse(self) -> None:
        """As if nobody were there: connections are refused, open ones are cut."""
        asyncio.run_coroutine_threadsafe(self._stop_listening(), self._loop).result(timeout=10)
        self.cut()

    def cut(self) -> None:
        """Every open connection ends with an RST on both sides."""
        asyncio.run_coroutine_threadsafe(self._cut(), self._loop).result(timeout=10)

    def slow(self, seconds: float, *, jitter_seconds: float = 0) -> None:
        """Half of `seconds` in each direction: a round trip takes `seconds` more."""
        for way in (self.up, self.down):
            way.latency_seconds, way.jitter_seconds = seconds / 2, jitter_seconds / 2

    def stall(self) -> None:
        """Bytes are swallowed in both directions until `heal`; nobody is told."""
        self.up.stalled = self.down.stalled = True

    def heal(self) -> None:
        self.up.clear()
        self.down.clear()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(timeout=10)

    async def _cut(self) -> None:
        for connection in list(self._open):
            connection.cut()

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            server_reader, server_writer = await asyncio.open_connection(*self.target)
        except OSError:
            # As the target would have: nobody is there.
            _Connection(writer, writer).cut()
            return
        connection = _Connection(writer, server_writer)
        self._open.add(connection)
        try:
            await asyncio.gather(
                self._pass(reader, server_writer, self.up), self._pass(server_reader, writer, self.down)
            )
        except (_LimitReached, asyncio.CancelledError):
            # Before Python 3.12 the loop logs a handler that ends as cancelled as if it had failed.
            pass
        except OSError:
            connection.cut()
        finally:
            self._open.discard(connection)
            for one in (writer, server_writer):
                one.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, toxics: Toxics) -> None:
        """Hands on what comes, each piece when it is due, so that latency does not cost bandwidth."""
        waiting: asyncio.Queue[tuple[float, bytes | None]] = asyncio.Queue(maxsize=256)

        async def take() -> None:
            data: bytes | None = b"."
            while data:
                try:
                    data = await reader.read(CHUNK_BYTES)
                except OSError:
                    data = None
                delay = toxics.latency_seconds + random.uniform(-1, 1) * toxics.jitter_seconds
                await waiting.put((time.monotonic() + max(0.0, delay), data))

        taking = asyncio.create_task(take())
        passed = 0
        try:
            while True:
                due, data = await waiting.get()
                if data is None:
                    raise ConnectionResetError
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                while toxics.stalled:  # noqa: ASYNC110 (a switch that a test flips from another thread)
                    await asyncio.sleep(0.02)
                if not data:
                    await asyncio.sleep(toxics.slow_close_seconds)
                    writer.write_eof()
                    return
                allowed = toxics.limit_bytes - passed if toxics.limit_bytes else len(data)
                await self._write(writer, data[: max(0, allowed)], toxics)
                passed += len(data)
                if allowed <= len(data) and toxics.limit_bytes:
                    raise _LimitReached
        finally:
            taking.cancel()

    @staticmethod
    async def _write(writer: asyncio.StreamWriter, data: bytes, toxics: Toxics) -> None:
        size = toxics.slice_bytes or len(data)
        for start in range(0, len(data), size):
            piece = data[start : start + size]
            writer.write(piece)
            await writer.drain()
            if toxics.slice_bytes:
                await asyncio.sleep(toxics.slice_pause_seconds)
            if toxics.bytes_per_second:
                await asyncio.sleep(len(piece) / toxics.bytes_per_second)


class _LimitReached(Exception):
    """The allowed bytes are through."""


@contextmanager
def proxied(*targets: tuple[str, int]) -> Iterator[list[Link]]:
    """A link for each target, all in one thread, gone when the block ends."""
    links = [Link(target) for target in targets]
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="proxy", daemon=True)
    thread.start()
    for link in links:
        link._loop.close()
        link._loop = loop
        link.heal()
    try:
        yield links
    finally:
        for link in links:
            link.refuse()
        asyncio.run_coroutine_threadsafe(_end_tasks(), loop).result(timeout=10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=10)
        loop.close()


async def _end_tasks() -> None:
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(0.05)  # aborted connections close in the next rounds of the loop
