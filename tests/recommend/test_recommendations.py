"""A resident gets recommendations that suit, says why and how they change, and decides what is used of them."""

from datetime import timedelta
from typing import Any

import pytest

from app.runtime import Runtime
from tests.conftest import Client
from tests.make import Make, Person
from tests.recommend.town import at, open_item, open_town, recommended, set_profile, tell, titles

URL = "/api/v1/me/recommendation-profile"


@pytest.fixture
async def manager(client: Client, make: Make) -> Person:
    person = await make.staff()
    # No lots: what a test says of an order is then true of every list.
    answer = await client.patch(
        f"{person.place.url}/settings", json={"recommend_exploration": 0}, headers={"If-Match": "*"}, as_=person
    )
    assert answer.status_code == 200, answer.text
    return person


async def test_somebody_new_writes_two_lines_and_three_clicks_change_what_they_get(
    client: Client, make: Make, manager: Person, run_jobs: Any
):
    town = await open_town(client, manager, run_jobs)
    resident = await make.resident()
    await set_profile(client, resident, about="有个五岁的女儿，周末喜欢一起做手工、看书。\n平时没有别的爱好。")
    first = await recommended(client, resident)
    assert {"周末亲子手工课", "亲子绘本故事会"} <= set(titles(first)), titles(first)
    assert all(one["reasons"] for one in first["items"])
    wrote = {one["item"]["title"]: [why["code"] for why in one["reasons"]] for one in first["items"]}
    assert "about" in wrote["周末亲子手工课"], first
    assert (first["ranked"], first["personalised"], first["failed_sources"]) == (False, True, [])
    # Three clicks on sports.
    clicked = [town[name] for name in ("羽毛球双打友谊赛", "羽毛球馆", "太极拳晨练")]
    for new in (True, False):
        for one in clicked:
            told = await tell(client, resident, "clicked", one, list_id=first["list_id"])
            assert told.json() == {"recorded": new}
    second = await recommended(client, resident)
    assert titles(second) != titles(first)
    sports = [sum("运动" in one["item"]["categories"] for one in listed["items"]) for listed in (first, second)]
    assert sports[1] > sports[0], titles(second)
    texts = [why["text"] for one in second["items"] for why in one["reasons"]]
    assert any("您看过的「" in text for text in texts), texts
    english = await recommended(client, resident, language="en")
    assert any("you looked at" in why["text"] for one in english["items"] for why in one["reasons"])


async def test_show_less_and_hidden_hold_for_good_and_the_switches_do_what_they_say(
    client: Client, make: Make, manager: Person, run_jobs: Any, clock: Any
):
    town = await open_town(client, manager, run_jobs)
    mine, other = await make.resident(), await make.resident()
    await set_profile(client, mine, interests=["亲子"])
    listed = await recommended(client, mine, 10)
    assert titles(listed)[0] in {"周末亲子手工课", "亲子绘本故事会", "钢琴陪练", "儿童游乐场", "孩子发烧怎么办"}
    assert listed["items"][0]["reasons"][0]["text"] == "您关注「亲子」"
    assert (await tell(client, mine, "show_less", town["周末亲子手工课"])).status_code == 200
    assert (await tell(client, mine, "hidden", town["水果店满减"])).status_code == 200
    clock.now = clock.now.replace(year=clock.now.year + 1)
    after = await recommended(client, mine, 50)
    of_family = {one["item"]["title"] for one in after["items"] if "亲子" in one["item"]["categories"]}
    assert (of_family, "水果店满减" in titles(after), len(titles(after)) > 8) == (set(), False, True)
    profile = (await client.get(URL, as_=mine)).json()
    assert profile["hidden_categories"] == ["亲子"]
    assert {one["title"] for one in profile["hidden_items"]} == {"周末亲子手工课", "水果店满减"}
    # Taken back by the resident, it may be shown again.
    await set_profile(client, mine, hidden_categories=[])
    assert "钢琴陪练" in titles(await recommended(client, mine, 50))
    # One switch: nothing of mine is used, but what I refused stays away.
    await set_profile(client, mine, personalised=False)
    plain = await recommended(client, mine, 50)
    assert (plain["personalised"], plain["ranked"]) == (False, False)
    lists = []
    for person in (other, await make.resident()):
        await set_profile(client, person, personalised=False, interests=["运动"], about="只爱打球")
        lists.append(titles(await recommended(client, person, 50)))
    assert lists[0] == lists[1]
    assert set(titles(plain)) == set(lists[0]) - {"周末亲子手工课", "水果店满减"}
    codes = {why["code"] for one in plain["items"] for why in one["reasons"]}
    assert codes <= {"fresh", "popular", "soon", "on_offer"}, codes
    # The other switch: none at all.
    await set_profile(client, mine, opted_out=True)
    none = await recommended(client, mine)
    assert (none["opted_out"], none["items"]) == (True, [])


