"""What every contestant of `bench_queue` is asked to do: the same words on its standard input, the same answers.

Runs in the peers' environments too, so it imports nothing but the standard library.
"""

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable

IN_FLIGHT = 64

Call = Callable[[int], Awaitable[object]]
"""Puts one job in and waits for its result."""


async def drive(call: Call) -> None:
    """Answers each line of standard input, `trips <n>` or `jobs <n>`, with a line of JSON, until it closes.

    trips: n jobs one after the other, the median time of one in ms. jobs: n jobs with 64 in flight, jobs a second.
    """
    print(json.dumps({"ready": True}), flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        what, number = line.split()
        value = await (trips if what == "trips" else jobs)(call, int(number))
        print(json.dumps({"units": int(number), "value": value}), flush=True)


async def trips(call: Call, number: int) -> float:
    times = []
    for n in range(number):
        started = time.perf_counter()
        await call(n)
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1000


async def jobs(call: Call, number: int) -> float:
    numbers = iter(range(number))

    async def one_after_the_other() -> None:
        for n in numbers:
            await call(n)

    started = time.perf_counter()
    await asyncio.gather(*(one_after_the_other() for _ in range(IN_FLIGHT)))
    return number / (time.perf_counter() - started)
