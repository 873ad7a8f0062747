"""The SQL that a piece of our code sends, caught once, and sent again by hand: asyncpg, no ORM, nothing in between.

What the code adds (checks, rows as objects, statements looked up) is the difference. Ids that were made while it was
caught are made anew each time.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine
from uuid_utils.compat import uuid7

from app.db import Tenant, tenant_sql
from app.runtime import Runtime
from bench import passages

Statements = list[tuple[str, tuple[Any, ...]]]


@contextmanager
def caught(engine: AsyncEngine) -> Iterator[Statements]:
    """The statements that go through this engine while the block runs, with their values as the driver gets them."""
    found: Statements = []

    def keep(_connection: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        found.append((statement, tuple(values)))

    event.listen(engine.sync_engine, "before_cursor_execute", keep)
    try:
        yield found
    finally:
        event.remove(engine.sync_engine, "before_cursor_execute", keep)


@dataclass(frozen=True)
class Piece:
    """What was caught of one run, of this tenant; `fixed` are ids that stay as they are."""

    tenant: Tenant
    statements: Statements
    since: UUID

    def run_with(self, new_ids: dict[UUID, UUID]) -> Iterator[tuple[str, tuple[Any, ...]]]:
        for sql, values in self.statements:
            yield sql, tuple(self._anew(value, new_ids) for value in values)

    def _anew(self, value: Any, new_ids: dict[UUID, UUID]) -> Any:
        # Ids are ordered by time: what is younger than the beginning was made by the code that was caught.
        if not isinstance(value, UUID) or value.int < self.since.int or value.version != 7:
            return value
        return new_ids.setdefault(value, uuid7())


async def catch(engine: AsyncEngine, tenant: Tenant, work: Callable[[], Awaitable[object]]) -> Piece:
    """Run the work once, and keep what it sent."""
    since = uuid7()
    with caught(engine) as statements:
        await work()
    return Piece(tenant, statements, since)


async def send(connection: Any, piece: Piece) -> None:
    """The same again in a transaction, with ids of its own."""
    await connection.execute(f"BEGIN; {tenant_sql(piece.tenant)}")
    for sql, values in piece.run_with({}):
        await connection.fetch(sql, *values)
    await connection.execute("COMMIT")


async def send_through_session(runtime: Runtime, piece: Piece) -> None:
    """The same text through SQLAlchemy's session and its driver: what that costs, and none of our code."""
    async with runtime.transaction(piece.tenant) as session:
        connection = await session.connection()
        for sql, values in piece.run_with({}):
            await connection.exec_driver_sql(sql, values)


async def connect(url: str, number: int) -> list[Any]:
    """Connections of their own."""
    return [await passages.connect(url) for _ in range(number)]
