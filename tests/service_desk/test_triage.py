"""Triage as the desk meets it: what becomes of a report, with parts of the house away, and killed in the middle."""

import asyncio
import dataclasses
import json
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.people.tables import SpaceKind, StaffRole
from app.queue import HANDLERS, Lease
from app.runtime import Runtime
from app.safety import emergencies
from app.service_desk import categories, jobs, places, triage, triage_slots, triage_tables, work_orders
from app.service_desk.places import Said
from app.settings import Settings
from models import versions
from models.engine import State
from models.intent import load_categories, load_intents
from models.scripted_engine import Scripted, ScriptedEngine
from tests.conftest import Client, Clock
from tests.make import Make, Person

MINE = "/api/v1/me/workorders"
RunJobs = Callable[[], Awaitable[int]]


@pytest.fixture
async def manager(make: Make) -> Person:
    return await make.staff()


@pytest.fixture
async def tree(client: Client, manager: Person) -> dict[str, str]:
    """Two phases with a 2栋 each, of which the second has two stairwells with rooms. Ids by address."""
    ids: dict[str, str] = {}

    async def add(kind: SpaceKind, name: str, parent: str = "") -> str:
        body = {"kind": kind, "name": name, "parent_id": ids.get(parent)}
        made = await client.post(f"{manager.place.url}/spaces", json=body, as_=manager)
        assert made.status_code == 201, made.text
        ids[made.json()["label"]] = made.json()["id"]
        return str(made.json()["label"])

    for phase in ("1", "2"):
        building = await add(SpaceKind.BUILDING, "2", await add(SpaceKind.PHASE, phase))
        for unit in ("1", "3"):
            stairs = await add(SpaceKind.UNIT, unit, building)
            await add(SpaceKind.ROOM, "1502", stairs)
    await add(SpaceKind.BUILDING, "A座")
    return ids


async def report(client: Client, who: Person, text: str, **body: Any) -> str:
    opened = await client.post(MINE, json={"text": text, **body}, as_=who)
    assert opened.status_code == 201, opened.text
    return str(opened.json()["id"])


async def seen(client: Client, manager: Person, order_id: str) -> dict[str, Any]:
    shown = await client.get(f"{manager.place.url}/workorders/{order_id}", as_=manager)
    assert shown.status_code == 200, shown.text
    return dict(shown.json())


async def events(client: Client, manager: Person, order_id: str) -> list[dict[str, Any]]:
    listed = await client.get(f"{manager.place.url}/workorders/{order_id}/events", as_=manager)
    return list(listed.json()["items"])


async def test_a_clear_report_goes_on_and_an_unclear_one_waits_for_a_person(
    client: Client, make: Make, manager: Person, run_jobs: RunJobs
):
    resident = await make.resident()
    clear, unclear = (
        await report(client, resident, "厨房水龙头一直漏水"),
        await report(client, resident, "那个东西又那样了"),
    )
    await run_jobs()
    first, second = await seen(client, manager, clear), await seen(client, manager, unclear)
    assert (first["category_name"], first["kind"], first["urgency"]) == ("给水管道", "repair", "urgent")
    assert (first["auto_classified"], first["triage"]["doubts"]) == (True, [])
    assert first["confidence"] >= 0.6
    assert first["triage"]["place_found"] == "home"
    assert (second["category_id"], second["auto_classified"], second["needs_person"]) == (None, False, True)
    assert {"confidence_low", "not_an_order"} & set(second["triage"]["doubts"])
    for order in (clear, unclear):
        kinds = [event["kind"] for event in await events(client, manager, order)]
        assert kinds[:2] == ["created", "triaged"]
        assert kinds.count("triaged") == 1, "each job is delivered twice, each order triaged once"


async def test_a_complaint_in_english_finds_its_category_and_stays_a_complaint(
    client: Client, make: Make, manager: Person, run_jobs: RunJobs
):
    resident = await make.resident(language="en")
    noise = await report(client, resident, "My upstairs neighbour plays loud music every night", kind="complaint")
    chosen = (await client.get(f"{manager.place.url}/workorder-categories", as_=manager)).json()["items"]
    other = next(row["id"] for row in chosen if row["code"] == "network")
    own_choice = await report(client, resident, "The corridor light is out", category_id=other)
    await run_jobs()
    first, second = await seen(client, manager, noise), await seen(client, manager, own_choice)
    assert (first["kind"], first["category_name_en"]) == ("complaint", "Noise")
    assert (second["category_id"], second["auto_classified"]) == (other, False), "what the reporter chose stays"


