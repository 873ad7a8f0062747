"""A conversation between people goes through a web process that is killed and started again."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.chat.events import Sent, read
from tests.chat.test_handoff import ME, act
from tests.chat.test_turns import PARKING, ask
from tests.conftest import Client
from tests.make import Person
from tests.platform.valkey_servers import free_port

WORDS = [f"第{n}句" for n in range(20)]


class Web:
    """A web process of its own."""

    def __init__(self, environment: dict[str, str], log: Path, port: int) -> None:
        self._environment, self._log = environment, log
        self.url = f"http://127.0.0.1:{port}"
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-c", "from app.cli import main; main()", "web"],
                env=self._environment, stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip
        deadline = time.monotonic() + 60
        while not self._answers():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/healthz", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(timeout=10)


@pytest.fixture
def start_web(settings, tmp_path) -> Iterator[Callable[[], Web]]:
    started: list[Web] = []

    def start() -> Web:
        port = free_port()
        environment = {
            **os.environ,
            "LINLI_DATABASE_URL": settings.database_url,
            "LINLI_REDIS_URL": settings.redis_url,
            "LINLI_ENGINE_URL": "http://127.0.0.1:9/v1",
            "LINLI_SECRET_KEY": settings.secret_key.get_secret_value(),
            "LINLI_DATA_DIR": str(tmp_path),
            "LINLI_WEB_PORT": str(port),
            "LINLI_TURNS_PER_MINUTE_MAX": "10000",
        }
        started.append(Web(environment, tmp_path / "web.log", port))
        return started[-1]

    yield start
    for web in started:
        web.kill()


async def listen(client: Client, resident: Person, url: str, heard: list[Sent]) -> None:
    """As a browser does: comes back with the last id whenever the stream breaks, until all was said."""
    while sum(event.name == "message" for event in heard) < len(WORDS):
        headers = {"Last-Event-ID": heard[-1].id} if heard else {}
        try:
            async with client.stream("GET", url, as_=resident, headers=headers) as response:
                assert response.status_code == 200
                async for event in read(response):
                    heard.append(event)
                    if event.data["text"] == WORDS[-1]:
                        return
        except httpx.HTTPError:
            await asyncio.sleep(0.05)


async def say(client: Client, who: Person, url: str, n: int) -> None:
    """Sent until it is acknowledged; the key makes it one message."""
    while True:
        try:
            answer = await client.post(url, as_=who, json={"text": WORDS[n]}, headers={"Idempotency-Key": f"word-{n}"})
        except httpx.HTTPError:
            await asyncio.sleep(0.05)
            continue
        assert answer.status_code in (201, 503), answer.text
        if answer.status_code == 201:
            return


async def test_no_word_is_lost_or_doubled_when_the_web_process_is_killed_in_between(
    client, make, runtime, start_web, engine, run_jobs
):
    resident, wang = await make.resident(), await make.staff()
    await make.document("停车管理办法", PARKING)
    web = await asyncio.to_thread(start_web)
    async with Client(base_url=web.url, timeout=10) as outside:
        # The processes live by the real time.
        outside.settings, outside.clock = runtime.settings, real_clock()
        turn = await ask(outside, resident, "转人工")
        await act(outside, wang, turn, "take-over")
        heard: list[Sent] = []
        talk = f"{ME}/{turn['conversation_id']}"
        listening = asyncio.create_task(listen(outside, resident, f"{talk}/events", heard))
        staff_url = f"{wang.place.url}/conversations/{turn['conversation_id']}/messages"
        for n in range(len(WORDS)):
            if n == 8:
                web.kill()
                restarting = asyncio.create_task(asyncio.to_thread(web.start))
                await say(outside, wang, staff_url, n)
                await restarting
            else:
                await say(outside, wang, staff_url, n)
        async with asyncio.timeout(20):
            await listening
        assert [event.data["text"] for event in heard if event.name == "message"] == WORDS
        back = await act(outside, wang, turn, "return-to-bot")
        assert back["status"] == "bot"
        asked = await ask(outside, resident, "那月租车位呢？", conversation_id=turn["conversation_id"])
    engine.follow(["每月300元。"])
    await run_jobs()
    answer = (await client.get(f"/api/v1/turns/{asked['id']}", as_=resident)).json()
    assert answer["answer"] == "每月300元。"
    said: Any = [message.content for message in engine.requests[-1].messages]
    assert any(WORDS[-1] in text for text in said)


def real_clock() -> Any:
    from app.clock import CLOCK

    return CLOCK.now
