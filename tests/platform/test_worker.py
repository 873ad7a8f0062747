"""The worker: fills its slots, survives its own death and Redis's, stops when told."""

import asyncio
import contextlib
import dataclasses
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, ClassVar
from uuid import uuid4
from weakref import WeakSet

import prometheus_client
import pytest
from redis.asyncio import Redis
from redis.exceptions import TimeoutError as RedisTimeout

from app import queue as queue_module
from app import worker
from app.queue import Job, Lane, Lease, Queue, job, periodic
from app.runtime import Runtime
from models.engine import EngineBusy, State
from models.scripted_engine import ScriptedEngine
from tests.platform.valkey_servers import running_valkey
from tests.platform.worker_runtime import open_worker_runtime

HERE = uuid4()
Working = Callable[..., AbstractAsyncContextManager[Runtime]]


@pytest.fixture(autouse=True)
def own_registries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "HANDLERS", handlers := dict[str, Any]())
    monkeypatch.setattr(queue_module, "PERIODIC", tasks := dict[str, Any]())
    monkeypatch.setattr(worker, "HANDLERS", handlers)
    monkeypatch.setattr(worker, "PERIODIC", tasks)


@asynccontextmanager
async def working(url: str, **settings: Any) -> AsyncIterator[Runtime]:
    """A worker that runs while the block runs, then is told to stop."""
    async with open_worker_runtime(url, **settings) as runtime:
        stop = asyncio.Event()
        task = asyncio.create_task(worker.run(runtime, stop=stop))
        try:
            yield runtime
        finally:
            stop.set()
            await asyncio.wait_for(task, 15)


async def until(condition: Callable[[], bool | Awaitable[bool]], *, seconds: float = 8) -> None:
    async with asyncio.timeout(seconds):
        while not (result if isinstance(result := condition(), bool) else await result):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def leased(queue: Queue) -> bool:
    return (await queue.stats()).leased == 1


async def empty(queue: Queue) -> bool:
    stats = await queue.stats()
    return stats.waiting == 0 and stats.leased == 0


def a_job(name: str = "tests.work", **details: Any) -> Job:
    return Job(name, uuid4(), HERE, **details)


def count(outcome: str, name: str = "tests.work") -> float:
    return prometheus_client.REGISTRY.get_sample_value("linli_jobs_total", {"job": name, "outcome": outcome}) or 0


def endless_job() -> tuple[asyncio.Event, list[str]]:
    """A job that runs until it is stopped: whether it started, and why it was stopped."""
    started, why = asyncio.Event(), list[str]()

    @job("tests.work")
    async def work(runtime: Runtime, lease: Lease) -> None:
        started.set()
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError as stopped:
            why.append(stopped.args[0])
            raise

    return started, why


async def test_jobs_run_side_by_side_up_to_the_slots(redis: Redis, redis_url: str):
    running = most = done = 0

    @job("tests.work")
    async def work(runtime: Runtime, lease: Lease) -> None:
        nonlocal running, most, done
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.1)
        running -= 1
        done += 1

    before = count("done")
    async with working(redis_url, worker_slots_max=5) as runtime:
        for _ in range(20):
            await runtime.queue.send(a_job())
        await until(lambda: done == 20)
        await until(lambda: empty(runtime.queue))
    assert most == 5
    assert count("done") - before == 20


async def test_no_more_jobs_than_the_engine_has_slots_unless_it_is_off(redis: Redis, redis_url: str):
    running = most = 0
    go_on = asyncio.Event()

    @job("tests.work")
    async def work(runtime: Runtime, lease: Lease) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        assert isinstance(runtime.engine, ScriptedEngine)
        runtime.engine.running += 1
        await go_on.wait()
        runtime.engine.running -= 1
        running -= 1

    async with working(redis_url, slots=3) as runtime:
        assert isinstance(runtime.engine, ScriptedEngine)
        for _ in range(8):
            await runtime.queue.send(a_job())
        await until(lambda: running == 3)
        await asyncio.sleep(0.5)
        assert most == 3
        runtime.engine.stand(State.OFF)
        await until(lambda: running == 8)
        go_on.set()
        await until(lambda: empty(runtime.queue))


async def test_a_busy_engine_puts_back_without_counting(redis: Redis, redis_url: str):
    attempts = []

    @job("tests.work")
    async def work(runtime: Runtime, lease: Lease) -> None:
        attempts.append(lease.attempt)
        if len(attempts) <= 5:
            raise EngineBusy("full", retry_after_seconds=0.02)

    async with working(redis_url) as runtime:
        await runtime.queue.send(a_job())
        await until(lambda: len(attempts) == 6)
        await until(lambda: empty(runtime.queue))
        assert set(attempts) == {1}


