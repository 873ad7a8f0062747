"""Linli as its owners run it, for a measurement: Postgres, Valkey, web and worker as processes of their own."""

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import urlopen

from pydantic import SecretStr

from app import children, embedded, migrate
from app.children import Child
from app.db import Tenant
from app.runtime import Runtime, open_runtime
from app.settings import Settings
from tests.make import Make

ROOT = Path(__file__).resolve().parent.parent
TICK = os.sysconf("SC_CLK_TCK")
READY_SECONDS = 90
SECRET = "a secret of the benches, long enough to sign"
NO_LIMIT = 10_000_000


@dataclass
class House:
    """A running Linli. `key` asks as an API client of its one community."""

    url: str
    key: str
    tenant: Tenant
    settings: Settings
    parts: dict[str, Child] = field(default_factory=dict)

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.key}"}

    def cpu_seconds(self, *names: str) -> float:
        """Seconds of processor time that these parts have used so far, with their children."""
        return sum(cpu_seconds_of(part.pid or 0) for name, part in self.parts.items() if name in names)


def cpu_seconds_of(pid: int) -> float:
    """User and system time of a process and of all below it, living and ended."""
    try:
        # The name in the second field may hold blanks, so count from behind it.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / TICK + sum(cpu_seconds_of(int(child)) for child in below)


def resident_kib(pid: int) -> int:
    """Memory of a process that is its own: what it shares with others, as code, is left out."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def answers(url: str) -> Callable[[], bool]:
    """Whether `url` answers 200 now, as a child's `is_ready`."""

    def ready() -> bool:
        try:
            with urlopen(url, timeout=1) as response:
                return int(response.status) == 200
        except OSError:
            return False

    return ready


@contextmanager
def running(*parts: Child, seconds: float = READY_SECONDS) -> Iterator[None]:
    """The parts run while the block runs, which begins when all answer."""
    try:
        for part in parts:
            part.start()
        children.wait_until_ready(parts, seconds=seconds)
        yield
    finally:
        children.stop(parts, seconds=15)


def module(name: str, *arguments: str) -> list[str]:
    """The command line of one of our modules."""
    return [sys.executable, "-m", name, *arguments]


@asynccontextmanager
async def house(
    folder: Path, *, engine_url: str, profile: Path | None = None, worker: bool = True, **changes: object
) -> AsyncIterator[tuple[House, Runtime]]:
    """Linli over `folder`, with one community and a key, and a runtime of this process beside it.

    `changes` are settings. With `profile`, a folder, web and worker leave `web.prof` and `worker.prof` there.
    """
    database, cache = embedded.postgres(folder), embedded.valkey(folder)
    with running(database, cache):
        services = embedded.urls(folder)
        await asyncio.to_thread(migrate.upgrade, services.database_owner_url)
        port = free_port()
        values: dict[str, object] = {
            "data_dir": folder,
            "database_url": services.database_url,
            "redis_url": services.redis_url,
            "engine_url": engine_url,
            "secret_key": SECRET,
            "web_port": port,
            "requests_per_minute_max": NO_LIMIT,
            "turns_per_minute_max": NO_LIMIT,
            # On a busy machine a crowd is to wait for the database, not to be turned away.
            "database_statement_seconds": 60,
            **changes,
        }
        settings = Settings(_env_file=None, **{**values, "secret_key": SecretStr(SECRET)})  # type: ignore[arg-type]
        async with open_runtime(settings) as runtime:
            make = Make(runtime)
            home, key = await make.home(), await make.api_key("chat:write")
            environment = {**os.environ, **environment_of(values), "PYTHONPATH": str(ROOT)}
            web = part("web", folder, environment, profile)
            web.is_ready = answers(f"http://127.0.0.1:{port}/healthz")
            parts = [web, part("worker", folder, environment, profile)] if worker else [web]
            with running(*parts):
                built = House(f"http://127.0.0.1:{port}", key, home.tenant, settings)
                built.parts = {one.name: one for one in (*parts, database, cache)}
                yield built, runtime


def part(name: str, folder: Path, environment: Mapping[str, str], profile: Path | None) -> Child:
    """`linli web` or `linli worker`. The profiler writes when the process ends by SIGINT, not by SIGTERM."""
    command = module("app.cli", name)
    if profile:
        command = module("bench.profiled", str(profile.resolve() / f"{name}.prof"), name)
    child = Child(
        name=name,
        command=command,
        log=folder / "logs" / f"{name}.log",
        environment=environment,
        folder=folder,
    )
    if profile:
        profile.mkdir(parents=True, exist_ok=True)
        child.stop_signal = signal.SIGINT
    return child


def environment_of(values: Mapping[str, object]) -> dict[str, str]:
    """Settings as the environment has them."""
    return {f"LINLI_{name.upper()}": str(value) for name, value in values.items()}


def load() -> str:
    """The machine's load now, for the head of a table."""
    return f"load {os.getloadavg()[0]:.1f} at {time.strftime('%H:%M', time.gmtime())} UTC"
