"""What people do all day in a town, in one 10 times and in one 100 times as large: time, memory and query plans.

Each town has a database of its own, so that the large ones do not make the small one's tables large. Run:
.venv/bin/python -m bench.bench_growth [--plans FILE]
"""

import argparse
import asyncio
import dataclasses
import math
import os
import pickle
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

from app import db, embedded, migrate
from app.runtime import Runtime, open_redis
from app.settings import Settings
from bench import pairs, passages, town
from bench.pairs import Ratio, Side
from bench.town import OPERATIONS, Town

SIZES = (1, 10, 100)
SEARCH = "search, with filters"
REPEATS = 20
POINT_SLOPE_MAX, SEARCH_SLOPE_MAX, MEMORY_SLOPE_MAX = 0.05, 0.15, 0.1
BUILD_SECONDS_MAX = 300


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plans", type=Path, metavar="FILE", help="write every plan at every size here")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--alone", type=Path, help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.alone:
        await alone(*pickle.loads(told.alone.read_bytes()))
        return
    pairs.conditions()
    with tempfile.TemporaryDirectory() as name, embedded.services(Path(name), durable=False) as services:
        await asyncio.to_thread(migrate.upgrade, services.database_owner_url)
        async with AsyncExitStack() as stack:
            met = await measure(stack, services, told.sizes, plans=told.plans)
    raise SystemExit(0 if met else 1)


async def measure(stack: AsyncExitStack, services: Any, sizes: list[int], *, plans: Path | None) -> bool:
    towns: dict[str, Town] = {}
    engines: dict[str, Any] = {}
    peaks: dict[int, float] = {}
    built_seconds = 0.0
    for size in sizes:
        settings = await own_database(services, size)
        started = time.perf_counter()
        runtime, engine = await opened(stack, settings)
        superuser = await passages.connect(f"{services.database_superuser_url.rsplit('/', 1)[0]}/growth_{size}")
        towns[f"x{size}"] = await town.build(runtime, superuser, size=size)
        engines[f"x{size}"] = engine
        await superuser.close()
        built_seconds = time.perf_counter() - started
        print(f"x{size} built in {built_seconds:.0f} s")
        peaks[size] = await peak_mib(settings, towns[f"x{size}"])
    met = pairs.goal(f"P18 seconds to build x{sizes[-1]}", pairs.exactly(built_seconds), at_most=BUILD_SECONDS_MAX)
    growth = math.log(sizes[-1] / sizes[0])
    for name in OPERATIONS:
        ratios = await pairs.compare({size: doing(one, name) for size, one in towns.items()})
        milliseconds = "  ".join(f"{size} {1000 / ratio.value:7.2f} ms" for size, ratio in ratios.items())
        print(f"\n{name:32} {milliseconds}")
        bound = SEARCH_SLOPE_MAX if name == SEARCH else POINT_SLOPE_MAX
        met &= pairs.goal("  P18 log-log slope", slope(ratios, growth), at_most=bound)
    told = ", ".join(f"x{size} {peak:.0f} MiB" for size, peak in peaks.items())
    memory = math.log(peaks[sizes[-1]] / peaks[sizes[0]]) / growth
    met &= pairs.goal(f"\nP18 slope of peak memory ({told})", pairs.exactly(memory), at_most=MEMORY_SLOPE_MAX)
    await tell_plans(towns, engines, plans)
    return met


def slope(ratios: Mapping[str, Ratio], growth: float) -> Ratio:
    """From the ratio of rates between the largest and the smallest town."""
    last = list(ratios.values())[-1]
    ends = [-math.log(value) / growth for value in (last.median, last.high, last.low)]
    return Ratio(ends[0], ends[1], ends[2], 0.0)


def doing(one: Town, name: str) -> Side:
    async def side() -> float:
        for _ in range(REPEATS):
            await OPERATIONS[name](one)
        return float(REPEATS)

    return side


async def own_database(services: Any, size: int) -> Settings:
    admin = await passages.connect(services.database_superuser_url)
    # The template must have nobody in it.
    await admin.execute(f"CREATE DATABASE growth_{size} TEMPLATE linli OWNER linli_owner")
    await admin.execute(f"GRANT CONNECT ON DATABASE growth_{size} TO linli_app")
    await admin.close()
    url = f"{services.database_url.rsplit('/', 1)[0]}/growth_{size}"
    return Settings(_env_file=None, database_url=url, redis_url=services.redis_url, database_statement_seconds=300)


async def opened(stack: AsyncExitStack, settings: Settings) -> tuple[Runtime, Any]:
    """A runtime without an engine and an embedder: neither is asked for anything."""
    from app.feed import Feed
    from app.queue import Queue
    from models.scripted_engine import ScriptedEngine

    engine, sessions = db.open_database(settings.database_url, settings)
    redis = open_redis(settings)
    feed = Feed(redis, settings)
    for close in (feed.close, redis.aclose, engine.dispose):
        stack.push_async_callback(close)
    parts = {"queue": Queue(redis, settings), "feed": feed, "engine": ScriptedEngine([]), "embedder": town.NoEmbedder()}
    return Runtime(settings=settings, sessions=sessions, redis=redis, **parts), engine  # type: ignore[arg-type]


# Memory: a process of its own for each town


async def peak_mib(settings: Settings, one: Town) -> float:
    nothing: dict[str, Any] = {"runtime": None}
    with tempfile.NamedTemporaryFile() as file:
        file.write(pickle.dumps((settings.database_url, settings.redis_url, dataclasses.replace(one, **nothing))))
        file.flush()
        command = [sys.executable, "-m", "bench.bench_growth", "--alone", file.name]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, env=dict(os.environ))
        output, _ = await process.communicate()
    return float(output.split()[-1])


async def alone(database_url: str, redis_url: str, one: Town) -> None:
    """Every operation several times, then the peak of this process."""
    settings = Settings(_env_file=None, database_url=database_url, redis_url=redis_url)
    async with AsyncExitStack() as stack:
        runtime, _ = await opened(stack, settings)
        found = dataclasses.replace(one, runtime=runtime)
        for name in OPERATIONS:
            await doing(found, name)()
    print(own_peak_mib())


def own_peak_mib() -> float:
    """Since this program was loaded. `ru_maxrss` would begin with what its parent had at the fork."""
    told = Path("/proc/self/status").read_text()
    return int(told.split("VmHWM:")[1].split()[0]) / 1024


# Plans


async def tell_plans(towns: Mapping[str, Town], engines: Mapping[str, Any], file: Path | None) -> None:
    """Which operations change their plan as the town grows, step by step: of a small town whole tables are read, and
    rightly. All plans go into the file.
    """
    written = []
    print("\nplans")
    for name in OPERATIONS:
        found = {size: await town.plans(one, engines[size], name) for size, one in towns.items()}
        shapes = {size: "\n".join(town.shape(plan) for plan in plans) for size, plans in found.items()}
        told = (
            f"{one} to {other}: {'the same' if shapes[one] == shapes[other] else 'another'}"
            for one, other in pairwise(shapes)
        )
        print(f"{name:32} {', '.join(told)}")
        written += [f"# {name}, {size}\n\n" + "\n\n".join(plans) for size, plans in found.items()]
    if file:
        await asyncio.to_thread(file.write_text, "\n\n".join(written), encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(main())
