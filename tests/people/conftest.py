"""People who can sign in with a password, and reading the database as the app's role does."""

from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import pytest

from app.people.accounts import HASHER
from app.people.tables import StaffRight, StaffRole
from app.runtime import Runtime
from app.settings import Settings
from tests.make import Make, Person, Place

PASSWORD = "correct horse battery"


@pytest.fixture(scope="session")
def password_hash() -> str:
    return HASHER.hash(PASSWORD)


@pytest.fixture
async def manager(make: Make, password_hash: str) -> Person:
    """A manager of this test's community who signs in with PASSWORD."""
    return await make.staff(password_hash=password_hash)


@pytest.fixture
def grant(runtime: Runtime) -> Callable[..., Awaitable[None]]:
    """Gives a member of staff a role in one more community of the company."""

    async def give(person: Person, place: Place, role: StaffRole = StaffRole.MANAGER) -> None:
        async with runtime.transaction(place.tenant) as session:
            session.add(
                StaffRight(
                    organisation_id=place.tenant.organisation_id, staff_id=person.id, community_id=place.id, role=role
                )
            )

    return give


@pytest.fixture
async def app_role(settings: Settings) -> AsyncIterator[asyncpg.Connection]:
    """A plain connection of the app's role: no tenant is set unless the test sets one."""
    connection = await asyncpg.connect(settings.database_url.replace("+asyncpg", ""))
    yield connection
    await connection.close()
