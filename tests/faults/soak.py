"""`python -m tests.faults.soak [--minutes 60] [--seed S]`: load and faults for a long time; what a process holds stays flat.

Between two injections, with nobody asking, it reads every process's memory (RSS), open files and connections to
Postgres. Those of the first third are warming up; the line through the rest must not rise by more than what is allowed
an hour, unless the whole rise is smaller than the noise of one reading. Exit status 1 when it does or a promise broke.
"""

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from app import logs
from app.settings import Settings
from tests.faults.__main__ import scene_of
from tests.faults.fault import inject_once
from tests.faults.reader import connect
from tests.faults.residents import Crowd
from tests.faults.store_faults import FAULTS

REST_SECONDS = 3.0
RISE_MAX = {"RSS MiB": 12.0, "open files": 6.0, "connections": 6.0}
"""The greatest rise in an hour that still counts as flat."""
NOISE = {"RSS MiB": 6.0, "open files": 8.0, "connections": 8.0}
"""How far two readings at rest lie apart without a leak: pools shrink and grow, the allocator keeps pages."""

Series = dict[tuple[str, str], list[tuple[float, float]]]
"""(process, measure) to (hours, value)."""


def rss_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / 2**20


def open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


async def read_all(crowd: Crowd, series: Series, *, hours: float) -> None:
    """One reading of everything, into `series`."""
    stack = crowd.stack
    for process in (*stack.webs, *stack.workers, stack.valkey):
        # A process that died starts a line of its own.
        name = f"{process.name}/{process.starts}" if process is not stack.valkey else process.name
        if process is not stack.valkey:
            series[name, "RSS MiB"].append((hours, rss_mib(process.pid)))
        series[name, "open files"].append((hours, open_files(process.pid)))
    connection = await connect(stack)
    try:
        held = await connection.fetchval("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'linli%'")
    finally:
        await connection.close()
    series["postgres", "connections"].append((hours, held))


def rise_per_hour(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The slope of the line through the points after the first third, and how much it rises between their ends."""
    late = points[len(points) // 3 :]
    if len(late) < 3:
        return 0.0, 0.0
    slope = statistics.linear_regression([at for at, _ in late], [value for _, value in late]).slope
    return slope, slope * (late[-1][0] - late[0][0])


def tell(series: Series) -> bool:
    """Prints a line for each series; whether all are flat."""
    flat = True
    print(f"{'process':14} {'measure':12} {'n':>4} {'first':>8} {'last':>8} {'rise/h':>8}")
    for (name, measure), points in sorted(series.items()):
        slope, rise = rise_per_hour(points)
        fine = slope <= RISE_MAX[measure] or rise <= NOISE[measure]
        flat = flat and fine
        ends = f"{points[0][1]:8.1f} {points[-1][1]:8.1f}"
        print(f"{name:14} {measure:12} {len(points):4} {ends} {slope:8.1f} {'' if fine else 'RISES'}", flush=True)
    return flat


async def soak(*, minutes: float, seed: int, folder: Path) -> bool:
    print(f"seed {seed}", flush=True)
    seeds, series, kept = random.Random(seed), defaultdict[tuple[str, str], list[tuple[float, float]]](list), True
    started = time.monotonic()
    asked = injections = 0
    async with scene_of(folder, seed=seed) as crowd:
        while time.monotonic() - started < minutes * 60:
            fault = seeds.choice(FAULTS)
            done = await inject_once(fault, crowd, seed=seeds.randrange(2**32), lead_seconds=10)
            asked, injections = asked + done.asked, injections + 1
            for broken in done.broken:
                kept = False
                print(f"  BROKEN {fault.name} (seed {done.seed}): {broken}", flush=True)
            await asyncio.sleep(REST_SECONDS)
            await read_all(crowd, series, hours=(time.monotonic() - started) / 3600)
    print(f"{injections} faults, {asked} questions in {(time.monotonic() - started) / 60:.1f} minutes")
    return tell(series) and kept


def run() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    given = parser.parse_args()
    logs.set_up(Settings(_env_file=None, log_level="WARNING"))
    with tempfile.TemporaryDirectory(prefix="linli-soak-") as folder:
        good = asyncio.run(soak(minutes=given.minutes, seed=given.seed, folder=Path(folder) / "stack"))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(run())
