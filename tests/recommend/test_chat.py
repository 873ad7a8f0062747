"""A wish for recommendations in a conversation is answered with reasons, from facts, also without an engine."""

from typing import Any

import pytest

from app.chat import recommending
from app.recommend.tables import ItemKind
from tests.conftest import Client
from tests.make import Make
from tests.recommend.town import at, open_item, set_profile

ACTIVITIES = frozenset({ItemKind.ACTIVITY, ItemKind.GROUP})


@pytest.mark.parametrize(
    ("message", "kinds"),
    [
        ("有什么活动推荐", ACTIVITIES), ("推荐点活动吧", ACTIVITIES), ("最近有什么好玩的推荐吗？", ACTIVITIES),
        ("给我推荐几个", frozenset()), ("有什么推荐的吗", frozenset()), ("推荐一下", frozenset()), ("有什么适合我的活动吗", ACTIVITIES),
        ("周末有什么活动推荐", ACTIVITIES), ("有优惠推荐吗", frozenset({ItemKind.OFFER})), ("有什么优惠推荐", frozenset({ItemKind.OFFER})),
        ("Can you recommend some activities?", ACTIVITIES), ("any recommendations for me", frozenset()),
        ("What's on this weekend?", frozenset()), ("recommend me something to read", None),
        ("推荐一家家装公司", None), ("搬家公司推荐一个", None), ("关闭个性化推荐", None), ("不想被推荐", None),
        ("推荐个股票", None), ("推荐几部电影", None), ("recommend a plumber from outside", None),
        ("movie recommendations for tonight", None), ("活动室几点关门", None), ("Can you recommend a babysitter", None),
    ],
)  # fmt: skip
def test_a_wish_for_recommendations_is_told_from_questions(message, kinds):
    wanted = recommending.find(message)
    assert (wanted.kinds if wanted else None) == kinds


async def ask(client: Client, who: Any, text: str, run_jobs: Any) -> dict[str, Any]:
    turn = (await client.post("/api/v1/me/turns", json={"text": text}, as_=who)).json()
    await run_jobs()
    return dict((await client.get(f"/api/v1/turns/{turn['id']}", as_=who)).json())


async def test_a_wish_is_answered_with_facts_and_reasons(client: Client, make: Make, run_jobs: Any):
    manager, resident = await make.staff(), await make.resident()
    nothing = await ask(client, resident, "有什么活动推荐", run_jobs)
    assert nothing["route"] == "knowledge", "where there is nothing to recommend the documents may know more"
    await open_item(
        client, manager, "亲子包饺子", title_en="Family dumplings", categories=["亲子"], place="3栋架空层",
        starts_at=at(1, hours=4), ends_at=at(1, hours=6), price_cents=1550,
    )  # fmt: skip
    await open_item(client, manager, "食堂八折", kind="offer")
    await run_jobs()
    await set_profile(client, resident, interests=["亲子"])
    told = await ask(client, resident, "有什么活动推荐", run_jobs)
    assert (told["route"], told["mode"]) == ("recommendation", "fixed")
    assert told["answer"].splitlines()[:2] == [
        "这些可能适合您：",
        "1. 「亲子包饺子」（明天14:00，3栋架空层，15.50元）：您关注「亲子」。",
    ]
    assert "食堂" not in told["answer"]
    english = await ask(client, resident, "Can you recommend some activities?", run_jobs)
    assert (
        "1. Family dumplings (tomorrow 14:00, 3栋架空层, 15.50 yuan): You are interested in 亲子." in english["answer"]
    )
    await set_profile(client, resident, opted_out=True)
    assert "您已关闭推荐" in (await ask(client, resident, "有什么活动推荐", run_jobs))["answer"]
