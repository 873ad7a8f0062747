"""The database: engine, tenants, column types and what migrations need for row-level security.

A transaction belongs to one tenant. The tenant travels with BEGIN in one round trip, as transaction-local settings
that the policies in Postgres read; without it the app role sees no row of any tenant.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any, ClassVar
from uuid import UUID

import asyncpg
from asyncpg.exceptions import InterfaceError as DriverInterfaceError
from prometheus_client import Histogram
from sqlalchemy import AsyncAdaptedQueuePool, DateTime, Dialect, MetaData, String, event
from sqlalchemy import Enum as SqlEnum
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError, InterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, SessionTransaction, mapped_column
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.types import TypeDecorator, TypeEngine

from app.clock import CLOCK
from app.settings import Settings

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


POOL_WAIT_SECONDS = Histogram(
    "linli_database_wait_seconds", "Wait for a database connection of the pool, opening one included.",
    buckets=(0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5),
)  # fmt: skip


class UtcTime(TypeDecorator[datetime]):
    """`timestamptz` that refuses naive times and always returns UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        assert value is None or value.tzinfo is not None, "a time without a zone reached the database"
        return value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.astimezone(UTC) if value is not None else None


def enum_column(kind: type[Enum]) -> SqlEnum:
    """An enum stored as text with a check, so that adding a value is a cheap migration."""
    return SqlEnum(
        kind, native_enum=False, length=40, create_constraint=False, values_callable=lambda k: [e.value for e in k]
    )


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING)
    # What somebody else deleted a moment ago is deleted, as was asked.
    __mapper_args__: Any = {"confirm_deleted_rows": False}  # noqa: RUF012 (SQLAlchemy declares it so)
    type_annotation_map: ClassVar[dict[Any, TypeEngine[Any] | type[TypeEngine[Any]]]] = {
        datetime: UtcTime(),
        str: String(),
    }


class HasId:
    """A time-ordered id made by us, so that a row's id is known before it is written."""

    id: Mapped[UUID] = mapped_column(primary_key=True, default=CLOCK.new_id)


@dataclass(frozen=True, slots=True)
class Tenant:
    """Whose rows a transaction may touch: one property company and, mostly, one of its communities."""

    organisation_id: UUID | None
    community_id: UUID | None


class TenantConnection(asyncpg.Connection):
    """Sends the tenant along with BEGIN. Set alone, it would cost a round trip: 2.7 times a plain read."""

    tenant_sql = ""

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:  # noqa: ASYNC109 (asyncpg's)
        if query.startswith("BEGIN"):
            query = f"{query.rstrip(';')}; {self.tenant_sql}"
        return str(await super().execute(query, *args, timeout=timeout))


def tenant_sql(tenant: Tenant | None) -> str:
    """The statements that set the tenant for one transaction. Only UUIDs are put into it."""
    organisation = str(UUID(str(tenant.organisation_id))) if tenant and tenant.organisation_id else ""
    community = str(UUID(str(tenant.community_id))) if tenant and tenant.community_id else ""
    # Not set_config: a SELECT is planned and sends a row back. On the driver alone: .80 of a plain read with it, .87 to
    # .93 with these.
    return f"SET LOCAL app.organisation_id = '{organisation}'; SET LOCAL app.community_id = '{community}';"


class MeteredPool(AsyncAdaptedQueuePool):
    """Tells how many wait for a connection and for how long."""

    waiting = 0

    def _do_get(self) -> ConnectionPoolEntry:
        self.waiting += 1
        try:
            with POOL_WAIT_SECONDS.time():
                return super()._do_get()
        finally:
            self.waiting -= 1


class TenantSession(Session):
    """`info["tenant"]` says whose rows its transactions may touch."""


def _set_tenant(session: Session, transaction: SessionTransaction, connection: Any) -> None:
    # SQLAlchemy sends BEGIN with the first statement, so this runs before anything is on the wire.
    connection.connection.driver_connection.tenant_sql = tenant_sql(session.info.get("tenant"))


event.listen(TenantSession, "after_begin", _set_tenant)


