"""Signing in, staying signed in, signing out."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import httpx
from argon2 import PasswordHasher
from sqlalchemy import delete, select, update

from app.people.tables import Account, StaffRight, StaffRole
from app.runtime import Runtime
from tests.conftest import Client, Clock
from tests.make import Make, Person
from tests.people.conftest import PASSWORD

SIGN_IN = "/api/v1/auth/sign-in"
REFRESH = "/api/v1/auth/refresh"


def credentials(person: Person, password: str = PASSWORD, **changes: Any) -> dict[str, Any]:
    return {"community": person.place.slug, "login": person.login, "password": password, **changes}


async def sign_in(client: Client, person: Person) -> dict[str, Any]:
    answer = await client.post(SIGN_IN, json=credentials(person))
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def refresh(client: Client, token: str) -> httpx.Response:
    return await client.post(REFRESH, json={"refresh_token": token})


async def test_manager_signs_in_and_is_told_who_they_are(client: Client, manager: Person):
    answer = await client.post(SIGN_IN, json=credentials(manager))
    tokens = answer.json()
    assert answer.headers["cache-control"] == "no-store"
    assert tokens["expires_in"] == 900
    me = (await client.get("/api/v1/me", as_=tokens["access_token"])).json()
    assert me == tokens["me"]
    assert (me["kind"], me["roles"], me["community"]["slug"]) == ("staff", ["manager"], manager.place.slug)
    assert "residents:write" in me["scopes"]


async def test_resident_is_told_their_rooms(client: Client, make: Make):
    resident = await make.resident(verified=False)
    me = (await client.get("/api/v1/me", as_=resident)).json()
    assert (me["kind"], me["verified"], me["roles"]) == ("resident", False, [])
    assert [room["verified_at"] for room in me["rooms"]] == [None]
    assert [place["id"] for place in me["communities"]] == [str(resident.place.id)]


async def test_wrong_password_unknown_login_and_unknown_community_get_one_answer(
    client: Client, make: Make, manager: Person
):
    no_password = await make.staff()
    elsewhere = await make.place()
    attempts = [
        credentials(manager, "wrong"),
        credentials(manager, login="nobody"),
        credentials(manager, community="nowhere"),
        credentials(manager, community=elsewhere.slug),
        credentials(no_password, ""),
        credentials(no_password, "the password of nobody"),
    ]
    answers = [await client.post(SIGN_IN, json=attempt) for attempt in attempts if attempt["password"]]
    assert {answer.status_code for answer in answers} == {401}
    assert {answer.json()["code"] for answer in answers} == {"sign_in_refused"}
    assert (await client.post(SIGN_IN, json=attempts[4])).status_code == 422


async def test_disabled_account_and_one_without_rights_are_refused(
    client: Client, runtime: Runtime, make: Make, manager: Person, password_hash: str
):
    former = await make.staff(password_hash=password_hash)
    async with runtime.transaction(manager.tenant) as session:
        await session.execute(delete(StaffRight).where(StaffRight.staff_id == former.id))
        await session.execute(
            update(Account).where(Account.id == manager.account_id).values(disabled_at=runtime.clock())
        )
    for person in (former, manager):
        answer = await client.post(SIGN_IN, json=credentials(person))
        assert (answer.status_code, answer.json()["code"]) == (401, "sign_in_refused")


async def test_guessing_is_slowed_down(client: Client, manager: Person):
    for _ in range(10):
        assert (await client.post(SIGN_IN, json=credentials(manager, "wrong"))).status_code == 401
    limited = await client.post(SIGN_IN, json=credentials(manager))
    assert (limited.status_code, limited.json()["code"]) == (429, "too_many_requests")
    assert 0 < int(limited.headers["retry-after"]) <= 60


async def test_password_with_old_parameters_is_hashed_anew(client: Client, runtime: Runtime, make: Make):
    weak = PasswordHasher(time_cost=1, memory_cost=8_192, parallelism=1).hash(PASSWORD)
    person = await make.staff(password_hash=weak)
    await sign_in(client, person)
    async with runtime.transaction(person.tenant) as session:
        stored = await session.scalar(select(Account.password_hash).where(Account.id == person.account_id))
    assert stored is not None
    assert stored != weak
    assert not PasswordHasher().check_needs_rehash(stored)
    await sign_in(client, person)


async def test_a_refresh_token_works_once_and_its_second_use_ends_the_family(client: Client, manager: Person):
    first = (await sign_in(client, manager))["refresh_token"]
    second = (await refresh(client, first)).json()["refresh_token"]
    third = (await refresh(client, second)).json()["refresh_token"]
    reused = await refresh(client, first)
    assert (reused.status_code, reused.json()["code"]) == (401, "token_invalid")
    # The thief's or the owner's newest token: whoever holds it has to sign in again.
    assert (await refresh(client, third)).status_code == 401


async def test_other_sign_ins_survive_a_revoked_family(client: Client, manager: Person):
    phone = (await sign_in(client, manager))["refresh_token"]
    laptop = (await sign_in(client, manager))["refresh_token"]
    await refresh(client, phone)
    await refresh(client, phone)
    assert (await refresh(client, laptop)).status_code == 200


async def test_two_refreshes_at_once_leave_no_living_token(client: Client, manager: Person):
    token = (await sign_in(client, manager))["refresh_token"]
    answers = await asyncio.gather(*(refresh(client, token) for _ in range(4)))
    won = [answer.json()["refresh_token"] for answer in answers if answer.status_code == 200]
    assert len(won) == 1
    assert (await refresh(client, won[0])).status_code == 401


async def test_reuse_ends_also_the_link_that_is_made_at_the_same_moment(client: Client, manager: Person):
    for _ in range(5):
        first = (await sign_in(client, manager))["refresh_token"]
        second = (await refresh(client, first)).json()["refresh_token"]
        rotated, _ = await asyncio.gather(refresh(client, second), refresh(client, first))
        if rotated.status_code == 200:
            assert (await refresh(client, rotated.json()["refresh_token"])).status_code == 401


async def test_broken_refresh_tokens_are_refused(client: Client, manager: Person):
    genuine = (await sign_in(client, manager))["refresh_token"]
    token_id, _, secret = genuine.removeprefix("lr_").partition("_")
    for broken in (
        f"lr_{token_id}_{secret[:-1]}",
        f"lr_{token_id}_",
        "lr_",
        "x",
        f"lr_{'0' * 32}_{secret}",
        genuine * 2,
    ):
        answer = await refresh(client, broken)
        assert answer.status_code in (401, 422), broken
    # A guess at the secret is not a use of the token.
    assert (await refresh(client, genuine)).status_code == 200


async def test_family_ends_after_its_days(client: Client, clock: Clock, manager: Person):
    first = (await sign_in(client, manager))["refresh_token"]
    clock.now += timedelta(days=29)
    second = (await refresh(client, first)).json()["refresh_token"]
    clock.now += timedelta(days=2)
    assert (await refresh(client, second)).status_code == 401


async def test_sign_out_ends_the_family_and_may_be_repeated(client: Client, manager: Person):
    first = (await sign_in(client, manager))["refresh_token"]
    second = (await refresh(client, first)).json()["refresh_token"]
    for token in (second, second, "lr_nonsense"):
        assert (await client.post("/api/v1/auth/sign-out", json={"refresh_token": token})).status_code == 204
    assert (await refresh(client, second)).status_code == 401


async def test_changed_password_signs_out_everywhere_else(client: Client, manager: Person):
    old = await sign_in(client, manager)
    new = "a quite different one"
    short = await client.post(
        "/api/v1/auth/password", json={"current": PASSWORD, "new": "short"}, as_=old["access_token"]
    )
    assert (short.status_code, short.json()["code"]) == (422, "password_too_short")
    wrong = await client.post("/api/v1/auth/password", json={"current": "wrong", "new": new}, as_=old["access_token"])
    assert wrong.status_code == 401
    changed = await client.post(
        "/api/v1/auth/password", json={"current": PASSWORD, "new": new}, as_=old["access_token"]
    )
    assert changed.status_code == 200
    assert (await refresh(client, old["refresh_token"])).status_code == 401
    assert (await refresh(client, changed.json()["refresh_token"])).status_code == 200
    assert (await client.post(SIGN_IN, json=credentials(manager))).status_code == 401
    assert (await client.post(SIGN_IN, json=credentials(manager, new))).status_code == 200


async def test_director_switches_between_communities_and_nobody_else_does(
    client: Client, make: Make, manager: Person, grant: Callable[..., Awaitable[None]]
):
    sibling = await make.place(organisation_id=manager.tenant.organisation_id)
    stranger = await make.place()
    token = (await sign_in(client, manager))["refresh_token"]

    async def switch(slug: str) -> httpx.Response:
        return await client.post("/api/v1/auth/switch", json={"refresh_token": token, "community": slug})

    for slug in (sibling.slug, stranger.slug, "nowhere"):
        refused = await switch(slug)
        assert (refused.status_code, refused.json()["code"]) == (404, "community_not_found")
    await grant(manager, sibling, StaffRole.FRONT_DESK)
    switched = (await switch(sibling.slug)).json()
    assert switched["me"]["community"]["slug"] == sibling.slug
    assert switched["me"]["roles"] == ["front_desk"]
    assert {place["slug"] for place in switched["me"]["communities"]} == {manager.place.slug, sibling.slug}
    assert (await client.get(sibling.url, as_=switched["access_token"])).status_code == 200
    assert (await client.get(manager.place.url, as_=switched["access_token"])).status_code == 404
    assert (await refresh(client, switched["refresh_token"])).json()["me"]["community"]["slug"] == sibling.slug


async def test_revoked_right_ends_with_the_next_request(client: Client, runtime: Runtime, manager: Person):
    signed_in = await sign_in(client, manager)
    assert (await client.get(f"{manager.place.url}/staff", as_=signed_in["access_token"])).status_code == 200
    async with runtime.transaction(manager.tenant) as session:
        right = update(StaffRight).where(StaffRight.staff_id == manager.id)
        await session.execute(right.values(role=StaffRole.ENGINEER))
    demoted = await client.get(f"{manager.place.url}/staff", as_=signed_in["access_token"])
    assert (demoted.status_code, demoted.json()["facts"]) == (403, {"scope": "staff:read"})
    async with runtime.transaction(manager.tenant) as session:
        await session.execute(delete(StaffRight).where(StaffRight.staff_id == manager.id))
    assert (await client.get("/api/v1/me", as_=signed_in["access_token"])).status_code == 401
    assert (await refresh(client, signed_in["refresh_token"])).status_code == 401
