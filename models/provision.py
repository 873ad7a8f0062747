"""What the preparation steps share: one error, progress, a lock between processes, commands that report."""

import errno
import fcntl
import os
import queue
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path

Progress = Callable[[str, float], None]
"""Called with a stage for people and the fraction done (0 to 1), at least every half second of a long step.
When it raises, the step stops, its child processes end, and the exception comes out: that is how Ctrl-C gets in."""

TICK_SECONDS = 0.5
OUTPUT_LINES_KEPT = 200


class Reason(StrEnum):
    """Why a preparation failed, for code; the exception's text is for people."""

    WRONG_HASH = "wrong_hash"
    MISSING_PART = "missing_part"
    DISK_FULL = "disk_full"
    NO_NETWORK = "no_network"
    MISSING_TOOL = "missing_tool"
    FAILED = "failed"


class StarterFailed(Exception):
    """The engine or its model could not be prepared. Linli runs on without the model; its text says what to do."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def silent(stage: str, fraction: float) -> None:
    """A Progress that shows nothing."""


def cache_dir() -> Path:
    """Where engines and models are kept between clones: `$XDG_CACHE_HOME/linli`, else `~/.cache/linli`."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base else Path.home() / ".cache") / "linli"


# pip and torch say the same few things in many words; the first sign that appears in the output names the reason.
SIGNS: tuple[tuple[Reason, tuple[str, ...], str], ...] = (
    (Reason.DISK_FULL, ("No space left on device", "Errno 28"), "The disk is full. Free some space and try again."),
    (
        Reason.WRONG_HASH,
        ("DO NOT MATCH THE HASHES",),
        "A downloaded package is not the one this release was locked to. It was not installed.",
    ),
    (
        Reason.NO_NETWORK,
        (
            "Connection refused",
            "Failed to establish a new connection",
            "NewConnectionError",
            "Temporary failure in name resolution",
            "Name or service not known",
            "Network is unreachable",
            "Max retries exceeded",
            "Read timed out",
            "ConnectTimeout",
            "ProxyError",
        ),
        "The package index cannot be reached. Check the network, or set another source.",
    ),
    (
        Reason.MISSING_PART,
        ("No matching distribution found", "Could not find a version"),
        "The package index does not have a package that is needed. Set another source.",
    ),
    (
        Reason.MISSING_TOOL,
        ("ensurepip is not available", "No module named venv", "No module named pip", "No module named ensurepip"),
        "This Python lacks venv or pip (on Debian and Ubuntu: install python3-venv).",
    ),
    (
        Reason.FAILED,
        ("MemoryError", "DefaultCPUAllocator: can't allocate memory"),
        "There is not enough memory for this model. Set starter_model to a smaller one.",
    ),
)


def explain(what: str, output: Sequence[str], status: int) -> StarterFailed:
    """The failure of a command as one error for people: a known sign in its output, else its last lines."""
    text = "\n".join(output)
    for reason, signs, message in SIGNS:
        if any(sign in text for sign in signs):
            return StarterFailed(reason, f"{what} failed. {message}")
    if status == -signal.SIGKILL:
        return StarterFailed(Reason.FAILED, f"{what} was killed; most often the machine is out of memory.")
    tail = " | ".join(line for line in output[-4:] if line.strip())
    return StarterFailed(Reason.FAILED, f"{what} failed with status {status}: {tail}")


@contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """Turns the operating system's refusals into StarterFailed."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StarterFailed(Reason.DISK_FULL, f"{what} failed. The disk is full.") from error
        raise StarterFailed(Reason.FAILED, f"{what} failed: {error}") from error


def check_space(path: Path, bytes_needed: int, what: str) -> None:
    """Raises StarterFailed when the disk under `path` has less room than a step is known to need."""
    free = shutil.disk_usage(path).free
    if free < bytes_needed:
        raise StarterFailed(
            Reason.DISK_FULL,
            f"{what} needs {bytes_needed / 1e9:.1f} GB under {path}; the disk has {free / 1e9:.1f} GB free.",
        )


@contextmanager
def locked(path: Path, progress: Progress) -> Iterator[int]:
    """Holds the lock file, waiting while another process works on the same thing; yields its descriptor.

    Children get the descriptor too: when this process is killed, the lock stays held until they have ended,
    so that nobody builds in a folder that an orphaned pip still writes to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                progress("another process is preparing the same thing; waiting for it", 0.0)
                time.sleep(TICK_SECONDS)
        yield handle.fileno()


def run(
    argv: Sequence[str],
    *,
    what: str,
    lock: int,
    on_line: Callable[[str], None] = lambda line: None,
    tick: Callable[[], None] = lambda: None,
    env: Mapping[str, str] | None = None,
) -> None:
    """Run a command to its end. `on_line` gets each line it prints, `tick` is called every half second.

    Raises StarterFailed when it fails. An exception of `on_line` or `tick` ends the command and comes out.
    """
    try:
        child = subprocess.Popen(  # noqa: S603 (our own argument lists, no shell)
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
            pass_fds=(lock,),
            env=None if env is None else dict(env),
        )
    except FileNotFoundError as error:
        raise StarterFailed(Reason.MISSING_TOOL, f"{what} failed: {argv[0]} is not there.") from error
    lines: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=_read_lines, args=(child, lines), daemon=True).start()
    output: list[str] = []
    try:
        while True:
            try:
                line = lines.get(timeout=TICK_SECONDS)
            except queue.Empty:
                tick()
                continue
            if line is None:
                break
            output = [*output[-OUTPUT_LINES_KEPT:], line]
            on_line(line)
        status = child.wait()
    except BaseException:
        _end_group(child)
        raise
    if status != 0:
        raise explain(what, output, status)


def _read_lines(child: subprocess.Popen[str], lines: queue.Queue[str | None]) -> None:
    assert child.stdout is not None
    with child.stdout as stream:
        for line in stream:
            lines.put(line.rstrip("\n"))
    lines.put(None)


def _end_group(child: subprocess.Popen[str]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        with suppress(subprocess.TimeoutExpired):
            child.wait(timeout=3)
            return
