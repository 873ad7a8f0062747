import pytest

from app.runtime import Runtime
from tests.conftest import Client, Clock
from tests.make import Make
from tests.service_desk.duties import Desk


@pytest.fixture
async def desk(client: Client, make: Make, runtime: Runtime, clock: Clock) -> Desk:
    return Desk(client, make, runtime, clock, await make.staff())
