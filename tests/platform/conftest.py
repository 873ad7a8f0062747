"""A Valkey of its own for the tests of queue, feed and worker, which wipe and restart it."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import structlog
from redis.asyncio import Redis

from app.queue import Queue
from app.settings import Settings
from tests.platform.valkey_servers import Valkey, open_redis, running_valkey


@pytest.fixture(scope="session", autouse=True)
def plain_logs() -> Iterator[None]:
    """Without the coloured tracebacks of a terminal, which take half a second each."""
    structlog.configure(
        processors=[structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    )
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def valkey() -> Iterator[Valkey]:
    with running_valkey() as running:
        yield running


@pytest.fixture(scope="session")
def redis_url(valkey: Valkey) -> str:
    return valkey.url


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with open_redis(redis_url) as client:
        await client.flushall()
        yield client


@pytest.fixture
def settings_with() -> Callable[..., Settings]:
    """Settings with quick leases and pauses, and whatever a test wants to differ."""

    def build(**changes: Any) -> Settings:
        quick = {"lease_seconds": 0.8, "retry_seconds_min": 0.05, "retry_seconds_max": 0.4, "job_attempts_max": 3}
        return Settings(_env_file=None, **(quick | changes))

    return build


@pytest.fixture
def queue_with(redis: Redis, settings_with: Callable[..., Settings]) -> Callable[..., Queue]:
    return lambda **changes: Queue(redis, settings_with(**changes))


@pytest.fixture
def queue(queue_with: Callable[..., Queue]) -> Queue:
    return queue_with()
