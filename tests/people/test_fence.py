"""Nothing of one community is reachable from another: by API, and by SQL as the app's role."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from fastapi.routing import APIRoute

from app.db import Tenant, tenant_sql
from app.people import (
    import_routes,
    resident_routes,
    rota_routes,
    routes,
    staff_routes,
    vehicle_routes,
)
from app.people.tables import StaffRole
from app.runtime import Runtime
from tests.conftest import Client
from tests.isolation.operations import routers
from tests.make import Make, Person, Place
from tests.people.test_residents import open_resident, put
from tests.people.test_spaces import open_path

BODIES: dict[tuple[str, str], Any] = {
    ("POST", "spaces"): {"kind": "unit", "name": "x", "parent_id": "{space_id}"},
    ("POST", "households"): {"room_id": "{room_id}"},
    ("PATCH", "spaces/{space_id}"): {"name": "x"},
    ("PATCH", "households/{household_id}"): {"room_id": "{room_id}"},
    ("PATCH", "residents/{resident_id}"): {"name": "x"},
    ("PUT", "residents/{resident_id}/rooms/{room_id}"): {"role": "owner"},
    ("POST", "residents/{resident_id}/verify"): {},
    ("PUT", "residents/{resident_id}/account"): {"login": "x"},
    ("PATCH", "staff/{staff_id}"): {"name": "x"},
    ("POST", "shifts"): {"staff_id": "{staff_id}", "from_time": "08:00", "to_time": "17:00"},
    ("PATCH", "shifts/{shift_id}"): {"note": "x"},
    ("POST", "rota"): {"staff_id": "{staff_id}", "from_time": "08:00", "to_time": "17:00"},
    ("PATCH", "rota/{rota_entry_id}"): {"level": 2},
    ("POST", "vehicles"): {"plate": "沪B54321", "room_id": "{room_id}", "resident_id": "{resident_id}"},
    ("PATCH", "vehicles/{vehicle_id}"): {"room_id": "{room_id}"},
    ("PUT", "staff/{staff_id}/rights"): {"roles": []},
    ("PUT", "staff/{staff_id}/account"): {"disabled": True},
}
ROUTERS = (
    routes.places, resident_routes.router, staff_routes.router, rota_routes.router, vehicle_routes.router,
    import_routes.router,
)  # fmt: skip
NAMES_NO_ROW = {
    ("POST", "residents"), ("POST", "staff"), ("POST", "api-keys"), ("PATCH", ""), ("PATCH", "settings"),
    ("POST", "spaces/import"), ("POST", "spaces/export"), ("POST", "residents/import"), ("POST", "residents/export"),
}  # fmt: skip
TENANT_TABLES = """
    SELECT c.oid::regclass::text AS name, c.relrowsecurity AND c.relforcerowsecurity AS fenced,
           has_table_privilege('linli_app', c.oid, 'SELECT, INSERT, UPDATE, DELETE') AS open_to_app,
           array_agg(a.attname::text) FILTER (WHERE a.attname IN ('community_id', 'organisation_id')) AS columns
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace
    GROUP BY c.oid
    HAVING bool_or(a.attname IN ('community_id', 'organisation_id')) OR c.relname IN ('organisations', 'communities')
