"""Contestants of `bench_queue`: a driver and a worker process each."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from bench import peers
from bench.pairs import Sample

ROOT = Path(__file__).parent.parent


@dataclass
class Contestant:
    name: str
    driver: asyncio.subprocess.Process
    worker: asyncio.subprocess.Process
    # Peers put their own time in, and one job after the other at a polling peer takes long.
    trips: int
    jobs: int
    # Whoever polls without a pause is frozen while the others are measured.
    freeze: bool = False

    @property
    def pids(self) -> list[int]:
        return [self.driver.pid, *family(self.worker.pid)]

    async def ask(self, what: str, number: int) -> Sample:
        """Let it do `number` trips or jobs."""
        assert self.driver.stdin is not None
        if self.freeze:
            self.signal(signal.SIGCONT)
        self.driver.stdin.write(f"{what} {number}\n".encode())
        answer = await self.read()
        if self.freeze:
            self.signal(signal.SIGSTOP)
        return Sample(units=answer["units"], value=answer["value"])

    async def read(self) -> dict[str, float]:
        assert self.driver.stdout is not None
        async with asyncio.timeout(120):
            line = await self.driver.stdout.readline()
        assert line, f"{self.name} ended"
        return dict(json.loads(line))

    def signal(self, number: signal.Signals) -> None:
        for pid in (self.driver.pid, *family(self.worker.pid)):
            with suppress(ProcessLookupError):
                os.kill(pid, number)


def family(pid: int) -> list[int]:
    """A process and its children: taskiq's worker command is two processes."""
    children = [Path(f"/proc/{pid}/task/{pid}/children")]
    with suppress(FileNotFoundError):
        return [pid, *(child for word in children[0].read_text().split() for child in family(int(word)))]
    return []


@asynccontextmanager
async def contestant(
    name: str,
    driver: Sequence[str],
    worker: Sequence[str],
    *,
    trips: int,
    jobs: int,
    freeze: bool = False,
    env: Mapping[str, str] = MappingProxyType({}),
) -> AsyncIterator[Contestant]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **env}
    piped = asyncio.subprocess.PIPE
    quiet = asyncio.subprocess.DEVNULL
    working = await asyncio.create_subprocess_exec(*worker, env=environment, stdout=quiet, stderr=quiet)
    driving = await asyncio.create_subprocess_exec(*driver, env=environment, stdin=piped, stdout=piped)
    made = Contestant(name, driving, working, trips, jobs, freeze)
    try:
        await made.read()
        await asyncio.sleep(1)  # the worker imports and connects
        await made.ask("jobs", 64)
        yield made
    finally:
        made.signal(signal.SIGCONT)
        made.signal(signal.SIGKILL)
        await asyncio.gather(driving.wait(), working.wait())


def own(url: str, name: str) -> dict[str, object]:
    side = [sys.executable, "-m", "bench.queue_sides", name]
    return {"name": name, "driver": [*side, "driver", url], "worker": [*side, "worker", url]}


def peer(url: str, name: str, *, poll_seconds: float) -> dict[str, object]:
    python = peers.python_of(name)
    module = [str(python), "-m", "bench.queue_peers"]
    command = [str(python.with_name("taskiq")), "worker", "bench.queue_peers:taskiq_broker", "--workers", "1"]
    return {
        "name": f"{name}, {'tuned' if poll_seconds else 'as it comes'}",
        "driver": [*module, name],
        "worker": [*module, "arq-worker"] if name == "arq" else [*command, "--log-level", "ERROR"],
        "freeze": name == "arq" and poll_seconds > 0,
        "env": {"BENCH_REDIS_URL": url, "BENCH_POLL_SECONDS": str(poll_seconds)},
    }
