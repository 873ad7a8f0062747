"""A whole Linli as real processes, every link between them through the fault proxy.

async with running(folder, webs=2, workers=2) as stack:
    stack.webs[0].kill(); await stack.webs[0].start()
    stack.workers[0].freeze(); stack.workers[0].thaw()
    stack.links["worker-redis"].slow(0.5)
    stack.valkey.kill(wipe=True); await stack.valkey.start()
    await stack.postgres.stop(immediate=True); await stack.postgres.start()
    stack.heal()                                  # links as before, everything that is down or frozen runs again

Call it from the main thread: the kernel stops a child together with the thread that started it.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from urllib.request import urlopen

from pydantic import SecretStr

from app import embedded, migrate
from app.children import Child
from app.embedded import Services
from app.people import tokens
from app.settings import Settings
from tests.faults.proxy import Link, proxied
from tests.faults.town import Script, embedding_server
from tests.make import Person
from tests.platform.valkey_servers import free_port
from tests.scripted_server import Served, serving

SECRET = "a secret of the fault suite, long enough to sign"
LINKS = ("web-postgres", "web-redis", "web-engine", "worker-postgres", "worker-redis", "worker-engine")
START_SECONDS = 90
DISK_BYTES = 2**29
QUICK: dict[str, Any] = {
    "lease_seconds": 2,
    "engine_state_seconds": 0.3,
    "breaker_open_seconds": 0.5,
    "engine_refusing_seconds_max": 8,
    "engine_between_tokens_seconds": 10,
    "shutdown_seconds": 4,
    "feed_idle_seconds": 1,
    "retry_seconds_min": 0.2,
    "requests_per_minute_max": 1_000_000,
    "turns_per_minute_max": 1_000_000,
    # The world of the suite is small enough that whatever is found answers.
    "answerable_score_min": 0,
    "unsure_score_min": 0,
    "unsure_score_max": 0,
    "embedder_model": "bigrams",
}
"""Settings in which waiting is short; all else is as it ships."""


@dataclass(eq=False)
class Process:
    """One process of the stack. `environment` may be changed before `start`."""

    child: Child
    ready: Callable[[], bool]
    starts: int = 0

    @property
    def name(self) -> str:
        return self.child.name

    @property
    def pid(self) -> int:
        assert self.child.pid is not None
        return self.child.pid

    @property
    def is_running(self) -> bool:
        return self.child.is_running()

    async def start(self) -> None:
        """Starts it and waits until it works. Raises AssertionError with its last words."""
        self.child.start()
        self.starts += 1
        deadline = time.monotonic() + START_SECONDS
        while not await asyncio.to_thread(self.ready):
            assert self.is_running, f"{self.name} ended:\n{self.child.last_words(lines=20)}"
            assert time.monotonic() < deadline, f"{self.name} does not come up:\n{self.child.last_words(lines=20)}"
            await asyncio.sleep(0.05)

    def kill(self) -> None:
        self.child.send(signal.SIGKILL)
        assert self.child.process is not None
        self.child.process.wait(timeout=10)

    def freeze(self) -> None:
        self.child.send(signal.SIGSTOP)

    def thaw(self) -> None:
        self.child.send(signal.SIGCONT)

    async def stop(self, stop_signal: signal.Signals = signal.SIGTERM) -> None:
        """Asks it to leave and waits until it has."""
        self.child.send(stop_signal)
        while self.is_running:  # noqa: ASYNC110 (a process sets no event)
            await asyncio.sleep(0.02)


class Postgres(Process):
    """The embedded Postgres, durable as it ships."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        child = embedded.postgres(folder)
        super().__init__(child, child.is_ready)

    async def start(self) -> None:
        self.child = embedded.postgres(self._folder)
        self.ready = self.child.is_ready
        await super().start()

    async def crash(self) -> None:
        """`pg_ctl stop -m immediate`: as a power cut, without losing what the disk has."""
        await self.stop(signal.SIGQUIT)