"""


def all_routes() -> list[tuple[str, str]]:
    """(method, path below the community) of every route of people and places."""
    found = [
        (method, route.path.partition("/communities/{cid}")[2].strip("/"))
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, APIRoute) and "{cid}" in route.path
        for method in route.methods or ()
    ]
    assert len(found) > 25
    return found


@dataclass(frozen=True)
class Neighbour:
    """A community with one row of each kind."""

    place: Place
    manager: Person
    ids: dict[str, str]


async def build_neighbour(client: Client, make: Make, place: Place) -> Neighbour:
    manager = await make.staff(place=place)
    phase, *_, room = await open_path(client, manager, "1期", "1栋", "1单元", "101")
    resident = await open_resident(client, manager)
    household = (await put(client, manager, resident, room)).json()["rooms"][0]["household_id"]
    key = await client.post(f"{place.url}/api-keys", json={"name": "k", "scopes": ["me:read"]}, as_=manager)
    vehicle = await client.post(f"{place.url}/vehicles", json={"plate": "沪A12345"}, as_=manager)
    export = await client.post(f"{place.url}/spaces/export", json={}, as_=manager)
    ids = {
        "space_id": phase["id"], "room_id": room["id"], "resident_id": resident["id"], "household_id": household,
        "staff_id": str(manager.id), "key_id": key.json()["id"], "shift_id": str(await make.shift(manager)),
        "rota_entry_id": str(await make.on_call(manager)), "vehicle_id": vehicle.json()["id"],
        "job_id": export.json()["id"],
    }  # fmt: skip
    return Neighbour(place, manager, ids)


@pytest.fixture(params=["same company", "another company"])
async def neighbour(request: pytest.FixtureRequest, client: Client, make: Make, manager: Person) -> Neighbour:
    same = request.param == "same company"
    place = await make.place(organisation_id=manager.tenant.organisation_id if same else None)
    return await build_neighbour(client, make, place)


async def send(client: Client, who: Person, place: Place, route: tuple[str, str], ids: dict[str, str]) -> Any:
    method, path = route
    body = {name: value.format(**ids) if isinstance(value, str) else value for name, value in
            BODIES.get(route, {}).items()}  # fmt: skip
    url = f"{place.url}/{path.format(**ids)}".rstrip("/")
    return await client.request(
        method, url, as_=who, headers={"If-Match": "*"}, json=body if method in ("POST", "PUT", "PATCH") else None
    )


async def test_no_route_opens_another_community(client: Client, manager: Person, neighbour: Neighbour):
    for route in all_routes():
        answer = await send(client, manager, neighbour.place, route, neighbour.ids)
        assert (answer.status_code, answer.json()["code"]) == (404, "community_not_found"), route


async def test_no_route_finds_rows_of_another_community_by_their_ids(
    client: Client, make: Make, manager: Person, neighbour: Neighbour
):
    mine = (await build_neighbour(client, make, manager.place)).ids
    checked = 0
    for route in all_routes():
        used = [name for name in neighbour.ids if f"{{{name}}}" in route[1] + str(BODIES.get(route, ""))]
        if route[0] not in ("GET", "DELETE") and route not in BODIES:
            assert route in NAMES_NO_ROW, f"{route} needs a body here"
        for name in used:
            answer = await send(client, manager, manager.place, route, {**mine, name: neighbour.ids[name]})
            assert answer.status_code == 404, (route, name, answer.text)
            checked += 1
    assert checked > 15
    assert (await client.get("/api/v1/me", as_=neighbour.manager)).status_code == 200


async def test_lists_and_filters_show_nothing_of_another_community(
    client: Client, manager: Person, neighbour: Neighbour
):
    for path in ("residents", "households", "staff", "api-keys", "spaces", "spaces/tree"):
        answer = await client.get(f"{manager.place.url}/{path}", as_=manager)
        assert not [one for one in neighbour.ids.values() if one in answer.text], path
    room = {"filter[room_id]": neighbour.ids["room_id"]}
    for path in ("residents", "households"):
        filtered = await client.get(f"{manager.place.url}/{path}", params=room, as_=manager)
        assert filtered.json()["items"] == []


async def test_every_route_of_every_feature_refuses_another_community(
    client: Client, web: tuple[str, Any], make: Make, manager: Person
):
    elsewhere = await make.place()
    paths = [
        (method.upper(), path)
        for path, methods in web[1].openapi()["paths"].items()
        if "{cid}" in path
        for method in methods
    ]
    assert len(paths) > len(all_routes())
    for method, path in paths:
        url = path.replace("{cid}", str(elsewhere.id))
        while "{" in url:
            url = url[: url.index("{")] + str(uuid4()) + url[url.index("}") + 1 :]
        answer = await client.request(method, url, as_=manager)
        assert (answer.status_code, answer.json()["code"]) == (404, "community_not_found"), (method, path)


def test_every_route_names_its_scope():
    open_to_all = {"/auth/sign-in", "/auth/refresh", "/auth/switch", "/auth/sign-out", "/auth/oidc/start",
                   "/auth/oidc/callback", "/auth/password",
                   # An emergency needs no sign-in; who is rung answers by the signed link that was sent to them.
                   "/emergencies", "/unsubscribe", "/ring", "/ring/accept", "/ring/downgrade", "/ring/known"}  # fmt: skip
    for router in routers():
        for route in router.routes:
            if not isinstance(route, APIRoute):
                continue  # another router, which is in the list itself
            calls = [dependency.call for dependency in route.dependant.dependencies]
            if route.path not in open_to_all:
                assert any(hasattr(call, "scope") for call in calls), route.path


@pytest.mark.parametrize("role", sorted(set(StaffRole) - {StaffRole.MANAGER}))
async def test_only_managers_manage_staff_and_keys(client: Client, make: Make, role: StaffRole):
    person = await make.staff(role=role)
    for path in ("staff", "api-keys"):
        assert (await client.get(f"{person.place.url}/{path}", as_=person)).status_code == 403
        assert (await client.post(f"{person.place.url}/{path}", json={}, as_=person)).status_code == 403


# By SQL, as the app's role


async def test_app_role_cannot_step_over_the_fence(app_role: asyncpg.Connection):
    role = await app_role.fetchrow(
        "SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = current_user"
    )
    assert dict(role) == {"rolsuper": False, "rolbypassrls": False, "rolcreaterole": False, "rolcreatedb": False}
    owned = await app_role.fetch("SELECT relname FROM pg_class WHERE relowner = current_user::regrole")
    assert owned == []
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await app_role.execute("CREATE TABLE loot (id int)")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await app_role.execute("SET ROLE linli_owner")


async def test_every_tenant_table_is_fenced(app_role: asyncpg.Connection):
    tables = await app_role.fetch(TENANT_TABLES)
    assert len(tables) >= 13
    # A partition's own policies count when it is named directly: it is fenced, too, or closed to the app.
    assert [table["name"] for table in tables if table["open_to_app"] and not table["fenced"]] == []


async def test_without_a_tenant_there_are_no_rows(app_role: asyncpg.Connection, neighbour: Neighbour):
    for table in await app_role.fetch(TENANT_TABLES):
        if table["open_to_app"]:
            assert await app_role.fetchval(f"SELECT count(*) FROM {table['name']}") == 0, table["name"]
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await app_role.execute(
            "INSERT INTO residents (id, community_id, name, phone, language) VALUES ($1, $2, 'x', '', 'zh')",
            uuid4(), neighbour.place.id,
        )  # fmt: skip


async def test_with_a_tenant_there_are_its_rows_only(
    client: Client, make: Make, app_role: asyncpg.Connection, manager: Person, neighbour: Neighbour
):
    await build_neighbour(client, make, manager.place)
    async with app_role.transaction():
        await app_role.execute(tenant_sql(manager.tenant))
        for table in await app_role.fetch(TENANT_TABLES):
            if table["open_to_app"]:
                await check_rows(app_role, table["name"], table["columns"] or ["id"], manager.tenant)
        assert await app_role.fetchval("SELECT count(*) FROM residents") > 0
        changed = await app_role.execute(
            "UPDATE residents SET name = 'x' WHERE id = $1", UUID(neighbour.ids["resident_id"])
        )
        assert changed == "UPDATE 0"
    async with app_role.transaction():
        await app_role.execute(tenant_sql(manager.tenant))
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await app_role.execute("UPDATE residents SET community_id = $1", neighbour.place.id)


async def check_rows(app_role: asyncpg.Connection, table: str, columns: list[str], tenant: Tenant) -> None:
    """Every row names the tenant: its community where rows have one and are fenced by it, else its company."""
    own = {"community_id": tenant.community_id, "organisation_id": tenant.organisation_id}
    if table in ("organisations", "communities"):
        column, value = ("id" if table == "organisations" else "organisation_id"), tenant.organisation_id
    else:
        column = "organisation_id" if "organisation_id" in columns else "community_id"
        value = own[column]
    rows = await app_role.fetch(f"SELECT DISTINCT {column} AS owner FROM {table}")
    assert {row["owner"] for row in rows} <= {value}, table


async def test_tenant_ends_with_its_transaction(app_role: asyncpg.Connection, manager: Person):
    async with app_role.transaction():
        await app_role.execute(tenant_sql(manager.tenant))
        assert await app_role.fetchval("SELECT count(*) FROM staff_rights") == 1
    assert await app_role.fetchval("SELECT count(*) FROM staff_rights") == 0


async def test_pooled_connection_never_keeps_the_last_tenant(runtime: Runtime, manager: Person):
    from sqlalchemy import text

    for _ in range(30):
        async with runtime.transaction(manager.tenant) as session:
            assert await session.scalar(text("SELECT count(*) FROM staff_rights")) == 1
        async with runtime.transaction(None) as session:
            assert await session.scalar(text("SELECT count(*) FROM staff_rights")) == 0


async def test_communities_of_an_account_are_told_to_its_company_only(runtime: Runtime, make: Make, manager: Person):
    from app.people import accounts

    other = await make.place()
    for tenant, expected in ((manager.tenant, [manager.place.id]), (other.tenant, []), (None, [])):
        async with runtime.transaction(tenant) as session:
            assert [place.id for place in await accounts.places_of(session, manager.account_id)] == expected


# What the catalogue says of everything there is


async def test_functions_that_act_as_the_owner_are_pinned_and_not_for_everybody(app_role: asyncpg.Connection):
    functions = await app_role.fetch(
        """SELECT p.oid::regprocedure::text AS name, coalesce(p.proconfig, '{}')::text[] AS config,
                  p.proacl IS NULL OR EXISTS (SELECT FROM aclexplode(p.proacl) a
                                              WHERE a.grantee = 0 AND a.privilege_type = 'EXECUTE') AS open_to_all
           FROM pg_proc p WHERE p.prosecdef AND p.pronamespace = 'public'::regnamespace"""
    )
    assert len(functions) >= 5
    assert [one["name"] for one in functions if "search_path=public, pg_temp" not in one["config"]] == []
    assert [one["name"] for one in functions if one["open_to_all"]] == []


async def test_no_view_shows_its_owners_rows(app_role: asyncpg.Connection):
    views = await app_role.fetch(
        """SELECT oid::regclass::text AS name, relkind, coalesce(reloptions, '{}')::text[] AS options
           FROM pg_class WHERE relkind IN ('v', 'm') AND relnamespace = 'public'::regnamespace"""
    )
    # A materialised view knows no fence at all.
    assert [
        one["name"] for one in views if one["relkind"] == "m" or "security_invoker=true" not in one["options"]
    ] == []


async def test_app_role_may_read_and_write_rows_and_nothing_else(app_role: asyncpg.Connection, neighbour: Neighbour):
    role = await app_role.fetchrow(
        """SELECT rolbypassrls, rolreplication, has_schema_privilege(oid, 'public', 'CREATE') AS makes_tables,
                  has_database_privilege(oid, current_database(), 'CREATE') AS makes_schemas
           FROM pg_roles WHERE rolname = current_user"""
    )
    assert not any(role.values()), dict(role)
    member_of = await app_role.fetch("SELECT roleid::regrole FROM pg_auth_members WHERE member = current_user::regrole")
    assert member_of == []
    more = await app_role.fetch(
        """SELECT oid::regclass::text AS name FROM pg_class
           WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace
             AND has_table_privilege(oid, 'TRUNCATE, REFERENCES, TRIGGER')"""
    )
    assert [one["name"] for one in more] == []


async def test_every_partition_is_fenced_or_closed(app_role: asyncpg.Connection, neighbour: Neighbour):
    partitions = await app_role.fetch(
        """SELECT oid::regclass::text AS name, relrowsecurity AND relforcerowsecurity AS fenced,
                  has_table_privilege(oid, 'SELECT, INSERT, UPDATE, DELETE') AS open_to_app
           FROM pg_class WHERE relispartition AND relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"""
    )
    assert any(neighbour.place.id.hex in one["name"] for one in partitions)
    assert [one["name"] for one in partitions if one["open_to_app"] and not one["fenced"]] == []
