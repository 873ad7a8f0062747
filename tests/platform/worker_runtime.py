"""A runtime without a database, for jobs that need none."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from app.feed import Feed
from app.queue import Queue
from app.runtime import Runtime
from app.settings import Settings
from models.scripted_engine import ScriptedEngine
from tests.platform.valkey_servers import open_redis


@asynccontextmanager
async def open_worker_runtime(url: str, *, slots: int = 16, **changes: Any) -> AsyncIterator[Runtime]:
    quick = {"lease_seconds": 1.2, "retry_seconds_min": 0.05, "retry_seconds_max": 0.2, "job_attempts_max": 3}
    settings = Settings(_env_file=None, redis_url=url, **(quick | changes))
    async with open_redis(url) as redis:
        feed = Feed(redis, settings)
        yield Runtime(
            settings=settings,
            sessions=cast("Any", None),
            redis=redis,
            queue=Queue(redis, settings),
            feed=feed,
            engine=ScriptedEngine([], slots=slots),
            embedder=cast("Any", None),
        )
        await feed.close()
