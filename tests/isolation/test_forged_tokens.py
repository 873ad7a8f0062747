"""Attacks on access tokens, and how soon a lost right is lost. The plain cases stand in tests/people/test_tokens.py."""

import base64
import hashlib
import hmac
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey
from sqlalchemy import delete, update

from app.people.tables import Account, Resident, Staff, StaffRight
from app.runtime import Runtime
from tests.conftest import Client, Clock
from tests.make import Make, Person
from tests.people.test_tokens import check_refused, claims_of, forge, part

ME = "/api/v1/me"


def signed(header: dict[str, Any], claims: dict[str, Any], secret: bytes) -> str:
    """A token signed by hand with HMAC, whatever its header says."""
    head = f"{part(header)}.{part(claims)}"
    mac = hmac.new(secret, head.encode(), hashlib.sha256).digest()
    return f"{head}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


async def test_public_key_does_not_sign(client: Client, make: Make):
    """RS256 confused with HS256: whoever knows a public key must not sign with it, nor bring a key along."""
    claims = claims_of(client.token(await make.resident()))
    key = RSAKey.generate_key(2048)
    pem = key.as_pem(private=False)
    await check_refused(client, signed({"alg": "HS256", "typ": "JWT"}, claims, pem))
    await check_refused(client, signed({"alg": "RS256"}, claims, pem))
    await check_refused(client, jwt.encode({"alg": "RS256"}, claims, key, algorithms=["RS256"]))
    brought = {"alg": "RS256", "jwk": key.as_dict(private=False)}
    await check_refused(client, jwt.encode(brought, claims, key, algorithms=["RS256"]))


@pytest.mark.parametrize(
    "extra",
    [
        {"kid": "../../../../dev/null"}, {"kid": "' UNION SELECT 'secret' --"}, {"kid": "k\x00"}, {"kid": ["a"]},
        {"jku": "http://127.0.0.1:9/keys"}, {"x5u": "http://127.0.0.1:9/cert"}, {"crit": ["exp"]}, {"b64": False},
        {"jwk": {"kty": "oct", "k": "AA"}}, {"zip": "DEF"}, {"enc": "A256GCM"},
    ],
)  # fmt: skip
async def test_header_names_no_other_key(client: Client, make: Make, extra: dict[str, Any]):
    """The empty key of /dev/null, a key out of SQL, a key that is brought along: none of them signs."""
    claims = claims_of(client.token(await make.resident()))
    for secret in (b"", b"\x00", b"secret"):
        await check_refused(client, signed({"alg": "HS256", "typ": "JWT", **extra}, claims, secret))


@pytest.mark.parametrize(
    ("claim", "seconds", "status"),
    [("nbf", 3_600, 401), ("iat", 3_600, 401), ("nbf", -5, 200), ("nbf", 30, 200), ("exp", -1, 401)],
)
async def test_token_counts_in_its_time_only(
    client: Client, clock: Clock, make: Make, claim: str, seconds: int, status: int
):
    claims = claims_of(client.token(await make.resident()))
    moved = forge(client, {**claims, claim: int((clock() + timedelta(seconds=seconds)).timestamp())})
    assert (await client.get(ME, as_=moved)).status_code == status


@pytest.mark.parametrize("value", ["soon", None, [], {}, 10**400, -1, True])
@pytest.mark.parametrize("claim", ["exp", "nbf", "iat"])
async def test_times_of_strange_make_are_no_error_of_ours(client: Client, make: Make, claim: str, value: Any):
    claims = {**claims_of(client.token(await make.resident())), claim: value}
    answer = await client.get(ME, as_=forge(client, claims))
    assert answer.status_code in (200, 401)
    assert claim != "exp" or value == 10**400 or answer.status_code == 401


