"""Every operation, asked once: each write leaves one row in the audit log, and each read of personal data does."""

from typing import Any

import asyncpg

from app.people import audit, audit_log
from tests.conftest import Client
from tests.isolation.operations import OBJECTS, Operation
from tests.isolation.test_objects import PERSONAL
from tests.isolation.worlds import World

TELLS = {"phone", "contact_name", "contact_phone", "plate", "login", "reporter_id", "resident_id", "resident_name"}
"""Names of fields that tell of somebody; an answer with one of these is personal."""

TESTED_ELSEWHERE = {
    "people.staff.get_member": "the member of staff asked for is the asker",
    "people.audit.get_audit_events": "nothing fits all of the filters",
    "chat.inbox.get_community_conversations": "the manager asked for has no conversation",
    "service_desk.get_orders": "nothing fits all of the filters",
    "service_desk.get_comments": "there is no comment",
    "people.rota.get_on_shift": "nobody else is on shift",
    "people.rota.get_on_call": "nobody else is on call",
    "people.vehicle.get_vehicles": "the vehicle is nobody's",
    "people.vehicle.get_vehicle": "the vehicle is nobody's",
}
"""Personal reads that show nobody else's data as they are asked here; tests/people/test_audit.py has them."""


async def rows_of(owner: asyncpg.Connection, world: World) -> list[asyncpg.Record]:
    return list(await owner.fetch("SELECT * FROM audit_events WHERE community_id = $1 ORDER BY id", world.place.id))


def asker(operation: Operation, world: World) -> Any:
    """The one to whom its objects belong."""
    personal = {OBJECTS[name] for name in operation.names} & set(PERSONAL)
    own = "/me/" in operation.path or (personal and "cid" not in operation.names)
    return world.resident if own else world.manager


async def test_every_write_leaves_one_row_and_every_personal_read_does(
    client: Client, api: list[Operation], home: World, owner: asyncpg.Connection, working: None
):
    wrong, proved, noted, refused = [], 0, 0, []
    for operation in api:
        if not operation.secured:
            continue
        before = len(await rows_of(owner, home))
        answer = await client.request(**operation.request(home.ids()), as_=asker(operation, home))
        new = (await rows_of(owner, home))[before:]
        action, found = operation.spec["operationId"], [row["action"] for row in new]
        if answer.status_code >= 400:
            refused.append(str(operation))
            expected = []
        elif operation.writes and action not in audit.READS_BY_POST:
            expected = [] if action in audit.OWN_RECORD else [action]
        else:
            others = operation.spec.get("x-personal-data") and "/me" not in operation.path
            told = others and asker(operation, home) is home.manager and action not in TESTED_ELSEWHERE
            expected = [action] if told else []
            # A feature may know that it shows somebody's data where the answer's type does not.
            if found == [action] and "cid" in operation.names:
                expected = found
        proved += answer.status_code < 400
        noted += not operation.writes and found == [action]
        if found != expected:
            wrong.append(f"{operation} {answer.status_code}: {found}, not {expected}")
    assert wrong == [], "\n".join(wrong)
    assert len(refused) < 0.25 * proved, refused
    assert noted > 10, "personal reads"


def test_what_is_exempt_is_there_and_says_why(api: list[Operation]):
    assert set(audit.OWN_RECORD) <= {operation.spec["operationId"] for operation in api}
    assert all(audit.OWN_RECORD.values())
    assert set(TESTED_ELSEWHERE) <= {operation.spec["operationId"] for operation in api}


def test_every_answer_that_tells_of_somebody_is_marked(api: list[Operation]):
    """Mark the id of whom it tells as OfResident, OfHousehold or OfStaff (app/people/personal.py)."""
    unmarked = []
    for operation in api:
        content = operation.spec["responses"].get("200", {}).get("content", {}).get("application/json", {})
        fields = set(_fields(content.get("schema", {}), operation.schemas, set()))
        own = "/me" in operation.path or not operation.secured
        if operation.method == "GET" and fields & TELLS and not own and not operation.spec.get("x-personal-data"):
            unmarked.append(f"{operation}: {sorted(fields & TELLS)}")
    assert unmarked == []


def test_every_kind_of_personal_thing_has_its_words(api: list[Operation]):
    for operation in api:
        if operation.spec.get("x-personal-data"):
            named = [part for part in operation.path.split("/") if part.startswith("{") and part != "{cid}"]
            last = operation.path.rstrip("/").rsplit("/", 1)[-1]
            kind = named[-1].strip("{}").removesuffix("_id") if named else audit.singular(last)
            if not operation.path.startswith("/api/v1/me"):
                assert kind in audit_log.OBJECTS, f"{operation}: say in audit_log.OBJECTS what {kind} is"


def _fields(schema: Any, schemas: Any, seen: set[str]) -> Any:
    """Names of all fields that an answer may have."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        if name not in seen:
            seen.add(name)
            yield from _fields(schemas[name], schemas, seen)
        return
    yield from schema.get("properties", {})
    inner = [*schema.get("properties", {}).values(), *schema.get("anyOf", ())]
    for one in (*inner, schema.get("items"), schema.get("additionalProperties")):
        if isinstance(one, dict):
            yield from _fields(one, schemas, seen)
