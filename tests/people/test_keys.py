"""API keys: what they open, until when, and who may make them."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, text

from app.people.tables import ApiKey, StaffRole
from app.runtime import Runtime
from tests.conftest import Client, Clock
from tests.make import Make, Person


async def make_key(client: Client, manager: Person, **body: object) -> dict[str, Any]:
    answer = await client.post(
        f"{manager.place.url}/api-keys", json={"name": "kiosk", "scopes": ["spaces:read"], **body}, as_=manager
    )
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def test_secret_is_shown_once_and_not_kept(client: Client, runtime: Runtime, manager: Person):
    made = await client.post(
        f"{manager.place.url}/api-keys", json={"name": "kiosk", "scopes": ["me:read"]}, as_=manager,
        headers={"Idempotency-Key": "once"},
    )  # fmt: skip
    secret = made.json()["secret"]
    assert made.headers["cache-control"] == "no-store"
    listed = await client.get(f"{manager.place.url}/api-keys", as_=manager)
    assert [key["name"] for key in listed.json()["items"]] == ["kiosk"]
    assert secret not in listed.text
    async with runtime.transaction(manager.tenant) as session:
        stored = (await session.scalars(select(ApiKey))).one()
        kept = await session.scalar(text("SELECT count(*) FROM idempotency_keys"))
    assert secret not in (stored.secret_hash, stored.name)
    assert kept == 0
    me = (await client.get("/api/v1/me", as_=secret)).json()
    assert (me["kind"], me["name"], me["scopes"]) == ("api_key", "kiosk", ["me:read"])


async def test_key_opens_its_scopes_and_nothing_else(client: Client, manager: Person):
    key = await make_key(client, manager)
    assert (await client.get(f"{manager.place.url}/spaces", as_=key["secret"])).status_code == 200
    refused = await client.get(f"{manager.place.url}/residents", as_=key["secret"])
    assert (refused.status_code, refused.json()["facts"]) == (403, {"scope": "residents:read"})


async def test_revoked_key_opens_nothing_from_the_next_request(client: Client, manager: Person):
    key = await make_key(client, manager)
    url = f"{manager.place.url}/api-keys/{key['id']}"
    assert (await client.delete(url, as_=manager)).status_code == 204
    assert (await client.get(f"{manager.place.url}/spaces", as_=key["secret"])).status_code == 401
    revoked_at = (await client.get(url, as_=manager)).json()["revoked_at"]
    assert (await client.delete(url, as_=manager)).status_code == 204
    assert (await client.get(url, as_=manager)).json()["revoked_at"] == revoked_at


async def test_expired_key_opens_nothing(client: Client, clock: Clock, manager: Person):
    key = await make_key(client, manager, expires_at=(clock() + timedelta(hours=1)).isoformat())
    assert (await client.get(f"{manager.place.url}/spaces", as_=key["secret"])).status_code == 200
    clock.now += timedelta(hours=1)
    assert (await client.get(f"{manager.place.url}/spaces", as_=key["secret"])).status_code == 401


@pytest.mark.parametrize("change", ["cut", "other_id", "prefix_only", "empty_id"])
async def test_broken_keys_are_refused(client: Client, make: Make, manager: Person, change: str):
    secret = (await make_key(client, manager))["secret"]
    other = await make.api_key("spaces:read")
    broken = {
        "cut": secret[:-1],
        "other_id": other.rsplit("_", 1)[0] + "_" + secret.rsplit("_", 1)[1],
        "prefix_only": "lk_",
        "empty_id": "lk__" + secret,
    }[change]
    assert (await client.get(f"{manager.place.url}/spaces", as_=broken)).status_code == 401


async def test_nobody_makes_a_key_that_can_do_more_than_they(client: Client, make: Make, manager: Person):
    url = f"{manager.place.url}/api-keys"
    narrow = (await make_key(client, manager, scopes=["keys:write"]))["secret"]
    more = await client.post(url, json={"name": "n", "scopes": ["residents:write"]}, as_=narrow)
    assert (more.status_code, more.json()["facts"]) == (403, {"scopes": ["residents:write"]})
    staff_words = await client.post(url, json={"name": "n", "scopes": ["knowledge:staff"]}, as_=narrow)
    assert staff_words.status_code == 403
    assert (await make_key(client, manager, scopes=["knowledge:staff"]))["scopes"] == ["knowledge:staff"]
    engineer = await make.staff(role=StaffRole.ENGINEER)
    assert (await client.post(url, json={"name": "n", "scopes": ["me:read"]}, as_=engineer)).status_code == 403


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"name": "n", "scopes": ["everything"]}, "scopes_unknown"),
        ({"name": "n", "scopes": []}, "request_invalid"),
        ({"name": " ", "scopes": ["me:read"]}, "request_invalid"),
        ({"name": "n", "scopes": ["x" * 500_000]}, "request_invalid"),
        ({"name": "n", "scopes": ["me:read"], "expires_at": "2020-01-01T00:00:00Z"}, "expires_in_the_past"),
        ({"name": "n", "scopes": ["me:read"], "expires_at": "2030-01-01T00:00:00"}, "request_invalid"),
        ({"name": "n", "scopes": ["me:read"], "secret": "mine"}, "request_invalid"),
    ],
)
async def test_bad_keys_are_not_made(client: Client, manager: Person, body: dict[str, object], code: str):
    answer = await client.post(f"{manager.place.url}/api-keys", json=body, as_=manager)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
