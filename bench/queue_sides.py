"""Our queue, and the least that a queue on Redis streams can be; each with a driver and a worker process.

`python -m bench.queue_sides ours|bare driver|worker <redis url>`. Results travel the same way for both: the worker
writes them to a stream that one reader of the driver follows.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID, uuid4

import uvloop
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from app.queue import Job, Lease, Queue
from app.runtime import open_redis
from app.settings import Settings
from bench.queue_driver import IN_FLIGHT, drive

JOBS, GROUP, RESULTS = "bench:jobs", "workers", "bench:results"
BODY = b"x" * 200
COMMUNITIES = [UUID(int=n + 1) for n in range(20)]


async def _entries(reading: Awaitable[Any]) -> list[Any]:
    """What a stream's reader got: [(stream, [(id, fields)])], nothing when its wait ran out."""
    return await reading or []


class Results:
    """The driver's one reader of the result stream; it wakes whoever waits for an id."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._waiting: dict[bytes, asyncio.Future[None]] = {}

    def expect(self, key: str) -> asyncio.Future[None]:
        future = self._waiting[key.encode()] = asyncio.get_running_loop().create_future()
        return future

    async def read(self) -> None:
        last: bytes | str = "0"
        while True:
            for _, entries in await _entries(self._redis.xread({RESULTS: last}, block=1000)):
                for last, fields in entries:  # noqa: B007 (the last one read)
                    if future := self._waiting.pop(fields[b"key"], None):
                        future.set_result(None)


async def driver(url: str, send: Callable[[Redis], Callable[[UUID], Awaitable[object]]]) -> None:
    redis = open_redis(Settings(_env_file=None, redis_url=url))
    await redis.delete(RESULTS)
    await make_group(redis)
    results, put = Results(redis), send(redis)
    reading = asyncio.create_task(results.read())

    async def call(_: int) -> None:
        key = uuid4()
        done = results.expect(str(key))
        await put(key)
        await done

    await drive(call)
    reading.cancel()


async def make_group(redis: Redis) -> None:
    """Driver and worker both do, so that no job is put in before."""
    with suppress(ResponseError):
        await redis.xgroup_create(JOBS, GROUP, id="0", mkstream=True)


def send_bare(redis: Redis) -> Callable[[UUID], Awaitable[object]]:
    return lambda key: redis.xadd(JOBS, {"key": str(key), "body": BODY}, maxlen=100_000)


def send_ours(redis: Redis) -> Callable[[UUID], Awaitable[object]]:
    queue = Queue(redis, settings())
    return lambda key: queue.send(Job("bench.job", key, COMMUNITIES[key.int % len(COMMUNITIES)]))


def settings() -> Settings:
    return Settings(_env_file=None, queue_waiting_max=2_000_000, queue_waiting_per_community_max=2_000_000)


async def work_bare(url: str) -> None:
    redis = open_redis(Settings(_env_file=None, redis_url=url))
    await make_group(redis)
    while True:
        for _, entries in await _entries(redis.xreadgroup(GROUP, "one", {JOBS: ">"}, count=IN_FLIGHT, block=1000)):
            async with redis.pipeline(transaction=False) as pipe:
                for entry, fields in entries:
                    pipe.xadd(RESULTS, {"key": fields[b"key"]}, maxlen=10_000)
                    pipe.xack(JOBS, GROUP, entry)
                await pipe.execute()


async def work_ours(url: str) -> None:
    redis = open_redis(Settings(_env_file=None, redis_url=url))
    queue = Queue(redis, settings())

    async def run(leases: Sequence[Lease]) -> None:
        async with redis.pipeline(transaction=False) as pipe:
            for lease in leases:
                pipe.xadd(RESULTS, {"key": str(lease.job.row_id)}, maxlen=10_000)
            await pipe.execute()
        await asyncio.gather(*(queue.finish(lease) for lease in leases))

    running: set[asyncio.Task[None]] = set()
    while True:
        if leases := await queue.take(IN_FLIGHT, wait_seconds=1):
            task = asyncio.create_task(run(leases))
            running.add(task)
            task.add_done_callback(running.discard)


PARTS: dict[tuple[str, str], Callable[[str], Any]] = {
    ("bare", "driver"): lambda url: driver(url, send_bare),
    ("ours", "driver"): lambda url: driver(url, send_ours),
    ("bare", "worker"): work_bare,
    ("ours", "worker"): work_ours,
}


if __name__ == "__main__":
    uvloop.run(PARTS[sys.argv[1], sys.argv[2]](sys.argv[3]))
