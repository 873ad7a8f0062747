"""What managers offer, what residents do with it, and both of them from sheets."""

from dataclasses import replace
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from sqlalchemy import text

from app.recommend import feedback, imports, jobs
from app.recommend.tables import FeedbackKind, ItemAudience, ItemKind
from app.runtime import Runtime
from tests.conftest import Client
from tests.make import Make, Person
from tests.people.test_imports import as_csv, counts, told
from tests.recommend.town import at, item, open_item, open_town, recommended, tell, titles


@pytest.fixture
async def manager(make: Make) -> Person:
    return await make.staff()


def test_tables_are_complete():
    assert set(feedback.MEANINGS) == set(FeedbackKind)
    assert set(imports.KIND_WORDS) == set(ItemKind)
    assert set(imports.AUDIENCE_WORDS) == set(ItemAudience)
    assert {kind for kind, meaning in feedback.MEANINGS.items() if meaning.positive} == {
        "clicked",
        "joined",
        "bought",
        "liked",
    }


async def test_a_manager_offers_changes_and_takes_away(client: Client, make: Make, manager: Person, run_jobs: Any):
    url = f"{manager.place.url}/items"
    building = await make.building()
    sent = item(
        "周末亲子手工课", external_id="A-1", categories=["亲子"], space_id=str(building), capacity=2, price_cents=1500
    )
    first = await client.post(url, json=sent, as_=manager, headers={"Idempotency-Key": "k"})
    again = await client.post(url, json=sent, as_=manager, headers={"Idempotency-Key": "k"})
    assert (first.status_code, again.json()) == (201, first.json())
    one = first.json()
    assert (one["building_id"], one["embedder"], one["joined_count"]) == (str(building), None, 0)
    for bad, status, code in (
        (item("又一个", external_id="A-1"), 409, "external_id_taken"),
        (item("长", text="字" * 17_000), 422, "request_invalid"),  # 51 kB
        (item("倒着", starts_at=at(2), ends_at=at(1)), 422, "item_times_invalid"),
        (item("别处", space_id=str(uuid4())), 404, "space_not_found"),
        (item("别处", building_ids=[str(uuid4())]), 404, "space_not_found"),
        (item("没人", owner_resident_id=str(uuid4())), 404, "resident_not_found"),
    ):
        answer = await client.post(url, json=bad, as_=manager)
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    guard = await make.resident()
    assert (await client.post(url, json=item(), as_=guard)).status_code == 403
    await run_jobs()
    read = await client.get(f"{url}/{one['id']}", as_=manager)
    assert read.json()["embedder"]
    change = {"title": "周日亲子手工课", "capacity": None}
    stale = await client.patch(f"{url}/{one['id']}", json=change, headers={"If-Match": '"0"'}, as_=manager)
    assert stale.status_code == 412
    changed = await client.patch(
        f"{url}/{one['id']}", json=change, headers={"If-Match": read.headers["etag"]}, as_=manager
    )
    assert (changed.json()["title"], changed.json()["capacity"], changed.json()["embedder"]) == (
        "周日亲子手工课",
        None,
        None,
    )
    other = await make.staff(place=await make.place())
    assert (await client.get(f"{url}/{one['id']}", as_=other)).status_code == 404
    assert (await client.delete(f"{url}/{one['id']}", as_=manager)).status_code == 204
    assert (await client.get(f"{url}/{one['id']}", as_=manager)).status_code == 404
    assert (await client.get(url, as_=manager)).json()["items"] == []
    # Its external id is free again, and so is the building.
    assert (await client.post(url, json=item("新的", external_id="A-1"), as_=manager)).status_code == 201