async def test_who_is_trapped_makes_an_emergency_whatever_the_model_thinks(
    client: Client, make: Make, manager: Person, run_jobs: RunJobs
):
    order = await report(client, await make.resident(), "我被困在电梯里了，快来人")
    await run_jobs()
    shown = await seen(client, manager, order)
    assert (shown["urgency"], shown["category_name"]) == ("emergency", "电梯")


async def test_an_emergency_told_without_any_sign_of_the_rules_is_heard_at_the_desk_as_in_chat(
    client: Client, make: Make, manager: Person, run_jobs: RunJobs
):
    text = "他趴在方向盘上,嘴边都是沫子"
    assert emergencies.find(text) is None
    order = await report(client, await make.resident(), text)
    await run_jobs()
    assert (await seen(client, manager, order))["urgency"] == "emergency"


async def test_addresses_are_found_in_the_tree_or_left_to_a_person(
    client: Client, manager: Person, tree: dict[str, str]
):
    home = tree["2期2栋1单元1502"]

    async def place(text: str, **body: Any) -> tuple[str, str]:
        answer = await client.post(f"{manager.place.url}/triage", json={"text": text, **body}, as_=manager)
        assert answer.status_code == 200, answer.text
        return answer.json()["place"], answer.json()["place_found"]

    assert await place("2期2栋3单元1502马桶堵了") == ("2期2栋3单元1502", "said")
    assert await place("二期二栋三单元没水") == ("2期2栋3单元", "said")
    assert await place("三单元没水了", room_id=home) == ("2期2栋3单元", "said")
    assert await place("三单元没水了") == ("", "unknown"), "there is one in each phase"
    assert await place("2栋楼道灯坏了", room_id=home) == ("2期2栋", "said")
    assert await place("The lobby door in tower A is broken") == ("A座", "said")
    assert await place("9号楼电梯坏了") == ("", "unknown")
    assert await place("楼道灯不亮", room_id=home) == ("2期2栋1单元", "home")
    assert await place("厨房漏水", room_id=home) == ("2期2栋1单元1502", "home")
    assert await place("地库B2漏水一大片", room_id=home) == ("", "none")


def asking(runtime: Runtime) -> Runtime:
    """The runtime of a house whose triage asks the engine."""
    return dataclasses.replace(runtime, settings=runtime.settings.model_copy(update={"triage_engine": True}))


async def triage_by(runtime: Runtime) -> None:
    """Run the waiting triages in this runtime, each twice."""
    while leases := await runtime.queue.take(8, wait_seconds=0):
        for lease in leases:
            await HANDLERS[work_orders.TRIAGE](runtime, lease)
            await HANDLERS[work_orders.TRIAGE](runtime, dataclasses.replace(lease, token=lease.token + 1))
            await runtime.queue.finish(lease)


async def test_the_engine_reads_what_rules_missed_and_what_it_makes_up_is_dropped(
    client: Client, make: Make, runtime: Runtime, manager: Person, tree: dict[str, str], engine: ScriptedEngine
):
    resident = await make.resident()
    text = "在一期那边二号的楼,三号梯,表间里那个东西又那样了"
    right = dict.fromkeys((*triage_slots.LEVELS, *triage_slots.QUOTED), "") | {"category": "plumbing"}
    right |= {"phase": "1", "building": "2", "unit": "3", "spot": "表间", "problem": "电线短路起火"}
    wrong = right | {"unit": "7", "spot": "屋顶"}
    found: list[dict[str, Any]] = []
    for answer in (right, wrong):
        engine.follow([json.dumps(answer, ensure_ascii=False)])
        order = await report(client, resident, f"{text} {len(found)}", place_text="园区里")
        await triage_by(asking(runtime))
        found.append((await seen(client, manager, order))["triage"])
    assert found[0]["place"] == "1期2栋3单元"
    assert found[0]["slots"]["spot"] == "表间"
    assert "problem" not in found[0]["slots"], "the report says nothing of it"
    assert (found[1]["place"], "unit" in found[1]["slots"]) == ("1期2栋", False)
    asked = engine.requests[0]
    assert asked.json_schema == triage_slots.SCHEMA
    assert asked.salt == str(manager.place.id)