class Valkey(Process):
    """The embedded Valkey with its append-only file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        child = embedded.valkey(folder)
        super().__init__(child, child.is_ready)

    async def start(self) -> None:
        self.child = embedded.valkey(self._folder)
        self.ready = self.child.is_ready
        await super().start()

    def kill(self, *, wipe: bool = False) -> None:
        super().kill()
        if wipe:
            for file in (self._folder / "valkey").iterdir():  # the folder may be a file system of its own
                shutil.rmtree(file) if file.is_dir() else file.unlink()


@dataclass(eq=False)
class Stack:
    """Everything that runs. `services` are the addresses without a proxy, for whoever only watches."""

    folder: Path
    services: Services
    settings: Settings
    """As the processes have them, with addresses of no proxy: for a runtime of the test's own."""
    environment: dict[str, str]
    postgres: Postgres
    valkey: Valkey
    script: Script
    engine: Served
    links: dict[str, Link]
    no_disk: str = ""
    """Why `folder` is no file system of its own, if it is none."""
    webs: list[Process] = field(default_factory=list)
    workers: list[Process] = field(default_factory=list)

    @property
    def processes(self) -> list[Process]:
        return [self.postgres, self.valkey, *self.webs, *self.workers]

    @property
    def web_urls(self) -> list[str]:
        return [f"http://127.0.0.1:{web.child.environment['LINLI_WEB_PORT']}" for web in self.webs]  # type: ignore[index]

    def headers_of(self, person: Person) -> dict[str, str]:
        """Those by which the person is signed in."""
        token = tokens.make_access(self.settings, person.account_id, person.tenant, now=datetime.now(UTC))
        return {"Authorization": f"Bearer {token}"}

    def links_to(self, target: str) -> list[Link]:
        """The links that end at "postgres", "redis" or "engine"."""
        return [link for name, link in self.links.items() if name.endswith(f"-{target}")]

    def worker(self, **environment: str) -> Process:
        """One more worker, not started yet."""
        name = f"worker-{len(self.workers)}"
        child = Child(
            name, linli("worker"), self.folder / "logs" / f"{name}.log",
            environment=self._environment("worker") | environment,
        )  # fmt: skip
        process = Process(child, lambda: b"worker_started" in _log_since_start(child))
        self.workers.append(process)
        return process

    def web(self, **environment: str) -> Process:
        """One more web process, not started yet."""
        name, port = f"web-{len(self.webs)}", free_port()
        child = Child(
            name, linli("web"), self.folder / "logs" / f"{name}.log",
            environment=self._environment("web") | {"LINLI_WEB_PORT": str(port)} | environment,
        )  # fmt: skip
        process = Process(child, lambda: _answers(f"http://127.0.0.1:{port}/healthz"))
        self.webs.append(process)
        return process

    async def heal(self) -> None:
        """Links as before, every process thawed, everything that is down started again."""
        for link in self.links.values():
            link.heal()
        self.script.heal()
        self.engine.stage.fault, self.engine.stage.healthy, self.engine.stage.still = "", True, False
        for process in self.processes:
            process.thaw()
        for process in self.processes:
            if not process.is_running:
                await process.start()

    def _environment(self, kind: str) -> dict[str, str]:
        def through(url: str, part: str) -> str:
            return with_port(url, self.links[f"{kind}-{part}"].port)

        # Processes start again and again: where nothing compiled is kept, each start would cost seconds.
        kept = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(self.folder / "compiled")}
        return {
            **os.environ,
            **(kept if sys.dont_write_bytecode else {}),
            **self.environment,
            "LINLI_DATABASE_URL": through(self.services.database_url, "postgres"),
            "LINLI_REDIS_URL": through(self.services.redis_url, "redis"),
            "LINLI_ENGINE_URL": through(self.engine.url, "engine"),
        }


def linli(command: str) -> list[str]:
    return [sys.executable, "-c", "from app.cli import main; main()", command]


def with_port(url: str, port: int) -> str:
    parts = urlsplit(url)
    user, _, _ = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user}@127.0.0.1:{port}" if user else f"127.0.0.1:{port}"))


def _log_since_start(child: Child) -> bytes:
    with child.log.open("rb") as log:
        log.seek(child.log_offset)
        return log.read()


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


@contextmanager
def own_disks(folder: Path) -> Iterator[str]:
    """Small file systems at `folder` and for Valkey in it, so that they may be filled; in words why not, where mounting
    is refused. The logs are kept beside `folder` when it goes.
    """
    mounted: list[Path] = []
    refused = ""
    try:
        for part in (folder, folder / "valkey"):
            part.mkdir(parents=True)
            command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=755", "linli-faults", str(part)]
            try:
                done = subprocess.run(command, capture_output=True, check=False)
                refused = done.stderr.decode().strip() if done.returncode else refused
            except FileNotFoundError as error:
                refused = str(error)
            if not refused:
                mounted.append(part)
        yield refused
    finally:
        if mounted:
            shutil.copytree(folder / "logs", folder.with_name("logs"), dirs_exist_ok=True)
        for part in reversed(mounted):
            subprocess.run(["umount", "--lazy", str(part)], check=False)


@asynccontextmanager
async def stores(folder: Path) -> AsyncIterator[tuple[Postgres, Valkey]]:
    """Postgres, migrated, and Valkey; whatever still runs at the end is stopped."""
    postgres, valkey = Postgres(folder), Valkey(folder)
    try:
        embedded.start([valkey.child, postgres.child])
        await asyncio.to_thread(migrate.upgrade, embedded.urls(folder).database_owner_url)
        yield postgres, valkey
    finally:
        embedded.stop(postgres.child, valkey.child)


@asynccontextmanager
async def running(folder: Path, *, webs: int = 2, workers: int = 2, **settings: Any) -> AsyncIterator[Stack]:
    """The stack, all of it working. `settings` come on top of QUICK, by their names in app/settings.py."""
    script, folder = Script(), folder / "disk"
    async with AsyncExitStack() as opened:
        no_disk = opened.enter_context(own_disks(folder))
        postgres, valkey = await opened.enter_async_context(stores(folder))
        engine = opened.enter_context(serving(script))
        embedder_url = opened.enter_context(embedding_server())
        services = embedded.urls(folder)
        ports = embedded.ports(folder)
        ports = {"postgres": ports["postgres"], "redis": ports["valkey"], "engine": engine.port}
        chosen: dict[str, Any] = {**QUICK, "data_dir": folder, "embedder_url": embedder_url, **settings}
        environment = {f"LINLI_{name.upper()}": str(value) for name, value in chosen.items()}
        environment["LINLI_SECRET_KEY"] = SECRET
        own = Settings(
            _env_file=None, database_url=services.database_url, redis_url=services.redis_url, engine_url=engine.url,
            secret_key=SecretStr(SECRET), **chosen,
        )  # fmt: skip
        links = opened.enter_context(proxied(*(("127.0.0.1", ports[name.split("-")[1]]) for name in LINKS)))
        by_name = dict(zip(LINKS, links, strict=True))
        stack = Stack(folder, services, own, environment, postgres, valkey, script, engine, by_name, no_disk)
        try:
            started = [*(stack.web() for _ in range(webs)), *(stack.worker() for _ in range(workers))]
            await asyncio.gather(*(process.start() for process in started))
            yield stack
        finally:
            for process in (*stack.webs, *stack.workers):
                if process.is_running:
                    process.kill()
