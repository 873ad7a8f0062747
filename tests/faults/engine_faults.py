"""The engine hangs, dies, refuses, talks nonsense, and starts late."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from tests.faults.fault import Fault, Scene
from tests.faults.residents import Asked

DETECTED_SECONDS_MAX = 10.0
"""Silence of 5 s at the least is what may mean a hang (engine_stall_seconds_min)."""


async def _shown_one(scene: Scene, *, seconds: float = 30) -> Asked:
    """Asks one question of its own under the fault and waits for its end."""
    asked = await scene.crowd.resident().ask(log=scene.crowd.asked, deadline_seconds=seconds)
    scene.record("failed", sum((one.end or {}).get("name") == "failed" for one in scene.crowd.asked))
    return asked


async def hang(scene: Scene) -> None:
    """After some tokens nothing more comes, on every stream; /health goes on saying 200."""
    scene.stack.script.hang_at = scene.chance.randrange(1, 15)
    asked = await _shown_one(scene)
    begun = asked.acknowledged_at
    scene.record("ended after s", asked.ended_at - begun)


async def die_mid_answer(scene: Scene) -> None:
    """Every open connection to the engine is reset while it speaks."""
    await scene.until_running(scene.chance.randrange(1, 20))
    for link in scene.stack.links_to("engine"):
        link.cut()
    await _shown_one(scene)


def says(fault: str) -> Callable[[Scene], Awaitable[None]]:
    """All its answers turn bad in one way (tests/scripted_server.py: FAULTS)."""

    async def inject(scene: Scene) -> None:
        scene.stack.script.fault = fault
        await _shown_one(scene)

    return inject


async def refuse(scene: Scene) -> None:
    """Its admission is full: 503 with Retry-After to whatever is asked."""
    scene.stack.script.fault = "503"
    await asyncio.sleep(2)


async def start_late(scene: Scene) -> None:
    """Nobody listens for a while, as when a machine starts; then it listens and is not healthy yet."""
    for link in scene.stack.links_to("engine"):
        link.refuse()
    begun = time.monotonic()
    await _shown_one(scene)
    await asyncio.sleep(max(0.0, 2 - (time.monotonic() - begun)))
    for link in scene.stack.links_to("engine"):
        link.heal()
    scene.stack.engine.stage.healthy = False
    await _shown_one(scene)
    scene.stack.engine.stage.healthy = True
    deadline = time.monotonic() + 20
    while (await _shown_one(scene)).end.get("mode") != "model":  # type: ignore[union-attr]
        if time.monotonic() > deadline:
            scene.broken.append("the engine is back and answers are still quotes")
            return


NONE_FAIL = {"failed": 0}
FAULTS = (
    Fault(
        "engine hangs", "found by its silence; quotes stand in; nothing fails",
        hang, hold_seconds=0.1, recovery_seconds_max=15, limits={"ended after s": DETECTED_SECONDS_MAX, **NONE_FAIL},
    ),
    Fault("engine dies mid-answer", "what was shown is kept or openly replaced by quotes", die_mid_answer, limits=NONE_FAIL),
    Fault("engine says 503", "put back, and answered by the model when it has room again", refuse, hold_seconds=1),
    Fault("SSE truncated", "openly replaced by quotes; wrong text 0", says("truncated"), hold_seconds=0.5, limits=NONE_FAIL),
    Fault("malformed JSON", "openly replaced by quotes; wrong text 0", says("malformed"), hold_seconds=0.5, limits=NONE_FAIL),
    Fault("endless whitespace", "cut off, and charged to nobody", says("whitespace"), hold_seconds=0.5, limits=NONE_FAIL),
    Fault("engine starts late", "requests failed 0; the model answers again by itself", start_late, recovery_seconds_max=45,
          limits=NONE_FAIL),
)  # fmt: skip