async def test_a_full_engine_is_asked_less_and_less_and_every_question_is_answered_in_the_end(
    redis: Redis, redis_url: str
):
    """Twelve questions wait, the engine refuses; asking it all the time would cost a search for each refusal."""
    asked: list[float] = []
    answered = 0

    @job("tests.work")
    async def work(runtime: Runtime, lease: Lease) -> None:
        nonlocal answered
        asked.append(time.monotonic())
        if len(asked) <= 24:
            raise EngineBusy("full", retry_after_seconds=0.05)
        answered += 1

    async with working(redis_url, worker_slots_max=4) as runtime:
        for _ in range(12):
            await runtime.queue.send(a_job())
        await until(lambda: answered == 12)
        await until(lambda: empty(runtime.queue))
    # Six rounds of four: the rests between them are 0.05, 0.1, 0.2, 0.4 and 0.8 s, where 0.05 each would be a hot loop.
    assert asked[23] - asked[0] > 1.4


async def test_a_failing_job_is_tried_again_and_then_shown_to_operators(redis: Redis, redis_url: str):
    attempts = []

    @job("tests.work")
    async def work(runtime: Runtime, lease: Lease) -> None:
        attempts.append(lease.attempt)
        raise ValueError("broken")

    async with working(redis_url) as runtime:
        broken, unknown = a_job(), a_job("tests.nobody_knows_this")
        for sent in (broken, unknown):
            await runtime.queue.send(sent)
        await until(lambda: empty(runtime.queue))
        dead = {found.job: found.reason for found in await runtime.queue.dead()}
    assert attempts == [1, 2, 3]
    assert "broken" in dead[broken]
    assert "no handler" in dead[unknown]


async def test_stop_reaches_a_running_job_at_once(redis: Redis, redis_url: str):
    started, why = endless_job()
    async with working(redis_url, lease_seconds=24) as runtime:
        await asyncio.sleep(0.1)
        running = a_job()
        await runtime.queue.send(running)
        await started.wait()
        before = time.perf_counter()
        await runtime.queue.cancel(running.name, running.row_id)
        await until(lambda: empty(runtime.queue))
        assert time.perf_counter() - before < 3, "long before the next renewal"
    assert why == ["cancelled"]


async def test_stop_is_found_at_the_next_renewal_when_it_was_not_heard(redis: Redis, redis_url: str):
    started = asyncio.Event()

    @job("tests.work")
    async def work(runtime: Runtime, lease: Lease) -> None:
        started.set()
        await asyncio.sleep(30)

    async with working(redis_url) as runtime:
        running = a_job()
        await runtime.queue.send(running)
        await started.wait()
        # What `cancel` writes, without telling anybody.
        await redis.hset(f"linli:queue:{{0}}:job:{running.name}:{running.row_id}", "cancel", "1")
        await until(lambda: empty(runtime.queue))


async def test_leases_are_kept_while_jobs_run(redis: Redis, redis_url: str):
    attempts = []

    @job("tests.work")
    async def work(runtime: Runtime, lease: Lease) -> None:
        attempts.append(lease.attempt)
        await asyncio.sleep(3)  # more than two leases

    async with working(redis_url) as runtime, working(redis_url):
        await runtime.queue.send(a_job())
        await until(lambda: empty(runtime.queue))
    assert attempts == [1]


async def test_a_wipe_in_mid_job_interrupts_nothing(redis: Redis, redis_url: str):
    ended, started, go_on = [], asyncio.Event(), asyncio.Event()

    @job("tests.work")
    async def work(runtime: Runtime, lease: Lease) -> None:
        started.set()
        await go_on.wait()
        ended.append(lease.attempt)

    async with working(redis_url) as runtime:
        running = a_job()
        await runtime.queue.send(running)
        await started.wait()
        await redis.flushall()
        await until(lambda: leased(runtime.queue))  # by the next renewal
        await runtime.queue.send(running)  # the sweeper
        go_on.set()
        await until(lambda: empty(runtime.queue))
        assert ended == [1]


async def test_a_job_that_another_worker_has_is_stopped(redis: Redis, redis_url: str):
    started, why = endless_job()
    async with working(redis_url, shutdown_seconds=0) as runtime:
        running = a_job()
        await runtime.queue.send(running)
        await started.wait()
        await redis.flushall()
        async with open_worker_runtime(redis_url) as other:
            await other.queue.send(running)
            # The worker takes it at once, sees that it has it already, and starts it again under the new token.
            await until(lambda: why == ["lost"])


async def test_told_to_stop_it_finishes_what_runs_and_hands_back_the_rest(redis: Redis, redis_url: str):
    ended = []

    @job("tests.work")
    async def work(runtime: Runtime, lease: Lease) -> None:
        await asyncio.sleep(0.3)
        ended.append(lease.job)

    @job("tests.long")
    async def long(runtime: Runtime, lease: Lease) -> None:
        await asyncio.sleep(30)

    short, endless = a_job(), a_job("tests.long")
    async with open_worker_runtime(redis_url) as outside:
        async with working(redis_url, shutdown_seconds=0.8) as runtime:
            await runtime.queue.send(short)
            await runtime.queue.send(endless)
            await asyncio.sleep(0.1)
            started = time.perf_counter()
        assert 0.7 < time.perf_counter() - started < 10
        assert ended == [short]
        [lease] = await outside.queue.take(5, wait_seconds=0)
        assert (lease.job, lease.attempt) == (endless, 1)


