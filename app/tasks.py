"""Ending tasks that work in a loop."""

import asyncio
from collections.abc import Iterable
from typing import Any

import structlog

log = structlog.get_logger(__name__)

TRIES = 10
TRY_SECONDS = 0.5


async def cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """End the tasks, even if a library swallows a cancellation: one that meets a timeout or a closing connection shows
    as that, and a loop that goes on after those would go on for ever.
    """
    left = list(tasks)
    for _ in range(TRIES):
        if not (left := [task for task in left if not task.done()]):
            return
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=TRY_SECONDS)
    log.error("tasks_do_not_end", tasks=[task.get_name() for task in left if not task.done()])
