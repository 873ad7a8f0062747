"""Real Postgres and Valkey from their packages, migrated by Alembic; a real web server; a scripted engine.

Nothing is emptied between tests: each test makes communities of its own, and the fence between communities is one of
the things under test. Valkey is flushed.
"""

import asyncio
import dataclasses
import importlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
import uvicorn
import uvloop
from pydantic import SecretStr

from app import db, embedded, logs, migrate
from app.embedded import Services
from app.feed import Feed
from app.main import create_app
from app.people import tokens
from app.queue import HANDLERS, Lease, Queue
from app.runtime import Runtime, open_embedder, open_redis
from app.settings import Settings
from app.worker import JOB_MODULES
from models.embedder import Embedder
from models.scripted_engine import ScriptedEngine
from tests.make import Make, Person

for name in JOB_MODULES:
    importlib.import_module(name)


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that web and worker run on."""
    return {"uvloop": uvloop.new_event_loop}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests counted (`record_property("report", …)`), also from other processes."""
    for passed in terminalreporter.getreports("passed"):
        for name, text in passed.user_properties:
            if name == "report":
                terminalreporter.write_line(str(text))


NOW = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
"""10:00 in the practice community, a Sunday."""


@pytest.fixture(scope="session", autouse=True)
def quick_logs() -> None:
    """As in production: the default renderer draws tracebacks with all their variables, for seconds each."""
    logs.set_up(Settings(_env_file=None, log_level="WARNING"))


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    with embedded.services(tmp_path_factory.mktemp("services"), durable=False) as running:
        migrate.upgrade(running.database_owner_url)
        yield running


@pytest.fixture(scope="session")
def settings(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(
        _env_file=None,
        data_dir=tmp_path_factory.mktemp("data"),
        database_url=services.database_url,
        database_owner_url=services.database_owner_url,
        redis_url=services.redis_url,
        secret_key=SecretStr("a secret of the tests, long enough to sign"),
        requests_per_minute_max=100_000,
        # Most tests script the words of answers only; those of the judgement set this themselves.
        unsure_score_min=0.6,
        unsure_score_max=0.6,
        turns_per_minute_max=100_000,
        conversation_stream_seconds=0.2,
        # As with answers: those of triage set it themselves.
        triage_engine=False,
    )


@pytest.fixture(scope="session")
def embedder(settings: Settings) -> Embedder:
    return open_embedder(settings)


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def engine() -> ScriptedEngine:
    """Fails when its script ends; a test fills it with `engine.say(…)`."""
    return ScriptedEngine([])


@asynccontextmanager
async def open_test_runtime(settings: Settings, embedder: Embedder) -> AsyncIterator[Runtime]:
    database, sessions = db.open_database(settings.database_url, settings)
    redis = open_redis(settings)
    feed = Feed(redis, settings)
    yield Runtime(
        settings=settings, sessions=sessions, redis=redis, queue=Queue(redis, settings), feed=feed,
        engine=ScriptedEngine([]), embedder=embedder,
    )  # fmt: skip
    await feed.close()
    await redis.aclose()
    await database.dispose()


@pytest.fixture(scope="session")
async def open_parts(settings: Settings, embedder: Embedder) -> AsyncIterator[Runtime]:
    async with open_test_runtime(settings, embedder) as runtime:
        yield runtime


@pytest.fixture
async def runtime(open_parts: Runtime, engine: ScriptedEngine, clock: Clock) -> Runtime:
    await open_parts.redis.flushall()
    return dataclasses.replace(open_parts, engine=engine, clock=clock)


@pytest.fixture(scope="session")
async def web(open_parts: Runtime) -> AsyncIterator[tuple[str, Any]]:
    """A real server: (its address, its app). `client` puts each test's runtime into the app."""
    app = create_app(open_parts)
    listener = socket.create_server(("127.0.0.1", 0))
    # On a loaded machine five seconds pass between two requests, and a connection closes as it is used again.
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, timeout_graceful_shutdown=1, timeout_keep_alive=60
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:  # noqa: ASYNC110 (uvicorn offers no event)
        await asyncio.sleep(0.01)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}", app
    server.should_exit = True
    await serving


class Client(httpx.AsyncClient):
    """An HTTP client that speaks for a person: `as_=` takes whoever `make` made, or a key's secret."""

    settings: Settings
    clock: Clock

    def build_request(self, *args: Any, **kwargs: Any) -> httpx.Request:
        as_ = (kwargs.get("extensions") or {}).pop("as_", None)
        request = super().build_request(*args, **kwargs)
        if as_ is not None:
            request.headers["authorization"] = f"Bearer {self.token(as_)}"
        return request

    def token(self, as_: Person | str) -> str:
        if isinstance(as_, str):
            return as_
        return tokens.make_access(self.settings, as_.account_id, as_.tenant, now=self.clock())

    async def request(self, *args: Any, as_: Person | str | None = None, **kwargs: Any) -> httpx.Response:
        return await super().request(*args, **_with(kwargs, as_))

    def stream(self, *args: Any, as_: Person | str | None = None, **kwargs: Any) -> Any:
        return super().stream(*args, **_with(kwargs, as_))

    async def get(self, url: Any, **kwargs: Any) -> httpx.Response:
        return await self.request("GET", url, **kwargs)

    async def post(self, url: Any, **kwargs: Any) -> httpx.Response:
        return await self.request("POST", url, **kwargs)

    async def put(self, url: Any, **kwargs: Any) -> httpx.Response:
        return await self.request("PUT", url, **kwargs)

    async def patch(self, url: Any, **kwargs: Any) -> httpx.Response:
        return await self.request("PATCH", url, **kwargs)

    async def delete(self, url: Any, **kwargs: Any) -> httpx.Response:
        return await self.request("DELETE", url, **kwargs)


def _with(kwargs: dict[str, Any], as_: Person | str | None) -> dict[str, Any]:
    return {**kwargs, "extensions": {**kwargs.get("extensions", {}), "as_": as_}}


@pytest.fixture
async def client(web: tuple[str, Any], runtime: Runtime, clock: Clock) -> AsyncIterator[Client]:
    address, app = web
    app.state.runtime = runtime
    async with Client(base_url=address, timeout=30) as client:
        client.settings, client.clock = runtime.settings, clock
        yield client


COMMUNITIES_LEFT: set[UUID] = set()
"""Of tests that are over. Sweeps find what their flushed jobs would have done, and send it again."""


@pytest.fixture
def make(runtime: Runtime) -> Iterator[Make]:
    make = Make(runtime)
    yield make
    COMMUNITIES_LEFT.update(make.communities)


@pytest.fixture
def run_jobs(runtime: Runtime) -> Callable[[], Awaitable[int]]:
    """Runs every waiting job, each delivered twice, until none is left; returns how many there were.

    Jobs of tests that are over are put away: they would take the answers that this test wrote for its own.
    """

    async def run() -> int:
        jobs = 0
        while leases := await runtime.queue.take(8, wait_seconds=0):
            for lease in leases:
                if lease.job.community_id in COMMUNITIES_LEFT:
                    await runtime.queue.finish(lease)
                    continue
                handler = HANDLERS[lease.job.name]
                await handler(runtime, lease)
                await handler(runtime, Lease(job=lease.job, token=lease.token + 1, attempt=lease.attempt + 1))
                await runtime.queue.finish(lease)
                jobs += 1
        return jobs

    return run


@pytest.fixture(scope="session")
def practice_documents() -> Path:
    return Path(__file__).parent.parent / "app" / "practice" / "documents"
