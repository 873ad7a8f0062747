"""Many clients that follow event streams, with as little work per event as Python allows."""

import asyncio
import random
import re
import time
from collections.abc import Callable, Sequence
from typing import cast
from urllib.parse import urlsplit

EVENT_ID = re.compile(rb"^id: (\S+)\r?$", re.MULTILINE)
RETRY_AFTER = re.compile(rb"retry-after: (\d+)", re.IGNORECASE)
OPEN_AT_ONCE = 64


class Follower(asyncio.Protocol):
    """One open stream: the ids it got, in order, and what `on_ids` is told of them."""

    def __init__(self, request: bytes) -> None:
        self.ids: list[bytes] = []
        self.on_ids: Callable[[list[bytes]], object] | None = None
        self.opened = asyncio.get_running_loop().create_future()
        self.refused = b""
        self.refusals = 0
        """How often it was told to come back later before it got in."""
        self._request = request
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if not self.opened.done():
            if not data.startswith(b"HTTP/1.1 200"):
                self.refused = data
            self.opened.set_result(None)
        *whole, self._rest = (self._rest + data).split(b"\n\n")
        ids = [found[1] for event in whole if (found := EVENT_ID.search(event))]
        self.ids += ids
        if ids and self.on_ids is not None:
            self.on_ids(ids)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.opened.done():
            self.refused = b"closed"
            self.opened.set_result(None)


async def follow(
    url: str, paths: Sequence[str], headers: Sequence[str], *, at_once: int = OPEN_AT_ONCE
) -> list[Follower]:
    """One open stream for each path, with the headers that belong to it. At most `at_once` are on their way."""
    parts, loop, gate = urlsplit(url), asyncio.get_running_loop(), asyncio.Semaphore(at_once)

    async def open_one(path: str, lines: str) -> Follower:
        request = f"GET {path} HTTP/1.1\r\nhost: bench\r\n{lines}\r\n".encode()
        refusals = 0
        while True:
            async with gate:
                _, one = await loop.create_connection(lambda: Follower(request), parts.hostname or "", parts.port or 80)
                async with asyncio.timeout(120):
                    await one.opened
            if not one.refused:
                one.refusals = refusals
                return one
            if not one.refused.startswith(b"HTTP/1.1 503"):
                raise ConnectionError(one.refused[:400])
            # Full for now: come back when it says, a little apart from the others.
            refusals += 1
            one.transport.abort()
            await asyncio.sleep(float(RETRY_AFTER.search(one.refused)[1]) * random.uniform(1, 1.5))  # type: ignore[index]

    return list(await asyncio.gather(*(open_one(*both) for both in zip(paths, headers, strict=True))))


async def until(condition: Callable[[], bool], *, seconds: float) -> float:
    """Seconds until it holds. Raises TimeoutError."""
    started = time.perf_counter()
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 (it is asked of thousands of clients, none of which could tell)
            await asyncio.sleep(0.005)
    return time.perf_counter() - started


def drop(followers: Sequence[Follower]) -> None:
    """All of them are gone, without a word."""
    for one in followers:
        one.transport.abort()
