"""A ranker is trained of what happened, goes live when it is better, and the list comes without it too."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import insert, text

from app.recommend import commands, jobs
from app.recommend.tables import FeedbackKind, ItemFeedback
from app.runtime import Runtime
from tests.conftest import NOW, Client
from tests.make import Make, Person
from tests.recommend.town import open_item, recommended, tell, titles

PEOPLE, TASTES = 120, ("亲子", "运动", "美食", "宠物")


@pytest.fixture
async def manager(client: Client, make: Make) -> Person:
    person = await make.staff()
    change = {"recommend_exploration": 0}
    await client.patch(f"{person.place.url}/settings", json=change, headers={"If-Match": "*"}, as_=person)
    return person


async def live_a_life(
    runtime: Runtime, manager: Person, items: dict[str, list[dict[str, Any]]], *, days: int = 0
) -> None:
    """Everybody has a taste and takes, over weeks, what there is of it in turn, and seldom something else."""
    events = []
    for person in range(PEOPLE):
        taste = TASTES[person % len(TASTES)]
        for step in range(8):
            of = items[taste] if step != 3 else items[TASTES[(person + 1) % len(TASTES)]]
            one = of[(person // len(TASTES) + step) % len(of)]
            at = NOW - timedelta(days=40 - step * 5 - days, minutes=person)
            events.append(
                {
                    "id": uuid4(), "community_id": manager.place.id, "item_id": one["id"], "resident_id": None,
                    "outside_person": f"p{person}", "kind": FeedbackKind.LIKED, "occasion": f"{days}", "at": at,
                    "created_at": at,
                }
            )  # fmt: skip
    async with runtime.transaction(manager.tenant) as session:
        await session.execute(insert(ItemFeedback), events)


async def test_trained_promoted_damaged_and_rolled_back(
    client: Client, make: Make, manager: Person, run_jobs: Any, runtime: Runtime, clock: Any
):
    items: dict[str, list[dict[str, Any]]] = {taste: [] for taste in TASTES}
    for number in range(12):
        for taste in TASTES:
            items[taste].append(await open_item(client, manager, f"{taste}之{number}", kind="article"))
    await live_a_life(runtime, manager, items)
    resident, url = await make.resident(), f"{manager.place.url}/rankers"
    assert (await recommended(client, resident))["ranked"] is False
    started = await client.post(url, as_=manager)
    assert (started.status_code, started.json()["status"]) == (202, "waiting"), started.text
    assert (await client.post(url, as_=manager)).json()["code"] == "ranker_training_under_way"
    await run_jobs()
    one = (await client.get(f"{url}/{started.json()['id']}", as_=manager)).json()
    assert (one["status"], one["events_count"], one["reason"]) == ("live", PEOPLE * 8, ""), one
    assert one["metrics"]["newest_ndcg@10"] > one["metrics"]["newest_popular_ndcg@10"]
    # Somebody without a history is not ranked by it; the first click is folded in without training.
    assert (await recommended(client, resident))["ranked"] is False
    for pet in items["宠物"][:2]:
        await tell(client, resident, "clicked", pet)
    listed = await recommended(client, resident, 8)
    assert listed["ranked"] is True
    assert sum(title.startswith("宠物") for title in titles(listed)) >= 6, titles(listed)
    reasons = [why for row in listed["items"] for why in row["reasons"] if why["code"] == "history"]
    assert {why["text"] for why in reasons} <= {"因为您看过「宠物之0」", "因为您看过「宠物之1」"}
    assert reasons
    why = await client.get(
        f"/api/v1/me/recommendations/{listed['list_id']}/items/{listed['items'][0]['item']['id']}", as_=resident
    )
    assert (why.json()["ranked"], why.json()["position"]) == (True, 1)

    # Nothing new happened since: a second one is no better than the first.
    second = (await client.post(url, as_=manager)).json()
    await run_jobs()
    second = (await client.get(f"{url}/{second['id']}", as_=manager)).json()
    assert (second["status"], second["reason"]) == ("candidate", "too_few_people_to_compare_on")
    # By hand it may go live all the same, and one command goes back.
    assert (await client.post(f"{url}/{second['id']}/promote", as_=manager)).json()["status"] == "live"
    assert (await recommended(client, resident))["ranked"] is True
    back = await client.post(f"{url}/rollback", as_=manager)
    assert (back.json()["id"], back.json()["status"]) == (one["id"], "live")
    statuses = {row["number"]: row["status"] for row in (await client.get(url, as_=manager)).json()["items"]}
    assert statuses == {1: "live", 2: "retired"}

    # The same from the command line.
    said: list[str] = []
    await commands.run(runtime, manager.place.slug, commands.list_versions, say=said.append)
    assert [line.split()[:2] for line in said] == [["2", "retired"], ["1", "live"]]
    assert "ndcg@10" in said[1]
    await commands.run(runtime, manager.place.slug, commands.roll_back, say=said.append)
    await commands.run(runtime, manager.place.slug, commands.roll_back, say=said.append)
    assert said[-1].split()[:2] == ["1", "live"]

    # The file is killed: the list still comes, marked as not ranked; and a damaged one does not go live.
    folder = Path(runtime.settings.data_dir) / "files" / "rankers" / str(manager.place.id)
    kept = {path: path.read_bytes() for path in folder.iterdir()}
    for path in kept:
        path.unlink()
    runtime.caches.pop("recommend")
    listed = await recommended(client, resident, 8)
    assert (listed["ranked"], len(listed["items"])) == (False, 8)
    for path, data in kept.items():
        path.write_bytes(data[:-100] + bytes(100))
    runtime.caches.pop("recommend")
    assert (await recommended(client, resident, 8))["ranked"] is False
    refused = await client.post(f"{url}/{second['id']}/promote", as_=manager)
    assert (refused.status_code, refused.json()["code"]) == (409, "ranker_version_not_usable")
    for path, data in kept.items():
        path.write_bytes(data)
    runtime.caches.pop("recommend")
    assert (await recommended(client, resident, 8))["ranked"] is True


async def test_trainings_start_by_themselves_where_something_happened(
    client: Client, make: Make, manager: Person, run_jobs: Any, runtime: Runtime, clock: Any
):
    url = f"{manager.place.url}/rankers"
    one = await open_item(client, manager, "读书会")
    daily = replace(runtime, settings=runtime.settings.model_copy(update={"ranker_training_hours": 24.0}))
    await jobs.start_trainings(daily)
    assert (await client.get(url, as_=manager)).json()["items"] == []
    await tell(client, await make.resident(), "liked", one)
    await jobs.start_trainings(daily)
    await jobs.start_trainings(daily)
    waiting = (await client.get(url, as_=manager)).json()["items"]
    assert [row["created_by_kind"] for row in waiting] == ["system"]
    # Redis forgets it; the sweeper sends it again. One person and one item are enough for a ranker, not for going live.
    await runtime.redis.flushall()
    clock.now += timedelta(minutes=5)
    await jobs.sweep_trainings(runtime)
    await run_jobs()
    ended = (await client.get(url, as_=manager)).json()["items"][0]
    assert (ended["status"], ended["reason"]) == ("candidate", "too_few_people_to_compare_on"), ended
    assert (await client.post(f"{url}/rollback", as_=manager)).json()["code"] == "ranker_no_earlier_version"
    clock.now += timedelta(days=200)
    await recommended(client, await make.resident())
    await jobs.forget_recommendation_lists(runtime)
    async with runtime.transaction(manager.tenant) as session:
        assert await session.scalar(text("SELECT count(*) FROM recommendation_lists")) == 1
