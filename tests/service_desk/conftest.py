import pytest

from app.runtime import Runtime
from models.engine import State
from models.scripted_engine import ScriptedEngine
from tests.conftest import Client, Clock
from tests.make import Make
from tests.service_desk.duties import Desk


@pytest.fixture
async def desk(client: Client, make: Make, runtime: Runtime, clock: Clock, engine: ScriptedEngine) -> Desk:
    # What is drafted about many like reports is not what these tests are about.
    engine.stand(State.OFF, "no model here")
    return Desk(client, make, runtime, clock, await make.staff())
