"""Communities with work orders, for bench_service_desk: a few to write to, or one with as many rows as wanted."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg

from app.people.callers import Caller, system_caller
from app.people.tables import StaffRole
from app.runtime import Runtime
from app.service_desk import categories
from tests.make import Make, Person

BUILDINGS, STAFF = 20, 20


@dataclass(frozen=True)
class Desk:
    """A community with people who write to it."""

    residents: list[Caller]
    dispatcher: Caller
    reporters: list[Person]


async def build_desk(runtime: Runtime, *, residents: int) -> Desk:
    make = Make(runtime)
    people = [await make.resident() for _ in range(residents)]
    callers = [await make.caller(person) for person in people]
    dispatcher = await make.caller(await make.staff(role=StaffRole.FRONT_DESK))
    return Desk(callers, dispatcher, people)


@dataclass(frozen=True)
class Archive:
    """A community with many orders."""

    orders: int
    runtime: Runtime
    caller: Caller
    building_id: UUID
    category_id: UUID
    assignee_id: UUID


# Spread evenly over two years, newest last; ids are in the order of time. Every seventh is another community's. Of
# 1,000: 100 are open, 30 of them overdue.
ROWS = """
INSERT INTO work_orders (
    id, community_id, number, kind, status, category_id, urgency, title, text, language, building_id, place_text,
    channel, reporter_kind, reporter_id, contact_name, contact_phone, assignee_id, needs_person, auto_classified,
    triage, rating_comment, urged_count, reopened_count, due_at, overdue_at, paused_seconds, version, created_at,
    updated_at, closed_at)
SELECT uuidv7((n - $2::integer) * (interval '730 days' / $2::integer)),
    CASE WHEN n % 7 = 0 THEN $6::uuid ELSE $1::uuid END, n,
    CASE n % 10 WHEN 7 THEN 'complaint' WHEN 8 THEN 'suggestion' WHEN 9 THEN 'praise' ELSE 'repair' END,
    CASE WHEN n % 10 <> 3 THEN 'closed' ELSE (ARRAY['submitted','dispatched','in_progress'])[1 + (n / 10) % 3] END,
    ($3::uuid[])[1 + (n / 7) % cardinality($3::uuid[])], CASE WHEN n % 33 = 0 THEN 'emergency' ELSE 'routine' END,
    '厨房水管漏水', '厨房水管漏水，滋滋响', 'zh', ($4::uuid[])[1 + (n / 3) % cardinality($4::uuid[])], '',
    CASE WHEN n % 25 = 0 THEN 'sensor' ELSE 'self' END, 'resident', gen_random_uuid(), '住户', '',
    ($5::uuid[])[1 + (n / 11) % cardinality($5::uuid[])], false, false, '{}', '', 0, 0,
    CASE WHEN n % 10 = 3 THEN now() + (n % 1000) * interval '1 minute' END,
    CASE WHEN n % 10 = 3 AND (n / 10) % 3 = 0 THEN now() END,
    0, 1, now() + (n - $2::integer) * (interval '730 days' / $2::integer), now(),
    CASE WHEN n % 10 <> 3 THEN now() END
FROM generate_series(1, $2::integer) n
"""


async def build_archive(runtime: Runtime, superuser: asyncpg.Connection, *, orders: int) -> Archive:
    """Filled without its indexes, which are made afterwards: so a million take a minute and not ten."""
    make = Make(runtime)
    place = await make.home()
    caller = system_caller(place.tenant)
    async with runtime.transaction(place.tenant) as session:
        await categories.ensure_defaults(session, caller)
        kinds = list(await session.scalars(categories.visible_to(caller)))
    buildings = [await make.building() for _ in range(BUILDINGS)]
    staff = [(await make.staff(role=StaffRole.ENGINEER)).id for _ in range(STAFF)]
    indexes = await superuser.fetch(
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'work_orders' AND indexname LIKE 'ix_%'"
    )
    for index in indexes:
        await superuser.execute(f"DROP INDEX {index['indexname']}")
    leaves = [one.id for one in kinds]
    values: tuple[Any, ...] = (place.id, orders, leaves, buildings, staff, (await make.place()).id)
    await superuser.execute("SET session_replication_role = replica")  # no look at 1,000,000 foreign keys
    await superuser.execute(ROWS, *values, timeout=300)
    await superuser.execute("SET maintenance_work_mem = '256MB'")
    for index in indexes:
        await superuser.execute(index["indexdef"], timeout=300)
    await superuser.execute("VACUUM ANALYZE work_orders", timeout=300)
    return Archive(orders, runtime, caller, buildings[0], leaves[-1], staff[0])
