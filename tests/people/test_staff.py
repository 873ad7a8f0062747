"""Staff and their rights."""

import asyncio
from typing import Any

import httpx

from app.people.tables import StaffRole
from tests.conftest import Client
from tests.make import Make, Person
from tests.people.conftest import PASSWORD


async def put_rights(client: Client, by: Person | str, whom: Any, place: Any, *roles: str) -> httpx.Response:
    return await client.put(f"{place.url}/staff/{whom}/rights", json={"roles": list(roles)}, as_=by)


async def test_new_colleague_signs_in_works_and_leaves(client: Client, manager: Person):
    url = f"{manager.place.url}/staff"
    body = {"name": "林若溪", "login": "lin@desk", "roles": ["front_desk"]}
    colleague = (await client.post(url, json=body, as_=manager)).json()
    assert (colleague["roles"], colleague["disabled"]) == (["front_desk"], False)
    account = await client.put(f"{url}/{colleague['id']}/account", json={"password": PASSWORD}, as_=manager)
    assert account.status_code == 200, account.text
    credentials = {"community": manager.place.slug, "login": "lin@desk", "password": PASSWORD}
    token = (await client.post("/api/v1/auth/sign-in", json=credentials)).json()["access_token"]
    assert (await client.get(f"{manager.place.url}/residents", as_=token)).status_code == 200
    promoted = await put_rights(client, manager, colleague["id"], manager.place, "front_desk", "finance")
    assert promoted.json()["roles"] == ["finance", "front_desk"]
    assert (await put_rights(client, manager, colleague["id"], manager.place)).json()["roles"] == []
    assert (await client.get(f"{manager.place.url}/residents", as_=token)).status_code == 401
    assert (await client.get(f"{url}/{colleague['id']}", as_=manager)).status_code == 404
    assert colleague["id"] not in (await client.get(url, as_=manager)).text


async def test_colleague_of_another_community_is_given_rights_here(client: Client, make: Make, manager: Person):
    sibling = await make.place(organisation_id=manager.tenant.organisation_id)
    colleague = await make.staff(place=sibling, role=StaffRole.ENGINEER)
    url = f"{manager.place.url}/staff"
    assert (await client.get(f"{url}/{colleague.id}", as_=manager)).status_code == 404
    body = {"name": "换个名字", "login": colleague.login, "roles": ["engineer"]}
    joined = await client.post(url, json=body, as_=manager)
    assert (joined.status_code, joined.json()["id"], joined.json()["name"]) == (201, str(colleague.id), "员工")
    again = await client.post(url, json=body, as_=manager)
    assert (again.status_code, again.json()["code"]) == (409, "already_staff")
    # Rights here give no power over an account that also works there.
    taken = await client.put(f"{url}/{colleague.id}/account", json={"password": PASSWORD}, as_=manager)
    assert (taken.status_code, taken.json()["code"]) == (403, "account_out_of_reach")
    await put_rights(client, manager, colleague.id, manager.place)
    assert (await client.get("/api/v1/me", as_=colleague)).json()["roles"] == ["engineer"]


async def test_a_community_keeps_a_manager_even_when_two_dismiss_each_other(
    client: Client, make: Make, manager: Person
):
    alone = await put_rights(client, manager, manager.id, manager.place, "engineer")
    assert (alone.status_code, alone.json()["code"]) == (409, "last_manager")
    second = await make.staff()
    answers = await asyncio.gather(
        put_rights(client, manager, second.id, manager.place, "engineer"),
        put_rights(client, second, manager.id, manager.place, "engineer"),
    )
    assert sorted(answer.status_code for answer in answers)[0] == 200
    left = [person for person in (manager, second) if await is_manager(client, person)]
    assert len(left) == 1


async def is_manager(client: Client, person: Person) -> bool:
    return "manager" in (await client.get("/api/v1/me", as_=person)).json()["roles"]


async def test_nobody_grants_more_than_they_have(client: Client, make: Make, manager: Person):
    key = await make.api_key("staff:write", "staff:read")
    body = {"name": "x", "login": "climber", "roles": ["manager"]}
    granted = await client.post(f"{manager.place.url}/staff", json=body, as_=key)
    assert (granted.status_code, granted.json()["code"]) == (403, "role_out_of_reach")
    raised = await put_rights(client, key, manager.id, manager.place)
    assert raised.status_code == 403
    password = await client.put(f"{manager.place.url}/staff/{manager.id}/account", json={"password": PASSWORD}, as_=key)
    assert (password.status_code, password.json()["code"]) == (403, "account_out_of_reach")


async def test_new_password_by_the_manager_signs_out(client: Client, make: Make, manager: Person, password_hash: str):
    desk = await make.staff(role=StaffRole.FRONT_DESK, password_hash=password_hash)
    credentials = {"community": manager.place.slug, "login": desk.login, "password": PASSWORD}
    tokens = (await client.post("/api/v1/auth/sign-in", json=credentials)).json()
    url = f"{manager.place.url}/staff/{desk.id}/account"
    assert (await client.put(url, json={"password": "another password"}, as_=manager)).status_code == 200
    refreshed = await client.post("/api/v1/auth/refresh", json={"refresh_token": tokens["refresh_token"]})
    assert refreshed.status_code == 401
    assert (await client.put(url, json={"login": manager.login}, as_=manager)).json()["code"] == "login_taken"
    assert (await client.put(url, json={"oidc_subject": "s-1"}, as_=manager)).json()["oidc_subject"] == "s-1"
    other = f"{manager.place.url}/staff/{manager.id}/account"
    assert (await client.put(other, json={"oidc_subject": "s-1"}, as_=manager)).json()["code"] == "oidc_subject_taken"
    assert (await client.put(url, json={"oidc_subject": None}, as_=manager)).json()["oidc_subject"] is None


async def test_staff_are_renamed_from_the_version_read(client: Client, manager: Person):
    url = f"{manager.place.url}/staff/{manager.id}"
    etag = (await client.get(url, as_=manager)).headers["etag"]
    renamed = await client.patch(url, json={"name": "韩知许"}, as_=manager, headers={"If-Match": etag})
    assert (renamed.status_code, renamed.json()["name"]) == (200, "韩知许")
    assert (await client.patch(url, json={"name": "x"}, as_=manager, headers={"If-Match": etag})).status_code == 412


async def test_two_people_never_get_one_login(client: Client, make: Make, manager: Person):
    sibling = await make.place(organisation_id=manager.tenant.organisation_id)
    colleague = await make.staff(place=sibling)
    # Two communities do not wait for each other, so only the database sees the two meet.
    answers = await asyncio.gather(
        *(
            client.post(
                f"{one.place.url}/staff", json={"name": "x", "login": "same@desk", "roles": ["engineer"]}, as_=one
            )
            for one in (manager, colleague)
            for _ in range(3)
        )
    )
    codes = [answer.status_code for answer in answers]
    assert 201 in codes
    assert set(codes) <= {201, 409}