async def test_an_idle_worker_stops_at_once(redis: Redis, redis_url: str):
    async with working(redis_url, lease_seconds=20):
        await asyncio.sleep(0.2)
        started = time.perf_counter()
    assert time.perf_counter() - started < 3, "long before its wait for jobs ends"


async def test_losing_redis_does_not_kill_the_worker():
    ended = []

    @job("tests.work")
    async def work(runtime: Runtime, lease: Lease) -> None:
        await asyncio.sleep(0.5)
        ended.append(lease.job)

    with running_valkey() as valkey:
        async with working(valkey.url) as runtime:
            before, after = a_job(), a_job()
            await runtime.queue.send(before)
            await asyncio.sleep(0.1)
            valkey.kill()
            await asyncio.sleep(0.3)
            valkey.start()
            await runtime.queue.send(after)
            await until(lambda: ended == [before, after], seconds=15)
            await until(lambda: empty(runtime.queue))


async def test_a_periodic_function_runs_in_one_worker_at_a_time(redis: Redis, redis_url: str):
    running = most = runs = 0

    @periodic(0.2)
    async def sweep(runtime: Runtime) -> None:
        nonlocal running, most, runs
        running += 1
        most, runs = max(most, running), runs + 1
        await asyncio.sleep(1.6)  # longer than a lease: the lock is kept
        running -= 1
        raise ValueError("is logged, and the next run comes all the same")

    async with contextlib.AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(working(redis_url))
        await until(lambda: runs >= 3, seconds=30)
    assert most == 1


class Swallowing(Redis):
    """A client in which a task's first cancellation meets a timeout, as it can in any: the timeout is what shows."""

    swallowed: ClassVar[WeakSet[Any]] = WeakSet()

    async def evalsha(self, *args: Any, **kwargs: Any) -> Any:
        answer = await super().evalsha(*args, **kwargs)
        try:
            await asyncio.sleep(0.3)
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) in self.swallowed:
                raise
            self.swallowed.add(task)
            raise RedisTimeout from None
        return answer


async def test_a_swallowed_cancellation_keeps_no_lock_and_no_process_alive(redis_url: str):
    """A worker told to stop lived on for half an hour, and kept the lock of its last sweep from all others."""
    runs = 0

    @periodic(1.0)
    async def brief(runtime: Runtime) -> None:
        nonlocal runs
        runs += 1
        # Long enough that the lock is just being renewed.
        await asyncio.sleep(0.45)

    async with open_worker_runtime(redis_url) as runtime:
        stop, mine = asyncio.Event(), Swallowing.from_url(redis_url)
        working_one = asyncio.create_task(worker.run(dataclasses.replace(runtime, redis=mine), stop=stop))
        await until(lambda: runs >= 3, seconds=15)
        stop.set()
        await asyncio.wait_for(working_one, 15)
        await mine.aclose()
    assert not [task for task in asyncio.all_tasks() if "holds its lock" in task.get_name()]


async def start_process(url: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.platform.worker_process", url)


async def test_a_job_of_a_killed_worker_process_is_taken_over(redis: Redis, redis_url: str):
    async with open_worker_runtime(redis_url) as runtime:
        sent = a_job("tests.slow_in_one_process", lane=Lane.INTERACTIVE, group="conversation")
        await runtime.queue.send(sent)
        process = await start_process(redis_url)
        await until(lambda: started_jobs(redis, 1), seconds=20)
        os.kill(process.pid, signal.SIGKILL)
        await process.wait()
        killed_at, tokens = time.perf_counter(), []

        @job("tests.slow_in_one_process")
        async def quick(runtime: Runtime, lease: Lease) -> None:
            tokens.append((lease.token, lease.attempt))

        async with working(redis_url):
            await until(lambda: len(tokens) == 1)
            assert time.perf_counter() - killed_at < 8
            await until(lambda: empty(runtime.queue))
        [first] = [int(entry.split()[1]) for entry in await redis.lrange("started", 0, -1)]
        assert tokens[0][0] > first
        assert tokens[0][1] == 2


async def test_a_frozen_worker_process_finds_its_job_gone(redis: Redis, redis_url: str):
    """SIGSTOP, another worker finishes the job, SIGCONT: the first one gives up and takes the next job."""
    async with open_worker_runtime(redis_url) as runtime:
        sent = a_job("tests.slow_in_one_process")
        await runtime.queue.send(sent)
        process = await start_process(redis_url)
        try:
            await until(lambda: started_jobs(redis, 1), seconds=20)
            process.send_signal(signal.SIGSTOP)
            [taken] = await runtime.queue.take(1, wait_seconds=8)
            assert await runtime.queue.finish(taken)
            process.send_signal(signal.SIGCONT)
            await runtime.queue.send(a_job("tests.slow_in_one_process"))
            await until(lambda: started_jobs(redis, 2))
            stats = await runtime.queue.stats()
            assert (stats.leased, stats.waiting, stats.dead) == (1, 0, 0)
        finally:
            process.kill()
            await process.wait()


async def started_jobs(redis: Redis, n: int) -> bool:
    return await redis.llen("started") == n
