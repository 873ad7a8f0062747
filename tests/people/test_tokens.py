"""Access tokens: only ours, whole and in time, are let in."""

import base64
import json
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey

from app.people import tokens
from tests.conftest import Client, Clock
from tests.make import Make, Person


def part(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def claims_of(token: str) -> dict[str, Any]:
    payload = token.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))))


def forge(client: Client, claims: dict[str, Any], *, algorithm: str = "HS256", key: str | None = None) -> str:
    secret = client.settings.secret_key
    assert secret is not None
    return jwt.encode(
        {"alg": algorithm}, claims, OctKey.import_key(key or secret.get_secret_value()), algorithms=[algorithm]
    )


async def check_refused(client: Client, token: str) -> None:
    answer = await client.get("/api/v1/me", as_=token)
    assert (answer.status_code, answer.json()["code"]) == (401, "token_invalid"), token
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_expired_token_is_refused(client: Client, clock: Clock, make: Make):
    resident = await make.resident()
    token = client.token(resident)
    assert (await client.get("/api/v1/me", as_=token)).status_code == 200
    clock.now += timedelta(minutes=client.settings.access_token_minutes, seconds=1)
    await check_refused(client, token)


@pytest.mark.parametrize("algorithm", ["none", "None", "HS512", "RS256"])
async def test_token_with_another_algorithm_is_refused(client: Client, make: Make, algorithm: str):
    claims = claims_of(client.token(await make.resident()))
    header = part({"alg": algorithm, "typ": "JWT"})
    signature = client.token(await make.resident()).split(".")[2]
    for end in ("", signature):
        await check_refused(client, f"{header}.{part(claims)}.{end}")
    if algorithm == "HS512":
        await check_refused(client, forge(client, claims, algorithm="HS512"))


async def test_changed_token_is_refused(client: Client, make: Make):
    mine, theirs = await make.resident(), await make.staff()
    header, _, signature = client.token(mine).split(".")
    promoted = {**claims_of(client.token(mine)), "sub": str(theirs.account_id)}
    await check_refused(client, f"{header}.{part(promoted)}.{signature}")
    await check_refused(client, forge(client, promoted, key="another secret that is long enough, too"))


@pytest.mark.parametrize(
    "change",
    [{"iss": "other"}, {"aud": "other"}, {"exp": "soon"}, {"exp": None}, {"sub": "me"}, {"org": None}, {"com": 1}],
)
async def test_token_with_a_wrong_claim_is_refused(client: Client, make: Make, change: dict[str, Any]):
    claims = claims_of(client.token(await make.resident()))
    assert (await client.get("/api/v1/me", as_=forge(client, claims))).status_code == 200
    await check_refused(client, forge(client, {**claims, **change}))
    await check_refused(client, forge(client, {name: value for name, value in claims.items() if name not in change}))


async def test_token_for_a_community_without_rights_is_refused(client: Client, make: Make):
    resident = await make.resident()
    sibling = await make.place(organisation_id=resident.tenant.organisation_id)
    elsewhere = Person(sibling, resident.account_id, resident.id, resident.login)
    await check_refused(client, client.token(elsewhere))
    await check_refused(client, client.token(Person(resident.place, uuid4(), uuid4(), "nobody")))


@pytest.mark.parametrize("header", ["", "Bearer", "Basic abc", "Bearer a.b.c", "Bearer ..", "Bearer 龙"])
async def test_what_is_no_token_is_refused(client: Client, header: str):
    headers = {"authorization": header.encode()} if header else {}
    answer = await client.get("/api/v1/me", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "token_invalid")


async def test_read_access_gives_the_claims(client: Client, clock: Clock, make: Make):
    resident = await make.resident()
    claims = tokens.read_access(client.settings, client.token(resident), now=clock())
    assert claims is not None
    assert claims["sub"] == str(resident.account_id)
