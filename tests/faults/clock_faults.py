"""A process of ours lives on a machine whose clock is an hour off."""

import asyncio
import shutil
import subprocess
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from app.people import tokens
from tests.faults.fault import Fault, Scene
from tests.faults.reader import connect
from tests.faults.stack import Process

SOURCE = Path(__file__).with_name("clock_shift.c")
HOUR = 3600
PACE_SECONDS = 0.06


def preload(folder: Path) -> Path:
    """The library that moves the clock, compiled with the C compiler that README.md asks for anyhow."""
    library = folder / "clock_shift.so"
    if not library.exists():
        compiler = shutil.which("cc") or "gcc"
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl"], check=True)
    return library


def shifted(seconds: int) -> Callable[[Scene], Awaitable[None]]:
    """One more web process and one more worker, off in opposite directions, join those whose clocks are right."""

    async def inject(scene: Scene) -> None:
        stack = scene.stack
        library = str(preload(stack.folder))
        web = stack.web(LD_PRELOAD=library, CLOCK_SHIFT_SECONDS=str(seconds))
        worker = stack.worker(LD_PRELOAD=library, CLOCK_SHIFT_SECONDS=str(-seconds))
        scene.notes["strangers"] = [web, worker]
        await asyncio.gather(web.start(), worker.start())
        await _side_by_side(scene)
        # Nobody else works from here on: what is asked is answered by the worker whose clock is off.
        for other in stack.workers[:-1]:
            other.freeze()
        await _check_tokens(scene, stack.web_urls[-1])
        asked = await scene.crowd.resident().ask(log=scene.crowd.asked, deadline_seconds=40)
        if asked.end is None:
            scene.broken.append("the worker whose clock is off answered nothing")
        for other in stack.workers[:-1]:
            other.thaw()
        await _read_times(scene)

    return inject


async def _side_by_side(scene: Scene) -> None:
    """Answers that outlast a lease, given by workers whose clocks differ: nobody takes a living worker's job."""
    begun = time.monotonic()
    scene.stack.script.pace_seconds = PACE_SECONDS
    await asyncio.gather(*(scene.crowd.resident().ask(log=scene.crowd.asked) for _ in range(3)))
    scene.stack.script.heal()
    scene.record("premature restarts", sum(one.restarts for one in scene.crowd.asked if one.asked_at >= begun))


async def _check_tokens(scene: Scene, url: str) -> None:
    """A token of a minute ago is good and one that ended a minute ago is not, whatever the clock on the wall says."""
    person, config = scene.crowd.town[0].people[0], scene.stack.settings
    life = timedelta(minutes=config.access_token_minutes)
    async with httpx.AsyncClient(timeout=20) as client:
        for age, wanted in (
            (timedelta(minutes=1), 200),
            (life - timedelta(minutes=1), 200),
            (life + timedelta(minutes=1), 401),
        ):
            token = tokens.make_access(config, person.account_id, person.tenant, now=datetime.now(UTC) - age)
            answer = await client.get(f"{url}/api/v1/me", headers={"Authorization": f"Bearer {token}"})
            if answer.status_code != wanted:
                scene.broken.append(f"a token {age} old was answered with {answer.status_code}, not {wanted}")


async def _read_times(scene: Scene) -> None:
    """How far the times and ids in rows are from the truth, and whether a conversation's order is that of its ids."""
    connection = await connect(scene.stack)
    try:
        found = await connection.fetchrow(
            "SELECT count(*) AS turns, coalesce(max(abs(extract(epoch FROM t - s)::float8)), 0) AS off FROM turns, "
            "LATERAL unnest(ARRAY[created_at, started_at, finished_at, uuid_extract_timestamp(id)]) t, "
            "LATERAL (SELECT least(greatest(t, to_timestamp($1)), now()) AS s) x WHERE created_at > to_timestamp($1) OR "
            "finished_at > to_timestamp($1) OR created_at > now()",
            time.time() - 240,
        )
    finally:
        await connection.close()
    scene.record("row time off s", found["off"])
    if not found["turns"]:
        scene.broken.append("no turn was written while the clock was off")


async def leave(scene: Scene) -> None:
    strangers: list[Process] = scene.notes["strangers"]  # type: ignore[assignment]
    scene.stack.webs.remove(strangers[0])
    scene.stack.workers.remove(strangers[1])
    await asyncio.gather(*(process.stop() for process in strangers))


FAULTS = tuple(
    Fault(
        f"clock {seconds // HOUR:+d} h", "times of rows, tokens and leases are the database's: premature or stuck 0",
        shifted(seconds), leave, hold_seconds=1, recovery_seconds_max=15, limits={"row time off s": 5, "premature restarts": 0},
    )
    for seconds in (HOUR, -HOUR)
)  # fmt: skip
