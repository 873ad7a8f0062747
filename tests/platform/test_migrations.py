"""The migrations and the tables say the same, in both directions."""

import asyncio
from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from app import all_tables, db, embedded, migrate

ONLY_IN_MIGRATIONS = {"ix_background_jobs_open", "ix_documents_waiting", "ix_passages_document_id", "ix_passages_words"}
"""Indexes that no ORM code needs to know of."""


def differences(connection: Connection) -> list[object]:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return list(compare_metadata(context, all_tables.metadata))


async def compare(owner_url: str) -> list[object]:
    engine = create_async_engine(db.async_url(owner_url))
    async with engine.connect() as connection:
        found = await connection.run_sync(differences)
    await engine.dispose()
    return found


def matters(difference: object) -> bool:
    """Deferred columns cannot say that they are never null; some indexes live in migrations only."""
    if isinstance(difference, list):
        return any(change[0] != "modify_nullable" for change in difference)
    assert isinstance(difference, tuple)
    return getattr(difference[1], "name", "") not in ONLY_IN_MIGRATIONS


def test_down_and_up_again_gives_the_tables_of_the_code(tmp_path: Path) -> None:
    with embedded.services(tmp_path, durable=False) as services:
        migrate.upgrade(services.database_owner_url)
        migrate.downgrade(services.database_owner_url, "base")
        migrate.upgrade(services.database_owner_url)
        found = asyncio.run(compare(services.database_owner_url))
    assert [difference for difference in found if matters(difference)] == []
