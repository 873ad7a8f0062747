"""The sweep over deadlines with 1,000, 10,000 and 100,000 open orders: nothing due, and so many due at the same moment.

.venv/bin/python -m bench.bench_deadline_sweep
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from sqlalchemy import text

from app import embedded, migrate
from app.clock import CLOCK
from app.db import Tenant
from app.people import communities
from app.people.callers import system_caller
from app.people.tables import Organisation
from app.runtime import Runtime
from app.service_desk import categories, duty_jobs, work_orders
from app.service_desk.tables import Channel, OrderKind
from bench import pairs
from bench.bench_growth import opened, own_database

SIZES = (1_000, 10_000, 100_000)
DUE = 1_000
REPEATS = 20

ROWS_AT_ONCE = 5_000
ORDERS = """
INSERT INTO work_orders SELECT copied.* FROM work_orders o,
generate_series(CAST(:first AS integer), CAST(:last AS integer)) n,
LATERAL jsonb_populate_record(o, jsonb_build_object(
    'id', gen_random_uuid(), 'number', o.number + n, 'check_at', to_jsonb(CAST(:later AS timestamptz)))) copied
WHERE o.id = :id"""


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    told = parser.parse_args()
    pairs.conditions()
    with tempfile.TemporaryDirectory() as name, embedded.services(Path(name), durable=False) as services:
        await asyncio.to_thread(migrate.upgrade, services.database_owner_url)
        for size in told.sizes:
            async with AsyncExitStack() as stack:
                runtime, _ = await opened(stack, await own_database(services, size))
                await measure(runtime, size)


async def measure(runtime: Runtime, size: int) -> None:
    tenant = await fill(runtime, size)
    idle = [await timed(runtime) for _ in range(REPEATS)]
    async with runtime.transaction(tenant) as session:
        await session.execute(
            text("UPDATE work_orders SET check_at = now() - interval '1 minute' WHERE id IN"
                 " (SELECT id FROM work_orders ORDER BY id LIMIT :due)"),
            {"due": DUE},
        )  # fmt: skip
    busy = await timed(runtime)
    print(
        f"{size:,} open orders: nothing due {statistics.median(idle) * 1000:.1f} ms"
        f" (worst {max(idle) * 1000:.1f}); {DUE:,} due {busy:.2f} s, {busy / DUE * 1000:.2f} ms each"
    )


async def timed(runtime: Runtime) -> float:
    started = time.perf_counter()
    await duty_jobs.sweep_deadlines(runtime)
    return time.perf_counter() - started


async def fill(runtime: Runtime, size: int) -> Tenant:
    """A community with so many open orders, none of them due to be looked at."""
    organisation_id, now = CLOCK.new_id(), runtime.clock()
    community_id: UUID = CLOCK.new_id()
    tenant = Tenant(organisation_id, community_id)
    async with runtime.transaction(tenant) as session:
        session.add(Organisation(id=organisation_id, name="和悦物业"))
        await session.flush()
        await communities.create(
            session, organisation_id=organisation_id, slug=f"sweep-{size}", name="桃源里", community_id=community_id
        )
        await categories.ensure_defaults(session, system_caller(tenant))
    async with runtime.transaction(tenant) as session:
        order = await work_orders.open_order(
            session, runtime, system_caller(tenant), kind=OrderKind.REPAIR, text="厨房水管漏水", channel=Channel.STAFF
        )
        later = now + timedelta(days=30)
        await session.execute(text("UPDATE work_orders SET check_at = :later"), {"later": later})
        for first in range(1, size, ROWS_AT_ONCE):
            last = min(first + ROWS_AT_ONCE, size) - 1
            await session.execute(text(ORDERS), {"first": first, "last": last, "id": order.id, "later": later})
    async with runtime.transaction(None) as session:
        await session.execute(text("ANALYZE work_orders"))
    return tenant


if __name__ == "__main__":
    asyncio.run(main())
