"""What a fenced read costs, by driver and by how the tenant is set. Ratios of reads/s, sides interleaved.

`plain` is one read in a transaction without a fence: the floor. Run: .venv/bin/python -m bench.bench_tenant
"""

import asyncio
import sys
import tempfile
from pathlib import Path
from uuid import uuid4

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from app import db, embedded, migrate
from app.db import Tenant
from app.settings import Settings
from bench import pairs
from bench.pairs import Side

READS = 300
ROUNDS = 9
FLOOR, OURS = "plain, asyncpg", "tenant with BEGIN, asyncpg (ours)"
READ = text("SELECT id, name FROM accounts WHERE id = :id")
NAIVE = text("SELECT set_config('app.organisation_id', :id, true)")


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder, embedded.services(Path(folder), durable=False) as services:
        await asyncio.to_thread(migrate.upgrade, services.database_owner_url)
        organisation, account = uuid4(), uuid4()
        tenant = Tenant(organisation, None)
        settings = Settings(_env_file=None, database_url=services.database_url)
        ours, sessions = db.open_database(services.database_url, settings)
        async with sessions() as session, session.begin():
            session.info["tenant"] = tenant
            await session.execute(
                text("INSERT INTO organisations (id, name, defaults) VALUES (:id, 'o', '{}')"), {"id": organisation}
            )
            await session.execute(
                text("INSERT INTO accounts (id, organisation_id, login, name) VALUES (:id, :o, 'a', 'a')"),
                {"id": account, "o": organisation},
            )
        superuser = services.database_superuser_url.rsplit("/", 1)[0] + "/linli"
        engines = {
            "asyncpg": create_async_engine(db.async_url(services.database_url)),
            "psycopg": create_async_engine(psycopg_url(services.database_url)),
            "asyncpg without fence": create_async_engine(db.async_url(superuser)),
            "psycopg without fence": create_async_engine(psycopg_url(superuser)),
        }

        async def with_begin() -> float:
            for _ in range(READS):
                async with sessions() as session:
                    session.info["tenant"] = tenant
                    async with session.begin():
                        assert (await session.execute(READ, {"id": account})).one()
            return float(READS)

        def reading(name: str, *, naive: bool) -> Side:
            return lambda: read(engines[name], account, organisation if naive else None)

        sides: dict[str, Side] = {
            FLOOR: reading("asyncpg without fence", naive=False),
            "plain, psycopg": reading("psycopg without fence", naive=False),
            OURS: with_begin,
            "tenant by statement, asyncpg": reading("asyncpg", naive=True),
            "tenant by statement, psycopg": reading("psycopg", naive=True),
        }
        pairs.conditions()
        ratios = await pairs.compare(sides, pairs=ROUNDS, floor=FLOOR)
        pairs.table(ratios, unit="reads/s")
        pairs.goal("P17 fenced read against plain", ratios[OURS], at_least=1 / 1.15)
        await asyncio.gather(ours.dispose(), *(engine.dispose() for engine in engines.values()))


def psycopg_url(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://")


async def read(engine: AsyncEngine, account: object, organisation: object | None) -> float:
    for _ in range(READS):
        async with AsyncSession(engine) as session, session.begin():
            if organisation is not None:
                await session.execute(NAIVE, {"id": str(organisation)})
            assert (await session.execute(READ, {"id": account})).one()
    return float(READS)


if __name__ == "__main__":
    asyncio.run(main())
    sys.exit(pairs.exit_status())
