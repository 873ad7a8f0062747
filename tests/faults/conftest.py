"""Workers as real processes, the engine as a real server with a script: what breaks here breaks for real."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.settings import Settings
from models.scripted_engine import Scripted
from tests.scripted_server import Served, serving

SLOW = Scripted("临时停车前30分钟免费，之后每小时5元，每天最高40元，请在出口扫码缴费。", between_tokens_seconds=0.06)
"""An answer that takes two to three seconds, all of it true."""


@dataclass
class WorkerProcess:
    """A running `linli worker`."""

    process: subprocess.Popen[bytes]
    log: Path

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=10)

    def terminate(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=40)

    def wait_until_started(self) -> None:
        deadline = time.monotonic() + 60
        while "worker_started" not in self.log.read_text():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)


@pytest.fixture
def engine_server() -> Iterator[Served]:
    with serving(lambda request: SLOW) as server:
        yield server


@pytest.fixture
def start_worker(settings: Settings, engine_server: Served, tmp_path: Path) -> Iterator[Callable[[], WorkerProcess]]:
    """Starts worker processes; those still running are killed at the end."""
    assert settings.secret_key is not None
    environment = {
        **os.environ,
        "LINLI_DATABASE_URL": settings.database_url,
        "LINLI_REDIS_URL": settings.redis_url,
        "LINLI_ENGINE_URL": engine_server.url,
        "LINLI_SECRET_KEY": settings.secret_key.get_secret_value(),
        "LINLI_DATA_DIR": str(tmp_path),
        "LINLI_LEASE_SECONDS": "2",
        "LINLI_ENGINE_STATE_SECONDS": "0.3",
        "LINLI_BREAKER_OPEN_SECONDS": "0.5",
        "LINLI_ENGINE_REFUSING_SECONDS_MAX": "5",
        "LINLI_SHUTDOWN_SECONDS": "1",
        # Orders that other tests left behind are swept up here too: they must not ask this test's engine.
        "LINLI_TRIAGE_ENGINE": "false",
    }
    started: list[WorkerProcess] = []

    def start() -> WorkerProcess:
        log = tmp_path / f"worker-{len(started)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-c", "from app.cli import main; main()", "worker"],
                env=environment, stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip
        worker = WorkerProcess(process, log)
        started.append(worker)
        worker.wait_until_started()
        return worker

    yield start
    for worker in started:
        if worker.process.poll() is None:
            worker.kill()
