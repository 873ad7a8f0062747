"""From the command to the first token: `linli up` against its engine alone, both installed and with the model at hand.

Linli starts the engine beside everything else, so it should cost little more than the engine itself. A first start in a
new folder, where the practice community is made, is told apart from the starts after it.
Run: .venv/bin/python -m bench.bench_start [--pairs 7] [--model starter-0.5b]
"""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from app import embedded
from app.practice.seed import DEMO_SIGN_INS, PASSWORD_FILE
from bench import pairs
from bench.pairs import Ratio, Sample

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS_MAX = 600
POLL_SECONDS = 0.05
SERVICES_RUNS = 7
SERVICES_SECONDS_MAX, FIRST_TOKEN_RATIO_MAX = 2.0, 1.2
QUESTION = "外来车辆停车一小时多少钱？"


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=2, help="starts of each side")
    parser.add_argument("--model", default="starter-0.5b", help="LINLI_STARTER_MODEL of both")
    told = parser.parse_args()
    pairs.conditions()
    with tempfile.TemporaryDirectory(prefix="linli-bench-", ignore_cleanup_errors=True) as name:
        # Postgres may run as a user of its own, which has to pass this folder.
        (folder := Path(name)).chmod(0o755)
        met = services(folder / "services")
        print("\nfirst start, in a new folder, practice community made")
        show(await linli(folder / "linli", told.model))
        stages: list[dict[str, float]] = []

        async def through_linli() -> Sample:
            stages.append(await linli(folder / "linli", told.model))
            return Sample(1.0, stages[-1]["first token"])

        async def engine_alone() -> Sample:
            return Sample(1.0, await engine(folder / "engine", told.model))

        both = await pairs.compare(
            {"engine alone": engine_alone, "linli up": through_linli}, pairs=told.pairs, warm_ups=0
        )
        print("\nlater starts, in the same folder")
        show({stage: median(one[stage] for one in stages) for stage in stages[0]})
        pairs.table(both, unit="seconds", title="to the first token")
        met &= pairs.goal("P20 first token, linli / engine alone", both["linli up"], at_most=FIRST_TOKEN_RATIO_MAX)
    raise SystemExit(0 if met else 1)


def show(stages: dict[str, float]) -> None:
    for stage, seconds in stages.items():
        print(f"  {stage:24} {seconds:6.1f} s")


def services(folder: Path) -> bool:
    """Postgres and Valkey alone: a new folder once, then the same one again."""
    folder.mkdir()
    folder.chmod(0o755)
    taken = []
    for _ in range(1 + SERVICES_RUNS):
        started = time.perf_counter()
        with embedded.services(folder):
            taken.append(time.perf_counter() - started)
    low, high = pairs.interval(taken[1:])
    print(f"Postgres and Valkey in a new folder: {taken[0]:.2f} s")
    ratio = Ratio(median(taken[1:]), low, high, 0.0)
    return pairs.goal("P20 Postgres and Valkey, seconds", ratio, at_most=SERVICES_SECONDS_MAX)


def port_in(folder: Path) -> int:
    folder.mkdir(exist_ok=True)
    return embedded.keep_port(folder, "engine")


@contextmanager
def running(command: str, folder: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """One of our commands, ended as Ctrl-C ends it."""
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LINLI_")}
    own = {"LINLI_DATA_DIR": str(folder), "LINLI_WEB_PORT": "0", "PYTHONPATH": str(ROOT)}
    with (folder / f"{command}.screen").open("ab") as screen:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "app.cli", command], env=inherited | own | environment, cwd=ROOT,
            stdout=screen, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT if command == "up" else signal.SIGTERM)
        process.wait(timeout=120)


async def linli(folder: Path, model: str) -> dict[str, float]:
    """Seconds until Linli answers at all, until its engine does, and until the first token of an answer by it."""
    (folder / "running.json").unlink(missing_ok=True)
    started = time.perf_counter()
    stages: dict[str, float] = {}
    with running("up", folder, LINLI_STARTER_MODEL=model) as process:
        async with httpx.AsyncClient(timeout=START_SECONDS_MAX) as client:
            while "engine ready" not in stages:
                assert process.poll() is None, (folder / "up.screen").read_text()[-2_000:]
                assert time.perf_counter() - started < START_SECONDS_MAX, stages
                state = await _readiness(client, folder)
                for stage, there in (("ready", state.get("ready")), ("engine ready", state.get("mode") == "full")):
                    if there:
                        stages.setdefault(stage, time.perf_counter() - started)
                await asyncio.sleep(POLL_SECONDS)
            await _ask(client, folder)
            stages["first token"] = time.perf_counter() - started
    return stages


async def _readiness(client: httpx.AsyncClient, folder: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError, httpx.HTTPError):
        port = json.loads((folder / "running.json").read_text())["LINLI_WEB_PORT"]
        client.base_url = httpx.URL(f"http://127.0.0.1:{port}")
        found: dict[str, Any] = (await client.get("/readyz", timeout=5)).json()
        return found
    return {}


async def _ask(client: httpx.AsyncClient, folder: Path) -> None:
    """A resident of the practice community asks; returns at the first token."""
    resident = next(one for one in DEMO_SIGN_INS if one.kind == "resident")
    password = (folder / PASSWORD_FILE).read_text().strip()
    body = {"community": resident.community, "login": resident.login, "password": password}
    signed_in = (await client.post("/api/v1/auth/sign-in", json=body)).raise_for_status().json()
    headers = {"authorization": f"Bearer {signed_in['access_token']}", "accept": "text/event-stream"}
    asked = {"text": QUESTION}
    async with client.stream("POST", "/api/v1/me/turns", json=asked, headers=headers) as answer:
        async for line in answer.aiter_lines():
            if line == "event: token":
                return
    raise AssertionError("the answer held no token")


async def engine(folder: Path, model: str) -> float:
    """Seconds until the first token of the engine that `linli engine` runs, the same command as in `linli up`."""
    url = f"http://127.0.0.1:{port_in(folder)}/v1"
    started = time.perf_counter()
    with running("engine", folder, LINLI_STARTER_MODEL=model, LINLI_ENGINE_URL=url) as process:
        async with httpx.AsyncClient(timeout=START_SECONDS_MAX) as client:
            while not await _first_token(client, url):
                assert process.poll() is None, (folder / "engine.screen").read_text()[-2_000:]
                assert time.perf_counter() - started < START_SECONDS_MAX
                await asyncio.sleep(POLL_SECONDS)
            return time.perf_counter() - started


async def _first_token(client: httpx.AsyncClient, url: str) -> bool:
    with suppress(httpx.TransportError, KeyError, ValueError):
        served = (await client.get(f"{url}/models")).json()["data"][0]["id"]
        body = {"model": served, "messages": [{"role": "user", "content": QUESTION}], "stream": True, "max_tokens": 16}
        async with client.stream("POST", f"{url}/chat/completions", json=body) as answer:
            async for line in answer.aiter_lines():
                if line.startswith("data: {") and json.loads(line[6:])["choices"][0]["delta"].get("content"):
                    return True
    return False


if __name__ == "__main__":
    asyncio.run(main())
