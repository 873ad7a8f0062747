"""The staff's inbox: lists, filters, labels, what is unread, replies kept ready."""

import asyncio
from datetime import timedelta

import pytest

from app.people.tables import StaffRole
from tests.chat.test_handoff import act, reply, url_of
from tests.chat.test_turns import ask


@pytest.fixture
async def wang(make):
    return await make.staff(role=StaffRole.FRONT_DESK)


@pytest.fixture
async def talks(client, make, clock):
    """Five conversations of five residents, a minute apart."""
    turns = []
    for _ in range(5):
        turns.append(await ask(client, await make.resident(), "停车怎么收费"))
        clock.now += timedelta(minutes=1)
    return turns


def ids(answer) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.json()["items"]]


async def test_the_list_is_by_last_activity_and_its_pages_miss_nothing(client, talks, wang, clock):
    url = f"{wang.place.url}/conversations"
    order = [turn["conversation_id"] for turn in reversed(talks)]
    assert ids(await client.get(url, as_=wang)) == order
    await act(client, wang, talks[0], "take-over")
    order = [order[-1], *order[:-1]]
    seen, cursor = [], None
    while True:
        page = await client.get(url, as_=wang, params={"limit": 2} | ({"cursor": cursor} if cursor else {}))
        seen += ids(page)
        if (cursor := page.json()["next_cursor"]) is None:
            break
    assert seen == order
    refused = await client.get(url, as_=wang, params={"cursor": "nonsense"})
    assert (refused.status_code, refused.json()["code"]) == (422, "cursor_invalid")


async def test_filters_by_status_assignee_label_reason_and_what_is_unread(client, talks, wang, make):
    li = await make.staff()
    pending, human, labelled, *_ = talks
    await act(client, wang, pending, "handoff", reason="tool_failure")
    await act(client, li, human, "take-over")
    put = await client.put(f"{url_of(labelled, wang)}/labels", as_=wang, json={"labels": ["漏水", "急", "漏水"]})
    assert put.json()["labels"] == ["急", "漏水"]
    url = f"{wang.place.url}/conversations"
    cases = {
        "filter[status]=pending": pending, "filter[status]=human": human, f"filter[assignee_id]={li.id}": human,
        "filter[label]=漏水": labelled, "filter[reason]=tool_failure": pending,
    }  # fmt: skip
    for query, turn in cases.items():
        assert ids(await client.get(f"{url}?{query}", as_=wang)) == [turn["conversation_id"]], query
    assert set(ids(await client.get(f"{url}?filter[unread]=true", as_=wang))) == {
        pending["conversation_id"], human["conversation_id"]
    }  # fmt: skip
    bodies = [
        ({"status": ["pending", "human"]}, {pending["conversation_id"], human["conversation_id"]}),
        ({"status": ["pending", "human"], "unassigned": True}, {pending["conversation_id"]}),
        ({"labels": ["急", "漏水"]}, {labelled["conversation_id"]}),
        ({"labels": ["急", "没有"]}, set()),
        ({"reason": ["tool_failure", "emergency"]}, {pending["conversation_id"]}),
    ]
    for body, found in bodies:
        assert set(ids(await client.post(f"{url}/filter", as_=wang, json=body))) == found, body
    assert (await client.get(f"{url}?filter[status]=lost", as_=wang)).status_code == 422


async def test_what_is_unread_is_counted_until_it_is_read(client, make, wang):
    resident = await make.resident()
    turn = await ask(client, resident, "转人工")
    for text in ("水管爆了", "快来"):
        await ask(client, resident, text, conversation_id=turn["conversation_id"])
    item = (await client.get(url_of(turn, wang), as_=wang)).json()
    assert item["unread"] == 3
    read = await client.put(f"{url_of(turn, wang)}/read", as_=wang, json={"number": item["last_number"] - 1})
    assert read.json()["unread"] == 1
    back = await client.put(f"{url_of(turn, wang)}/read", as_=wang, json={"number": 0})
    assert back.json()["unread"] == 1, "what was read stays read"
    await act(client, wang, turn, "take-over")
    await reply(client, wang, turn, "马上到")
    assert (await client.get(url_of(turn, wang), as_=wang)).json()["unread"] == 0


