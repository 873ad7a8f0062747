"""Every route, asked by everybody for everybody else's objects: not there, and nothing changed."""

import asyncio
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import asyncpg
import httpx

from app.people.scopes import ALL_SCOPES, ROLE_SCOPES
from app.people.tables import StaffRole
from app.runtime import Runtime
from tests.conftest import Client
from tests.isolation.operations import OBJECTS, Operation
from tests.isolation.worlds import World, fingerprint_sql
from tests.make import Make, Person

PERSONAL = ("conversation", "turn", "message", "recommendation_list")
NOBODY_ELSES = ("message", "recommendation_list")
"""For one person, whatever others may read."""
MEANT_FOR_STAFF = ("document", "answer")
OF_THE_DESK = ("work_order", "work_order_file")
"""A resident's own, and the daily work of all staff."""
RESIDENTS_ONLY = re.compile("/me/(workorders|incidents|items|recommendation)")
AT_ONCE = 16
"""Requests under way at a time: more than the app's connections to Postgres, so that none of these stands idle."""


@dataclass(frozen=True)
class Role:
    """Somebody who asks. `home` is the world whose objects they may come near to."""

    name: str
    home: str
    who: Person | str | None
    reads_staff_knowledge: bool = False
    reads_conversations: bool = False


async def build_roles(make: Make, worlds: dict[str, World], runtime: Runtime) -> list[Role]:
    staff = [
        Role(
            f"staff: {role}", "home", await make.staff(role=role), reads_staff_knowledge=True,
            reads_conversations=role in (StaffRole.MANAGER, StaffRole.FRONT_DESK),
        )
        # One of each set of scopes: three roles may do the same.
        for role in {ROLE_SCOPES[role]: role for role in StaffRole}.values()
    ]  # fmt: skip
    return [
        Role("nobody", "home", None),
        Role("nobody: revoked key", "home", await make.api_key(*ALL_SCOPES, revoked_at=runtime.clock())),
        Role("resident", "home", worlds["home"].resident),
        Role("resident: not verified", "home", await make.resident(verified=False)),
        *staff,
        Role("key: every scope", "home", await make.api_key(*ALL_SCOPES), reads_staff_knowledge=True),
        Role("key: one scope", "home", await make.api_key("me:read")),
        Role("manager of a sibling community", "sibling", worlds["sibling"].manager, True, True),
        Role("manager of another company", "company", worlds["company"].manager, True, True),
        Role("resident of a sibling community", "sibling", worlds["sibling"].resident),
    ]


def may_see(role: Role, operation: Operation, name: str, world: str) -> bool:
    """Whether the object is no foreign one for this role: at home, staff see more than residents."""
    if world != "neighbour":
        return False
    kind = OBJECTS[name]
    if kind in NOBODY_ELSES:
        return False
    if role.home != "home" or kind not in PERSONAL + MEANT_FOR_STAFF + OF_THE_DESK:
        return role.home == "home"
    if kind in MEANT_FOR_STAFF + OF_THE_DESK:
        return role.reads_staff_knowledge
    # In the inbox staff also act in a resident's conversation; under /me nobody speaks for another.
    return role.reads_conversations and ("{cid}" in operation.path or not operation.writes)


async def test_every_parameter_that_names_an_object_is_in_the_table(api: list[Operation]):
    named = {name for operation in api for name in operation.names}
    assert named <= set(OBJECTS), "say in OBJECTS what these name, and make one in worlds.py"
    assert set(OBJECTS) <= named, "OBJECTS names what no route takes any more"


async def test_the_requests_are_valid_and_find_what_is_ones_own(client: Client, api: list[Operation], worlds: Any):
    """Otherwise the refusals below would prove nothing."""
    home: World = worlds["home"]
    for operation in api:
        if not operation.secured or not operation.names:
            continue
        personal = {OBJECTS[name] for name in operation.names} & set(PERSONAL + OF_THE_DESK)
        residents = "cid" not in operation.names and (personal or RESIDENTS_ONLY.search(operation.path))
        who = home.resident if residents else home.manager
        answer = await client.request(**operation.request(home.ids()), as_=who)
        assert answer.status_code < 300 or answer.status_code == 409, (str(operation), answer.status_code, answer.text)


def seen(answer: httpx.Response) -> tuple[int, Any]:
    """What a caller can tell an answer by."""
    body = answer.json() if answer.content else None
    if isinstance(body, dict) and "request_id" in body:
        body = {name: value for name, value in body.items() if name != "request_id"}
    return answer.status_code, body