class Gone:
    """An embedder under another name than the weights know; asking it would fail the test."""

    name, width = "another-embedder", 8

    async def embed_queries(self, texts: Any) -> Any:
        raise AssertionError("vectors of another embedder mean nothing to the weights")

    embed_passages = embed_queries


async def test_with_the_engine_down_and_another_embedder_orders_wait_for_a_person_less_sure_but_triaged(
    client: Client, make: Make, manager: Person, runtime: Runtime, engine: ScriptedEngine, run_jobs: RunJobs
):
    resident = await make.resident()
    whole = await report(client, resident, "马桶堵了,水下不去")
    await run_jobs()
    engine.stand(State.OFF, "stopped")
    less = await report(client, resident, "马桶堵了，下不去水")
    trapped = await report(client, resident, "电梯里有人出不来,快救人")
    await triage_by(dataclasses.replace(asking(runtime), embedder=Gone()))
    first, second = await seen(client, manager, whole), await seen(client, manager, less)
    assert (first["triage"]["voice"], second["triage"]["voice"]) == ("full", "wording")
    assert first["triage"]["category_code"] == second["triage"]["category_code"] == "drainage"
    assert second["confidence"] < first["confidence"]
    assert (await seen(client, manager, trapped))["urgency"] == "emergency"
    assert not engine.requests


async def test_an_engine_that_fails_or_is_busy_is_not_waited_for(
    client: Client, make: Make, manager: Person, runtime: Runtime, engine: ScriptedEngine
):
    resident = await make.resident()
    engine.follow([Scripted("{}", fail_at=0), Scripted(busy_seconds=9)])
    for text in ("那个东西又那样了", "还是老样子"):
        order = await report(client, resident, text)
        await triage_by(asking(runtime))
        assert (await seen(client, manager, order))["needs_person"]
    assert len(engine.requests) == 2