async def test_only_what_can_be_had_and_is_meant_for_me_and_why(
    client: Client, make: Make, manager: Person, run_jobs: Any, clock: Any
):
    home, away = await make.building(name="3栋"), await make.building(name="5栋")
    resident = await make.resident(building_id=home)
    good = await open_item(
        client, manager, "楼下茶话会", building_ids=[str(home)], space_id=str(home), place="3栋大堂",
        starts_at=at(1, hours=5), ends_at=at(1, hours=7),
    )  # fmt: skip
    others: dict[str, dict[str, Any]] = {
        "别栋的": {"building_ids": [str(away)]}, "业主的": {"audience": "owners"}, "过期的": {"expires_at": at(-1)},
        "结束的": {"starts_at": at(-2), "ends_at": at(-1)}, "开始了没有结束时间的": {"starts_at": at(hours=-1)},
        "停用的": {"enabled": False},
    }  # fmt: skip
    for title, columns in others.items():
        await open_item(client, manager, title, **columns)
    full = await open_item(client, manager, "满员的", capacity=1, starts_at=at(2))
    rents = await open_item(client, manager, "租户的", audience="tenants")
    gone = await open_item(client, manager, "删除的")
    other = await make.resident()
    assert (await tell(client, other, "joined", full)).status_code == 200
    refused = await tell(client, resident, "joined", full)
    assert (refused.status_code, refused.json()["code"]) == (409, "item_full")
    assert (await client.delete(f"{manager.place.url}/items/{gone['id']}", as_=manager)).status_code == 204
    await run_jobs()
    listed = await recommended(client, resident, 50)
    assert set(titles(listed)) == {"楼下茶话会", "租户的"}
    reasons = {
        why["code"]: why["text"] for one in listed["items"] for why in one["reasons"] if one["item"]["id"] == good["id"]
    }
    assert reasons == {"soon": "明天15:00开始，还来得及", "near": "就在您住的楼栋：3栋大堂"}
    seen = await client.get("/api/v1/me/items", as_=resident)
    assert {one["title"] for one in seen.json()["items"]} == {"楼下茶话会", "租户的", "满员的"}
    assert (await client.get(f"/api/v1/me/items/{gone['id']}", as_=resident)).status_code == 404
    # Why, in full; and only for one's own lists.
    url = f"/api/v1/me/recommendations/{listed['list_id']}/items/{good['id']}"
    why = (await client.get(url, as_=resident)).json()
    assert {one["code"] for one in why["reasons"]} >= {"soon", "near", "fresh"}
    assert why["position"] == titles(listed).index("楼下茶话会") + 1
    assert (await client.get(url, as_=other)).status_code == 404
    # A place that was given back is free again.
    path = f"/api/v1/me/recommendation-feedback/{full['id']}?kind=joined"
    assert (await client.delete(path, as_=other)).status_code == 204
    assert (await client.delete(path, as_=other)).status_code == 404
    assert (await tell(client, resident, "joined", full)).status_code == 200
    # What nobody can have any more is shown to nobody; and a list of nothing is a list.
    clock.now = clock.now.replace(year=clock.now.year + 1)
    assert set(titles(await recommended(client, resident))) == {"租户的"}
    await client.patch(
        f"{manager.place.url}/items/{rents['id']}", json={"expires_at": at()}, headers={"If-Match": "*"}, as_=manager
    )
    assert titles(await recommended(client, resident)) == []


async def test_staff_see_what_a_resident_would_get_and_that_is_on_record(
    client: Client, make: Make, manager: Person, run_jobs: Any
):
    await open_town(client, manager, run_jobs)
    resident, guard = await make.resident(), await make.api_key("items:read")
    url = f"{manager.place.url}/residents/{resident.id}/recommendations"
    looked = (await client.get(url, as_=manager)).json()
    assert (looked["list_id"], len(looked["items"])) == (None, 10)
    assert (await client.get(url, as_=guard)).json()["code"] == "scope_missing"
    assert (await client.get(url.replace(str(resident.id), str(manager.id)), as_=manager)).status_code == 404
    assert (await client.get("/api/v1/me/recommendations", as_=manager)).status_code == 403
    audit = await client.get(f"{manager.place.url}/audit-events", as_=manager)
    assert any(one["action"] == "recommend.get_resident_recommendations" for one in audit.json()["items"])
    # Nothing was shown by it.
    exposed = (await client.get(f"{manager.place.url}/recommendation-exposure", as_=manager)).json()
    assert (exposed["impressions"], exposed["providers"][0]["items"]) == (0, 18)
    await recommended(client, resident, 5)
    exposed = (await client.get(f"{manager.place.url}/recommendation-exposure", as_=manager)).json()
    assert (exposed["impressions"], exposed["providers"][0]["share"]) == (5, 1.0)


async def test_an_empty_community_and_one_of_one_resident(client: Client, make: Make, manager: Person, run_jobs: Any):
    resident = await make.resident()
    empty = await recommended(client, resident)
    assert (empty["items"], empty["opted_out"]) == ([], False)
    only = await open_item(client, manager, "读书会")
    assert titles(await recommended(client, resident)) == ["读书会"]
    await run_jobs()
    await tell(client, resident, "liked", only)
    assert titles(await recommended(client, resident)) == []


async def test_households_are_told_of_from_five_on_and_what_was_shown_too_often_rests(
    client: Client, make: Make, manager: Person, run_jobs: Any, runtime: Runtime, clock: Any
):
    town = await open_town(client, manager, run_jobs)
    building = await make.building()
    mine = await make.resident(building_id=building)

    async def told() -> set[str]:
        runtime.caches.pop("recommend", None)
        listed = await recommended(client, mine, 50)
        return {
            why["text"] for one in listed["items"] for why in one["reasons"] if why["code"] in {"households", "popular"}
        }

    neighbours = [await make.resident(building_id=building) for _ in range(5)]
    for neighbour in neighbours[:4]:
        await tell(client, neighbour, "joined", town["猫咪互助群"])
    assert await told() == set()
    await tell(client, neighbours[4], "joined", town["猫咪互助群"])
    assert await told() == {"和您同楼栋的家庭中，有5户选择了它", "最近有5位邻居看过或参加"}
    # Shown on five days without anything coming of it, an item rests.
    first = titles(await recommended(client, mine, 3))
    for _ in range(5):
        clock.now += timedelta(days=1)
        shown = titles(await recommended(client, mine, 3))
    assert not set(first) & set(shown)
