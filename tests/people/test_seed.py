"""The practice community is loaded once, by `linli seed` and on the first start."""

import stat
import time

from sqlalchemy import func, select

from app.knowledge.tables import ApprovedAnswer, Document, DocumentStatus
from app.people.tables import Household, Residency, Space, SpaceKind
from app.practice import seed
from app.practice.seed import DEMO_SIGN_INS, PASSWORD_FILE
from app.runtime import Runtime
from tests.conftest import Client

SEED_SECONDS_MAX = 60
"""A few seconds on a quiet machine; the tests' machine is not."""


async def test_practice_community_is_loaded_and_its_people_sign_in(client: Client, runtime: Runtime):
    steps: set[str] = set()
    started = time.monotonic()
    first = await seed.seed(runtime, progress=lambda step, done, total: steps.add(step))
    assert time.monotonic() - started < SEED_SECONDS_MAX
    assert steps >= {"places", "people", "documents"}
    wanglan, guiyin = first.tenants
    async with runtime.transaction(wanglan) as session:
        counted = await session.execute(select(Space.kind, func.count()).group_by(Space.kind))
        kinds = {row[0]: row[1] for row in counted}
        assert kinds[SpaceKind.BUILDING] == 14
        assert await session.scalar(select(func.count()).select_from(Household)) == kinds[SpaceKind.ROOM] == 1192
        verified = await session.scalar(select(func.count()).where(Residency.verified_at.is_not(None)))
        assert verified
        documents = list(await session.scalars(select(Document)))
        linked = await session.scalar(select(func.count()).where(ApprovedAnswer.document_id.is_not(None)))
        assert linked == 10
    assert len(documents) >= 20
    assert {document.status for document in documents} == {DocumentStatus.WAITING}
    assert await seed.wait_for_documents(runtime, first.tenants, seconds=0) >= len(documents)
    async with runtime.transaction(guiyin) as session:
        assert await session.scalar(select(func.count()).select_from(Household)) == 40
    for one in DEMO_SIGN_INS:
        credentials = {"community": one.community, "login": one.login, "password": first.password}
        signed_in = await client.post("/api/v1/auth/sign-in", json=credentials)
        assert signed_in.status_code == 200, (one, signed_in.text)
        assert signed_in.json()["me"]["name"] == one.name

    again = await seed.seed(runtime)
    assert (again.rows_added, again.documents_added, again.answers_added) == (0, 0, 0)
    assert again.password == first.password


async def test_a_changed_demo_password_stays_and_a_lost_one_is_drawn_again(client: Client, runtime: Runtime):
    first = await seed.seed(runtime)
    one, other = DEMO_SIGN_INS[:2]
    file = runtime.settings.data_dir / PASSWORD_FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.unlink()
    second = await seed.seed(runtime)
    assert second.password != first.password

    async def sign_in(who: seed.DemoSignIn, password: str) -> int:
        body = {"community": who.community, "login": who.login, "password": password}
        return (await client.post("/api/v1/auth/sign-in", json=body)).status_code

    assert await sign_in(one, first.password) == 401
    assert await sign_in(one, second.password) == 200
    body = {"community": one.community, "login": one.login, "password": second.password}
    token = (await client.post("/api/v1/auth/sign-in", json=body)).json()["access_token"]
    changed = {"current": second.password, "new": "mine alone now"}
    assert (await client.post("/api/v1/auth/password", json=changed, as_=token)).status_code == 200
    await seed.seed(runtime)
    assert await sign_in(one, "mine alone now") == 200
    assert await sign_in(other, second.password) == 200
    # Back to what the others have, so that the order of these tests does not matter.
    back = {"current": "mine alone now", "new": second.password}
    assert (await client.post("/api/v1/auth/password", json=back, as_=token)).status_code == 200
