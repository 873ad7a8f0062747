"""What `linli status` and `linli dead` do."""

import asyncio
import json
import sys
import time
from uuid import UUID

from rich.console import Console
from rich.live import Live

from app.settings import Settings
from app.status import dead, show
from app.status.alerts import Severity, wrong
from app.status.dead import Replayed
from app.status.house import look, open_view
from app.status.words import Words

OUTCOMES = {
    Replayed.QUEUED: "waits again                 重新排队",
    Replayed.TURN_OVER: "not asked again: it ended as failed and the resident was told   不再处理：已告知居民失败",
    Replayed.GONE: "not dead any more           已不在失败列表",
}


async def status(config: Settings, *, language: str, watch_seconds: float | None, as_json: bool) -> int:
    """Show the house once, or until Ctrl-C. 1 when something is wrong that residents notice, else 0."""
    words, console = Words(language), Console(highlight=False)
    async with open_view(config) as runtime:
        house = await look(runtime)
        if as_json:
            sys.stdout.write(json.dumps(show.as_json(house, words), ensure_ascii=False, indent=2) + "\n")
        elif watch_seconds is None:
            console.print(show.screen(house, words))
        else:
            with Live(show.screen(house, words), console=console, screen=console.is_terminal) as live:
                while True:
                    began = time.monotonic()
                    live.update(show.screen(await look(runtime), words), refresh=True)
                    await asyncio.sleep(max(0.2, watch_seconds - (time.monotonic() - began)))
    return int(any(alert.severity is Severity.PAGE for alert, _ in wrong(house)))


async def list_dead(config: Settings, *, language: str, limit: int) -> None:
    """Show the dead jobs, newest first."""
    async with open_view(config) as runtime:
        Console(highlight=False).print(show.dead_table(await dead.listed(runtime, limit=limit), Words(language)))


async def replay_dead(config: Settings, *, name: str | None, row_id: UUID | None) -> int:
    """Let dead jobs wait again and say what comes of each; the exit status: 1 when none was found."""
    async with open_view(config) as runtime:
        jobs = await dead.chosen(runtime, name=name, row_id=row_id)
        for job, outcome in await dead.replay(runtime, jobs):
            sys.stdout.write(f"{job.job.name} {job.job.row_id}  {OUTCOMES[outcome]}\n")
    if not jobs:
        sys.stdout.write("No such dead job.  没有这样的失败任务。\n")
    return int(not jobs)
