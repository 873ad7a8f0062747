"""`linli up`: starts every part that no URL replaces, watches them, and stops them in the right order.

Order up: Postgres and Valkey, migrations, seed, web and worker; the engine in the background, after these while it has
to be installed, which takes all cores, else before them, since loading its model takes longest and one core.
Order down: web and worker finish their turns, then the engine, Valkey, and Postgres last.
"""

import json
import os
import secrets
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from app import children, embedded
from app.children import Child, StartFailed
from app.data_folder import held
from app.engine_process import NOT_PREPARED, STOP_SECONDS, Status, read_status, write_status
from app.screen import Screen
from app.settings import Settings
from models.engine import State
from models.environment import has_gpu
from models.provision import cache_dir
from models.starter import is_prepared

ROOT = Path(__file__).resolve().parent.parent
TICK_SECONDS = 0.2
TELL_SECONDS = 0.1
WEB_START_SECONDS = 180
"""The first start on a small machine also prepares the embedder."""
STEADY_SECONDS = 60
"""A process that ran this long was well: its next crash counts as the first again."""
ENGINE_RESTARTS_MAX = 5
CPU_ENGINE_SLOTS = 4
"""More prompts at once only make all of them wait: a CPU reads a few hundred tokens a second in all."""


class Interrupted(BaseException):
    """Ctrl-C or SIGTERM before everything stood."""


@dataclass
class Watched:
    """A process that is started again when it ends. `again_at` is set while it waits for that."""

    child: Child
    crashes: int = 0
    again_at: float | None = None


