"""The faults of the table, once each at a random instant, on one stack. `make faults` injects them many times."""

import asyncio
import dataclasses
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.faults.__main__ import scene_of
from tests.faults.fault import Fault, inject_once
from tests.faults.reader import check
from tests.faults.residents import Asked, Crowd
from tests.faults.table import FAULTS
from tests.faults.town import answer_of

HOLD_SECONDS_MAX = 6.0
CLOCKS = [name for name in FAULTS if name.startswith("clock ")]
"""Mirror images, since two processes of each are off in opposite directions: one of them tells as much."""
INJECTED = [name for name in FAULTS if name not in CLOCKS[1:]]


@pytest.fixture(scope="module")
async def town(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Crowd]:
    folder = tmp_path_factory.mktemp("linli")
    async with scene_of(Path(folder), seed=random.randrange(2**32)) as found:
        yield found


def at_ease(fault: Fault) -> Fault:
    """The same promise on a machine that is busy with other tests: limits of time are wide, those of 0 stay 0."""
    wide = {name: most * 4 for name, most in fault.limits.items()}
    return dataclasses.replace(
        fault, recovery_seconds_max=60, limits=wide, hold_seconds=min(fault.hold_seconds, HOLD_SECONDS_MAX)
    )


@pytest.mark.parametrize("name", INJECTED)
async def test_the_promise_of_each_fault_holds(town, name):
    if FAULTS[name].needs_disk and town.stack.no_disk:
        pytest.skip(f"no file system may be mounted here: {town.stack.no_disk}")
    seed = random.randrange(2**32)
    done = await inject_once(at_ease(FAULTS[name]), town, seed=seed)
    assert not done.broken, f"seed {seed}, figures {done.figures}:\n" + "\n".join(done.broken)
    assert done.asked, "the load asked nothing"


async def test_an_answer_that_ended_while_postgres_was_away_is_kept_without_a_restart(town):
    """The job's attempts were used up by the outage, and the words on the screen were lost."""
    resident = town.resident(0)
    log: list[Asked] = []
    asking = asyncio.create_task(resident.ask(log=log))
    while not log or not log[0].text:  # noqa: ASYNC110 (the log of a client sets no event)
        await asyncio.sleep(0.01)
    await town.stack.postgres.crash()
    await asyncio.sleep(5)
    await town.stack.heal()
    asked = await asking
    assert asked.end["status"] == "answered"
    assert asked.text == asked.end["answer"] == answer_of(asked.code, asked.community.canary)
    assert asked.restarts == 0
    assert not (await check(town.stack, [asked])).broken


async def test_while_postgres_starts_up_a_question_is_refused_with_503_and_not_500(town):
    await town.stack.postgres.crash()
    resident = town.resident(0)
    asking = asyncio.create_task(resident.ask())
    await asyncio.sleep(1)
    await town.stack.heal()
    assert (await asking).end["status"] == "answered"
    assert not town.told.bad_problems
