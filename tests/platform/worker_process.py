"""A worker process that a test can kill: `python -m tests.platform.worker_process REDIS_URL`."""

import asyncio
import sys

from app import worker
from app.queue import Lease, job
from app.runtime import Runtime
from tests.platform.worker_runtime import open_worker_runtime


@job("tests.slow_in_one_process")
async def slow(runtime: Runtime, lease: Lease) -> None:
    await runtime.redis.rpush("started", f"{lease.job.row_id} {lease.token}")
    await asyncio.sleep(60)


async def main(url: str) -> None:
    async with open_worker_runtime(url) as runtime:
        await worker.run(runtime, stop=asyncio.Event())


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
