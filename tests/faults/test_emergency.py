"""Somebody is stuck in the lift while parts of the house are dead: killed as processes, not only unreachable."""

import asyncio
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from app.children import Child
from app.runtime import open_embedder, open_parts
from tests.faults.stack import Process, running
from tests.make import Make
from tests.platform.valkey_servers import free_port

LIFT = "我被困在电梯里了，3栋2单元"
EMBEDDER = "import time; from tests.faults.town import embedding_server as at\nwith at({port}): time.sleep(9999)"
RUNG_WITHIN_SECONDS = 60


def _listens(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


@asynccontextmanager
async def served(folder: Path, name: str, *command: str) -> AsyncIterator[tuple[Process, str]]:
    """A server as a process of its own, and its address. `{port}` in the command is filled in."""
    port = free_port()
    child = Child(name, [sys.executable, *(word.replace("{port}", str(port)) for word in command)], folder / name)
    process = Process(child, lambda: _listens(port))
    await process.start()
    try:
        yield process, f"http://127.0.0.1:{port}/v1"
    finally:
        if process.is_running:
            process.kill()


async def test_with_valkey_engine_and_embedder_killed_the_lift_case_gets_its_card_and_its_order(tmp_path: Path):
    async with (
        served(tmp_path, "engine", "-m", "tests.scripted_server", "--port", "{port}") as (engine, engine_url),
        served(tmp_path, "embedder", "-c", EMBEDDER) as (embedder, embedder_url),
        running(tmp_path, webs=0, workers=0, embedder_url=embedder_url) as stack,
    ):
        web, worker = (start(LINLI_ENGINE_URL=engine_url) for start in (stack.web, stack.worker))
        await asyncio.gather(web.start(), worker.start())
        async with open_parts(stack.settings, open_embedder(stack.settings)) as runtime:
            make = Make(runtime)
            resident, manager = await make.resident(), await make.staff()
            await make.on_call(manager)
        stack.valkey.kill()
        engine.kill()
        embedder.kill()

        async with httpx.AsyncClient(base_url=stack.web_urls[0], timeout=30) as client:
            turn = await client.post("/api/v1/me/turns", json={"text": LIFT}, headers=stack.headers_of(resident))
            assert (turn.status_code, turn.json()["status"]) == (202, "answered"), turn.text
            assert "不要扒门" in turn.json()["answer"]
            body = {"community": manager.place.slug, "text": "9栋电梯困人了", "contact_phone": "13800000000"}
            signed_out = await client.post("/api/v1/emergencies", json=body)
            assert (signed_out.status_code, signed_out.json()["reported"]) == (200, True), signed_out.text
            assert "不要扒门" in signed_out.json()["card"]
            listed = await client.get(f"{manager.place.url}/workorders", headers=stack.headers_of(manager))
            orders = listed.json()["items"]
            assert [(order["emergency_kind"], order["urgency"]) for order in orders] == [("trapped", "emergency")] * 2
            # Who is on call is rung about both, by the worker's sweep alone.
            deadline = time.monotonic() + RUNG_WITHIN_SECONDS
            for order in orders:
                url = f"{manager.place.url}/workorders/{order['id']}/ring"
                while not (rung := (await client.get(url, headers=stack.headers_of(manager))).json()["calls"]):
                    assert time.monotonic() < deadline, "nobody was rung"
                    await asyncio.sleep(0.2)
                assert rung[0]["staff_id"] == str(manager.id)


async def test_with_postgres_killed_whoever_writes_of_an_emergency_is_told_what_to_do(tmp_path: Path):
    async with running(tmp_path, webs=1, workers=0) as stack:
        async with open_parts(stack.settings, open_embedder(stack.settings)) as runtime:
            resident = await Make(runtime).resident()
        await stack.postgres.crash()
        async with httpx.AsyncClient(base_url=stack.web_urls[0], timeout=30) as client:

            async def say(path: str, body: dict[str, Any], **headers: str) -> httpx.Response:
                return await client.post(path, json=body, headers=stack.headers_of(resident) | headers)

            for path, body in (
                ("/api/v1/me/turns", {"text": LIFT}),
                ("/api/v1/me/workorders", {"text": LIFT}),
                ("/v1/chat/completions", {"messages": [{"role": "user", "content": LIFT}]}),
            ):
                told = await say(path, body)
                problem = told.json()
                assert (told.status_code, problem["code"]) == (503, "emergency_not_reported"), told.text
                assert (told.headers["retry-after"], problem["facts"]) == ("2", {"kind": "trapped"})
                assert "不要扒门" in problem["detail"]
                assert "could not be told" in problem["messages"]["en"]
            english = await say("/api/v1/me/turns", {"text": "stuck in the lift, help"}, **{"Accept-Language": "en"})
            assert english.json()["detail"] == english.json()["messages"]["en"]
            for harmless in ({"text": "电梯广告多少钱"}, {"text": ""}, {"words": LIFT}):
                told = await say("/api/v1/me/turns", harmless)
                assert (told.status_code, told.json()["code"]) == (503, "store_unavailable"), told.text
