"""Our own processes die, freeze and are told to leave."""

import asyncio
import time

from tests.faults.fault import Fault, Scene
from tests.faults.reader import read_turns


async def kill_worker(scene: Scene) -> None:
    await scene.until_running(scene.chance.randrange(1, 20))
    worker = scene.chance.choice(scene.stack.workers)
    worker.kill()


async def freeze_worker(scene: Scene) -> None:
    """Frozen beyond its lease, so that the other worker answers what it had begun."""
    await scene.until_running(scene.chance.randrange(1, 20))
    worker = scene.chance.choice(scene.stack.workers)
    worker.freeze()
    scene.notes["worker"] = worker


async def thaw_worker(scene: Scene) -> None:
    """The zombie wakes. What had ended by then must stay as it was, in every column."""
    before = {row["id"]: row for row in await read_turns(scene.stack, scene.crowd.asked) if row["finished_at"]}
    scene.notes["worker"].thaw()  # type: ignore[attr-defined]
    await asyncio.sleep(1.5)
    after = {row["id"]: row for row in await read_turns(scene.stack, scene.crowd.asked)}
    scene.record("zombie writes", sum(after[turn_id] != row for turn_id, row in before.items()))


async def kill_web(scene: Scene) -> None:
    """With streams open. Those who followed there come back at the other process."""
    await scene.until_running(1)
    scene.chance.choice(scene.stack.webs).kill()


async def roll(scene: Scene) -> None:
    """A web process and a worker are told to leave and started again, one after the other."""
    started = time.monotonic()
    for process in (scene.chance.choice(scene.stack.webs), scene.chance.choice(scene.stack.workers)):
        await process.stop()
        await process.start()
    scene.record("roll s", time.monotonic() - started)
    statuses = scene.crowd.told.statuses
    scene.record(
        "failed requests", sum(n for status, n in statuses.items() if isinstance(status, int) and status >= 500)
    )


FAULTS = (
    Fault(
        "worker killed", "another worker takes over; the client gets the same stream or one marked restart; lost 0",
        kill_worker, recovery_seconds_max=5,
    ),
    Fault(
        "worker frozen", "the lease expires; the fencing token refuses the zombie's late writes",
        freeze_worker, thaw_worker, hold_seconds=4, limits={"zombie writes": 0},
    ),
    Fault(
        "web killed", "the client goes on at the other process with Last-Event-ID; gap bytes 0",
        kill_web, recovery_seconds_max=10,
    ),
    Fault("rolling restart", "SIGTERM under load: drained, failed requests 0", roll, limits={"failed requests": 0}),
)  # fmt: skip
