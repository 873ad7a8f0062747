"""Runs one command that cannot outlive whoever started it. A script of its own, without imports from Linli.

`python leash.py [--user UID:GID [--reach]] [--guard SECONDS] --signal N --parent PID -- command …`

Without `--guard` it becomes the command, after asking the kernel for signal N when the parent dies.
With `--guard` it stays as the parent: it passes a stop on to the command's whole process group, kills what is left
after SECONDS, and leaves no grandchild behind (vLLM has several).
"""

import argparse
import contextlib
import ctypes
import os
import select
import signal
import sys
import time
from pathlib import Path

PR_SET_PDEATHSIG, PR_SET_KEEPCAPS, PR_SET_CHILD_SUBREAPER, PR_CAP_AMBIENT = 1, 8, 36, 47
PR_CAP_AMBIENT_RAISE = 2
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2
CAPABILITY_VERSION_3 = 0x20080522
PARENT_CHECK_SECONDS = 1.0
"""Where the kernel sends no signal on the parent's death (macOS), the guard looks for itself this often."""


def prctl(option: int, *arguments: int) -> bool:
    """Whether the kernel did it; false on systems without prctl."""
    if not sys.platform.startswith("linux"):
        return False
    padded = [ctypes.c_ulong(argument) for argument in (*arguments, 0, 0, 0, 0)[:4]]
    return bool(ctypes.CDLL(None, use_errno=True).prctl(option, *padded) == 0)


def become(user: str, *, reach: bool) -> None:
    """Drop root for `UID:GID`. With `reach`, keep the one right to pass folders closed to that user.

    A checkout below /root is such a folder, and opening it to everybody is not ours to decide.
    """
    uid, gid = (int(part) for part in user.split(":"))
    if reach:
        prctl(PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    # Containers often lack the narrow right and have the wide one.
    if reach and not (keep_capability(CAP_DAC_READ_SEARCH) or keep_capability(CAP_DAC_OVERRIDE)):
        sys.exit("cannot pass the folders on the way to the data folder as another user")


def keep_capability(capability: int) -> bool:
    """Whether only this capability is left to the process, and to what it becomes."""
    bit = 1 << capability
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)
    kept = ctypes.CDLL(None, use_errno=True).capset(ctypes.byref(header), ctypes.byref(data)) == 0
    return kept and prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability)


def die_with(parent: int, signal_number: int) -> None:
    """Ask for the signal when the parent dies; leave at once when it is already gone."""
    prctl(PR_SET_PDEATHSIG, signal_number)
    if os.getppid() != parent:
        sys.exit("the parent is gone")


def execute(command: list[str]) -> None:
    """Become the command; a missing one ends like in a shell."""
    try:
        os.execvp(command[0], command)  # noqa: S606
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        os._exit(127)


def guard(command: list[str], *, parent: int, signal_number: int, seconds: float) -> int:
    """Run the command and return its exit status; a stop reaches all of its descendants."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    waker, wakes = os.pipe()
    for end in (waker, wakes):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    deadline: float | None = None

    def stop(*_: object) -> None:
        nonlocal deadline
        # Asked a second time, it waits no longer.
        deadline = time.monotonic() + (seconds if deadline is None else 0)
        signal_group(child, signal_number)

    me = os.getpid()
    child = os.fork()
    if child == 0:
        signal.set_wakeup_fd(-1)
        os.setsid()
        die_with(me, signal.SIGTERM)
        execute(command)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)
    while True:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == child:
            break
        if pid:
            continue
        if deadline is None and os.getppid() != parent:
            stop()
        if deadline is not None and time.monotonic() >= deadline:
            signal_group(child, signal.SIGKILL)
        select.select([waker], [], [], PARENT_CHECK_SECONDS if deadline is None else 0.1)
        with contextlib.suppress(BlockingIOError):
            os.read(waker, 4096)
    signal_group(child, signal.SIGKILL)
    reap_descendants()
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def signal_group(leader: int, signal_number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal_number)


def reap_descendants() -> None:
    """Kill and collect processes that left the group: as the reaper of the family, the guard inherits them."""
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    while True:
        with contextlib.suppress(OSError):
            for pid in children.read_text().split():
                os.kill(int(pid), signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--user", default="")
    parser.add_argument("--reach", action="store_true")
    parser.add_argument("--guard", type=float, default=0.0)
    parser.add_argument("--signal", type=int, default=int(signal.SIGTERM))
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    if options.user:
        become(options.user, reach=options.reach)
    # The kernel forgets the wish when the user changes, so it is made after that.
    if options.guard:
        die_with(options.parent, signal.SIGTERM)
        return guard(options.command, parent=options.parent, signal_number=options.signal, seconds=options.guard)
    die_with(options.parent, options.signal)
    execute(options.command)
    return 0


if __name__ == "__main__":
    sys.exit(main())
