"""taskiq and arq at the same work, each as it comes and tuned. Runs in their environments (`bench/peers.py`).

`python -m bench.queue_peers taskiq|arq|arq-worker` with the two variables below; taskiq's worker is its own command
on `bench.queue_peers:taskiq_broker`. Tuned: the pauses between looks are 1 ms in place of the defaults
(taskiq .2 s for results, arq .5 s for jobs and for results); arq's worker runs as many jobs at once as are in flight.
"""

import os
import sys
from typing import Any

import uvloop

from bench.queue_driver import IN_FLIGHT, drive

URL = os.environ.get("BENCH_REDIS_URL", "")
POLL_SECONDS = float(os.environ.get("BENCH_POLL_SECONDS", "0"))
"""0 leaves the defaults."""


def taskiq_broker() -> Any:
    from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

    broker = RedisStreamBroker(URL).with_result_backend(RedisAsyncResultBackend(URL, result_ex_time=60))

    async def job(body: str) -> str:
        return body[:1]

    broker.register_task(job, task_name="job")
    return broker


async def drive_taskiq() -> None:
    broker = taskiq_broker()
    await broker.startup()
    job = broker.find_task("job")
    wait = {"check_interval": POLL_SECONDS} if POLL_SECONDS else {}

    async def call(_: int) -> None:
        await (await job.kiq("x" * 200)).wait_result(timeout=60, **wait)

    await drive(call)
    await broker.shutdown()


async def arq_job(ctx: object, body: str) -> str:
    return body[:1]


async def drive_arq() -> None:
    from arq import create_pool
    from arq.connections import RedisSettings

    pool = await create_pool(RedisSettings.from_dsn(URL))
    wait = {"poll_delay": POLL_SECONDS} if POLL_SECONDS else {}

    async def call(_: int) -> None:
        await (await pool.enqueue_job("arq_job", "x" * 200)).result(timeout=60, **wait)

    await drive(call)


async def work_arq() -> None:
    from arq.connections import RedisSettings
    from arq.worker import Worker

    tuned = {"poll_delay": POLL_SECONDS, "max_jobs": IN_FLIGHT} if POLL_SECONDS else {}
    worker = Worker([arq_job], redis_settings=RedisSettings.from_dsn(URL), handle_signals=False, **tuned)
    await worker.async_run()


if __name__ == "__main__":
    uvloop.run({"taskiq": drive_taskiq, "arq": drive_arq, "arq-worker": work_arq}[sys.argv[1]]())
