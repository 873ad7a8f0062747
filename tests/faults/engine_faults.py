"""The engine hangs, dies, refuses, talks nonsense, and starts late."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from tests.faults.fault import Fault, Scene
from tests.faults.residents import Asked
from tests.faults.stack import QUICK

DETECTED_SECONDS_MAX = 10.0
"""Silence of 5 s at the least is what may mean a hang (engine_stall_seconds_min)."""
STALLED_SECONDS_MAX = QUICK["engine_between_tokens_seconds"] + 5.0
"""One answer that waits while others go on may just be behind them: it is given its own limit."""


async def _shown_one(scene: Scene, *, seconds: float = 60) -> Asked:
    """Asks one question of its own under the fault and waits for its end."""
    asked = await scene.crowd.resident().ask(log=scene.crowd.asked, deadline_seconds=seconds)
    scene.record("failed", sum((one.end or {}).get("name") == "failed" for one in scene.crowd.asked))
    return asked


async def hang(scene: Scene) -> None:
    """It generates nothing any more, for nobody, not even a test token; /health goes on saying 200."""
    await scene.until_running(scene.chance.randrange(1, 20))
    scene.stack.engine.stage.still = True
    await _ended_after(scene)


async def stall(scene: Scene) -> None:
    """Each answer stands still after some tokens, while what is asked anew gets its own, and the engine seems alive."""
    scene.stack.script.hang_at = scene.chance.randrange(1, 15)
    await _ended_after(scene)


async def _ended_after(scene: Scene) -> None:
    asked = await _shown_one(scene)
    scene.record("ended after s", asked.ended_at - asked.acknowledged_at)


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


async def refuse_for_long(scene: Scene) -> None:
    """503 to whatever is asked, and no end of it: whoever waits gets quotes by and by, whoever comes then at once."""
    scene.stack.script.fault = "503"
    for figure in ("ended after s", "next after s"):
        asked = await _shown_one(scene, seconds=50)
        scene.record(figure, asked.ended_at - asked.asked_at)
        if (asked.end or {}).get("mode") != "quotes":
            scene.broken.append(f"while the engine refused, a question ended as {asked.end}")


async def model_again(scene: Scene) -> None:
    """Healed; how long it takes until an answer is the model's."""
    scene.stack.script.heal()
    begun = time.monotonic()
    await _until_model(scene)
    scene.record("model again s", time.monotonic() - begun)


async def _until_model(scene: Scene) -> None:
    deadline = time.monotonic() + 20
    while ((await _shown_one(scene)).end or {}).get("mode") != "model":
        if time.monotonic() > deadline:
            scene.broken.append("the engine is back and answers are still quotes")
            return


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
    await _until_model(scene)


NONE_FAIL = {"failed": 0}
FAULTS = (
    Fault(
        "engine hangs", "found by its silence; quotes stand in; nothing fails",
        hang, hold_seconds=0.1, recovery_seconds_max=15, limits={"ended after s": DETECTED_SECONDS_MAX, **NONE_FAIL},
    ),
    Fault(
        "answers stall", "each is cut at its own limit and quotes stand in; nothing fails",
        stall, hold_seconds=0.1, recovery_seconds_max=15, limits={"ended after s": STALLED_SECONDS_MAX, **NONE_FAIL},
    ),
    Fault("engine dies mid-answer", "what was shown is kept or openly replaced by quotes", die_mid_answer, limits=NONE_FAIL),
    Fault("engine says 503", "put back, and answered by the model when it has room again", refuse, hold_seconds=1),
    Fault(
        "engine 503 for long", "whoever waits gets quotes, whoever comes then at once; the model again by itself",
        refuse_for_long, model_again, hold_seconds=12, recovery_seconds_max=15,
        limits={"ended after s": 25, "next after s": 5, "model again s": 10, **NONE_FAIL},
    ),
    Fault("SSE truncated", "openly replaced by quotes; wrong text 0", says("truncated"), hold_seconds=0.5, limits=NONE_FAIL),
    Fault("malformed JSON", "openly replaced by quotes; wrong text 0", says("malformed"), hold_seconds=0.5, limits=NONE_FAIL),
    Fault("endless whitespace", "cut off, and charged to nobody", says("whitespace"), hold_seconds=0.5, limits=NONE_FAIL),
    Fault("engine starts late", "requests failed 0; the model answers again by itself", start_late, recovery_seconds_max=45,
          limits=NONE_FAIL),
)  # fmt: skip