class Matrix:
    """Asks, judges and counts."""

    def __init__(self, client: Client, worlds: dict[str, World]) -> None:
        self.client = client
        self.worlds = worlds
        self.asked: set[tuple[str, str, str, str]] = set()
        self.calls = 0
        self.statuses: Counter[int] = Counter()
        self.wrong: list[str] = []
        self._places = asyncio.Semaphore(AT_ONCE)

    async def ask(self, operation: Operation, role: Role, ids: dict[str, str]) -> tuple[int, Any]:
        async with self._places:
            self.calls += 1
            try:
                return seen(await self.client.request(**operation.request(ids), as_=role.who))
            except httpx.ReadError:
                # An upload that is refused before it was read may find its connection closed. Refused it is each time.
                assert "multipart/form-data" in str(operation.spec.get("requestBody")), str(operation)
                return seen(await self.client.request(**operation.request(ids), as_=role.who))

    def judge(self, operation: Operation, role: Role, name: str, world: str, found: Any, expected: Any) -> None:
        self.asked.add((str(operation), role.name, name, world))
        self.statuses[found[0]] += 1
        if found != expected:
            self.wrong.append(f"{operation} by {role.name}: {name} of {world}: {found}, not {expected}")

    async def try_operation(self, operation: Operation, role: Role) -> None:
        if role.name.startswith("nobody"):
            await asyncio.gather(*(self.try_nobody(operation, role, world) for world in self.worlds))
        else:
            await asyncio.gather(*(self.try_name(operation, role, name) for name in operation.names))

    async def try_name(self, operation: Operation, role: Role, name: str) -> None:
        own = self.worlds[role.home].ids()
        foreign = [w for w in self.worlds if w != role.home and not may_see(role, operation, name, w)]
        # Everything of another community, or one foreign thing among one's own.
        ids = [self.worlds[w].ids() if name == "cid" else own | {name: self.worlds[w].ids()[name]} for w in foreign]
        asked = [own | {name: str(uuid4())}, *ids]
        nowhere, *found = await asyncio.gather(*(self.ask(operation, role, one) for one in asked))
        if name not in operation.filters:
            # 403 only for who may not use the route at all, whatever object it is asked for.
            assert nowhere[0] == 404 or nowhere[1]["code"] == "scope_missing", (str(operation), role.name, nowhere)
        for world, answer in zip(foreign, found, strict=True):
            self.judge(operation, role, name, world, answer, nowhere)

    async def try_nobody(self, operation: Operation, role: Role, world: str) -> None:
        status, body = await self.ask(operation, role, self.worlds[world].ids())
        self.judge(operation, role, "everything", world, (status, body["code"]), (401, "token_invalid"))


async def test_no_route_gives_or_changes_what_belongs_to_others(
    client: Client, make: Make, runtime: Runtime, api: list[Operation], worlds: dict[str, World],
    owner: asyncpg.Connection, record_property: Callable[[str, object], None],
):  # fmt: skip
    roles = await build_roles(make, worlds, runtime)
    matrix = Matrix(client, worlds)
    tenants = [world.place.tenant for world in worlds.values()]
    everything = (
        await fingerprint_sql(owner), [one.community_id for one in tenants], [one.organisation_id for one in tenants]
    )  # fmt: skip
    before = await owner.fetch(*everything)
    asked = [operation for operation in api if operation.secured and operation.names]
    for operation in asked:
        await asyncio.gather(*(matrix.try_operation(operation, role) for role in roles))
        assert await owner.fetch(*everything) == before, f"{operation} changed what it refused"
    assert not matrix.wrong, "\n".join(matrix.wrong)
    record_property(
        "report",
        f"isolation: {len(asked)} routes x {len(roles)} roles x foreign objects = {len(matrix.asked)} combinations, "
        f"{matrix.calls} calls, 0 given, 0 changed; {dict(sorted(matrix.statuses.items()))}",
    )


async def test_nobody_gets_in_anywhere(client: Client, api: list[Operation], worlds: dict[str, World]):
    open_to_all = [str(operation) for operation in api if not operation.secured]
    for operation in api:
        if operation.secured:
            answer = await client.request(**operation.request(worlds["home"].ids()))
            assert (answer.status_code, answer.json()["code"]) == (401, "token_invalid"), str(operation)
    assert sorted(open_to_all) == sorted(
        [
            "GET /healthz", "GET /readyz", "GET /api/v1/auth/oidc/start", "GET /api/v1/auth/oidc/callback",
            "POST /api/v1/auth/sign-in", "POST /api/v1/auth/refresh", "POST /api/v1/auth/switch",
            "POST /api/v1/auth/sign-out",
            # Nobody in danger has to sign in first.
            "POST /api/v1/emergencies",
            # By the signed link that was sent to who is rung, or told of a campaign.
            "GET /api/v1/unsubscribe", "POST /api/v1/unsubscribe",
            "GET /api/v1/ring", *(f"POST /api/v1/ring/{answer}" for answer in ("accept", "downgrade", "known")),
        ]
    )  # fmt: skip


async def test_of_many_who_delete_the_same_thing_at_once_one_does_and_none_meets_an_error_of_ours(
    client: Client, api: list[Operation], home: World
):
    deleting = [operation for operation in api if operation.method == "DELETE" and "cid" in operation.names]
    assert len(deleting) > 4
    for operation in deleting:
        request = operation.request(home.ids())
        answers = await asyncio.gather(*(client.request(**request, as_=home.manager) for _ in range(6)))
        statuses = {answer.status_code for answer in answers}
        assert statuses <= {200, 204, 404, 409}, (str(operation), statuses)


async def test_who_changes_what_another_deletes_is_told_and_meets_no_error_of_ours(client: Client, home: World):
    for _ in range(5):
        body = {"questions": ["前台几点上班"], "answer_zh": "八点半。"}
        made = await client.post(f"{home.place.url}/answers", json=body, as_=home.manager)
        url, anyhow = f"{home.place.url}/answers/{made.json()['id']}", {"If-Match": "*"}
        answers = await asyncio.gather(
            *(
                client.patch(url, json={"answer_zh": f"{n}点。"}, headers=anyhow, as_=home.manager) if n != 2
                else client.delete(url, headers=anyhow, as_=home.manager)
                for n in range(6)
            )
        )  # fmt: skip
        statuses = {answer.status_code for answer in answers}
        assert statuses <= {200, 204, 404, 409, 412}, [answer.text for answer in answers]