def open_database(url: str, settings: Settings) -> tuple[AsyncEngine, async_sessionmaker[AsyncSession]]:
    """The connection pool of this process and the maker of its sessions. `url` is postgresql://…"""
    engine = create_async_engine(
        async_url(url),
        poolclass=MeteredPool,
        pool_size=settings.database_pool_connections,
        max_overflow=0,
        pool_timeout=settings.database_statement_seconds,
        pool_pre_ping=False,
        pool_recycle=1800,
        # Errors are logged with their statement; its values may be a question, a secret's hash or a whole file.
        hide_parameters=True,
        connect_args={
            "connection_class": TenantConnection,
            "timeout": 5,
            # A Postgres that hears us ends a long statement by itself; this is for one that does not.
            "command_timeout": settings.database_statement_seconds + 1,
            "server_settings": {
                "application_name": "linli",
                "timezone": "UTC",
                "statement_timeout": str(int(settings.database_statement_seconds * 1000)),
                "idle_in_transaction_session_timeout": "30000",
                # pgvector looks at 40 neighbours unless told, and stops at a filter unless it may go on. Four times as
                # many as are wanted: with twice fewer of the nearest are found, ten times took half again as long and
                # found no better answers (RESULTS, Search).
                "hnsw.ef_search": str(min(1000, settings.search_candidates * 4)),
                "hnsw.iterative_scan": "strict_order",
            },
        },
    )
    event.listen(engine.sync_engine, "connect", _learn_time)
    event.listen(engine.sync_engine, "handle_error", DISK.notice)
    event.listen(engine.sync_engine, "do_connect", _connect)
    event.listen(engine.sync_engine, "handle_error", _leave_silent)
    return engine, async_sessionmaker(engine, expire_on_commit=False, sync_session_class=TenantSession)


def _connect(dialect: Dialect, record: object, arguments: Any, parameters: Any) -> Any:
    """Of a connection that is not answered in time the driver says only that it timed out, as anything may."""
    try:
        return dialect.connect(*arguments, **parameters)
    except TimeoutError as error:
        raise InterfaceError(None, None, error) from error


def _leave_silent(context: ExceptionContext) -> InterfaceError | None:
    """After a statement that was not answered nobody knows where its connection stands, so it is not used again."""
    if not isinstance(context.original_exception, TimeoutError):
        return None
    context.is_disconnect, context.invalidate_pool_on_disconnect = True, False
    if context.connection is not None and (driver := context.connection.connection.driver_connection) is not None:
        # Closed politely, it would wait for an answer once more.
        driver.terminate()
    return InterfaceError(context.statement, None, context.original_exception, hide_parameters=True)


def _learn_time(connection: Any, record: object) -> None:
    """Connections are made anew every half hour, so a clock that runs away is noticed while nothing restarts."""
    asked_at = time.time()
    told = connection.run_async(lambda driver: driver.fetchval("SELECT clock_timestamp()"))
    CLOCK.set_by(told, asked_at=asked_at, told_at=time.time())


DISK_FULL = "53100"
AWAY_STATES = ("08", "53300", "57P0", DISK_FULL)
"""SQLSTATEs, by how they begin, of a Postgres that is down, starts, stops, or takes no more connections or rows."""


class DiskWatch:
    """Remembers when Postgres last refused to write because its disk was full: it still answers to reads."""

    def __init__(self) -> None:
        self.full_at = -math.inf

    def was_full_within(self, seconds: float) -> bool:
        return time.monotonic() - self.full_at < seconds

    def notice(self, context: ExceptionContext) -> None:
        if getattr(context.original_exception, "sqlstate", None) == DISK_FULL:
            self.full_at = time.monotonic()


DISK = DiskWatch()


def is_full(error: BaseException) -> bool:
    """Whether a store has no room on its disk: Postgres by its code; Valkey and the system in words."""
    driver = error.orig if isinstance(error, DBAPIError) else error
    return getattr(driver, "sqlstate", None) == DISK_FULL or "No space left on device" in str(driver)


def is_away(error: BaseException) -> bool:
    """Whether Postgres could not do it now: nothing was wrong with what was asked of it, and later it will work."""
    if isinstance(error, ConnectionError | InterfaceError | DriverInterfaceError | PoolTimeout):
        return True
    if isinstance(error, DBAPIError) and (error.connection_invalidated or error.orig is None):
        return True
    driver = error.orig if isinstance(error, DBAPIError) else error
    return str(getattr(driver, "sqlstate", None) or "").startswith(AWAY_STATES)


def async_url(url: str) -> str:
    """The SQLAlchemy address of a plain postgresql:// URL."""
    scheme, _, rest = url.partition("://")
    assert scheme in ("postgresql", "postgres", "postgresql+asyncpg"), "the database must be Postgres"
    return f"postgresql+asyncpg://{rest}"


def fence_sql(table: str, *, column: str = "community_id", setting: str = "app.community_id") -> Iterator[str]:
    """Statements for a migration: only rows of the transaction's tenant exist for the app role.

    `FORCE` holds the owner to the policy too, except in functions marked SECURITY DEFINER that turn it off themselves.
    """
    current = f"nullif(current_setting('{setting}', true), '')::uuid"
    yield f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"
    yield f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY"
    yield f"CREATE POLICY tenant ON {table} TO linli_app USING ({column} = {current}) WITH CHECK ({column} = {current})"
    # Doors that cross tenants are functions of the owner, written one by one in migrations; nothing else runs as it.
    yield f"CREATE POLICY owner_functions ON {table} TO linli_owner USING (true) WITH CHECK (true)"
    yield f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO linli_app"


def utc_now() -> datetime:
    """The clock of a running process; tests and evaluations bring their own."""
    return CLOCK.now()
