"""Reading a turn's server-sent events as a client does."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx


@dataclass(frozen=True)
class Sent:
    id: str
    name: str
    data: dict[str, Any]


async def read(response: httpx.Response) -> AsyncIterator[Sent]:
    """The events of a stream, comments left out."""
    fields: dict[str, str] = {}
    async for line in response.aiter_lines():
        if not line and fields.get("event"):
            yield Sent(fields.get("id", ""), fields["event"], json.loads(fields["data"]))
        if not line:
            fields = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(": ")
            fields[name] = value


async def read_all(client: Any, url: str, **kwargs: Any) -> list[Sent]:
    """Every event until the stream ends."""
    async with client.stream("GET", url, **kwargs) as response:
        assert response.status_code == 200, await response.aread()
        return [event async for event in read(response)]


def text_of(events: list[Sent]) -> str:
    """The answer as a client would have put it together."""
    text = ""
    for event in events:
        if event.name == "restart":
            text = ""
        elif event.name == "replaced":
            text = event.data["text"]
        elif event.name == "token":
            assert event.data["at"] == len(text), "a token was lost or doubled"
            text += event.data["text"]
    return text
