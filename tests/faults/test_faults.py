"""Every fault of the table, once each at a random instant, on one stack. `make faults` injects them many times."""

import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.faults.__main__ import scene_of
from tests.faults.fault import inject_once
from tests.faults.residents import Crowd
from tests.faults.table import FAULTS


@pytest.fixture(scope="module")
async def town(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Crowd]:
    folder = tmp_path_factory.mktemp("linli")
    async with scene_of(Path(folder), seed=random.randrange(2**32)) as found:
        yield found


@pytest.mark.parametrize("name", FAULTS)
async def test_the_promise_of_each_fault_holds(town, name):
    seed = random.randrange(2**32)
    done = await inject_once(FAULTS[name], town, seed=seed)
    assert not done.broken, f"seed {seed}, figures {done.figures}:\n" + "\n".join(done.broken)
    assert done.asked, "the load asked nothing"