async def test_who_may_read_but_not_write_changes_nothing(client, make, talks, wang):
    engineer, resident = await make.staff(role=StaffRole.ENGINEER), await make.resident()
    for who in (engineer, resident):
        for method, path in (("GET", ""), ("POST", "/take-over"), ("POST", "/resolve"), ("POST", "/return-to-bot")):
            refused = await client.request(method, f"{url_of(talks[0], who)}{path}", as_=who)
            assert (refused.status_code, refused.json()["code"]) == (403, "scope_missing")
    assert (await client.get(url_of(talks[0], wang), as_=wang)).json()["status"] == "bot"


async def test_who_reads_a_conversation_stands_in_its_residents_access_log(client, make, wang):
    resident = await make.resident()
    turn = await ask(client, resident, "转人工")
    seen = len((await client.get("/api/v1/me/access-log", as_=resident)).json()["items"])
    for path in (f"{url_of(turn, wang)}/messages", f"{url_of(turn, wang)}/summary", f"{wang.place.url}/conversations"):
        assert (await client.get(path, as_=wang)).status_code == 200
    log = (await client.get("/api/v1/me/access-log", as_=resident)).json()["items"]
    assert [entry["why"]["zh"] for entry in log[: len(log) - seen]] == ["查看了您与邻里的会话"] * 3


async def test_replies_kept_ready(client, make, wang):
    url = f"{wang.place.url}/canned-replies"
    made = await client.post(url, as_=wang, json={"code": "收到", "text": "收到，马上处理。"})
    assert made.status_code == 201
    again = await client.post(url, as_=wang, json={"code": "收到", "text": "好的。"})
    assert (again.status_code, again.json()["code"]) == (409, "canned_reply_exists")
    one = f"{url}/{made.json()['id']}"
    read = await client.get(one, as_=wang)
    tag = {"If-Match": read.headers["etag"]}
    assert (await client.patch(one, as_=wang, json={"text": "好的。"})).status_code == 428
    changed = await client.patch(one, as_=wang, json={"text": "好的。", "text_en": "OK."}, headers=tag)
    assert (changed.status_code, changed.json()["text"], changed.json()["code"]) == (200, "好的。", "收到")
    stale = await client.patch(one, as_=wang, json={"text": "行。"}, headers=tag)
    assert stale.status_code == 412
    elsewhere = await make.staff(place=await make.place())
    foreign = f"{elsewhere.place.url}/canned-replies/{made.json()['id']}"
    assert (await client.get(foreign, as_=elsewhere)).status_code == 404
    assert ids(await client.get(f"{elsewhere.place.url}/canned-replies", as_=elsewhere)) == []
    assert (await client.delete(one, as_=wang)).status_code == 204
    assert ids(await client.get(url, as_=wang)) == []


async def test_messages_of_many_at_once_keep_one_order(client, make, wang):
    resident = await make.resident()
    turn = await ask(client, resident, "转人工")
    await act(client, wang, turn, "take-over")
    await asyncio.gather(
        *(reply(client, wang, turn, f"回复{n}") for n in range(6)),
        *(ask(client, resident, f"消息{n}", conversation_id=turn["conversation_id"]) for n in range(6)),
        *(reply(client, wang, turn, f"备注{n}", kind="note") for n in range(6)),
    )
    entries = (await client.get(f"{url_of(turn, wang)}/messages", as_=wang)).json()["items"]
    numbers = [entry["number"] for entry in entries]
    assert numbers == sorted(set(numbers))
    said = {entry["text"] for entry in entries}
    assert {f"{what}{n}" for what in ("回复", "消息", "备注") for n in range(6)} <= said
    first = (await client.get(f"{url_of(turn, wang)}/messages?limit=7", as_=wang)).json()
    rest = await client.get(f"{url_of(turn, wang)}/messages?after={first['next_after']}", as_=wang)
    assert first["items"] + rest.json()["items"] == entries
