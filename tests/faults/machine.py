"""Any order of questions, drops, stops and faults: a Hypothesis state machine over a running Linli.

The rules do things, the invariant is the reader's verdict. What is broken at a time is healed by the rule `heal`, and
before every check. The stack outlives the examples, since it takes seconds to start; its state is not part of them.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from tests.faults.reader import check
from tests.faults.residents import Asked, Crowd, Resident

Run = Callable[[Awaitable[Any]], Any]
INDEX = st.integers(0, 7)
UNDER_WAY_MAX = 6


class LinliMachine(RuleBasedStateMachine):
    """`crowd` and `run`, which runs a coroutine on the stack's loop, are set by whoever runs the machine."""

    crowd: ClassVar[Crowd]
    run: ClassVar[Run]

    def __init__(self) -> None:
        super().__init__()
        self.stack = self.crowd.stack
        self.asked: list[tuple[Resident, Asked]] = []
        self.following: list[asyncio.Task[None]] = []
        self.broken_parts = 0

    def do(self, work: Awaitable[Any]) -> Any:
        return type(self).run(work)

    @precondition(lambda self: len(self.following) < UNDER_WAY_MAX)
    @rule(who=INDEX, drop_chance=st.sampled_from([0.0, 0.0, 0.1]))
    def ask(self, who: int, drop_chance: float) -> None:
        """A question is sent, and followed with or without drops while other things happen."""
        resident = self.crowd.resident(who)
        asked = resident.new_question(deadline_seconds=90)
        self.asked.append((resident, asked))

        async def ask() -> None:
            if await resident.post(asked):
                await resident.follow(asked, drop_chance=drop_chance)

        async def start() -> None:
            self.following.append(asyncio.create_task(ask()))

        self.do(start())

    @rule(seconds=st.sampled_from([0.05, 0.3, 1.0]))
    def pass_time(self, seconds: float) -> None:
        self.do(asyncio.sleep(seconds))

    @precondition(lambda self: self.asked)
    @rule(which=INDEX)
    def stop_an_answer(self, which: int) -> None:
        resident, asked = self.asked[which % len(self.asked)]
        if asked.turn_id:
            self.do(resident.stop(asked))

    @precondition(lambda self: self.asked)
    @rule(which=INDEX)
    def send_it_again(self, which: int) -> None:
        """The same question under the same key, as a client does that never saw the first answer."""
        resident, asked = self.asked[which % len(self.asked)]
        self.do(resident.post_once(asked))

    @precondition(lambda self: self.broken_parts < 2)
    @rule(which=INDEX, part=st.sampled_from(["workers", "webs"]))
    def kill(self, which: int, part: str) -> None:
        processes = getattr(self.stack, part)
        if sum(one.is_running for one in processes) > 1:
            processes[which % len(processes)].kill()
            self.broken_parts += 1

    @precondition(lambda self: self.broken_parts < 2)
    @rule(which=INDEX)
    def freeze_worker(self, which: int) -> None:
        self.stack.workers[which % len(self.stack.workers)].freeze()
        self.broken_parts += 1

    @rule()
    def thaw_workers(self) -> None:
        for worker in self.stack.workers:
            worker.thaw()

    @rule()
    def wipe_valkey(self) -> None:
        if self.stack.valkey.is_running:
            self.stack.valkey.kill(wipe=True)
        self.do(self.stack.valkey.start())

    @rule()
    def restart_postgres(self) -> None:
        async def restart() -> None:
            await self.stack.postgres.crash()
            await self.stack.postgres.start()

        self.do(restart())

    @rule(link=st.sampled_from(["web-redis", "worker-redis", "web-postgres", "worker-postgres", "worker-engine"]))
    def cut_link(self, link: str) -> None:
        self.stack.links[link].cut()

    @rule(link=st.sampled_from(["web-redis", "worker-redis"]))
    def slow_link(self, link: str) -> None:
        self.stack.links[link].slow(0.3)

    @rule()
    def heal(self) -> None:
        self.do(self.stack.heal())
        self.broken_parts = 0

    def teardown(self) -> None:
        """Heals, lets everything end, and reads."""
        self.do(self.stack.heal())

        async def settle() -> None:
            await asyncio.gather(*self.following)
            if not self.asked:
                return
            verdict = await check(self.stack, [asked for _, asked in self.asked])
            assert not verdict.broken, "\n".join(verdict.broken)

        self.do(settle())
