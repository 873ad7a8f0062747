"""The queue beside bare Redis streams, taskiq and arq on one Valkey (AOF, synced every second), and under load.

Run: .venv/bin/python -m bench.bench_queue [--only contest durable growth flood overload calibration] [--large]
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from app import embedded
from bench import pairs, queue_growth, queue_overload
from bench.pairs import Ratio
from bench.queue_contest import contestant, own, peer

PAIRS = 7
TUNED_SECONDS = 0.001
PARTS = ("contest", "durable", "growth", "flood", "overload", "calibration")
OVERLOAD = {
    "flood": queue_overload.flood,
    "overload": queue_overload.overload,
    "calibration": queue_overload.calibration,
}


async def contest(url: str, valkey_pid: int) -> None:
    """P4 and P5: round trips and jobs a second. CPU includes Valkey's."""
    plans: list[dict[str, Any]] = [
        {**own(url, "bare"), "trips": 150, "jobs": 1_500},
        {**own(url, "ours"), "trips": 150, "jobs": 1_500},
        {**peer(url, "taskiq", poll_seconds=TUNED_SECONDS), "trips": 15, "jobs": 150},
        {**peer(url, "arq", poll_seconds=TUNED_SECONDS), "trips": 15, "jobs": 150},
        # As they come their polling sets the time, and a few are enough.
        {**peer(url, "taskiq", poll_seconds=0), "trips": 3, "jobs": 150},
        {**peer(url, "arq", poll_seconds=0), "trips": 3, "jobs": 150},
    ]
    async with AsyncExitStack() as stack:
        sides = [await stack.enter_async_context(contestant(**plan)) for plan in plans]
        pids = {side.name: [valkey_pid, *side.pids] for side in sides}
        found: dict[str, dict[str, Ratio]] = {}
        for what, unit in (("trips", "ms p50"), ("jobs", "jobs/s")):
            asked: dict[str, Callable[[], Any]] = {
                side.name: partial(side.ask, what, side.trips if what == "trips" else side.jobs) for side in sides
            }
            print()
            found[what] = await pairs.compare(asked, pairs=PAIRS, pids=pids, floor="ours")
            pairs.table(found[what], unit=unit, title=f"{what}, ratio to ours")
    print()
    trips, jobs = found["trips"], found["jobs"]
    pairs.goal("P5 round trip, ours / bare", inverse(trips["bare"]), at_most=1.3)
    pairs.goal("P4 jobs/s, ours / bare", inverse(jobs["bare"]), at_least=0.8)
    best = max((ratio for name, ratio in jobs.items() if name not in ("ours", "bare")), key=lambda ratio: ratio.median)
    pairs.goal("P4 jobs/s, ours / best peer", inverse(best), at_least=10)


def inverse(ratio: Ratio) -> Ratio:
    """Ours against the side whose ratio to ours this is."""
    return Ratio(1 / ratio.median, 1 / ratio.high, 1 / ratio.low, 1 / ratio.cpu_ratio if ratio.cpu_ratio else 0.0)


async def main() -> None:
    parser = argparse.ArgumentParser(description="Ratios of the queue to what it is built on and to its peers.")
    parser.add_argument("--only", nargs="+", default=PARTS, choices=PARTS)
    parser.add_argument("--large", action="store_true", help="grow to 1,000,000 jobs, not 100,000")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        valkey = embedded.valkey(folder)
        embedded.start([valkey])
        redis = Redis.from_url(url := embedded.urls(folder).redis_url)
        try:
            pairs.conditions()
            for part in chosen.only:
                print(f"\n{part}")
                if part == "contest":
                    await contest(url, valkey.pid or 0)
                elif part == "durable":
                    await queue_growth.durable(folder)
                elif part == "growth":
                    sizes = [1_000, 10_000, 100_000, *([1_000_000] if chosen.large else [])]
                    await queue_growth.growth(redis, sizes)
                else:
                    await OVERLOAD[part](redis)
        finally:
            await redis.aclose()
            embedded.stop(valkey)


if __name__ == "__main__":
    asyncio.run(main())
    sys.exit(pairs.exit_status())
