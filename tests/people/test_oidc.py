"""The OpenID Connect door, against a provider that really answers on loopback."""

import dataclasses
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import select, update

from app.people.oidc import COOKIE
from app.people.tables import Account
from app.runtime import Runtime
from tests.conftest import Client
from tests.make import Make, Person
from tests.people import oidc_provider
from tests.people.oidc_provider import CLIENT_ID, CLIENT_SECRET, Provider

START = "/api/v1/auth/oidc/start"


@pytest.fixture(scope="module")
async def served() -> AsyncIterator[Provider]:
    async with oidc_provider.serve() as provider:
        yield provider


@pytest.fixture
def provider(served: Provider, web: tuple[str, Any], client: Client, runtime: Runtime) -> Provider:
    """The provider as issuer of this test's runtime, with nothing twisted."""
    set_up(web, runtime, served.url)
    fresh = Provider(served.url)
    for name in ("person", "twist", "foreign_key", "symmetric", "metadata_twist"):
        setattr(served, name, getattr(fresh, name))
    return served


def set_up(web: tuple[str, Any], runtime: Runtime, issuer: str, **more: Any) -> None:
    wanted = {
        "oidc_issuer_url": issuer, "oidc_client_id": CLIENT_ID, "oidc_client_secret": SecretStr(CLIENT_SECRET), **more
    }  # fmt: skip
    web[1].state.runtime = dataclasses.replace(runtime, settings=runtime.settings.model_copy(update=wanted))


@pytest.fixture
async def linked(runtime: Runtime, manager: Person) -> Person:
    async with runtime.transaction(manager.tenant) as session:
        await session.execute(update(Account).where(Account.id == manager.account_id).values(oidc_subject="subject-1"))
    return manager


async def go(client: Client, slug: str) -> str:
    """The callback's address, as the provider sends the browser there."""
    start = await client.get(START, params={"community": slug})
    assert start.status_code == 302, start.text
    async with httpx.AsyncClient() as browser:
        sent = await browser.get(start.headers["location"])
    assert sent.status_code == 302, sent.text
    return str(sent.headers["location"])


async def sign_in(client: Client, slug: str) -> httpx.Response:
    return await client.get(await go(client, slug))


async def test_linked_account_signs_in_and_refreshes(client: Client, provider: Provider, linked: Person):
    answer = await sign_in(client, linked.place.slug)
    assert answer.status_code == 200, answer.text
    tokens = answer.json()
    assert tokens["me"]["id"] == str(linked.id)
    assert (await client.get("/api/v1/me", as_=tokens["access_token"])).status_code == 200
    refreshed = await client.post("/api/v1/auth/refresh", json={"refresh_token": tokens["refresh_token"]})
    assert refreshed.status_code == 200


async def test_cookie_stays_out_of_reach_of_scripts(client: Client, provider: Provider, linked: Person):
    start = await client.get(START, params={"community": linked.place.slug})
    cookie = start.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert "path=/api/v1/auth/oidc" in cookie


async def test_identity_without_an_account_is_refused(client: Client, provider: Provider, manager: Person):
    answer = await sign_in(client, manager.place.slug)
    assert (answer.status_code, answer.json()["code"]) == (401, "oidc_not_linked")


async def test_account_is_no_one_in_another_companys_community(
    client: Client, provider: Provider, make: Make, linked: Person
):
    answer = await sign_in(client, (await make.place()).slug)
    assert (answer.status_code, answer.json()["code"]) == (401, "oidc_not_linked")
    sibling = await make.place(organisation_id=linked.tenant.organisation_id)
    answer = await sign_in(client, sibling.slug)
    assert (answer.status_code, answer.json()["code"]) == (401, "sign_in_refused")


async def test_verified_address_links_only_where_the_setting_says_so(
    client: Client, web: tuple[str, Any], provider: Provider, runtime: Runtime, manager: Person
):
    provider.person = {"sub": "subject-9", "email": manager.login, "email_verified": True}
    assert (await sign_in(client, manager.place.slug)).json()["code"] == "oidc_not_linked"
    set_up(web, runtime, provider.url, oidc_link_by_email=True)
    provider.person["email_verified"] = False
    assert (await sign_in(client, manager.place.slug)).json()["code"] == "oidc_not_linked"
    provider.person["email_verified"] = True
    assert (await sign_in(client, manager.place.slug)).status_code == 200
    async with runtime.transaction(manager.tenant) as session:
        assert await session.scalar(select(Account.oidc_subject)) == "subject-9"
    # Linked to one subject, it is not handed to another who brings the same address.
    provider.person["sub"] = "subject-10"
    assert (await sign_in(client, manager.place.slug)).json()["code"] == "oidc_not_linked"


@pytest.mark.parametrize(
    "twist",
    [{"iss": "https://other"}, {"aud": "other"}, {"nonce": "other"}, {"nonce": None}, {"exp": 1_000}, {"sub": None},
     {"aud": None}],
)  # fmt: skip
async def test_id_token_with_a_wrong_claim_is_refused(
    client: Client, provider: Provider, linked: Person, twist: dict[str, Any]
):
    provider.twist = twist
    answer = await sign_in(client, linked.place.slug)
    assert (answer.status_code, answer.json()["code"]) == (401, "oidc_refused")


async def test_id_token_of_another_key_or_kind_is_refused(client: Client, provider: Provider, linked: Person):
    provider.foreign_key = True
    assert (await sign_in(client, linked.place.slug)).json()["code"] == "oidc_refused"
    provider.foreign_key, provider.symmetric = False, True
    provider.metadata_twist = {"id_token_signing_alg_values_supported": ["none", "HS256"]}
    assert (await sign_in(client, linked.place.slug)).json()["code"] == "oidc_refused"


async def test_callback_of_another_browser_or_twice_is_refused(client: Client, provider: Provider, linked: Person):
    callback = await go(client, linked.place.slug)
    async with httpx.AsyncClient() as lured:
        assert (await lured.get(callback)).json()["code"] == "oidc_refused"
        forged = await lured.get(callback, headers={"cookie": f"{COOKIE}=eyJ9.forged.x"})
        assert forged.json()["code"] == "oidc_refused"
    other_state = httpx.URL(callback).copy_set_param("state", "other")
    assert (await client.get(other_state)).json()["code"] == "oidc_refused"
    denied = httpx.URL(callback).copy_remove_param("code").copy_set_param("error", "access_denied")
    assert (await client.get(denied)).json()["code"] == "oidc_refused"
    assert (await client.get(callback)).status_code == 200
    assert (await client.get(callback)).json()["code"] == "oidc_refused"


async def test_door_is_closed_without_an_issuer(client: Client, manager: Person):
    for path in (START, "/api/v1/auth/oidc/callback"):
        answer = await client.get(path, params={"community": manager.place.slug})
        assert (answer.status_code, answer.json()["code"]) == (404, "oidc_closed")


async def test_unknown_community_and_silent_issuer_are_told(
    client: Client, web: tuple[str, Any], provider: Provider, runtime: Runtime, manager: Person
):
    unknown = await client.get(START, params={"community": "nowhere"})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "community_not_found")
    provider.metadata_twist = {"issuer": "https://somebody.else"}
    other = await client.get(START, params={"community": manager.place.slug})
    assert (other.status_code, other.json()["code"]) == (503, "oidc_issuer_unavailable")
    set_up(web, runtime, "http://127.0.0.1:9")
    silent = await client.get(START, params={"community": manager.place.slug})
    assert (silent.status_code, silent.json()["code"]) == (503, "oidc_issuer_unavailable")
