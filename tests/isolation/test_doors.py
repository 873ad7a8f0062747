"""The door before every route: counted by address, known and allowed before a body is read."""

import asyncio
import dataclasses
import json
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from app.people.doors import DoorRoute, Wants
from app.people.scopes import ALL_SCOPES
from app.runtime import Runtime
from app.settings import Settings
from tests.conftest import Client
from tests.isolation.operations import routers
from tests.make import Make

MIB = 1_048_576


def with_settings(web: tuple[str, FastAPI], runtime: Runtime, **changes: Any) -> Settings:
    settings = runtime.settings.model_copy(update=changes)
    web[1].state.runtime = dataclasses.replace(runtime, settings=settings)
    return settings


async def send_slowly(web: tuple[str, FastAPI], path: str, *headers: str, chunk: bytes = b"") -> tuple[int, str, int]:
    """Status, code and bytes sent until the answer came, for a body without an end, chunked unless it states a length."""
    address = urlsplit(web[0])
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    chunked = "Content-Length" not in "".join(headers)
    framing = ["Transfer-Encoding: chunked"] if chunked else []
    head = [f"POST {path} HTTP/1.1", "Host: linli", *framing, *headers, "", ""]
    writer.write("\r\n".join(head).encode())
    answered = asyncio.ensure_future(reader.readuntil(b"\r\n\r\n"))
    sent = 0
    while not answered.done() and sent < 64 * MIB:
        writer.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk)
        sent += len(chunk)
        await asyncio.wait_for(writer.drain(), 20)
        await asyncio.wait([answered], timeout=0.02)
    head_text = (await asyncio.wait_for(answered, 20)).decode()
    length = int(head_text.lower().partition("content-length: ")[2].partition("\r\n")[0])
    body = json.loads(await reader.readexactly(length))
    writer.close()
    return int(head_text.split(" ")[1]), body["code"], sent


FORM = "Content-Type: multipart/form-data; boundary=x"
FILE = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.md"\r\n\r\n' + b"words " * 20_000


async def test_a_strangers_upload_is_refused_before_it_is_read(web, client: Client, make: Make):
    place = await make.home()
    for header in (FORM, f"{FORM}\r\nAuthorization: Bearer invented"):
        status, code, sent = await send_slowly(web, f"{place.url}/documents", header, chunk=FILE)
        assert (status, code) == (401, "token_invalid")
        assert sent < 16 * MIB, "it was read to the end"


async def test_an_upload_without_the_right_to_it_is_refused_before_it_is_read(web, client: Client, make: Make):
    resident, elsewhere = await make.resident(), await make.place()
    header = f"{FORM}\r\nAuthorization: Bearer {client.token(resident)}"
    status, code, sent = await send_slowly(web, f"{resident.place.url}/documents", header, chunk=FILE)
    assert (status, code, sent < 16 * MIB) == (403, "scope_missing", True)
    status, code, sent = await send_slowly(web, f"{elsewhere.url}/documents", header, chunk=FILE)
    assert (status, code, sent < 16 * MIB) == (404, "community_not_found", True)


async def test_an_upload_that_never_ends_is_cut_at_the_largest_file(web, client: Client, make: Make, runtime: Runtime):
    with_settings(web, runtime, upload_bytes_max=1_000_000)
    manager = await make.staff()
    header = f"{FORM}\r\nAuthorization: Bearer {client.token(manager)}"
    status, code, sent = await send_slowly(web, f"{manager.place.url}/documents", header, chunk=FILE)
    assert (status, code) == (413, "body_too_large")
    assert 2_000_000 < sent < 16 * MIB


async def test_a_stated_length_beyond_the_limit_is_refused_at_once(web, client: Client, make: Make):
    manager = await make.staff()
    headers = (FORM, "Content-Length: 90000000", f"Authorization: Bearer {client.token(manager)}")
    status, code, sent = await send_slowly(web, f"{manager.place.url}/documents", *headers, chunk=FILE)
    assert (status, code, sent < 16 * MIB) == (413, "body_too_large", True)