class Supervisor:
    """One run of `linli up`."""

    def __init__(self, settings: Settings, screen: Screen) -> None:
        self.settings = settings.model_copy(update={"data_dir": settings.data_dir.resolve()})
        self.folder = self.settings.data_dir
        self.screen = screen
        self.started_at = time.monotonic()
        self.watched: list[Watched] = []
        self.environment = dict(os.environ)
        self.owner_url = ""
        self.engine_shown: Status | None = None
        self.standing = False
        self.stops = 0

    def run(self) -> int:
        """Start, watch and stop; the exit status."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.screen.title(self.folder)
        with ExitStack() as stack:
            try:
                stack.enter_context(self._only_one())
                for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                    signal.signal(number, self._on_signal)
                stack.callback(self._stop)
                self._start()
                self._watch()
            except StartFailed as failure:
                self.screen.problem(failure.message_en)
                return 1
            except Interrupted:
                return 130
        return 0

    def _on_signal(self, *_: object) -> None:
        self.stops += 1
        if self.stops == 1 and not self.standing:
            raise Interrupted

    @contextmanager
    def _only_one(self) -> Iterator[None]:
        with held(self.folder):
            try:
                yield
            finally:
                (self.folder / "running.json").unlink(missing_ok=True)

    # Up

    def _start(self) -> None:
        self._wait_for_leftovers()
        self._start_services()
        self._set_environment()
        early = self._engine_only_loads()
        if early:
            self._start_engine()
        with self.screen.step("database migrated") as tell:
            self._run_once("migrate", tell, LINLI_DATABASE_OWNER_URL=self.owner_url)
        self._seed()
        with self.screen.step("web and worker"):
            web = self._process("web", guard_seconds=self.settings.shutdown_seconds)
            web.is_ready = lambda: _answers(f"{self._address()}/healthz")
            worker = self._process("worker", guard_seconds=self.settings.shutdown_seconds)
            self._add(web, worker)
            children.wait_until_ready([web], seconds=WEB_START_SECONDS)
        if not early:
            self._start_engine()
        self.standing = True
        self.screen.ready(self._address(), seconds=time.monotonic() - self.started_at, folder=self.folder)

    def _start_services(self) -> None:
        """Start the two that no URL replaces, together."""
        parts = []
        names = []
        if not self.settings.redis_url:
            parts.append(embedded.valkey(self.folder))
            names.append("Valkey")
        if not self.settings.database_url:
            new = not (self.folder / "postgres").exists()
            names.append("Postgres (new)" if new else "Postgres")
        if names:
            with self.screen.step(" and ".join(names)):
                if parts:
                    self._add(*parts)
                if not self.settings.database_url:
                    # Making a new cluster takes a second, in which Valkey already starts.
                    database = embedded.postgres(self.folder)
                    self._add(database)
                    parts.append(database)
                children.wait_until_ready(parts, seconds=embedded.START_SECONDS)

    def _set_environment(self) -> None:
        """What every process gets; the owner's address only goes where tables are made."""
        config = self.settings
        own = embedded.urls(self.folder) if not (config.database_url and config.redis_url) else None
        self.owner_url = config.database_owner_url
        values = {"LINLI_DATA_DIR": str(self.folder), "LINLI_SECRET_KEY": self._secret_key()}
        if own and not config.database_url:
            values["LINLI_DATABASE_URL"] = own.database_url
            self.owner_url = own.database_owner_url
        if own and not config.redis_url:
            values["LINLI_REDIS_URL"] = own.redis_url
        if self._has_own_engine():
            values["LINLI_ENGINE_URL"] = f"http://127.0.0.1:{embedded.keep_port(self.folder, 'engine')}/v1"
            if not has_gpu() and "engine_slots_max" not in config.model_fields_set:
                values["LINLI_ENGINE_SLOTS_MAX"] = str(CPU_ENGINE_SLOTS)
        values["LINLI_WEB_PORT"] = str(self._web_port())
        # Other commands in another terminal find us by this file.
        shared = {**values, "LINLI_DATABASE_OWNER_URL": self.owner_url}
        embedded.write_private(self.folder / "running.json", json.dumps(shared))
        if not config.worker_metrics_port:
            # Not shared: a worker that somebody starts by hand could not have the same port.
            values["LINLI_WORKER_METRICS_PORT"] = str(embedded.keep_port(self.folder, "worker_metrics"))
        self.environment |= values | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        # A request's small products are slower on several threads, which wait for each other on busy cores.
        self.environment.setdefault("OPENBLAS_NUM_THREADS", "1")
        self.environment.pop("LINLI_DATABASE_OWNER_URL", None)

    def _secret_key(self) -> str:
        if self.settings.secret_key:
            return self.settings.secret_key.get_secret_value()
        file = self.folder / "secret_key"
        if not file.exists():
            embedded.write_private(file, secrets.token_urlsafe(48))
        return file.read_text().strip()

    def _web_port(self) -> int:
        port = self.settings.web_port
        if port == 0:
            return embedded.keep_port(self.folder, "web")
        if not embedded.port_is_free(self.settings.web_host, port):
            raise StartFailed(
                f"Port {port} of {self.settings.web_host} is taken by another program. Set LINLI_WEB_PORT.",
                f"端口 {port} 已被其他程序占用。请设置 LINLI_WEB_PORT。",
            )
        return port

    def _address(self) -> str:
        host = self.settings.web_host
        shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104
        return f"http://{shown}:{self.environment['LINLI_WEB_PORT']}"

    def _seed(self) -> None:
        """Fill our own new database once. A database somebody else runs is never filled with practice data."""
        marker = self.folder / "seeded"
        if self.settings.database_url or not self.settings.seed_practice or marker.exists():
            return
        with self.screen.step("practice community") as tell:
            self._run_once("seed", tell, LINLI_DATABASE_OWNER_URL=self.owner_url)
        marker.touch()

    def _has_own_engine(self) -> bool:
        return self.settings.engine_mode == "embedded" and not self.settings.engine_url

    def _engine_only_loads(self) -> bool:
        """Whether our own engine is installed and its model prepared."""
        config = self.settings
        return self._has_own_engine() and is_prepared(
            config.starter_model, cache_dir(), torch_index=config.engine_torch_index, keep_bf16=config.keep_bf16
        )

    def _start_engine(self) -> None:
        (self.folder / "engine_status.json").unlink(missing_ok=True)
        if self._has_own_engine():
            write_status(self.folder, Status(State.WARMING, "starting", 0))
            self._add(self._process("engine", guard_seconds=STOP_SECONDS + 2))
        else:
            self.screen.engine_elsewhere(self.settings.engine_url)

    def _process(self, name: str, *, guard_seconds: float = 0, **extra: str) -> Child:
        """One of our own commands as a child. -P: an `app` folder where the user stands must not hide ours."""
        command = [sys.executable, "-P", "-m", "app.cli", name]
        log = self.folder / "logs" / f"{name}.log"
        return Child(name, command, log, environment=self.environment | extra, guard_seconds=guard_seconds)

    def _run_once(self, name: str, tell: Callable[[str], None], **extra: str) -> None:
        """Run a command of ours to its end, telling its newest line. Raises StartFailed with its last words."""
        child = self._process(name, guard_seconds=2, **extra)
        child.start()
        try:
            while child.is_running():
                tell(child.last_words(lines=1))
                time.sleep(TELL_SECONDS)
        finally:
            children.stop([child], seconds=3)
        if child.exit_code():
            raise children.failed(child, seconds=0)

    def _add(self, *parts: Child) -> None:
        for part in parts:
            self.watched.append(Watched(part))
            part.start()
        self._write_pids()

    # Leftovers of a killed run

    def _write_pids(self) -> None:
        pids = [entry.child.pid for entry in self.watched]
        embedded.write_private(self.folder / "children.json", json.dumps(pids))

    def _wait_for_leftovers(self) -> None:
        """Children of a killed run are on their way out; their ports are ours only after that."""
        with suppress(OSError, ValueError):
            pids: list[int] = json.loads((self.folder / "children.json").read_text())
            deadline = time.monotonic() + self.settings.shutdown_seconds + 5
            while time.monotonic() < deadline and any(_is_leash(pid) for pid in pids):
                time.sleep(0.1)

    # Watching

    def _watch(self) -> None:
        while not self.stops:
            for entry in list(self.watched):
                self._look_after(entry)
            if self._has_own_engine():
                self._show_engine()
            time.sleep(TICK_SECONDS)

    def _look_after(self, entry: Watched) -> None:
        """Start a process again that has ended, later each time it ends again."""
        child, now = entry.child, time.monotonic()
        code = child.exit_code()
        if code is None:
            if entry.crashes and now - child.started_at > STEADY_SECONDS:
                entry.crashes = 0
        elif entry.again_at is None:
            entry.crashes += 1
            if child.name == "engine" and (code == NOT_PREPARED or entry.crashes > ENGINE_RESTARTS_MAX):
                self.watched.remove(entry)
                self.screen.no_model(read_status(self.folder).detail or child.last_words(), log=child.log)
                return
            delay = min(2.0 ** (entry.crashes - 1), self.settings.restart_seconds_max)
            entry.again_at = now + delay
            self.screen.crashed(child.name, code, delay_seconds=delay, words=child.last_words(), log=child.log)
        elif now >= entry.again_at:
            entry.again_at = None
            child.start()
            self._write_pids()
            self.screen.restarted(child.name)

    def _show_engine(self) -> None:
        status = read_status(self.folder)
        if status != self.engine_shown:
            self.engine_shown = status
            self.screen.engine(status)

    # Down

    def _stop(self) -> None:
        """Stop all, in order. A second signal cuts the waiting short. New signals can no longer break this off."""
        before = max(self.stops, 1)
        self.standing = True
        self.screen.stopping()
        named = {entry.child.name: entry.child for entry in self.watched}
        shutdown = self.settings.shutdown_seconds
        phases: Sequence[tuple[tuple[str, ...], float]] = (
            (("web", "worker"), shutdown + 2),
            (("engine",), STOP_SECONDS + 4),
            (("valkey",), embedded.STOP_SECONDS),
            # Rolling back takes moments; killing it would cost a recovery at the next start.
            (("postgres",), 2 * embedded.STOP_SECONDS),
        )
        for names, seconds in phases:
            group = [named[name] for name in names if name in named]
            hurry = _never if names == ("postgres",) else lambda: self.stops > before
            for name in children.stop(group, seconds=seconds, hurry=hurry):
                self.screen.killed(name)
        (self.folder / "engine_status.json").unlink(missing_ok=True)
        (self.folder / "children.json").unlink(missing_ok=True)
        self.screen.stopped()


def _never() -> bool:
    return False


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _is_leash(pid: int) -> bool:
    """Whether that process is one of our guards, and not somebody who got the same number later."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return str(children.LEASH).encode() in words
