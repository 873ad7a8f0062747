"""`linli up` for real, without a model: everything starts, what crashes comes back, nothing is left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[2]
START_SECONDS = 240
"""Generous: continuous integration starts six processes on two busy cores."""


class Up:
    """A running `linli up` and what it wrote on its screen."""

    def __init__(self, data_dir: Path, **environment: str) -> None:
        self.data_dir = data_dir
        self.screen = data_dir.with_name(f"screen.{time.monotonic_ns()}")
        own = {"LINLI_DATA_DIR": str(data_dir), "LINLI_ENGINE_MODE": "off", "LINLI_WEB_PORT": "0"}
        own |= {"LINLI_SEED_PRACTICE": "false", "LINLI_SHUTDOWN_SECONDS": "5", "COLUMNS": "200"}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("LINLI_")}
        with self.screen.open("w") as screen:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "app.cli", "up"],
                env=inherited | own | environment,
                cwd=ROOT,
                stdout=screen,
                stderr=subprocess.STDOUT,
            )

    def text(self) -> str:
        return self.screen.read_text()

    def wait_for(self, words: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        while words not in self.text():
            assert time.monotonic() < deadline, f"no {words!r} in:\n{self.text()}"
            assert self.process.poll() is None, f"ended without {words!r}:\n{self.text()}"
            time.sleep(0.1)

    def address(self) -> str:
        port = json.loads((self.data_dir / "running.json").read_text())["LINLI_WEB_PORT"]
        return f"http://127.0.0.1:{port}"

    def family(self) -> list[int]:
        return descendants(self.process.pid)

    def pid_of(self, command: str) -> int:
        """The process of `linli web` or `linli worker` itself, not its guard."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            found = [pid for pid in self.family() if words_of(pid)[-2:] == ["app.cli", command] and not is_guard(pid)]
            if len(found) == 1:
                return found[0]
            time.sleep(0.1)
        raise AssertionError([words_of(pid) for pid in self.family()])


@contextmanager
def linli_up(data_dir: Path, **environment: str) -> Iterator[Up]:
    up = Up(data_dir, **environment)
    try:
        up.wait_for("Ready")
        yield up
    finally:
        if up.process.poll() is None:
            up.process.kill()
        up.process.wait()


def descendants(pid: int) -> list[int]:
    try:
        direct = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return direct + [below for child in direct for below in descendants(child)]


def words_of(pid: int) -> list[str]:
    """None of a process that has ended: what only waits for its parent to look has no command line any more."""
    try:
        told = Path(f"/proc/{pid}/cmdline").read_bytes().decode().rstrip("\0")
    except OSError:
        return []
    return told.split("\0") if told else []


def is_guard(pid: int) -> bool:
    return any(word.endswith("leash.py") for word in words_of(pid))


def wait_until_gone(pids: list[int], *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while left := [words_of(pid) for pid in pids if words_of(pid)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "var"


def test_linli_starts_heals_and_stops(data_dir):
    with linli_up(data_dir) as up:
        ready = httpx.get(f"{up.address()}/readyz", timeout=20)
        assert ready.status_code == 200, ready.text
        assert ready.json()["mode"] == "degraded"
        for name in ("secret_key", "running.json", "passwords.json"):
            assert (data_dir / name).stat().st_mode & 0o777 == 0o600

        refused = Up(data_dir)
        assert refused.process.wait(60) == 1
        assert "already runs" in (refused_text := refused.text())
        assert str(up.process.pid) in refused_text

        worker = up.pid_of("worker")
        os.kill(worker, signal.SIGKILL)
        up.wait_for("worker ended with status 137")
        up.wait_for("worker started again")
        assert up.pid_of("worker") != worker
        assert httpx.get(f"{up.address()}/readyz", timeout=20).status_code == 200

        family = up.family()
        assert len(family) >= 6, "Postgres, Valkey, web and worker with their guards"
        up.process.terminate()
        assert up.process.wait(40) == 0
        assert "Stopped." in up.text()
        wait_until_gone(family, seconds=1)
        assert not (data_dir / "postgres" / "postmaster.pid").exists(), "Postgres had time to shut down"


def test_nothing_survives_a_killed_supervisor_and_the_next_start_works(data_dir):
    with linli_up(data_dir) as up:
        family = up.family()
        up.process.kill()
        up.process.wait()
        wait_until_gone(family, seconds=15)
    with linli_up(data_dir) as up:
        assert httpx.get(f"{up.address()}/readyz", timeout=20).status_code == 200
        up.process.send_signal(signal.SIGINT)
        assert up.process.wait(40) == 0


def test_ctrl_c_during_the_start_leaves_nothing_behind(data_dir):
    up = Up(data_dir)
    up.wait_for("Postgres")
    family = up.family()
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(40) == 130
    wait_until_gone(family, seconds=1)


def test_a_taken_port_is_said_in_words(data_dir):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        up = Up(data_dir, LINLI_WEB_PORT=str(taken.getsockname()[1]))
        assert up.process.wait(60) == 1
    assert "is taken by another program" in up.text()


def test_without_an_engine_that_can_be_installed_linli_runs_on(data_dir):
    # The folder of the engines cannot be made there, as on a full or a read-only disk.
    cache = data_dir.with_name("cache")
    (cache / "linli").mkdir(parents=True)
    (cache / "linli" / "engines").touch()
    with linli_up(data_dir, LINLI_ENGINE_MODE="embedded", XDG_CACHE_HOME=str(cache)) as up:
        up.wait_for("Linli runs without the model")
        told = json.loads((data_dir / "engine_status.json").read_text())
        assert told["state"] == "failing"
        assert "Installing the engine failed" in told["detail"]
        assert httpx.get(f"{up.address()}/readyz", timeout=20).json()["mode"] == "degraded"
        up.process.terminate()
        assert up.process.wait(40) == 0