async def test_similar_items_and_another_embedder(
    client: Client, make: Make, manager: Person, run_jobs: Any, runtime: Runtime, web: Any
):
    town = await open_town(client, manager, run_jobs)
    resident = await make.resident()
    court = town["羽毛球馆"]["id"]
    for url, who in (
        (f"{manager.place.url}/items/{court}/similar", manager),
        (f"/api/v1/me/items/{court}/similar", resident),
    ):
        found = (await client.get(url, params={"limit": 3}, as_=who)).json()["items"]
        assert (found[0]["item"]["title"], len(found)) == ("羽毛球双打友谊赛", 3)
        assert found[0]["score"] > found[1]["score"]

    class Narrow:
        """Another embedder, of another width: counts of a few characters."""

        name, width = "narrow", 16

        async def embed_passages(self, texts: Any) -> Any:
            rows = np.array(
                [[text.count(sign) + 0.01 for sign in "亲子运动美食老年家清洁维修水果猫徒"][:16] for text in texts]
            )
            return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

        embed_queries = embed_passages

    narrow: Any = replace(runtime, embedder=Narrow())
    web[1].state.runtime = narrow
    # Nothing of the old width is compared with anything; the list still comes.
    assert len((await recommended(client, resident))["items"]) == 5
    assert (await client.get(f"/api/v1/me/items/{court}/similar", as_=resident)).json() == {"items": []}
    await jobs.sweep_unembedded_items(narrow)
    while leases := await narrow.queue.take(8, wait_seconds=0):
        for lease in leases:
            await jobs.embed_items(narrow, lease)
            await narrow.queue.finish(lease)
    found = (await client.get(f"/api/v1/me/items/{court}/similar", as_=resident)).json()["items"]
    assert found[0]["item"]["title"] in {"羽毛球双打友谊赛", "太极拳晨练", "周末徒步小组"}


async def test_feedback_is_written_once_for_known_items_and_of_the_past(client: Client, make: Make, manager: Person):
    one, small = await open_item(client, manager), await open_item(client, manager, "小桌游局", capacity=1)
    mine, other = await make.resident(), await make.resident()
    assert (await tell(client, mine, "joined", small)).json() == {"recorded": True}
    assert (await tell(client, mine, "joined", small)).json() == {"recorded": False}
    assert (await tell(client, other, "joined", small)).json()["code"] == "item_full"
    assert (await client.get(f"{manager.place.url}/items/{small['id']}", as_=manager)).json()["joined_count"] == 1
    unknown = await tell(client, mine, "clicked", {"id": str(uuid4())})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "item_not_found")
    assert (await tell(client, mine, "clicked", one)).json() == {"recorded": True}
    foreign_list = (await recommended(client, other))["list_id"]
    answer = await tell(client, mine, "clicked", one, list_id=foreign_list)
    assert (answer.status_code, answer.json()["code"]) == (404, "recommendation_not_found")
    ahead = await tell(client, mine, "clicked", one, at=at(1))
    assert (ahead.status_code, ahead.json()["code"]) == (422, "feedback_in_future")
    for earlier in (at(-1), at(-1), at(-2)):
        await tell(client, mine, "clicked", one, at=earlier)
    profile = (await client.get("/api/v1/me/recommendation-profile", as_=mine)).json()
    assert [row["kind"] for row in profile["history"]].count("clicked") == 3
    theirs = await make.place()
    foreign = await open_item(client, await make.staff(place=theirs), "别的小区的")
    assert (await tell(client, mine, "clicked", foreign)).status_code == 404
    # Another system tells it for a resident.
    url = f"{manager.place.url}/recommendation-feedback"
    body = {"resident_id": str(other.id), "item_id": one["id"], "kind": "bought"}
    key = await make.api_key("recommendations:write")
    assert (await client.post(url, json=body, as_=key)).json() == {"recorded": True}
    assert (await client.post(url, json=body | {"resident_id": str(uuid4())}, as_=key)).status_code == 404
    assert (await client.post(url, json=body, as_=mine)).status_code == 403


