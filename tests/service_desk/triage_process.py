"""A worker process whose engine never answers, to be killed: `python -m tests.service_desk.triage_process DB REDIS`."""

import asyncio
import sys
from collections.abc import AsyncGenerator
from typing import Any

from app import db, worker
from app.feed import Feed
from app.queue import Queue
from app.runtime import Runtime, open_redis
from app.service_desk import jobs
from app.settings import Settings
from models.engine import Completion, Delta, Request
from models.scripted_engine import ScriptedEngine

LEASE_SECONDS = 1.2


class Silent(ScriptedEngine):
    """Says in Redis that it was asked, and nothing more."""

    def __init__(self, redis: Any) -> None:
        super().__init__()
        self.redis = redis

    async def complete(self, request: Request) -> Completion:
        await self.redis.rpush("thinking", "1")
        await asyncio.sleep(60)
        raise AssertionError("the process was to be killed")

    def stream(self, request: Request) -> AsyncGenerator[Delta, None]:
        raise AssertionError("triage wants whole answers")


class NoEmbedder:
    name, width = "none", 1

    async def embed_queries(self, texts: Any) -> Any:
        raise AssertionError("its vectors mean nothing to the weights")

    embed_passages = embed_queries


async def main(database_url: str, redis_url: str) -> None:
    assert jobs.__name__, "its import registers the handler"
    settings = Settings(
        _env_file=None, database_url=database_url, redis_url=redis_url, lease_seconds=LEASE_SECONDS, triage_engine=True
    )
    _, sessions = db.open_database(settings.database_url, settings)
    redis = open_redis(settings)
    runtime = Runtime(
        settings=settings, sessions=sessions, redis=redis, queue=Queue(redis, settings), feed=Feed(redis, settings),
        engine=Silent(redis), embedder=NoEmbedder(),
    )  # fmt: skip
    await worker.run(runtime, stop=asyncio.Event())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
