"""A mail server and a receiver of webhooks, real ones on this machine, which do what a test tells them."""

import asyncio
import email
import email.policy
import json
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any


@dataclass
class Inbox:
    """A mail server. `refuse` is what it says to a recipient instead of taking the mail."""

    port: int = 0
    refuse: str = ""
    letters: list[EmailMessage] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def say(line: str) -> None:
            writer.write(f"{line}\r\n".encode())
            await writer.drain()

        await say("220 test ESMTP")
        while line := (await reader.readline()).decode().strip():
            verb = line[:4].upper()
            if verb == "RCPT" and self.refuse:
                await say(self.refuse)
            elif verb == "DATA":
                await say("354 go on")
                data = await reader.readuntil(b"\r\n.\r\n")
                self.letters.append(email.message_from_bytes(data[:-5], policy=email.policy.default))
                await say("250 kept")
            elif verb == "QUIT":
                await say("221 bye")
                break
            else:
                await say("250 test")


@dataclass
class Receiver:
    """A receiver of webhooks. It answers with `statuses` in turn, and with 204 when none is left."""

    port: int = 0
    statuses: list[int] = field(default_factory=list)
    seconds: float = 0.0
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.got]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        pairs = [line.partition(": ") for line in head.split("\r\n")[1:] if line]
        headers = {name.lower(): value for name, _, value in pairs}
        self.got.append((headers, await reader.readexactly(int(headers.get("content-length", "0")))))
        await asyncio.sleep(self.seconds)
        status = self.statuses.pop(0) if self.statuses else 204
        writer.write(f"HTTP/1.1 {status} Told\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
