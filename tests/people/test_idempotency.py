"""A create that is sent twice creates once."""

import asyncio
from datetime import timedelta
from typing import Any

import httpx

from app.db import utc_now
from app.people.jobs import forget_old_rows
from app.runtime import Runtime
from tests.conftest import Client, Clock
from tests.make import Make, Person


async def post(
    client: Client, manager: Person, key: str, name: str = "沈书宁", path: str = "residents"
) -> httpx.Response:
    body: dict[str, Any] = {"name": name} if path == "residents" else {"name": name, "kind": "phase"}
    return await client.post(f"{manager.place.url}/{path}", json=body, as_=manager, headers={"Idempotency-Key": key})


async def residents(client: Client, manager: Person) -> list[dict[str, Any]]:
    return list((await client.get(f"{manager.place.url}/residents", as_=manager)).json()["items"])


async def test_retry_gets_the_first_answer(client: Client, manager: Person):
    first, retry = await post(client, manager, "k1"), await post(client, manager, "k1")
    assert (retry.status_code, retry.json()) == (201, first.json())
    assert "idempotency-replayed" not in first.headers
    assert retry.headers["idempotency-replayed"] == "true"
    assert len(await residents(client, manager)) == 1


async def test_key_with_another_body_is_refused(client: Client, manager: Person):
    await post(client, manager, "k1")
    other = await post(client, manager, "k1", name="顾明澜")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert len(await residents(client, manager)) == 1


async def test_requests_at_the_same_moment_create_one(client: Client, manager: Person):
    answers = await asyncio.gather(*(post(client, manager, "k1") for _ in range(6)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len(await residents(client, manager)) == 1


async def test_key_belongs_to_its_caller_and_its_route(client: Client, make: Make, manager: Person):
    colleague = await make.staff()
    mine, theirs = await post(client, manager, "k1"), await post(client, colleague, "k1")
    assert mine.json()["id"] != theirs.json()["id"]
    assert (await post(client, manager, "k1", path="spaces")).status_code == 201


async def test_refused_request_may_be_sent_again_with_the_same_key(client: Client, manager: Person):
    assert (await post(client, manager, "k1", name="")).status_code == 422
    assert (await post(client, manager, "k2", name="1期", path="spaces")).status_code == 201
    assert (await post(client, manager, "k3", name="1期", path="spaces")).status_code == 409
    assert (await post(client, manager, "k3", name="2期", path="spaces")).status_code == 201


async def test_key_is_forgotten_after_its_hours_in_every_community(
    client: Client, clock: Clock, runtime: Runtime, make: Make, manager: Person
):
    other = await make.staff(place=await make.place())
    mine, theirs = await post(client, manager, "k1"), await post(client, other, "k1")
    await forget_old_rows(runtime)
    assert (await post(client, manager, "k1")).json() == mine.json()
    # The rows carry the database's time, whatever the clock of the tests says.
    clock.now = utc_now() + timedelta(hours=runtime.settings.idempotency_hours, minutes=1)
    await forget_old_rows(runtime)
    assert (await post(client, manager, "k1")).json()["id"] != mine.json()["id"]
    assert (await post(client, other, "k1")).json()["id"] != theirs.json()["id"]
