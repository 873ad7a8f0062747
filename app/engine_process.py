"""`linli engine`: installs vLLM, prepares the model, runs the server, and keeps telling how far it is.

The state stands in `engine_status.json` in the data folder: `{"state", "detail", "percent"}`, where state is one of
models.engine.State. The web process shows it; `linli up` draws its progress bar from it.
"""

import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from app.settings import Settings
from models.engine import State
from models.provision import StarterFailed, cache_dir
from models.starter import has_gpu, prepare, prepare_environment, serve_command

NOT_PREPARED = 78
"""Exit status when trying again at once would fail in the same way: a wrong hash, a full disk, no network."""
STOP_SECONDS = 8
LOAD_SECONDS_TYPICAL = 45
WRITE_SECONDS = 0.5
STATUS_FILE = "engine_status.json"


class Stopped(BaseException):
    """We were asked to stop, in the middle of whatever we do."""


@dataclass(frozen=True, slots=True)
class Status:
    state: State
    detail: str
    percent: int


def read_status(data_dir: Path) -> Status:
    """The last state that was written; off when none was."""
    try:
        told = json.loads((data_dir / STATUS_FILE).read_text())
        return Status(State(told["state"]), str(told["detail"]), int(told["percent"]))
    except (OSError, ValueError, KeyError):
        return Status(State.OFF, "", 0)


def write_status(data_dir: Path, status: Status) -> None:
    """Replace the file in one step, so that no reader sees half of it."""
    new = data_dir / f"{STATUS_FILE}.{os.getpid()}"
    new.write_text(json.dumps(asdict(status), ensure_ascii=False))
    new.replace(data_dir / STATUS_FILE)


def run(settings: Settings, *, port: int) -> int:
    """Prepare and serve until told to stop; the exit status."""
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    folder = settings.data_dir
    folder.mkdir(parents=True, exist_ok=True)
    try:
        gpu = has_gpu()
        python = prepare_environment(
            cache_dir(), _progress(folder, 0, 45), gpu=gpu, torch_index=settings.engine_torch_index
        )
        checkpoint = prepare(
            settings.starter_model,
            cache_dir(),
            _progress(folder, 45, 80),
            python=python,
            keep_bf16=settings.keep_bf16,
        )
        return _serve(serve_command(python, checkpoint, port, settings, gpu=gpu), folder, port=port)
    except StarterFailed as error:
        print(error, flush=True)  # noqa: T201
        write_status(folder, Status(State.FAILING, str(error), 0))
        return NOT_PREPARED
    except Stopped:
        write_status(folder, Status(State.OFF, "stopped", 0))
        return 0


def _stop(*_: object) -> None:
    # Only the first signal counts: a second one must not break off the way out.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise Stopped


def _progress(folder: Path, low: int, high: int) -> Callable[[str, float], None]:
    """Progress of one step, as its part of the whole way, written twice a second at most."""
    written_at, last_stage = 0.0, ""

    def report(stage: str, fraction: float) -> None:
        nonlocal written_at, last_stage
        now = time.monotonic()
        if stage != last_stage or now - written_at >= WRITE_SECONDS:
            if stage != last_stage:
                print(stage, flush=True)  # noqa: T201
            written_at, last_stage = now, stage
            write_status(folder, Status(State.WARMING, stage, round(low + (high - low) * fraction)))

    return report


def _serve(command: tuple[list[str], dict[str, str]], folder: Path, *, port: int) -> int:
    """Run vLLM, say when it answers; its exit status, never 0 since it should not end by itself."""
    arguments, environment = command
    server = subprocess.Popen(arguments, env=environment, stdin=subprocess.DEVNULL)  # noqa: S603
    started_at = time.monotonic()
    try:
        while server.poll() is None and not _is_healthy(port):
            share = min(1.0, (time.monotonic() - started_at) / LOAD_SECONDS_TYPICAL)
            write_status(folder, Status(State.WARMING, "loading the model", round(80 + 19 * share)))
            time.sleep(WRITE_SECONDS)
        if server.poll() is None:
            write_status(folder, Status(State.READY, "", 100))
        code = server.wait()
        write_status(folder, Status(State.FAILING, f"vLLM ended with status {code}", 0))
        return abs(code) or 1
    finally:
        if server.poll() is None:
            server.terminate()
            try:
                server.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _is_healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False
