"""The world of the fault suite: communities whose every answer is known beforehand, word for word.

A question carries a code of its own, a community's document a canary of its own. The scripted engine makes its answer
from both, as it finds them in the prompt it was sent: what a client sees can be checked to the letter, and a passage of
another community in a prompt or a response cannot hide.
"""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count, pairwise
from typing import Any
from zlib import crc32

from app.runtime import Runtime
from models.engine import Request
from models.scripted_engine import Scripted
from tests.make import Make, Person, Place

LETTERS = "甲乙丙丁戊己庚辛壬癸"
CODES = count(1)
VECTOR_WIDTH = 64
DOCUMENT = """# 停车管理办法

## 临时停车

临时停车前30分钟免费，之后每小时5元，每天最高40元，出口暗号是{canary}，请在出口扫码缴费。

## 月租车位

月租车位每月300元，请到物业前台办理。
"""


def code_of(number: int) -> str:
    """A number in letters that no check of numbers looks at."""
    return "".join(LETTERS[int(digit)] for digit in str(number))


def question_of(code: str) -> str:
    return f"我是{code}，请问临时停车怎么收费？"


def answer_of(code: str, canary: str) -> str:
    """What the engine says to that question in that community."""
    return f"{code}您好，临时停车前30分钟免费，之后每小时5元，每天最高40元，出口暗号是{canary}，请扫码缴费。"


def tokens_of(text: str) -> int:
    """The completion tokens the engine charges for a text."""
    return len(Scripted(text).tokens)


class Script:
    """What the engine says, and how. `pace_seconds` is the pause between two tokens.

    `fault` is one of the scripted server's FAULTS, given to every answer from then on; `hang_at` and `fail_at` name a
    token. They do not touch the canary completions by which the engine's guard tests it.
    """

    def __init__(self) -> None:
        self.heal()
        self.said = 0

    def heal(self) -> None:
        self.pace_seconds = 0.02
        self.first_token_seconds = 0.0
        self.fault = ""
        self.hang_at: int | None = None
        self.fail_at: int | None = None

    def __call__(self, request: Request) -> Scripted:
        prompt = request.messages[-1].content
        codes = re.findall(rf"我是([{LETTERS}]+)，", prompt)
        canaries = re.findall(r"出口暗号是(\S+?)，", prompt)
        self.said += 1
        text = answer_of(codes[-1], canaries[0]) if codes and canaries else "请联系物业前台。"
        return Scripted(
            text, first_token_seconds=self.first_token_seconds, between_tokens_seconds=self.pace_seconds,
            fault=self.fault, hang_at=self.hang_at, fail_at=self.fail_at,
        )  # fmt: skip


@dataclass(frozen=True)
class Community:
    """A community with its people; `canary` stands in its document and in no other."""

    place: Place
    canary: str
    people: tuple[Person, ...]
    manager: Person


async def settle_town(runtime: Runtime, *, communities: int = 2, people: int = 4) -> list[Community]:
    """Communities with a document each, ready to be asked."""
    make = Make(runtime)
    town = []
    for _ in range(communities):
        place = await make.place()
        canary = f"松{code_of(next(CODES))}庭"
        await make.document("停车管理办法", DOCUMENT.format(canary=canary), place=place)
        persons = [await make.resident(place=place) for _ in range(people)]
        town.append(Community(place, canary, tuple(persons), await make.staff(place=place)))
    return town


def vector_of(text: str) -> list[float]:
    """Counts of hashed pairs of characters: near for texts that share words, the same for the same text."""
    vector = [0.01] * VECTOR_WIDTH
    for first, second in pairwise(text):
        vector[crc32((first + second).encode()) % VECTOR_WIDTH] += 1.0
    return vector


@contextmanager
def embedding_server(port: int = 0) -> Iterator[str]:
    """A server of `/v1/embeddings`; its base URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            rows = [{"index": n, "embedding": vector_of(text)} for n, text in enumerate(body["input"])]
            answer = json.dumps({"data": rows}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *arguments: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
