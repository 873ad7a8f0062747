"""Requests that no client of good will sends: every operation tells what is wrong, and no error is ours."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx

from tests.conftest import Client
from tests.isolation.operations import Operation
from tests.isolation.worlds import World

AT_ONCE = 8
TOO_MUCH = "too much, without a length"
CONTROL = "control characters in a header"
JSON = "application/json"
FORM = "multipart/form-data; boundary=x"
BIDI = "\u202eטקסט\u2066 \u200bfin\u0085\ufeff"
BODIES: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", JSON),
    "a NUL": (b'{"name": "a\\u0000b", "title": "a\\u0000b", "text": "a\\u0000b", "question": "\\u0000"}', JSON),
    "half a character": (b'{"name": "\\ud800", "title": "\\ud800", "text": "\\ud800"}', JSON),
    "no UTF-8": (b'{"name": "\xff\xfe"}', JSON),
    "a huge number": (b'{"limit": 1' + b"0" * 4_000 + b', "name": 1e999}', JSON),
    "more digits than Python reads": (b'{"limit": ' + b"9" * 5_000 + b"}", JSON),
    "no number": (b'{"limit": NaN, "name": Infinity}', JSON),
    "deep JSON": (b'{"a":' * 20_000 + b"1" + b"}" * 20_000, JSON),
    "deep lists": (b"[" * 100_000, JSON),
    "another type": (b"<a/>", "application/xml"),
    "a type of strange make": (b"{}", "application/json; charset=\xff"),
    "a form without an end": (b"--x\r\nContent-Disposition: form-data; name=file\r\n\r\n", FORM),
    "a form without a boundary": (b"--x", "multipart/form-data"),
    "a form of many fields": (
        b"".join(b'--x\r\nContent-Disposition: form-data; name="f%d"\r\n\r\n1\r\n' % n for n in range(3_000)) + b"--x--",
        FORM,
    ),
    "a key twice": (b'{"name": "a", "name": {"b": 1}}', JSON),
}  # fmt: skip
HEADERS: dict[str, list[tuple[bytes, bytes]]] = {
    CONTROL: [(b"if-match", b"\xff\x01\x02")],
    "an If-Match of strange make": [(b"if-match", b"\xff\xfe")],
    "an Idempotency-Key of strange make": [(b"idempotency-key", b"\xe9\xff")],
    "two types": [(b"content-type", b"text/plain")],
    "two Idempotency-Keys": [(b"idempotency-key", b"a"), (b"idempotency-key", b"b")],
    "a strange Last-Event-ID": [(b"last-event-id", b"\xff-\xfe")],
    "a strange Accept-Language": [(b"accept-language", b"\xff" * 500)],
}
QUERIES: dict[str, Any] = {
    "a NUL": {"filter[name]": "\x00", "cursor": "\x00", "community": "\x00"},
    "a huge number": {"limit": "9" * 500},
    "no number": {"limit": "NaN"},
    "a huge cursor": {"cursor": "A" * 7_000},
    "a cursor of no id": {"cursor": "_" * 22},
    "half a character": {"filter[name]": "%ED%A0%80", "community": "%ED%A0%80"},
    "bidirectional marks": {"filter[name]": BIDI, "community": BIDI, "filter[kind]": BIDI, "code": BIDI, "state": BIDI},
    "twice": [("limit", "1"), ("limit", "2"), ("cursor", "a"), ("cursor", "b")],
}


def pieces(content: bytes) -> AsyncIterator[bytes]:
    """Without a length."""

    async def each() -> AsyncIterator[bytes]:
        for start in range(0, len(content), 50_000):
            yield content[start : start + 50_000]

    return each()


def broken(operation: Operation, home: World) -> list[tuple[str, dict[str, Any]]]:
    """Names of what is wrong, and requests in which it is wrong."""
    request = operation.request(home.ids())
    bare = {name: value for name, value in request.items() if name not in ("json", "files")}
    sent: list[tuple[str, dict[str, Any]]] = []
    if "requestBody" in operation.spec:
        for name, (content, kind) in BODIES.items():
            headers = {**request["headers"], "content-type": kind.encode("latin-1")}
            sent.append((name, {**bare, "content": content, "headers": headers}))
        large = pieces(b'"' + b"x" * 1_200_000 + b'"')
        headers = {**request["headers"], "content-type": JSON}
        sent.append((TOO_MUCH, {**bare, "content": large, "headers": headers}))
    for name, more in HEADERS.items():
        sent.append((name, {**operation.request(home.ids()), "headers": [(b"if-match", b"*"), *more]}))
    if not operation.writes:
        sent += [(name, {**request, "params": query}) for name, query in QUERIES.items()]
    return sent


async def test_broken_requests_are_told_so_and_are_no_error_of_ours(
    client: Client, api: list[Operation], home: World, working: None, record_property: Callable[[str, object], None]
):
    places = asyncio.Semaphore(AT_ONCE)
    wrong: list[Any] = []

    async def ask(operation: Operation, name: str, request: dict[str, Any]) -> None:
        async with places:
            try:
                answer = await client.request(**request, as_=home.manager if operation.secured else None)
            except (httpx.ReadError, httpx.WriteError) as error:
                # Refused before it was sent: the server closes, and the answer may be lost with what was on its way.
                if name not in (TOO_MUCH, CONTROL):
                    wrong.append((str(operation), name, repr(error)))
                return
        if not is_told(operation, name, answer):
            wrong.append((str(operation), name, answer.status_code, answer.text[:300]))

    tried = 0
    for operation in api:
        sent = broken(operation, home)
        tried += len(sent)
        await asyncio.gather(*(ask(operation, name, request) for name, request in sent))
    assert not wrong, "\n".join(map(str, wrong))
    record_property("report", f"broken requests: {len(api)} operations, {tried} requests, 0 errors of ours")


def is_told(operation: Operation, name: str, answer: httpx.Response) -> bool:
    """Whether the answer is one of those that OpenAPI tells, as a problem where it is one, and no error of ours."""
    kind = answer.headers.get("content-type", "")
    if name == CONTROL and answer.status_code == 400:
        # The server refuses what is no HTTP before any of our code sees it, and has its own words for that.
        return (kind, answer.text) == ("text/plain; charset=utf-8", "Invalid HTTP request received.")
    if str(answer.status_code) not in operation.spec["responses"] or answer.status_code >= 500:
        return False
    if answer.status_code < 400 or operation.path.endswith("z"):
        return True
    return kind == "application/problem+json" and bool(answer.json()["status"] == answer.status_code)
