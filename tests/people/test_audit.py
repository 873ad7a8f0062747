"""The audit log: what managers find in it, what residents see of it, and that nobody can bend it."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest
from pydantic import BaseModel

from app.people import audit, audit_log
from app.people.accounts import HASHER
from app.people.jobs import forget_audit_events
from app.people.personal import OfHousehold, OfResident, OfStaff, Whose, ids_shown, tells_personal_data
from app.people.tables import AuditEvent, StaffRole


async def log_of(client, manager, **filters):
    """What a manager finds, newest first, without the looking itself."""
    params = {f"filter[{name}]": value for name, value in filters.items()}
    answer = await client.get(f"{manager.place.url}/audit-events", params=params, as_=manager)
    assert answer.status_code == 200, answer.text
    return [row for row in answer.json()["items"] if "audit" not in row["action"]]


@pytest.fixture
async def manager(make):
    return await make.staff()


@pytest.fixture
async def resident(make):
    return await make.resident()


async def access_log(client, who):
    return (await client.get("/api/v1/me/access-log", as_=who)).json()["items"]


async def test_a_resident_sees_who_looked_and_who_changed_in_both_languages(client, make, manager, resident):
    engineer, neighbour = await make.staff(role=StaffRole.ENGINEER), await make.resident()
    url = f"{manager.place.url}/residents/{resident.id}"
    await client.get(url, as_=engineer)
    await client.patch(url, json={"phone": "021-5555 0100"}, headers={"If-Match": "*"}, as_=manager)
    changed, looked = await access_log(client, resident)
    assert looked["who"] == {"zh": "维修师傅 员工", "en": "Engineer 员工"}
    assert looked["why"] == {"zh": "查看了您的住户资料", "en": "looked at your resident record"}
    assert looked["at"].endswith("Z")
    assert (changed["who"]["en"], changed["why"]["en"]) == ("Manager 员工", "changed your resident record")
    assert changed["fields"] == ["phone"]
    assert await access_log(client, neighbour) == []


async def test_a_list_is_a_look_at_everybody_in_it(client, make, manager, resident):
    other = await make.resident()
    await client.get(f"{manager.place.url}/residents", as_=manager)
    for who in (resident, other):
        assert [one["why"]["en"] for one in await access_log(client, who)] == ["looked at your resident record"]
    (row,) = await log_of(client, manager, kind="read", object_kind="resident")
    assert set(row["residents"]) == {str(resident.id), str(other.id)}
    empty = {"filter[name]": "nobody has this name"}
    await client.get(f"{manager.place.url}/residents", params=empty, as_=manager)
    assert len(await log_of(client, manager, kind="read", object_kind="resident")) == 1, "nobody was shown"


async def test_a_look_at_a_household_is_a_look_at_all_who_live_there(client, manager, resident):
    await client.get(f"{manager.place.url}/households/{resident.household_id}", as_=manager)
    (seen,) = await access_log(client, resident)
    assert seen["why"]["zh"] == "查看了您的家庭资料"
    assert seen["object_id"] == str(resident.household_id)


async def test_one_sees_oneself_without_a_row(client, manager, resident):
    await client.get("/api/v1/me", as_=resident)
    await client.get(f"{manager.place.url}/staff/{manager.id}", as_=manager)
    assert await log_of(client, manager) == []


async def test_a_write_tells_who_what_and_where_from_but_no_value(client, make, manager, resident):
    headers = {"X-Request-Id": "from-the-front-desk", "If-Match": "*"}
    url = f"{manager.place.url}/residents/{resident.id}"
    await client.patch(url, json={"name": "王小明", "phone": "13800000000"}, headers=headers, as_=manager)
    (row,) = await log_of(client, manager)
    assert (row["kind"], row["action"]) == ("write", "people.resident.patch_resident")
    assert (row["object_kind"], row["object_id"]) == ("resident", str(resident.id))
    assert (row["caller_kind"], row["caller_id"], row["caller_roles"]) == ("staff", str(manager.id), ["manager"])
    assert (row["request_id"], row["network"]) == ("from-the-front-desk", "127.0.0.0/24")
    assert row["fields"] == ["name", "phone"]
    assert "王小明" not in str(row)
    assert "138000" not in str(row)


async def test_what_is_created_is_named(client, manager):
    made = await client.post(f"{manager.place.url}/residents", json={"name": "李雷"}, as_=manager)
    (row,) = await log_of(client, manager)
    assert (row["object_kind"], row["object_id"]) == ("resident", made.json()["id"])


async def test_a_key_is_named_as_such(client, make, manager, resident):
    key = await make.api_key("residents:read")
    await client.get(f"{manager.place.url}/residents/{resident.id}", as_=key)
    (seen,) = await access_log(client, resident)
    assert seen["who"] == {"zh": "程序接口 key", "en": "API key key"}


async def test_refused_requests_and_replays_write_nothing(client, make, manager, resident):
    url = manager.place.url
    engineer = await make.staff(role=StaffRole.ENGINEER)
    refused = [
        ("PATCH", f"{url}/residents/{resident.id}", {"name": "x"}, manager, 428),
        ("PUT", f"{url}/residents/{uuid4()}/account", {"login": "x"}, manager, 404),
        ("POST", f"{url}/residents", {"nothing": 1}, manager, 422),
        ("POST", f"{url}/residents", {"name": "x"}, engineer, 403),
        ("PUT", f"{url}/staff/{manager.id}/rights", {"roles": []}, manager, 409),
        ("GET", f"{url}/residents/{uuid4()}", None, manager, 404),
    ]
    for method, path, body, who, status in refused:
        assert (await client.request(method, path, json=body, as_=who)).status_code == status
    assert await log_of(client, manager) == []
    for _ in range(3):
        await client.post(f"{url}/residents", json={"name": "x"}, headers={"Idempotency-Key": "k"}, as_=manager)
    assert len(await log_of(client, manager)) == 1


async def test_signing_in_and_out_is_in_the_log(client, make, manager):
    password = "a long password"
    person = await make.staff(password_hash=HASHER.hash(password))
    body = {"community": person.place.slug, "login": person.login, "password": password}
    await client.post("/api/v1/auth/sign-in", json={**body, "password": "wrong"})
    tokens = (await client.post("/api/v1/auth/sign-in", json=body)).json()
    switch = {"refresh_token": tokens["refresh_token"], "community": person.place.slug}
    tokens = (await client.post("/api/v1/auth/switch", json=switch)).json()
    change = {"current": password, "new": "another password"}
    tokens = (await client.post("/api/v1/auth/password", json=change, as_=person)).json()
    tokens = (await client.post("/api/v1/auth/refresh", json={"refresh_token": tokens["refresh_token"]})).json()
    await client.post("/api/v1/auth/sign-out", json={"refresh_token": tokens["refresh_token"]})
    actions = [row["action"].rpartition(".")[2] for row in await log_of(client, manager, caller_id=str(person.id))]
    assert actions == ["post_sign_out", "post_password", "post_switch", "post_sign_in"]


async def test_managers_find_rows_by_filters_and_page_through_them(client, make, manager, resident):
    url = manager.place.url
    for number in range(5):
        await client.post(f"{url}/residents", json={"name": f"住户{number}"}, as_=manager)
    await client.get(f"{url}/residents/{resident.id}", as_=manager)
    assert len(await log_of(client, manager, kind="write")) == 5
    assert len(await log_of(client, manager, action="people.resident.get_resident")) == 1
    assert len(await log_of(client, manager, object_id=str(resident.id))) == 1
    assert await log_of(client, manager, caller_id=str(uuid4())) == []
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    assert await log_of(client, manager, since=tomorrow) == []
    assert len(await log_of(client, manager, until=tomorrow)) == 6
    seen, cursor = [], None
    while True:
        params = {"limit": 2, "filter[kind]": "write"} | ({"cursor": cursor} if cursor else {})
        page = (await client.get(f"{url}/audit-events", params=params, as_=manager)).json()
        seen += [row["id"] for row in page["items"]]
        if not (cursor := page["next_cursor"]):
            break
    assert (len(seen), seen) == (5, sorted(seen, reverse=True))


async def test_a_long_access_log_comes_in_pages(client, manager, resident):
    for _ in range(5):
        await client.get(f"{manager.place.url}/residents/{resident.id}", as_=manager)
    first = (await client.get("/api/v1/me/access-log", params={"limit": 3}, as_=resident)).json()
    rest = (await client.get("/api/v1/me/access-log", params={"cursor": first["next_cursor"]}, as_=resident)).json()
    assert (len(first["items"]), len(rest["items"]), rest["next_cursor"]) == (3, 2, None)


async def test_only_who_may_reads_the_log_and_reading_it_is_in_it(client, make, manager, resident):
    engineer = await make.staff(role=StaffRole.ENGINEER)
    url = f"{manager.place.url}/audit-events"
    assert (await client.get(url, as_=engineer)).status_code == 403
    assert (await client.get(url, as_=resident)).status_code == 403
    await client.get(f"{manager.place.url}/residents/{resident.id}", as_=engineer)
    await client.get(url, as_=manager)
    rows = (await client.get(url, as_=manager)).json()["items"]
    assert [row["action"] for row in rows] == ["people.audit.get_audit_events", "people.resident.get_resident"]


async def test_nobody_changes_or_deletes_a_row(client, settings, manager, resident):
    await client.get(f"{manager.place.url}/residents/{resident.id}", as_=manager)
    connection = await asyncpg.connect(settings.database_url.replace("+asyncpg", ""))
    try:
        for statement in (
            "UPDATE audit_events SET caller_name = 'x'",
            "DELETE FROM audit_events",
            "TRUNCATE audit_events",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
    finally:
        await connection.close()


async def test_a_row_and_what_it_records_commit_together_or_not_at_all(client, runtime, make, manager, resident):
    caller = await make.caller(manager)

    async def note(action: str) -> None:
        async with runtime.transaction(manager.tenant) as session:
            await audit.note(
                session, caller, action=action, object_kind="resident", object_id=resident.id, facts={"a": 1}
            )
            assert action != "lost", "it fails afterwards"

    await note("kept")
    with pytest.raises(AssertionError):
        await note("lost")
    (row,) = await log_of(client, manager)
    assert (row["action"], row["facts"], row["request_id"]) == ("kept", {"a": 1}, "")


async def test_what_linli_does_by_itself_is_told_as_such():
    row = AuditEvent(
        caller_kind="system", caller_name="", caller_roles=[], action="service_desk.triage", object_kind="order"
    )
    assert audit_log.who(row).en == "Linli itself"
    assert audit_log.why(row).zh == "处理了您的工单"


async def test_old_rows_go_and_young_ones_stay(client, runtime, clock, settings, manager, resident):
    await client.get(f"{manager.place.url}/residents/{resident.id}", as_=manager)
    clock.now = datetime.now(UTC) + timedelta(days=settings.audit_days - 1)
    await forget_audit_events(runtime)
    clock.now = datetime.now(UTC)
    assert len(await log_of(client, manager)) == 1
    clock.now = datetime.now(UTC) + timedelta(days=settings.audit_days + 1)
    await forget_audit_events(runtime)
    clock.now = datetime.now(UTC)
    assert await log_of(client, manager) == []


def test_every_role_has_its_words():
    assert set(audit_log.ROLES) == set(StaffRole)


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("203.0.113.77", "203.0.113.0/24"), ("::ffff:203.0.113.77", "203.0.113.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"), ("fe80::1%eth0", "fe80::/48"), ("", ""), ("testclient", ""),
    ],
)  # fmt: skip
def test_of_an_address_the_network_is_kept(host: str, network: str):
    assert audit.network_of(host) == network


@pytest.mark.parametrize(
    ("collection", "kind"),
    [
        ("residents", "resident"),
        ("work-order-categories", "work_order_category"),
        ("staff", "staff"),
        ("press", "press"),
    ],
)
def test_collections_in_the_singular(collection: str, kind: str):
    assert audit.singular(collection) == kind


class One(BaseModel):
    id: OfResident
    by: OfStaff | None = None


class Many(BaseModel):
    items: list[One]
    home: OfHousehold | None = None
    more: dict[str, "Many"] = {}
    also: list[OfResident] = []


class Plain(BaseModel):
    id: UUID
    parts: list["Plain"] = []


def test_marked_ids_are_found_wherever_they_are():
    a, b, c, d = uuid4(), uuid4(), uuid4(), uuid4()
    shown = Many(items=[One(id=a), One(id=b, by=c)], more={"x": Many(items=[], home=d, also=[a, d])})
    assert ids_shown(shown) == {Whose.RESIDENT: {a, b, d}, Whose.STAFF: {c}, Whose.HOUSEHOLD: {d}}
    assert ids_shown(Plain(id=a, parts=[Plain(id=b)])) == {}
    assert ids_shown(None) == {}
    assert tells_personal_data(list[Many] | None)
    assert not tells_personal_data(Plain)
    assert not tells_personal_data(None)
