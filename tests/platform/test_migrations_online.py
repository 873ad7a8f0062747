"""Migrations while people work: old code goes on reading and writing, nobody waits long, and the way back is open."""

import asyncio
import re
import time
from pathlib import Path
from uuid import uuid4

import asyncpg

from app import embedded, migrate

BEFORE = "0003"
"""The version before the first one that had to be online."""
ROWS = 30_000
WAIT_SECONDS_MAX = 5.0
"""What a migration allows itself (migrations/env.py): it gives up rather than hold anybody longer."""

# What the code of that version sends, column by column.
WRITE = (
    "INSERT INTO conversations (id, community_id, caller_kind, caller_id, title, created_at) "
    "VALUES (gen_random_uuid(), $1, 'resident', gen_random_uuid(), '问', now())"
)
READ = "SELECT id, title FROM conversations WHERE community_id = $1 ORDER BY id DESC LIMIT 20"
UPDATE = "UPDATE residents SET name = name || '' WHERE id IN (SELECT id FROM residents LIMIT 1)"
FILL = (
    "INSERT INTO organisations VALUES ($1, '和悦', '{}')",
    "INSERT INTO communities VALUES ($2, $1, 'online', '桃源里', '', 'Asia/Shanghai', '{}', 1)",
    "INSERT INTO residents SELECT gen_random_uuid(), $2, NULL, '住户', '', 'zh' FROM generate_series(1, $3)",
    "INSERT INTO conversations SELECT gen_random_uuid(), $2, 'resident', gen_random_uuid(), NULL, '问', now() "
    "FROM generate_series(1, $3)",
    "INSERT INTO turns SELECT gen_random_uuid(), $2, id, 1, 'answered', '[\"问\"]', NULL, 'zh', 1, 1, false, '答', NULL, "
    "NULL, '[]', '[]', '{}', 0, 0, 0, NULL, now() FROM conversations",
)


async def fill(services: embedded.Services, organisation, community) -> None:
    connection = await asyncpg.connect(services.database_superuser_url.replace("+asyncpg", ""), database="linli")
    values = {"$1": organisation, "$2": community, "$3": ROWS}
    for statement in FILL:
        used = [name for name in values if name in statement]
        places = {name: f"${place}" for place, name in enumerate(used, start=1)}
        numbered = re.sub(r"\$\d", lambda found: places[found[0]], statement)  # noqa: B023
        await connection.execute(numbered, *(values[name] for name in used))
    await connection.close()


async def work(services: embedded.Services, community, statement: str, ended: asyncio.Event) -> list[float]:
    """Sends one statement again and again as the app's role; how long each took. An error ends the test."""
    connection = await asyncpg.connect(services.database_url.replace("+asyncpg", ""))
    await connection.execute("SELECT set_config('app.community_id', $1, false)", str(community))
    waits = []
    while not ended.is_set():
        started = time.monotonic()
        await connection.execute(statement, *([community] if "$1" in statement else []))
        waits.append(time.monotonic() - started)
        await asyncio.sleep(0.005)
    await connection.close()
    return waits


async def test_old_code_works_on_while_the_database_is_migrated_there_and_back(tmp_path: Path):
    organisation, community = uuid4(), uuid4()
    with embedded.services(tmp_path, durable=False) as services:
        owner = services.database_owner_url
        await asyncio.to_thread(migrate.upgrade, owner, BEFORE)
        await fill(services, organisation, community)
        ended = asyncio.Event()
        people = [asyncio.create_task(work(services, community, sql, ended)) for sql in (WRITE, READ, UPDATE)]
        try:
            for step in (migrate.upgrade, migrate.downgrade, migrate.upgrade):
                await asyncio.to_thread(step, owner, BEFORE if step is migrate.downgrade else "head")
                assert not any(task.done() for task in people), [task.exception() for task in people if task.done()]
        finally:
            ended.set()
        waits = [wait for task in people for wait in await task]
        assert len(waits) > 30, "nobody worked meanwhile"
        assert max(waits) < WAIT_SECONDS_MAX
        connection = await asyncpg.connect(services.database_superuser_url.replace("+asyncpg", ""), database="linli")
        kept = await connection.fetchval("SELECT count(*) FROM conversations")
        await connection.close()
        assert kept == ROWS + len(people[0].result())


WAITERS = "SELECT count(*) FROM pg_locks WHERE NOT granted"


async def test_going_back_never_ends_somebodys_statement_by_a_deadlock(tmp_path: Path):
    organisation, community = uuid4(), uuid4()
    with embedded.services(tmp_path, durable=False) as services:
        owner = services.database_owner_url
        await asyncio.to_thread(migrate.upgrade, owner, "0009")
        resident = await asyncpg.connect(services.database_superuser_url.replace("+asyncpg", ""), database="linli")
        watcher = await asyncpg.connect(services.database_superuser_url.replace("+asyncpg", ""), database="linli")
        await resident.execute(FILL[0], organisation)
        await resident.execute(FILL[1].replace("$1", f"'{organisation}'").replace("$2", "$1"), community)
        async with resident.transaction():
            # The two halves of an INSERT of a conversation: its own table, then the one that its foreign key points to.
            await resident.execute("LOCK TABLE conversations IN ROW EXCLUSIVE MODE")
            going_back = asyncio.create_task(asyncio.to_thread(migrate.downgrade, owner, "0008"))
            while not await watcher.fetchval(WAITERS):
                assert not going_back.done(), "it did not touch conversations"
                await asyncio.sleep(0.05)
            await resident.execute("SELECT 1 FROM communities WHERE id = $1 FOR KEY SHARE", community)
        await going_back
        await resident.close()
        await watcher.close()