def test_damaged_weights_leave_words_that_point_and_a_person(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    load_intents.cache_clear()
    monkeypatch.setattr(versions, "WEIGHTS", tmp_path)
    heard = triage.hear("马桶堵了", None)
    assert (heard.voice, heard.categories[0][0]) == (triage.Voice.RULES, "drainage")
    assert heard.categories[0][1] < 0.6
    load_intents.cache_clear()


async def test_a_worker_killed_while_the_engine_thinks_leaves_the_order_triaged_once(
    client: Client, make: Make, manager: Person, runtime: Runtime, settings: Settings
):
    order = await report(client, await make.resident(), "那个东西又那样了")
    hands = [sys.executable, "-m", "tests.service_desk.triage_process", settings.database_url, settings.redis_url]
    process = await asyncio.create_subprocess_exec(*hands)
    try:
        async with asyncio.timeout(120):
            while not await runtime.redis.lpop("thinking"):  # noqa: ASYNC110 (another process sets it)
                await asyncio.sleep(0.05)
        process.kill()
        await process.wait()
        assert (await seen(client, manager, order))["triage"] is None
        lease = await take_back(runtime, order)
        assert lease.attempt > 1
        await HANDLERS[work_orders.TRIAGE](runtime, lease)
        await HANDLERS[work_orders.TRIAGE](runtime, lease)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert [one["kind"] for one in await events(client, manager, order)] == ["created", "triaged"]


async def take_back(runtime: Runtime, order: str) -> Lease:
    """The lease of a worker that is no more on the triage of an order, once it ran out."""
    async with asyncio.timeout(20):
        while True:
            for lease in await runtime.queue.take(1, wait_seconds=0.5):
                # The worker's sweep also sent those of other tests.
                if (lease.job.name, str(lease.job.row_id)) == (work_orders.TRIAGE, order):
                    return lease


async def test_two_workers_that_think_at_once_write_once(client: Client, make: Make, manager: Person, runtime: Runtime):
    order = await report(client, await make.resident(), "楼上半夜一直吵")
    (lease,) = await runtime.queue.take(1, wait_seconds=0)
    await asyncio.gather(*(HANDLERS[work_orders.TRIAGE](runtime, lease) for _ in range(4)))
    await runtime.queue.finish(lease)
    assert [one["kind"] for one in await events(client, manager, order)] == ["created", "triaged"]


async def test_an_order_whose_job_was_lost_is_sent_again(
    client: Client, make: Make, manager: Person, runtime: Runtime, clock: Clock, run_jobs: RunJobs
):
    order = await report(client, await make.resident(), "单元门关不上")
    await runtime.redis.flushall()
    clock.now += timedelta(seconds=jobs.SWEEP_SECONDS + 1)
    await jobs.sweep_untriaged_orders(runtime)
    await run_jobs()
    assert (await seen(client, manager, order))["triage"]["category_code"] == "public_door"


async def test_staff_put_a_category_right_and_the_event_says_what_triage_had_said(
    client: Client, make: Make, manager: Person, run_jobs: RunJobs
):
    order = await report(client, await make.resident(), "那个东西又那样了")
    await run_jobs()
    shown = await seen(client, manager, order)
    assert shown["needs_person"]
    codes = (await client.get(f"{manager.place.url}/workorder-categories", as_=manager)).json()["items"]
    right = next(row["id"] for row in codes if row["code"] == "appliance")
    put = await client.patch(
        f"{manager.place.url}/workorders/{order}", json={"category_id": right}, headers={"If-Match": "*"}, as_=manager
    )
    assert (put.json()["needs_person"], put.json()["category_id"]) == (False, right)
    last = (await events(client, manager, order))[-1]
    assert last["facts"]["triage_said"] == shown["triage"]["category_code"]
    assert last["facts"]["category_id"] == right


async def test_a_preview_is_for_those_who_write_orders_and_writes_nothing(client: Client, make: Make, manager: Person):
    body = {"text": "5号楼电梯一直抖"}
    answer = await client.post(f"{manager.place.url}/triage", json=body, as_=manager)
    assert answer.status_code == 200
    assert (answer.json()["category_code"], answer.json()["kind"]) == ("lift", "repair")
    assert answer.json()["category_id"]
    refused = await client.post(f"{manager.place.url}/triage", json=body, as_=await make.resident())
    assert refused.status_code == 403
    strange = await make.staff(place=await make.place(), role=StaffRole.MANAGER)
    assert (await client.post(f"{manager.place.url}/triage", json=body, as_=strange)).status_code == 404
    listed = await client.get(f"{manager.place.url}/workorders", as_=manager)
    assert listed.json()["items"] == []


# The tables


def test_every_intent_means_a_category_or_asks_the_words_and_every_category_can_be_reached():
    codes = {row["code"] for row in categories.defaults()}
    assert set(triage_tables.CATEGORY_OF_INTENT) == set(load_intents().labels)
    assert set(load_intents().labels) >= triage_tables.ORDERS
    reached = {
        *filter(None, triage_tables.CATEGORY_OF_INTENT.values()),
        *load_categories().labels,
        *triage_tables.WORDS,
    }
    assert reached <= codes
    parents = {row["under"] for row in categories.defaults() if "under" in row}
    assert codes - parents <= reached, "only parents are left to people"


def test_shares_of_categories_sum_to_one():
    heard = triage.hear("三单元楼道灯又闪了", None)
    assert abs(sum(share for _, share in heard.categories) - 1) < 1e-3
    assert heard.categories[0][0] == "public_lighting"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("3期2栋1单元1502", Said(phase="3", building="2", unit="1", room="1502")),
        ("三单元没水", Said(unit="3")),
        ("5号楼门禁坏了", Said(building="5")),
        ("我是2-1-1502的", Said(building="2", unit="1", room="1502")),
        ("十二栋两单元", Said(building="12", unit="2")),
        ("Ｂ栋３０２室", Said(building="B", room="302")),
        ("地库B2漏水", Said(basement="2", spot="garage")),
        ("负一楼车库", Said(basement="1", spot="garage")),
        ("Building 5, Unit 2, room 1101", Said(building="5", unit="2", room="1101")),
        ("smoke on the 12th floor of tower b", Said(building="B", floor="12")),
        ("收费350元一度电0.6元", Said()),
        ("八楼走廊", Said(floor="8", spot="stairwell")),
        ("电话13812345678", Said()),
    ],
)  # fmt: skip
def test_addresses_are_read_as_people_write_them(text: str, said: Said):
    assert places.said_in(text) == said


def test_what_the_engine_says_counts_only_when_the_text_says_it_too():
    told = dict.fromkeys((*triage_slots.LEVELS, *triage_slots.QUOTED), "")
    told |= {"building": "九", "unit": "4", "spot": "水表间", "problem": "漏水", "category": "plumbing"}
    kept = triage_slots.check("9栋水表间漏水", json.dumps(told))
    assert kept == {"building": "9", "spot": "水表间", "problem": "漏水", "category_hint": "plumbing"}
