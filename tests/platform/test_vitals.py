"""What a process tells of itself: to Redis for `linli status`, to Prometheus."""

import asyncio
import dataclasses
import socket
import urllib.error
import urllib.request
from uuid import uuid4

import pytest
from prometheus_client import REGISTRY
from pydantic import SecretStr

from app import telemetry, vitals
from app.metering import MeteredEngine
from app.queue import Job
from models.engine import EngineFailed, Message, Request, Usage
from models.scripted_engine import Scripted, ScriptedEngine


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def asked() -> Request:
    return Request((Message("user", "几点开门？"),), max_tokens=20)


async def test_tokens_first_tokens_and_cache_hits_are_counted():
    engine = MeteredEngine(ScriptedEngine([Scripted("八点开门。", usage=Usage(100, 80, 5)), Scripted("是")]))
    before = {kind: counted("linli_engine_tokens_total", kind=kind) for kind in ("prompt", "cached", "completion")}
    assert "".join([delta.text async for delta in engine.stream(asked())]) == "八点开门。"
    await engine.complete(asked())
    after = {kind: counted("linli_engine_tokens_total", kind=kind) for kind in before}
    assert after["cached"] - before["cached"] == 80
    assert after["completion"] - before["completion"] == 5 + 1
    assert len(engine.first_tokens()) == 1
    await asyncio.sleep(1.1)
    assert engine.tokens_per_second > 0


async def test_an_answer_that_is_left_or_breaks_off_counts_what_came():
    engine = MeteredEngine(ScriptedEngine([Scripted("一二三四", fail_at=2)]))
    failed, written = (
        counted("linli_engine_requests_total", outcome="failed"),
        counted("linli_engine_tokens_total", kind="completion"),
    )
    with pytest.raises(EngineFailed):
        _ = [delta async for delta in engine.stream(asked())]
    assert counted("linli_engine_requests_total", outcome="failed") == failed + 1
    assert counted("linli_engine_tokens_total", kind="completion") == written + 2


async def test_a_process_is_seen_while_it_lives_and_not_after(runtime):
    async with vitals.living(runtime, "worker"):
        async with asyncio.timeout(10):
            while not (alive := await vitals.processes(runtime.redis)):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert [found.role for found in alive] == ["worker"]
        assert alive[0].parts == {"database": "ok", "redis": "ok"}
        assert alive[0].engines[0].state == "ready"
        assert alive[0].slots == runtime.settings.worker_slots_max
        assert await runtime.redis.ttl(f"{vitals.KEY}:{alive[0].id}") <= vitals.ALIVE_SECONDS
    assert await vitals.processes(runtime.redis) == []


async def test_what_a_newer_version_writes_does_not_break_the_status(runtime):
    pulse = vitals.Pulse(runtime, "web")
    written = (await pulse.measure()).model_dump() | {"id": "web:new:1", "heart_rate": 70}
    await runtime.redis.zadd(vitals.KEY, {"web:new:1": 1, "web:odd:2": 2})
    await runtime.redis.set(f"{vitals.KEY}:web:new:1", vitals.Vitals(**written).model_dump_json())
    await runtime.redis.set(f"{vitals.KEY}:web:odd:2", '{"id": 7}')
    assert [found.id for found in await vitals.processes(runtime.redis)] == ["web:new:1"]


async def test_the_last_minute_counts_only_what_happened_in_it(runtime):
    pulse = vitals.Pulse(runtime, "web")
    await pulse.measure()
    engine = MeteredEngine(ScriptedEngine([Scripted("好", usage=Usage(10, 4, 1))]))
    _ = [delta async for delta in engine.stream(asked())]
    lately = (await pulse.measure()).lately
    assert (lately["prompt_tokens"], lately["cached_tokens"]) == (10, 4)


async def test_the_meters_say_how_the_queue_stands(client, runtime):
    await runtime.queue.send(Job("tests.meters", uuid4(), uuid4()))
    told = (await client.get("/metrics")).text
    assert 'linli_queue_ready_jobs{lane="interactive"} 1.0' in told
    assert 'linli_queue_jobs{state="waiting"} 1.0' in told
    assert 'linli_part_up{part="database"} 1.0' in told
    assert "linli_documents_waiting " in told


async def test_the_meters_are_closed_to_the_world_behind_a_proxy(client):
    assert (await client.get("/metrics")).status_code == 200
    refused = await client.get("/metrics", headers={"x-forwarded-for": "203.0.113.9"})
    assert refused.status_code == 403
    assert refused.json()["code"] == "metrics_closed"


async def test_with_a_token_the_meters_are_open_to_whoever_has_it(client, web, runtime, settings):
    _, app = web
    locked = settings.model_copy(update={"metrics_token": SecretStr("measure-me")})
    app.state.runtime = dataclasses.replace(runtime, settings=locked)
    assert (await client.get("/metrics")).status_code == 403
    given = {"authorization": "Bearer measure-me", "x-forwarded-for": "203.0.113.9"}
    assert (await client.get("/metrics", headers=given)).status_code == 200


def read(url: str, token: str = "") -> tuple[int, str]:
    request = urllib.request.Request(url, headers={"authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, ""


async def test_a_workers_own_meters_listen_on_loopback_and_ask_for_the_token(settings):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    config = settings.model_copy(update={"worker_metrics_port": port, "metrics_token": SecretStr("measure-me")})
    server = telemetry.serve_metrics(config)
    assert server is not None
    url = f"http://127.0.0.1:{port}/metrics"
    assert (await asyncio.to_thread(read, url))[0] == 403
    status, told = await asyncio.to_thread(read, url, "measure-me")
    assert status == 200
    assert "linli_jobs_running" in told
    # Another worker of the same machine goes without meters, and works.
    assert telemetry.serve_metrics(config) is None
    await asyncio.to_thread(server.shutdown)
    server.server_close()
