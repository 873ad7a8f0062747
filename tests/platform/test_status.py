"""`linli status` and `linli dead`: what an operator sees, in a healthy house and in a broken one."""

import asyncio
import dataclasses
import io
import json
import socket
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest
from rich.console import Console

from app import vitals
from app.chat.conversations import ANSWER_TURN
from app.chat.turns import give_up
from app.queue import Job, Lane
from app.status import dead, show
from app.status.alerts import ALERTS, wrong
from app.status.dead import Replayed
from app.status.house import House, look, open_view
from app.status.words import WORDS, Words
from models.engine import State

ROOT = Path(__file__).parents[2]


def shown(house: House, *, language: str = "en", columns: int = 80) -> str:
    page = io.StringIO()
    Console(file=page, width=columns, force_terminal=False).print(show.screen(house, Words(language)))
    return page.getvalue()


def names(house: House) -> set[str]:
    return {alert.name for alert, _ in wrong(house)}


async def seen(runtime, **changes) -> House:
    """The house with one web and one worker process that live here."""
    for role in ("web", "worker"):
        pulse = vitals.Pulse(runtime, role)
        await pulse._write(await pulse.measure())
    return dataclasses.replace(await look(runtime), **changes)


async def die(runtime, job: Job, reason: str = "the file cannot be read") -> None:
    await runtime.queue.send(job)
    [lease] = await runtime.queue.take(1, wait_seconds=0)
    assert await runtime.queue.fail(lease, reason=reason)


async def test_a_healthy_house_says_that_all_is_well(runtime):
    house = await seen(runtime)
    assert names(house) == set()
    assert "All is well." in shown(house)
    assert "一切正常" in shown(house, language="zh")


async def test_the_queue_is_told_by_lane_and_by_community_with_its_name(runtime, make):
    loud, quiet = await make.place(name="桃源里"), await make.place(name="梧桐苑")
    for place, jobs in ((loud, 6), (quiet, 1)):
        for _ in range(jobs):
            await runtime.queue.send(Job("tests.ask", uuid4(), place.id))
    await runtime.queue.send(Job("tests.embed", uuid4(), quiet.id, lane=Lane.BATCH))
    house = await seen(runtime)
    assert [(crowd.name, crowd.waiting) for crowd in house.crowds] == [("桃源里", 6), ("梧桐苑", 2)]
    assert house.stats is not None
    assert house.stats.lanes[Lane.INTERACTIVE].ready == 7
    assert house.stats.lanes[Lane.INTERACTIVE].expected_wait_seconds > 0
    text = shown(house)
    assert "桃源里" in text
    assert "75%" in text


async def test_one_community_that_floods_is_named(runtime, make, settings):
    place = await make.place(name="桃源里")
    narrow = dataclasses.replace(runtime, settings=settings.model_copy(update={"queue_waiting_per_community_max": 10}))
    for _ in range(9):
        await runtime.queue.send(Job("tests.ask", uuid4(), place.id))
    house = await seen(narrow)
    assert "LinliCommunityFloods" in names(house)
    assert "桃源里: 9 / 10" in shown(house)


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("language", ["en", "zh"])
async def test_nothing_is_wider_than_the_terminal(runtime, make, engine, language, columns):
    place = await make.place(name="一个名字特别特别特别长的住宅小区二期三期四期五期")
    for _ in range(3):
        await runtime.queue.send(Job("tests.ask", uuid4(), place.id))
    engine.stand(State.FAILING, "connection reset " * 20)
    house = await seen(runtime, parts={"database": "down: OperationalError", "redis": "ok"})
    cell = Console(width=columns)
    for line in shown(house, language=language, columns=columns).splitlines():
        assert cell.measure(line).maximum <= columns


async def test_without_a_worker_it_says_who_to_start(runtime):
    pulse = vitals.Pulse(runtime, "web")
    await pulse._write(await pulse.measure())
    house = await look(runtime)
    assert "LinliNoWorker" in names(house)
    assert "linli worker" in shown(house)


async def test_an_engine_that_is_away_is_told_as_quotes_only(runtime, engine, settings):
    wanted = dataclasses.replace(runtime, settings=settings.model_copy(update={"engine_url": "http://127.0.0.1:9/v1"}))
    engine.stand(State.OFF, "connection refused")
    house = await seen(wanted)
    assert "LinliEngineDown" in names(house)
    assert "quotes only" in shown(house)
    # Where no engine is wanted, that none answers is nothing wrong.
    assert names(await seen(runtime)) == set()


