"""Child processes of `linli up` and of the tests: started on a leash, watched, stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from app.errors import AppError

LEASH = Path(__file__).with_name("leash.py")
LOG_BYTES_MAX = 20_000_000
POLL_SECONDS = 0.02
LINE_CHARS_MAX = 400


class StartFailed(AppError):
    """A part of Linli does not come up; the words say which, why and where to read on."""

    status, code = 503, "start_failed"


@dataclass(frozen=True, slots=True)
class User:
    """Another system user to run a child as. `reach`: folders on the way are closed to that user."""

    uid: int
    gid: int
    reach: bool


def leashed(
    command: Sequence[str],
    *,
    user: User | None = None,
    guard_seconds: float = 0,
    stop_signal: signal.Signals = signal.SIGTERM,
) -> list[str]:
    """The command line that runs `command` so that it cannot outlive this process."""
    options = ["--signal", str(int(stop_signal)), "--parent", str(os.getpid())]
    if user:
        options += ["--user", f"{user.uid}:{user.gid}", *(["--reach"] if user.reach else [])]
    if guard_seconds:
        options += ["--guard", str(guard_seconds)]
    # -I and -S: nothing of the environment or of site-packages is read, so the leash starts in 20 ms.
    return [sys.executable, "-I", "-S", str(LEASH), *options, "--", *command]


@dataclass
class Child:
    """One process and how to start, ask and stop it.

    Start it from a thread that lives as long as the child should: the kernel ends a child with the thread that made it.
    `guard_seconds`: the command may have children of its own, all are killed that long after a stop.
    """

    name: str
    command: Sequence[str]
    log: Path
    is_ready: Callable[[], bool] = lambda: True
    environment: Mapping[str, str] | None = None
    folder: Path | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    user: User | None = None
    guard_seconds: float = 0
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    started_at: float = 0
    log_offset: int = 0

    def start(self) -> None:
        """Start it, with its output appended to its log. Returns at once."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > LOG_BYTES_MAX:
            self.log.replace(self.log.with_suffix(".log.1"))
        command = leashed(self.command, user=self.user, guard_seconds=self.guard_seconds, stop_signal=self.stop_signal)
        with self.log.open("ab") as log:
            self.log_offset = log.tell()
            self.process = subprocess.Popen(  # noqa: S603
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=None if self.environment is None else dict(self.environment),
                cwd=self.folder,
                # Ctrl-C in a terminal must reach us alone: we decide who stops when.
                start_new_session=True,
            )
        self.started_at = time.monotonic()

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process else None

    def exit_code(self) -> int | None:
        """How it ended; nothing while it runs or before it was started."""
        return self.process.poll() if self.process else None

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def send(self, signal_number: signal.Signals) -> None:
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal_number)

    def ask_to_stop(self) -> None:
        """Send the polite signal; a guard passes it on."""
        self.send(signal.SIGTERM if self.guard_seconds else self.stop_signal)

    def last_words(self, *, lines: int = 3) -> str:
        """The end of what it logged since its last start, for people."""
        try:
            with self.log.open("rb") as log:
                log.seek(max(self.log_offset, self.log.stat().st_size - 8_000))
                text = log.read().decode(errors="replace")
        except OSError:
            return ""
        spoken = [line for entry in text.splitlines() for line in for_people(entry).splitlines() if line.strip()]
        return "\n".join(line[:LINE_CHARS_MAX] for line in spoken[-lines:])


def for_people(entry: str) -> str:
    """A line of a log without its JSON: the event, and the exception if it carries one."""
    try:
        told = json.loads(entry)
        return "\n".join(str(told[name]) for name in ("event", "exception") if name in told)
    except (ValueError, TypeError):
        return entry


def wait_until_ready(children: Sequence[Child], *, seconds: float) -> None:
    """Return when all are ready. Raises StartFailed when one ends or time is up."""
    deadline = time.monotonic() + seconds
    waiting = list(children)
    while waiting:
        for child in waiting:
            if child.exit_code() is not None or time.monotonic() > deadline:
                raise failed(child, seconds=seconds)
        waiting = [child for child in waiting if not child.is_ready()]
        if waiting:
            time.sleep(POLL_SECONDS)


def failed(child: Child, *, seconds: float) -> StartFailed:
    code = child.exit_code()
    why_en = f"did not answer within {seconds:.0f} s" if code is None else f"ended with status {code}"
    why_zh = f"在 {seconds:.0f} 秒内没有响应" if code is None else f"已退出,状态码 {code}"
    words = child.last_words(lines=8)
    return StartFailed(
        f"{child.name} {why_en}. Its log is {child.log}.\n{words}",
        f"{child.name} {why_zh}。日志:{child.log}\n{words}",
        part=child.name,
    )


def stop(children: Sequence[Child], *, seconds: float, hurry: Callable[[], bool] = lambda: False) -> list[str]:
    """Stop all at once and return the names of those that had to be killed. `hurry` cuts the wait short."""
    for child in children:
        child.ask_to_stop()
    deadline = time.monotonic() + seconds
    while any(child.is_running() for child in children) and time.monotonic() < deadline and not hurry():
        time.sleep(POLL_SECONDS)
    killed = [child.name for child in children if child.is_running()]
    for child in children:
        # A guard that is asked twice kills at once, with all descendants; killed itself it could not.
        child.send(signal.SIGTERM if child.guard_seconds else signal.SIGKILL)
    for child in children:
        if child.process:
            try:
                child.process.wait(5)
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()
    return killed
