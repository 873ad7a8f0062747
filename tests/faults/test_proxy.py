"""The fault proxy does what its verbs say."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.faults.proxy import Link, proxied


@pytest.fixture
def echo() -> Iterator[tuple[str, int]]:
    """A server that says back whatever it hears, until it hears the end."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(4096):
                    connection.sendall(data)
            except OSError:
                pass

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield listener.getsockname()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


@pytest.fixture
def link(echo) -> Iterator[Link]:
    with proxied(echo) as (found,):
        yield found


def connect(link: Link) -> socket.socket:
    return socket.create_connection(("127.0.0.1", link.port), timeout=5)


def say(connection: socket.socket, data: bytes) -> tuple[bytes, float]:
    """What came back, and after how long."""
    started = time.monotonic()
    connection.sendall(data)
    heard = b""
    while len(heard) < len(data) and (part := connection.recv(4096)):
        heard += part
    return heard, time.monotonic() - started


def test_without_a_toxic_everything_passes(link):
    with connect(link) as connection:
        assert say(connection, b"x" * 3_000)[0] == b"x" * 3_000
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(10) == b""
    assert link.connections == 1


def test_latency_counts_in_each_direction_and_ends_with_heal(link):
    with connect(link) as connection:
        link.slow(0.4)
        assert say(connection, b"hello")[1] >= 0.4
        link.heal()
        assert say(connection, b"hello")[1] < 0.4


def test_a_cut_is_a_reset_and_a_new_connection_works(link):
    with connect(link) as connection:
        say(connection, b"hello")
        link.cut()
        with pytest.raises(ConnectionResetError):
            connection.recv(10)
    with connect(link) as connection:
        assert say(connection, b"hello")[0] == b"hello"


def test_refused_until_healed_on_the_same_port(link):
    port = link.port
    link.refuse()
    with pytest.raises(ConnectionRefusedError):
        connect(link)
    link.heal()
    assert link.port == port
    with connect(link) as connection:
        assert say(connection, b"hello")[0] == b"hello"


def test_stalled_bytes_come_when_it_is_healed(link):
    with connect(link) as connection:
        link.stall()
        connection.sendall(b"hello")
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            connection.recv(10)
        link.heal()
        connection.settimeout(5)
        assert connection.recv(10) == b"hello"


def test_bandwidth_and_slices_stretch_the_bytes(link):
    with connect(link) as connection:
        link.down.slice_bytes, link.down.bytes_per_second = 100, 2_000
        heard, seconds = say(connection, b"x" * 1_000)
        assert heard == b"x" * 1_000
        assert seconds >= 0.4


def test_after_the_allowed_bytes_the_connection_ends(link):
    link.down.limit_bytes = 10
    with connect(link) as connection:
        connection.sendall(b"x" * 100)
        heard = b""
        while part := connection.recv(100):
            heard += part
        assert heard == b"x" * 10


def test_the_end_comes_late_with_slow_close(link):
    link.down.slow_close_seconds = 0.4
    with connect(link) as connection:
        connection.shutdown(socket.SHUT_WR)
        started = time.monotonic()
        assert connection.recv(10) == b""
        assert time.monotonic() - started >= 0.4


async def test_a_client_that_leaves_leaves_nothing_behind(link):
    with connect(link) as connection:
        say(connection, b"hello")
    for _ in range(100):
        if not link.open_connections:
            return
        await asyncio.sleep(0.02)
    pytest.fail("the connection is still held")
