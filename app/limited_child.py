"""Reads what strangers sent in a process with little memory and time: a bomb ends that one, and nothing of ours."""

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from app.settings import Settings

_slots_by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


class TooHeavy(Exception):
    """The child took more memory or time than it was given, or crashed."""


def limit_itself(*, memory_bytes: int, cpu_seconds: int) -> None:
    """What a child says first. It writes no file either."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


async def run(settings: "Settings", module: str, *arguments: str, data: bytes) -> bytes:
    """What the module, run as a program, wrote. Its arguments begin with memory in bytes and seconds of processor time.

    Raises TooHeavy. Twenty uploads at once must not become twenty parsers' memory at once: further ones wait.
    """
    loop = asyncio.get_running_loop()
    async with _slots_by_loop.setdefault(loop, asyncio.Semaphore(settings.parser_processes_max)):
        return await _run(settings, module, arguments, data)


async def _run(settings: "Settings", module: str, arguments: tuple[str, ...], data: bytes) -> bytes:
    limits = (str(settings.parser_memory_bytes), str(settings.parser_cpu_seconds))
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *limits, *arguments,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        cwd="/", env={"PYTHONPATH": str(Path(__file__).parent.parent), "PATH": os.environ.get("PATH", "")},
    )  # fmt: skip
    try:
        async with asyncio.timeout(settings.parser_seconds):
            output, _ = await child.communicate(data)
    except TimeoutError as error:
        raise TooHeavy from error
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode != 0:
        raise TooHeavy
    return output
