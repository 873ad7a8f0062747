"""`python -m tests.faults [NAME …] [--injections N] [--seed S] [--json FILE]`: every fault, many times, under load.

Prints one row per fault. Exit status 1 when a promise broke; each break is told with the seed that repeats it.
"""

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path

from app import logs
from app.settings import Settings
from models.openai_embedder import OpenAiEmbedder
from tests.conftest import open_test_runtime
from tests.faults.fault import Injection, inject_once
from tests.faults.residents import Crowd, crowd
from tests.faults.stack import Stack, running
from tests.faults.table import FAULTS
from tests.faults.town import settle_town

HEAD = f"{'fault':22} {'n':>4} {'p50 s':>6} {'p99 s':>6} {'lost':>4} {'dbl':>4} {'wrong':>5} {'held':5} figures"


@asynccontextmanager
async def scene_of(folder: Path, *, seed: int, people: int = 4) -> AsyncIterator[Crowd]:
    """A stack, a town on it, and a crowd that is ready to be started."""
    async with running(folder) as stack, crowd_of(stack, seed=seed, people=people) as found:
        yield found


@asynccontextmanager
async def crowd_of(stack: Stack, *, seed: int, people: int = 4) -> AsyncIterator[Crowd]:
    embedder = OpenAiEmbedder.from_settings(stack.settings)
    async with open_test_runtime(stack.settings, embedder) as runtime:
        town = await settle_town(runtime, people=people)
    await embedder.close()
    async with crowd(stack, town, seed=seed) as found:
        yield found


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def row_of(name: str, done: list[Injection]) -> str:
    recovery = [one.recovery_seconds for one in done]
    figures = {key for one in done for key in one.figures}
    told = ", ".join(
        f"{key} {max(one.figures[key] for one in done if key in one.figures):.3g}" for key in sorted(figures)
    )
    counts = [sum(len(getattr(one.verdict, what)) for one in done) for what in ("lost", "doubled", "wrong_text")]
    held = "yes" if not any(one.broken for one in done) else "NO"
    return (
        f"{name:22} {len(done):4} {statistics.median(recovery):6.2f} {percentile(recovery, 0.99):6.2f} "
        f"{counts[0]:4} {counts[1]:4} {counts[2]:5} {held:5} {told}"
    )


async def main(names: list[str], *, injections: int, seed: int, folder: Path) -> list[Injection]:
    print(f"seed {seed}", flush=True)
    print(HEAD, flush=True)
    seeds = random.Random(seed)
    done: list[Injection] = []
    async with scene_of(folder, seed=seed) as found:
        for name in names:
            if FAULTS[name].needs_disk and found.stack.no_disk:
                print(f"{name:22} skipped: no file system may be mounted here: {found.stack.no_disk}", flush=True)
                continue
            these = []
            for _ in range(injections):
                one = await inject_once(FAULTS[name], found, seed=seeds.randrange(2**32))
                these.append(one)
                for broken in one.broken:
                    print(f"  BROKEN {name} (seed {one.seed}): {broken}", flush=True)
            print(row_of(name, these), flush=True)
            done += these
    return done


def run() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of: {', '.join(FAULTS)}")
    parser.add_argument("--injections", type=int, default=10)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--folder", type=Path, help="where data and logs stay, to be looked at; must be new")
    given = parser.parse_args()
    if unknown := set(given.names) - set(FAULTS):
        parser.error(f"unknown: {', '.join(unknown)}; there are: {', '.join(FAULTS)}")
    logs.set_up(Settings(_env_file=None, log_level="WARNING"))
    with tempfile.TemporaryDirectory(prefix="linli-faults-") as folder:
        where = given.folder or Path(folder) / "stack"
        names = given.names or list(FAULTS)
        done = asyncio.run(main(names, injections=given.injections, seed=given.seed, folder=where))
    if given.json:
        given.json.write_text(json.dumps([asdict(one) for one in done], ensure_ascii=False, indent=1))
    return 1 if any(one.broken for one in done) else 0


if __name__ == "__main__":
    sys.exit(run())
