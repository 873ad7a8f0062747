"""What an evaluation needs to run: database, Redis and engine, found by the settings or started for its time."""

import asyncio
import os
import secrets
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import structlog

from app import children, embedded, logs
from app.children import Child
from app.engine_process import STOP_SECONDS, read_status
from app.errors import Unavailable
from app.runtime import Runtime, open_runtime
from app.settings import Settings
from models.engine import State

ROOT = Path(__file__).resolve().parents[2]
Say = Callable[[str], None]

LEASE_SECONDS = 3_600
"""Nobody renews the leases of an evaluation: they outlive any answer."""
ENGINE_WAIT_SECONDS = 1_800
"""The first start installs vLLM and fetches the model."""
POLL_SECONDS = 0.5


class EngineNotReady(Unavailable):
    code = "engine_not_ready"

    def __init__(self, detail: str) -> None:
        super().__init__(
            f"The engine is not ready: {detail}. `--engine off` evaluates without it.",
            f"引擎未就绪：{detail}。可用 `--engine off` 在无模型状态下评测。",
            retry_after_seconds=30,
        )


@contextmanager
def ready_parts(settings: Settings, *, engine: bool, say: Say) -> Iterator[Settings]:
    """The settings with an address for every part. What none is set for is started over a temporary folder.

    Call it from the main thread. Raises StartFailed, EngineNotReady.
    """
    with tempfile.TemporaryDirectory(prefix="linli-eval-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        # Postgres may run as a user of its own, which has to pass this folder.
        folder.chmod(0o755)
        changes: dict[str, object] = {"log_level": "CRITICAL", "queue_shard": f"eval-{secrets.token_hex(6)}"}
        changes |= {"lease_seconds": float(LEASE_SECONDS)}
        if not engine:
            # Without an address, and away from the status that a running `linli up` writes: the engine is off.
            changes |= {"engine_url": "", "data_dir": folder}
        with _services(settings, folder, say) as own:
            changes |= own
            if engine and not settings.engine_url:
                with _own_engine(settings, folder, say) as url:
                    yield settings.model_copy(update=changes | {"engine_url": url, "data_dir": folder})
            else:
                yield settings.model_copy(update=changes)


@contextmanager
def _services(settings: Settings, folder: Path, say: Say) -> Iterator[dict[str, object]]:
    if settings.database_url and settings.redis_url:
        yield {}
        return
    say("starting Postgres and Valkey")
    with embedded.services(folder, durable=False) as running:
        changes: dict[str, object] = {}
        if not settings.redis_url:
            changes["redis_url"] = running.redis_url
        if not settings.database_url:
            changes |= {"database_url": running.database_url, "database_owner_url": running.database_owner_url}
            say("migrating")
            _run_once("migrate", folder, {"LINLI_DATABASE_OWNER_URL": running.database_owner_url})
        yield changes


def _command(name: str, folder: Path, environment: Mapping[str, str], *, guard_seconds: float) -> Child:
    command = [sys.executable, "-P", "-m", "app.cli", name]
    told = {**os.environ, "PYTHONPATH": str(ROOT), "LINLI_DATA_DIR": str(folder), **environment}
    return Child(name, command, folder / "logs" / f"{name}.log", environment=told, guard_seconds=guard_seconds)


def _run_once(name: str, folder: Path, environment: Mapping[str, str]) -> None:
    child = _command(name, folder, environment, guard_seconds=2)
    child.start()
    try:
        while child.is_running():
            time.sleep(children.POLL_SECONDS)
    finally:
        children.stop([child], seconds=3)
    if child.exit_code():
        raise children.failed(child, seconds=0)


@contextmanager
def _own_engine(settings: Settings, folder: Path, say: Say) -> Iterator[str]:
    """vLLM with the starter model, as `linli up` runs it; its address once it answers."""
    url = f"http://127.0.0.1:{embedded.keep_port(folder, 'engine')}/v1"
    child = _command("engine", folder, {"LINLI_ENGINE_URL": url}, guard_seconds=STOP_SECONDS + 2)
    child.start()
    try:
        deadline = time.monotonic() + ENGINE_WAIT_SECONDS
        while (status := read_status(folder)).state is not State.READY:
            if not child.is_running() or status.state is State.FAILING or time.monotonic() > deadline:
                raise EngineNotReady(status.detail or child.last_words())
            say(f"engine: {status.detail or 'starting'} ({status.percent} %)")
            time.sleep(POLL_SECONDS)
        yield url
    finally:
        children.stop([child], seconds=STOP_SECONDS + 3)


@asynccontextmanager
async def evaluation_runtime(settings: Settings, *, engine: bool, say: Say) -> AsyncIterator[Runtime]:
    """The runtime over `ready_parts`' settings, whose queue no worker looks into. Raises EngineNotReady."""
    logs.set_up(settings)
    structlog.configure(cache_logger_on_first_use=False)
    async with open_runtime(settings) as runtime:
        if engine:
            await _wait_for_engine(runtime, say)
        try:
            yield runtime
        finally:
            async for key in runtime.redis.scan_iter(match=f"*{{{settings.queue_shard}}}*"):
                await runtime.redis.delete(key)


async def _wait_for_engine(runtime: Runtime, say: Say) -> None:
    deadline, failing_since = time.monotonic() + ENGINE_WAIT_SECONDS, None
    while (state := await runtime.engine.state()).state is not State.READY:
        now = time.monotonic()
        failing_since = None if state.state is State.WARMING else failing_since or now
        if now > deadline or (failing_since and now - failing_since > 15):
            raise EngineNotReady(state.detail or str(state.state))
        say(f"engine: {state.detail or state.state}")
        await asyncio.sleep(POLL_SECONDS)