def nowhere() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


async def test_with_redis_down_it_still_shows_what_there_is(settings):
    away = settings.model_copy(update={"redis_url": f"redis://127.0.0.1:{nowhere()}/0"})
    async with open_view(away) as runtime:
        house = await look(runtime)
    assert house.parts["redis"].startswith("down")
    assert house.parts["database"] == "ok"
    assert "LinliRedisDown" in names(house)
    # Whether workers live cannot be known then, so nothing is said of it.
    assert "LinliNoWorker" not in names(house)
    assert "not known while Redis is down" in shown(house)


async def test_with_postgres_down_it_still_shows_the_queue(settings, runtime):
    await runtime.queue.send(Job("tests.ask", uuid4(), uuid4()))
    away = settings.model_copy(update={"database_url": f"postgresql://linli_app:x@127.0.0.1:{nowhere()}/linli"})
    async with open_view(away) as blind:
        house = await look(blind)
    assert "LinliDatabaseDown" in names(house)
    assert house.stats is not None
    assert house.stats.waiting == 1
    assert house.crowds[0].name == ""
    assert "Start Postgres" in shown(house)


async def test_dead_jobs_are_listed_with_reason_and_community_and_run_again(runtime, make):
    place = await make.place(name="桃源里")
    job = Job("knowledge.ingest", uuid4(), place.id, lane=Lane.BATCH)
    await die(runtime, job)
    assert "LinliDeadJobs" in names(await seen(runtime))
    [found] = await dead.listed(runtime, limit=10)
    assert (found.community, found.dead.reason) == ("桃源里", "the file cannot be read")
    [(_, outcome)] = await dead.replay(runtime, await dead.chosen(runtime, name=None, row_id=None))
    assert outcome is Replayed.QUEUED
    assert (await runtime.queue.stats()).dead == 0
    [lease] = await runtime.queue.take(1, wait_seconds=0)
    assert lease.job == job
    assert await dead.chosen(runtime, name=job.name, row_id=job.row_id) == []


async def test_a_question_that_was_given_up_is_not_answered_behind_the_residents_back(client, runtime, make, run_jobs):
    resident = await make.resident()
    turn = (await client.post("/api/v1/me/turns", as_=resident, json={"text": "几点开门？"})).json()
    [lease] = await runtime.queue.take(1, wait_seconds=0)
    assert lease.job.name == ANSWER_TURN
    await runtime.queue.fail(lease, reason="killed its worker")
    await give_up(runtime, lease.job.row_id, resident.place.id, reason="killed its worker")
    [(_, outcome)] = await dead.replay(runtime, await dead.chosen(runtime, name=ANSWER_TURN, row_id=None))
    assert outcome is Replayed.TURN_OVER
    assert await run_jobs() == 1
    assert (await client.get(f"/api/v1/turns/{turn['id']}", as_=resident)).json()["status"] == "failed"
    assert (await runtime.queue.stats()).dead == 0


async def test_the_command_prints_json_for_programs_and_ends_with_1_when_residents_notice(settings, runtime):
    environment = {
        "LINLI_DATABASE_URL": settings.database_url, "LINLI_REDIS_URL": settings.redis_url,
        "LINLI_SECRET_KEY": "a secret of the tests, long enough to sign", "LINLI_DATA_DIR": str(settings.data_dir),
        "PYTHONPATH": str(ROOT), "PATH": "",
    }  # fmt: skip
    asked = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "app.cli", "status", "--json",
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/",
    )  # fmt: skip
    out, _ = await asyncio.wait_for(asked.communicate(), 120)
    told = json.loads(out)
    assert asked.returncode == 1, "no worker lives"
    assert told["parts"] == {"database": "ok", "redis": "ok"}
    assert {"LinliNoWorker", "LinliNoWeb"} <= {entry["alert"] for entry in told["wrong"]}
    assert all(entry["action"] for entry in told["wrong"])


def test_every_alert_says_in_both_languages_what_to_do():
    for alert in ALERTS:
        for text in (alert.summary, alert.description, alert.action):
            assert text.en.strip(), alert.name
            assert any("\u4e00" <= char <= "\u9fff" for char in text.zh), alert.name
    assert len({alert.name for alert in ALERTS}) == len(ALERTS)
    assert all(en and zh for en, zh in WORDS.values())