async def test_invented_tokens_share_the_allowance_of_their_address(web, client: Client, make: Make, runtime: Runtime):
    with_settings(web, runtime, requests_per_minute_max=20)
    resident, key = await make.resident(), await make.api_key("me:read")
    assert (await client.get("/api/v1/me", as_=key)).status_code == 200
    invented = [f"invented-{number}" for number in range(30)] + [f"lk_{uuid4().hex}_x" for _ in range(30)]
    answers = await asyncio.gather(*(client.get("/api/v1/me", as_=token) for token in invented))
    statuses = [answer.status_code for answer in answers]
    # One of the twenty was the key's first request, before it was known to be good.
    assert (statuses.count(401), statuses.count(429)) == (19, 41)
    # Those who are known are not shut out with the strangers of their address.
    assert (await client.get("/api/v1/me", as_=resident)).status_code == 200
    assert (await client.get("/api/v1/me", as_=key)).status_code == 200
    refused = await client.post("/api/v1/auth/sign-in", json={"community": "x", "login": "x", "password": "x"})
    assert refused.status_code == 429


async def test_a_known_caller_has_one_allowance_whatever_the_token(web, client: Client, make: Make, runtime: Runtime):
    with_settings(web, runtime, requests_per_minute_max=10)
    resident = await make.resident()
    tokens = []
    for _ in range(20):
        tokens.append(client.token(resident))
        client.clock.now += timedelta(seconds=10)
    assert len(set(tokens)) == 20
    answers = await asyncio.gather(*(client.get("/api/v1/me", as_=token) for token in tokens))
    assert [answer.status_code for answer in answers].count(200) == 10


async def test_a_rush_of_wrong_passwords_gets_no_more_tries_than_a_row_of_them(web, client, make, runtime):
    with_settings(web, runtime, sign_ins_per_minute_max=5)
    manager = await make.staff()
    body = {"community": manager.place.slug, "login": manager.login, "password": "wrong password"}
    answers = await asyncio.gather(*(client.post("/api/v1/auth/sign-in", json=body) for _ in range(40)))
    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(401), statuses.count(429)) == (5, 35)


async def test_a_rush_of_questions_stays_within_the_limit(web, client: Client, make: Make, runtime: Runtime):
    with_settings(web, runtime, turns_per_minute_max=5)
    resident = await make.resident()
    answers = await asyncio.gather(
        *(client.post("/api/v1/me/turns", json={"text": "几点上班"}, as_=resident) for _ in range(30))
    )
    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(202), statuses.count(429)) == (5, 25)


def test_every_route_that_counts_callers_has_the_door(web: tuple[str, FastAPI]):
    found = [route for router in routers() for route in router.routes if isinstance(route, APIRoute)]
    assert [route.path for route in found if not isinstance(route, DoorRoute)] == []
    described = web[1].openapi()["paths"]
    operations = [
        method for path, methods in described.items() if path.startswith(("/api/", "/v1/")) for method in methods
    ]
    assert len(operations) == sum(len(route.methods or ()) for route in found), "a router is missing here"


def test_every_scope_opens_a_door():
    asked = {
        scope
        for router in routers()
        for route in router.routes
        if isinstance(route, APIRoute)
        for scope in Wants.of(route.dependant).scopes
    }
    # It widens what a search may read.
    assert asked | {"knowledge:staff"} == ALL_SCOPES


@pytest.mark.parametrize(
    ("host", "counted"),
    [
        ("203.0.113.9", "203.0.113.9"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9%eth0", "2001:db8:1:2::/64"), ("::ffff:203.0.113.9", "203.0.113.9"), ("", "unknown"),
    ],
)  # fmt: skip
def test_addresses_of_one_home_count_as_one(host: str, counted: str):
    from starlette.requests import Request

    from app.rest.rate_limits import address_of

    assert address_of(Request({"type": "http", "client": (host, 1), "headers": []})) == counted
