"""Runs migrations as the owner role, one transaction a migration, with limits on locks and statements."""

import asyncio

from alembic import context
from sqlalchemy import Connection, pool, text
from sqlalchemy.ext.asyncio import create_async_engine

from app import all_tables
from app.db import async_url

LOCK_SECONDS = 4
"""A migration that cannot get its lock gives up instead of blocking every request behind it."""
STATEMENT_SECONDS = 5


def run(connection: Connection) -> None:
    context.configure(
        connection=connection, target_metadata=all_tables.metadata, transaction_per_migration=True, compare_type=True
    )
    with context.begin_transaction():
        connection.execute(text(f"SET lock_timeout = '{LOCK_SECONDS}s'"))
        connection.execute(text(f"SET statement_timeout = '{STATEMENT_SECONDS}s'"))
        context.run_migrations()


async def run_online(url: str) -> None:
    engine = create_async_engine(async_url(url), poolclass=pool.NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(run)
        await connection.commit()
    await engine.dispose()


asyncio.run(run_online(context.config.attributes["url"]))