async def test_claims_cannot_be_mixed(client: Client, make: Make):
    """Signed by us, but for another company, community or person than the account has: nothing opens."""
    mine, sibling, other = await make.resident(), await make.place(), await make.staff(place=await make.place())
    claims = claims_of(client.token(mine))
    theirs = claims_of(client.token(other))
    for names in (["org"], ["com"], ["org", "com"], ["sub"], ["sub", "com"], ["sub", "org"]):
        await check_refused(client, forge(client, {**claims, **{name: theirs[name] for name in names}}))
    await check_refused(client, forge(client, {**claims, "com": str(sibling.id)}))
    promoted = forge(client, {**claims, "scopes": ["staff:write"], "roles": ["manager"], "kind": "staff"})
    assert (await client.get(ME, as_=promoted)).json()["roles"] == []


async def test_key_of_another_installation_does_not_sign(client: Client, make: Make):
    claims = claims_of(client.token(await make.resident()))
    for key in ("the secret of another company's Linli, long", "a secret of the tests, long enough to sigN"):
        await check_refused(client, forge(client, claims, key=key))
    await check_refused(client, jwt.encode({"alg": "HS256"}, claims, OctKey.generate_key(256)))


async def test_oversized_and_doubled_tokens_are_refused(client: Client, make: Make):
    resident = await make.resident()
    good = client.token(resident)
    await check_refused(client, forge(client, {**claims_of(good), "more": "x" * 30_000}))
    await check_refused(client, "." * 50_000)
    await check_refused(client, f"{good}.{good}")
    doubled = [("authorization", "Bearer invented"), ("authorization", f"Bearer {good}")]
    assert (await client.get(ME, headers=doubled)).status_code == 401


async def _revoke_role(runtime: Runtime, person: Person) -> None:
    async with runtime.transaction(person.tenant) as session:
        await session.execute(delete(StaffRight).where(StaffRight.staff_id == person.id))


async def _disable(runtime: Runtime, person: Person) -> None:
    async with runtime.transaction(person.tenant) as session:
        await session.execute(
            update(Account).where(Account.id == person.account_id).values(disabled_at=runtime.clock())
        )


async def _delete(runtime: Runtime, person: Person) -> None:
    async with runtime.transaction(person.tenant) as session:
        await session.execute(delete(Resident).where(Resident.id == person.id))
        await session.execute(delete(Staff).where(Staff.id == person.id))


async def _delete_account(runtime: Runtime, person: Person) -> None:
    async with runtime.transaction(person.tenant) as session:
        await session.execute(delete(Account).where(Account.id == person.account_id))


@pytest.mark.parametrize("end", [_revoke_role, _disable, _delete, _delete_account])
@pytest.mark.parametrize("who", ["staff", "resident"])
async def test_what_ends_an_account_ends_its_tokens_at_once(
    client: Client, make: Make, runtime: Runtime, end: Callable[..., Any], who: str
):
    person = await make.staff() if who == "staff" else await make.resident()
    turn = (await client.post("/api/v1/me/turns", json={"text": "几点上班"}, as_=person)).json()
    token = client.token(person)
    assert (await client.get(ME, as_=token)).status_code == 200
    await end(runtime, person)
    if end is _revoke_role and who == "resident":
        return  # has no roles to lose
    await check_refused(client, token)
    for path in (f"turns/{turn['id']}", f"turns/{turn['id']}/events", f"communities/{person.place.id}/documents"):
        assert (await client.get(f"/api/v1/{path}", as_=token)).status_code == 401


async def test_a_smaller_role_counts_from_the_next_request_on(client: Client, make: Make):
    manager, other = await make.staff(), await make.staff()
    token, url = client.token(other), f"{manager.place.url}/staff"
    assert (await client.get(url, as_=token)).status_code == 200
    smaller = await client.put(f"{url}/{other.id}/rights", json={"roles": ["security"]}, as_=manager)
    assert smaller.status_code == 200
    assert (await client.get(url, as_=token)).json()["code"] == "scope_missing"


async def test_a_payload_of_strange_make_is_refused(client: Client):
    secret = client.settings.secret_key
    assert secret is not None
    for payload in (b"[]", b"null", b'"a"', b"{", b"\xff", b"[" * 900 + b"]" * 900):
        head = f"{part({'alg': 'HS256'})}.{base64.urlsafe_b64encode(payload).decode().rstrip('=')}"
        mac = hmac.new(secret.get_secret_value().encode(), head.encode(), hashlib.sha256).digest()
        await check_refused(client, f"{head}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}")
