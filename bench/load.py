"""Streams of answers from one side of a measurement, and what they say about it."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.raw_client import Connection, Heard, ReadingConnection, request_bytes


@dataclass(frozen=True)
class Side:
    """Where the same question goes. `ask(question, stream)` gives the body; `last_event` ends what counts as answer."""

    name: str
    url: str
    path: str
    ask: Callable[[str, bool], dict[str, Any]]
    headers: dict[str, str] = field(default_factory=dict)
    last_event: bytes = b""
    reads: bool = False
    """Read every event, as a real engine's must be."""

    async def connect(self) -> Connection:
        connection = await (ReadingConnection if self.reads else Connection).open(self.url)
        connection.last_event = self.last_event
        return connection

    def request(self, question: str, *, stream: bool = True) -> bytes:
        return request_bytes(self.path, self.ask(question, stream), self.headers)


def questions(count: int) -> list[str]:
    """Different questions that no rule answers, without a figure."""
    things = ("bins", "garden", "lift", "parcels", "noise", "dogs", "bicycles", "balcony", "roof", "post")
    verbs = ("looks after", "cleans", "decides about", "pays for", "repairs", "may use", "checks", "asks about")
    return [f"Who {verbs[n // len(things) % len(verbs)]} the {things[n % len(things)]} here?" for n in range(count)]


async def one_by_one(sides: Sequence[Side], rounds: int, *, stream: bool = True) -> dict[str, list[Heard]]:
    """Each question to every side, one request in the whole house at a time; the order turns round each time."""
    connections = {side.name: await side.connect() for side in sides}
    heard: dict[str, list[Heard]] = {side.name: [] for side in sides}
    for number, question in enumerate(questions(rounds)):
        for side in sides if number % 2 == 0 else list(reversed(sides)):
            if connections[side.name].closed:
                # A server ends a connection that was quiet for some seconds, as while another side was slow.
                connections[side.name] = await side.connect()
            heard[side.name].append(await connections[side.name].send(side.request(question, stream=stream)))
            # What follows an answer (its row, the end of its job) is over when the next begins.
            await asyncio.sleep(0.01)
    for connection in connections.values():
        connection.close()
    return heard


async def streams(side: Side, count: int, *, answers: int = 1, spread_seconds: float = 1.0) -> list[Heard]:
    """`count` streams at once, each asking `answers` times in a row; they start evenly over `spread_seconds`."""
    asked = questions(count)

    async def run(number: int) -> list[Heard]:
        connection = await side.connect()
        await asyncio.sleep(spread_seconds * number / count)
        try:
            return [await connection.send(side.request(asked[number])) for _ in range(answers)]
        finally:
            connection.close()

    return [heard for ran in await asyncio.gather(*map(run, range(count))) for heard in ran]


async def requests_for(side: Side, seconds: float, *, at_once: int, stream: bool) -> tuple[float, int]:
    """Answers a second, and how many there were: `at_once` clients ask as fast as they are answered."""
    loop = asyncio.get_running_loop()
    asked, answered = questions(at_once), 0
    connections = [await side.connect() for _ in range(at_once)]
    started = loop.time()

    async def run(number: int) -> None:
        nonlocal answered
        request = side.request(asked[number], stream=stream)
        while loop.time() - started < seconds:
            await connections[number].send(request)
            answered += 1

    await asyncio.gather(*map(run, range(at_once)))
    took = loop.time() - started
    for connection in connections:
        connection.close()
    return answered / took, answered


def stream_rate(heard: Sequence[Heard]) -> float:
    """Tokens a second of streams that ask again as soon as they are answered: the sum over the streams."""
    return sum(one.tokens / one.end for one in heard)


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
