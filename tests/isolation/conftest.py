"""Three communities (two of one company) with one object of every kind, and everybody who might ask for them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import asyncpg
import pytest
from sqlalchemy.exc import InterfaceError

from app.settings import Settings
from models.engine import State
from models.scripted_engine import ScriptedEngine
from tests.conftest import Client
from tests.isolation.operations import Operation, operations
from tests.isolation.worlds import World, build_neighbour, build_world
from tests.make import Make


@pytest.fixture
def api(web: tuple[str, Any]) -> list[Operation]:
    return operations(web[1])


@pytest.fixture
async def owner(settings: Settings) -> AsyncIterator[asyncpg.Connection]:
    """The owner of the tables, who sees all rows."""
    connection = await asyncpg.connect(settings.database_owner_url.replace("+asyncpg", ""))
    yield connection
    await connection.close()


@pytest.fixture
async def home(client: Client, make: Make) -> World:
    return await build_world(client, make, await make.home())


@pytest.fixture
async def worlds(client: Client, make: Make, home: World) -> dict[str, World]:
    """Home, another resident's things at home, a sibling community, another company's community."""
    sibling = await make.place(organisation_id=home.place.tenant.organisation_id)
    return {
        "home": home,
        "neighbour": await build_neighbour(client, make, home),
        "sibling": await build_world(client, make, sibling),
        "company": await build_world(client, make, await make.place()),
    }


@pytest.fixture
async def working(engine: ScriptedEngine, run_jobs: Callable[[], Any]) -> AsyncIterator[None]:
    """A worker that answers with quotes, so that nobody waits for ever."""
    engine.stand(State.OFF, "no model here")

    done = asyncio.Event()

    async def work() -> None:
        while not done.is_set():
            # As a worker's: on a loaded machine a connection to Postgres may take too long, and is asked for again.
            with suppress(InterfaceError):
                await run_jobs()
            await asyncio.sleep(0.02)

    worker = asyncio.create_task(work())
    yield
    # Not cancelled: what a job does on its way out may swallow that, and the loop would go on for ever.
    done.set()
    await worker