async def bring_in(client: Client, by: Person, run_jobs: Any, what: str, data: bytes) -> dict[str, Any]:
    sent = await client.post(f"{by.place.url}/{what}/import", files={"file": ("sheet.csv", data)}, as_=by)
    assert sent.status_code == 202, sent.text
    await run_jobs()
    return dict((await client.get(f"{by.place.url}/jobs/{sent.json()['id']}", as_=by)).json())


async def test_items_and_any_file_of_interactions_come_in_row_by_row(
    client: Client, make: Make, manager: Person, run_jobs: Any, runtime: Runtime
):
    heading = ["外部编号", "类型", "标题", "分类", "面向", "价格", "名额", "开始时间", "结束时间"]
    rows = [
        ["A1", "活动", "亲子运动会", "亲子、运动", "所有人", "0", "30", "2026-11-28 14:00", "2026-11-28 16:00"],
        ["A2", "offer", "食堂八折", "美食", "租户", "12.50", "", "", ""],
        ["A3", "飞机", "坏类型", "", "", "", "", "", ""],
        ["A4", "活动", "", "", "", "", "", "", ""],
        ["A5", "活动", "坏时间", "", "", "", "0", "明天", ""],
        ["A6", "活动", "倒着", "", "", "", "", "2026-11-28", "2026-11-27"],
        ["A1", "活动", "重复", "", "", "", "", "", ""],
    ]
    sheet = as_csv(heading, *rows)
    job = await bring_in(client, manager, run_jobs, "items", sheet)
    assert counts(job) == (7, 2, 2, 0, 5)
    assert set(await told(client, manager, job)) == {
        (4, "类型", "cell_unknown"), (5, "标题", "cell_missing"), (6, "名额", "cell_not_a_number"),
        (6, "开始时间", "time_invalid"), (7, "结束时间", "ends_before_it_begins"), (8, "外部编号", "row_repeated"),
    }  # fmt: skip
    assert counts(await bring_in(client, manager, run_jobs, "items", sheet)) == (7, 2, 0, 0, 5)
    listed = (await client.get(f"{manager.place.url}/items", as_=manager)).json()["items"]
    by_title = {one["title"]: one for one in listed}
    assert by_title["亲子运动会"]["starts_at"] == "2026-11-28T06:00:00Z"
    assert (by_title["食堂八折"]["price_cents"], by_title["食堂八折"]["audience"]) == (1250, "tenants")
    assert all(one["embedder"] for one in listed)
    # As public files have it: other people's names, ratings, seconds; and one of our own residents.
    resident = await make.resident()
    sheet = as_csv(
        ["userId", "itemId", "rating", "timestamp"],
        ["u1", "A1", "5", "1764300000"], ["u2", "A1", "2.0", "1764300001"], ["u1", "A2", "4", "1764300002"],
        [str(resident.id), by_title["食堂八折"]["id"], "5", "1764300003"], ["u1", "A9", "5", "1764300004"],
        ["u1", "A1", "5", "4000000000"], ["u3", "A1", "good", "1764300000"],
    )  # fmt: skip
    job = await bring_in(client, manager, run_jobs, "interactions", sheet)
    assert counts(job) == (7, 4, 4, 0, 3)
    assert {code for _, _, code in await told(client, manager, job)} == {
        "item_unknown",
        "time_in_future",
        "cell_not_a_number",
    }
    assert counts(await bring_in(client, manager, run_jobs, "interactions", sheet))[:3] == (7, 4, 0)
    async with runtime.transaction(manager.tenant) as session:
        kinds = await session.execute(
            text("SELECT kind, count(*), count(resident_id) FROM item_feedback GROUP BY 1 ORDER BY 1")
        )
        assert [tuple(row) for row in kinds] == [("liked", 3, 1), ("seen", 1, 0)]
    assert titles(await recommended(client, resident)) == ["亲子运动会"]
    template = await client.get(f"{manager.place.url}/items/import/template", params={"format": "csv"}, as_=manager)
    job = await bring_in(client, manager, run_jobs, "items", template.content)
    assert counts(job) == (1, 1, 1, 0, 0), await told(client, manager, job)
