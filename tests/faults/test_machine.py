"""Random stories of questions and faults. A failing one prints its steps, and the seed that repeats it.

LINLI_MACHINE_EXAMPLES, LINLI_MACHINE_STEPS and LINLI_MACHINE_SEED make it longer, or tell a story again.
"""

import asyncio
import os
import random
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.faults.__main__ import scene_of
from tests.faults.machine import LinliMachine

EXAMPLES = int(os.environ.get("LINLI_MACHINE_EXAMPLES", "2"))
STEPS = int(os.environ.get("LINLI_MACHINE_STEPS", "12"))
SEED = int(os.environ.get("LINLI_MACHINE_SEED", random.randrange(2**32)))


@pytest.fixture
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[type[LinliMachine]]:
    """The machine, on a stack whose loop runs only while a rule wants it to."""
    loop = asyncio.new_event_loop()
    scene = scene_of(tmp_path_factory.mktemp("linli"), seed=SEED)
    try:
        LinliMachine.crowd = loop.run_until_complete(scene.__aenter__())
        LinliMachine.run = loop.run_until_complete
        yield LinliMachine
        loop.run_until_complete(scene.__aexit__(None, None, None))
    finally:
        loop.close()


def test_no_story_of_faults_breaks_an_invariant(machine):
    limits = settings(
        max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    try:
        run_state_machine_as_test(seed(SEED)(machine), settings=limits)
    except BaseException as error:
        error.add_note(f"LINLI_MACHINE_SEED={SEED}")
        raise
