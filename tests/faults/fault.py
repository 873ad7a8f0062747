"""What a fault is, and how one is injected under load and judged.

A fault is data: a name, the promise it tests, `inject`, `heal`, and limits of what is recorded besides. To add one, write
two functions of a Scene, put a `Fault` into the table of its file, and name that table in `table.py`. `inject` may do
anything: break a process or a link, send requests of its own through `scene.crowd.resident()` (log them with
`scene.crowd.asked` so that the reader checks them), or run a whole second stack. It returns when the damage is done;
after `hold_seconds` follow `heal` and `scene.stack.heal()`, which starts and thaws whatever is still down.
Recovery is counted from the return of `inject`, or, when the fault is held (`hold_seconds` > 0), from the end of `heal`.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from tests.faults.reader import Verdict, check
from tests.faults.residents import Asked, Crowd, Told
from tests.faults.stack import Stack

PROBE_SECONDS = 60.0


@dataclass(eq=False)
class Scene:
    """What an injection works with. `chance` is seeded; take every random choice from it."""

    stack: Stack
    crowd: Crowd
    chance: random.Random
    figures: dict[str, float] = field(default_factory=dict)
    notes: dict[str, object] = field(default_factory=dict)
    """For what `inject` wants to tell `heal`."""
    broken: list[str] = field(default_factory=list)
    """Broken promises that `inject` or `heal` saw by themselves, in words."""

    def record(self, name: str, value: float) -> None:
        """A figure of this injection; of several with one name the greatest counts."""
        self.figures[name] = max(value, self.figures.get(name, value))

    def running_now(self) -> list[Asked]:
        """Questions whose answers are under way: shown in part, not ended."""
        return [asked for asked in self.crowd.asked if asked.text and asked.end is None]

    async def until_running(self, tokens: int = 1, *, seconds: float = 20) -> Asked:
        """Waits for an answer of which at least so many characters are on a screen."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found := [asked for asked in self.running_now() if len(asked.text) >= tokens]:
                return self.chance.choice(found)
            await asyncio.sleep(0.01)
        raise AssertionError("no answer was under way")


Act = Callable[[Scene], Awaitable[None]]


async def nothing(scene: Scene) -> None:
    """For faults that need no healing beyond `stack.heal()`."""


@dataclass(frozen=True)
class Fault:
    """`limits`: figure name to its greatest allowed value, checked for every injection."""

    name: str
    promise: str
    inject: Act
    heal: Act = nothing
    hold_seconds: float = 0
    recovery_seconds_max: float = 10
    limits: Mapping[str, float] = field(default_factory=dict)
    residents: int = 4
    """Size of the steady load."""
    needs_disk: bool = False
    """Whether it can only be injected where the stack has a file system of its own."""


@dataclass
class Injection:
    """How one injection went. `broken` says in words which promises were; empty is good."""

    fault: str
    seed: int
    recovery_seconds: float
    verdict: Verdict
    figures: dict[str, float]
    broken: list[str]
    asked: int


async def inject_once(fault: Fault, crowd: Crowd, *, seed: int, lead_seconds: float = 1.0) -> Injection:
    """One injection at a random instant of a steady load, healed, settled and read.

    The crowd is idle before and after. Its log is emptied first, so a verdict is about this injection alone.
    """
    crowd.asked.clear()
    crowd.told = Told()
    scene = Scene(crowd.stack, crowd, random.Random(seed))
    crowd.chance.seed(seed)
    generated = crowd.stack.engine.stage.tokens
    crowd.start(fault.residents)
    await asyncio.sleep(scene.chance.uniform(0.3, 1.0) * lead_seconds)
    try:
        await fault.inject(scene)
        at = time.monotonic()
        probing = asyncio.create_task(_probe(crowd))
        if fault.hold_seconds:
            await asyncio.sleep(fault.hold_seconds)
        await fault.heal(scene)
        if fault.hold_seconds:
            at = time.monotonic()
        before = [asked for asked in crowd.asked if asked.asked_at <= at]
        await crowd.stack.heal()
        probe = await probing
        await crowd.stop()
    finally:
        await crowd.stack.heal()
    ends = [asked.ended_at for asked in (*before, probe) if asked.ended_at]
    verdict = await check(crowd.stack, crowd.asked)
    kept = sum((asked.end or {}).get("usage", {}).get("completion_tokens", 0) for asked in crowd.asked)
    scene.record("tokens in vain", crowd.stack.engine.stage.tokens - generated - kept)
    return _judge(fault, scene, verdict, recovery=max(0.0, max(ends) - at), seed=seed)


async def _probe(crowd: Crowd) -> Asked:
    """A fresh question, asked right after the injection."""
    return await crowd.resident().ask(log=crowd.asked, deadline_seconds=PROBE_SECONDS)


def _judge(fault: Fault, scene: Scene, verdict: Verdict, *, recovery: float, seed: int) -> Injection:
    told = scene.crowd.told
    scene.record("5xx", sum(n for status, n in told.statuses.items() if isinstance(status, int) and status >= 500))
    scene.record("restarts", sum(asked.restarts for asked in scene.crowd.asked))
    scene.record("resume s", max((s for asked in scene.crowd.asked for s in asked.resumed_seconds), default=0))
    dishonest = [f"dishonest error: {one} ({n} times)" for one, n in Counter(told.bad_problems).items()]
    broken = [*scene.broken, *verdict.broken, *dishonest]
    if recovery > fault.recovery_seconds_max:
        broken.append(f"recovery took {recovery:.1f} s, promised are {fault.recovery_seconds_max:.0f} s")
    for name, most in fault.limits.items():
        value = scene.figures.get(name)
        if value is None or value > most:
            broken.append(f"{name} is {value}, promised is at most {most:g}")
    return Injection(fault.name, seed, recovery, verdict, scene.figures, broken, len(scene.crowd.asked))
