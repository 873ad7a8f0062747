"""What sending, taking and finishing one job costs with 1,000 to 1,000,000 jobs waiting, and durable accepts."""

import asyncio
import math
import statistics
import time
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

import asyncpg
from redis.asyncio import Redis

from app import db, embedded, migrate
from app.chat import conversations
from app.people.callers import Caller, CallerKind
from app.queue import Job, Queue
from app.runtime import Runtime, open_redis
from app.settings import Settings
from bench import pairs
from bench.pairs import Sample

CYCLES = 150
BURST = 128
COMMUNITIES = 100
IN_FLIGHT = 32
ACCEPTS = 200


def shard(redis: Redis, waiting: int) -> Queue:
    changes: dict[str, Any] = {"queue_waiting_max": 10**9, "queue_waiting_per_community_max": 10**9}
    return Queue(redis, Settings(_env_file=None, queue_shard=f"growth-{waiting}", lease_seconds=3600, **changes))


def job(number: int) -> Job:
    return Job("bench.job", uuid4(), UUID(int=number % COMMUNITIES + 1))


async def growth(redis: Redis, sizes: list[int]) -> None:
    queues = {size: shard(redis, size) for size in sizes}
    for size, queue in queues.items():
        started = time.perf_counter()
        for first in range(0, size, BURST * 8):
            await asyncio.gather(*(queue.send(job(n)) for n in range(first, min(size, first + BURST * 8))))
        print(f"{size:9,} jobs waiting after {time.perf_counter() - started:.1f} s")

    async def cycles(queue: Queue) -> Sample:
        """Microseconds of Valkey's own time for one job in, one out and one done, the queue staying as long."""
        before = await server_cpu(redis)
        for n in range(CYCLES):
            await queue.send(job(n))
            [lease] = await queue.take(1, wait_seconds=0)
            await queue.finish(lease)
        return Sample(units=CYCLES, value=(await server_cpu(redis) - before) / CYCLES * 1e6)

    sides = {f"{size:,} waiting": lambda queue=queue: cycles(queue) for size, queue in queues.items()}
    ratios = await pairs.compare(sides, pairs=7)
    pairs.table(ratios, unit="Valkey us", title="send + take + finish")
    logs = [(math.log(size), math.log(ratio.value)) for size, ratio in zip(sizes, ratios.values(), strict=True)]
    middle = statistics.mean(x for x, _ in logs)
    slope = sum((x - middle) * y for x, y in logs) / sum((x - middle) ** 2 for x, _ in logs)
    pairs.goal("log-log slope of the cost of a job over the jobs waiting", pairs.exactly(slope), at_most=0.05)


async def server_cpu(redis: Redis) -> float:
    told = await redis.info("cpu")
    return float(told["used_cpu_user_main_thread"]) + float(told["used_cpu_sys_main_thread"])


async def durable(folder: Path) -> None:
    """P6: a question taken in (its conversation and turn committed, its job sent), against one bare INSERT each."""
    database = embedded.postgres(folder)
    embedded.start([database])
    try:
        services = embedded.urls(folder)
        await asyncio.to_thread(migrate.upgrade, services.database_owner_url)
        settings = Settings(
            _env_file=None, database_url=services.database_url, queue_waiting_max=10**9,
            queue_waiting_per_community_max=10**9, queue_shard="durable",
            redis_url=services.redis_url, database_statement_seconds=60,
        )  # fmt: skip
        engine, sessions = db.open_database(settings.database_url, settings)
        redis = open_redis(settings)
        absent = cast("Any", None)
        runtime = Runtime(
            settings=settings, sessions=sessions, redis=redis, queue=Queue(redis, settings), feed=absent,
            engine=absent, embedder=absent,
        )  # fmt: skip
        await compare_accepts(runtime, services.database_superuser_url)
        await redis.aclose()
        await engine.dispose()
    finally:
        embedded.stop(database)


async def compare_accepts(runtime: Runtime, superuser_url: str) -> None:
    from tests.make import Make

    tenant = (await Make(runtime).place()).tenant
    caller = Caller(tenant=tenant, kind=CallerKind.RESIDENT, id=uuid4())

    async def accept() -> None:
        async with runtime.transaction(tenant) as session:
            await conversations.start_turn(session, runtime, caller, text="几点开门？")

    async def ours() -> float:
        left = iter(range(ACCEPTS))

        async def asker() -> None:
            for _ in left:
                await accept()

        await asyncio.gather(*(asker() for _ in range(IN_FLIGHT)))
        return ACCEPTS

    url = superuser_url.replace("postgresql+asyncpg", "postgresql").rsplit("/", 1)[0] + "/linli"
    connection = await asyncpg.connect(url)  # type: ignore[no-untyped-call]
    await connection.execute("CREATE TABLE bare (id uuid PRIMARY KEY, community uuid, words text, at timestamptz)")

    async def bare() -> float:
        rows = [(uuid4(), tenant.community_id, "几点开门？") for _ in range(5_000)]
        await connection.executemany("INSERT INTO bare VALUES ($1, $2, $3, now())", rows)
        return len(rows)

    ratios = await pairs.compare({"bare INSERT, pipelined": bare, "ours, 32 at once": ours}, pairs=7)
    pairs.table(ratios, unit="accepts/s", title="durable accepts")
    pairs.goal("P6 durable accepts / pipelined INSERT", ratios["ours, 32 at once"], at_least=0.4)
    await connection.close()
