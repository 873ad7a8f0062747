"""A resident asks for a person; staff take over, answer, give back. The bot is silent while a person has the word."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from app.chat import handoff
from app.chat.handoff import MOVES, RESIDENT_WRITES, Actor
from app.chat.jobs import sweep_conversations
from app.chat.tables import ConversationStatus
from app.people.tables import StaffRole
from app.queue import HANDLERS
from models.engine import State
from models.scripted_engine import Scripted
from tests.chat.events import Sent, read, read_all
from tests.chat.test_turns import PARKING, ask, finished
from tests.make import Person

ME = "/api/v1/me/conversations"


@pytest.fixture
async def resident(make) -> Person:
    person: Person = await make.resident()
    await make.document("停车管理办法", PARKING)
    return person


@pytest.fixture
async def wang(make) -> Person:
    person: Person = await make.staff(role=StaffRole.FRONT_DESK)
    return person


def url_of(turn: dict[str, Any], person: Person) -> str:
    return f"{person.place.url}/conversations/{turn['conversation_id']}"


async def act(client, who: Person, turn: dict[str, Any], verb: str, **body: Any) -> dict[str, Any]:
    answer = await client.post(f"{url_of(turn, who)}/{verb}", as_=who, json=body)
    assert answer.status_code in (200, 201), answer.text
    return dict(answer.json())


async def reply(client, who: Person, turn: dict[str, Any], text: str, kind: str = "reply") -> dict[str, Any]:
    return await act(client, who, turn, "messages", text=text, kind=kind)


async def status_of(client, resident: Person, turn: dict[str, Any]) -> str:
    return str((await client.get(f"{ME}/{turn['conversation_id']}", as_=resident)).json()["status"])


async def story_of(client, resident: Person, turn: dict[str, Any]) -> list[dict[str, Any]]:
    answer = await client.get(f"{ME}/{turn['conversation_id']}/messages", as_=resident)
    return list(answer.json()["items"])


async def heard(client, resident: Person, turn: dict[str, Any], last_id: str = "") -> list[Sent]:
    headers = {"Last-Event-ID": last_id} if last_id else {}
    return await read_all(client, f"{ME}/{turn['conversation_id']}/events", as_=resident, headers=headers)


# The table


def test_the_moves_are_complete():
    assert set(MOVES) == set(RESIDENT_WRITES) == set(ConversationStatus)
    for current, moves in MOVES.items():
        assert current not in moves, "a move goes somewhere else"
        assert all(who for who in moves.values())
        assert Actor.STAFF in frozenset().union(*moves.values()), "staff are never stuck"
    reached = frozenset().union(*MOVES.values())
    assert reached == set(ConversationStatus), "every status can be reached"


def test_a_resident_can_call_a_person_wherever_there_is_none():
    for current in set(ConversationStatus) - handoff.WITH_PEOPLE:
        assert Actor.RESIDENT in MOVES[current][ConversationStatus.PENDING]


def test_what_writing_does_is_a_move_of_the_resident():
    for current, then in RESIDENT_WRITES.items():
        assert current is then or Actor.RESIDENT in MOVES[current][then]


# A person is asked for


async def test_the_walk_a_person_takes_over_and_gives_back_and_the_bot_knows_what_was_said(
    client, resident, wang, engine, run_jobs
):
    engine.follow(["每小时5元。", "每月300元，押金200元按王师傅说的退。", "每月300元。"])
    first = await ask(client, resident, "临时停车怎么收费？")
    await run_jobs()
    talk = {"conversation_id": first["conversation_id"]}
    asked = await ask(client, resident, "转人工", **talk)
    assert (asked["status"], asked["route"]) == ("answered", "handoff")
    assert "已通知物业工作人员" in asked["answer"]
    assert await status_of(client, resident, first) == "pending"
    waiting = await ask(client, resident, "我的车位被人占了", **talk)
    assert (waiting["status"], waiting["answer"]) == ("passed_on", "")
    taken = await act(client, wang, first, "take-over")
    assert (taken["status"], taken["assignee_id"], taken["unread"]) == ("human", str(wang.id), 2)
    await reply(client, wang, first, "您好，我马上让保安过去看。")
    thanks = await ask(client, resident, "谢谢，车牌是京A12345", **talk)
    assert thanks["status"] == "passed_on"
    assert await run_jobs() == 0, "nothing of this is the bot's"
    assert len(engine.requests) == 1
    back = await act(client, wang, first, "return-to-bot")
    assert (back["status"], back["assignee_id"]) == ("bot", None)
    await ask(client, resident, "那月租车位呢？", **talk)
    assert await run_jobs() == 1
    said = [message.content for message in engine.requests[-1].messages]
    assert any("我马上让保安过去看" in text for text in said)
    assert any("车牌是京A12345" in text for text in said)
    assert not any("转人工" in text or "已通知" in text for text in said), "an old hand-off calls nobody again"
    assert await status_of(client, resident, first) == "bot"
    told = [(entry["kind"], entry["author_kind"]) for entry in await story_of(client, resident, first)]
    assert told == [
        ("turn", "resident"), ("turn", "resident"), ("event", "linli"), ("turn", "resident"), ("event", "linli"),
        ("reply", "staff"), ("turn", "resident"), ("event", "linli"), ("turn", "resident"),
    ]  # fmt: skip


async def test_who_has_never_asked_anything_can_ask_for_a_person_first(client, resident, engine, runtime):
    turn = await ask(client, resident, "我不跟机器人说")
    assert turn["route"] == "handoff"
    assert await status_of(client, resident, turn) == "pending"
    assert await runtime.queue.take(1, wait_seconds=0) == []
    opened = (await client.post(ME, as_=resident, json={})).json()
    button = await client.post(f"{ME}/{opened['id']}/handoff", as_=resident)
    assert (button.status_code, button.json()["status"], button.json()["reason"]) == (
        200,
        "pending",
        "customer_request",
    )


async def test_a_person_can_be_asked_for_with_a_full_queue_and_without_the_engine(
    client, web, runtime, resident, engine
):
    import dataclasses

    engine.stand(State.OFF, "stopped")
    settings = runtime.settings.model_copy(update={"queue_waiting_max": 0})
    full = dataclasses.replace(runtime, settings=settings, queue=type(runtime.queue)(runtime.redis, settings))
    web[1].state.runtime = full
    refused = await client.post("/api/v1/me/turns", as_=resident, json={"text": "临时停车怎么收费？"})
    assert refused.status_code == 429
    turn = await ask(client, resident, "转人工")
    assert await status_of(client, resident, turn) == "pending"
    passed = await ask(client, resident, "家里漏水了怎么办", conversation_id=turn["conversation_id"])
    assert passed["status"] == "passed_on"


async def test_the_reason_says_why_the_bot_was_not_enough(client, resident, wang, run_jobs):
    unknown = await ask(client, resident, "火星上的天气怎么样？")
    await run_jobs()
    await ask(client, resident, "转人工", conversation_id=unknown["conversation_id"])
    refused = await ask(client, resident, "给我写一首诗")
    await run_jobs()
    await ask(client, resident, "转人工", conversation_id=refused["conversation_id"])
    plain = await ask(client, resident, "转人工")
    by_staff = await ask(client, resident, "你好")
    await act(client, wang, by_staff, "handoff", reason="usage_limit", note="问了二十遍")
    for turn, reason in (
        (unknown, "missing_knowledge"), (refused, "policy_restriction"), (plain, "customer_request"),
        (by_staff, "usage_limit"),
    ):  # fmt: skip
        item = (await client.get(url_of(turn, wang), as_=wang)).json()
        assert (item["status"], item["reason"]) == ("pending", reason)


# What users of Chatwoot's Captain complain about


async def test_a_handoff_is_never_silent_chatwoot_13881(client, resident, wang, run_jobs, clock, runtime):
    turn = await ask(client, resident, "转人工")
    assert turn["answer"], "the resident is told at once"
    for _ in range(5):
        clock.now += timedelta(minutes=11)
        await sweep_conversations(runtime)
        await run_jobs()
    events = [event for event in await heard(client, resident, turn) if event.name == "status"]
    told = [event.data["text"] for event in events if event.data["facts"]["event"] == "still_waiting"]
    assert len(told) == handoff.CHASES_MAX, "told again, and not for ever"
    assert all(told)
    assert await status_of(client, resident, turn) == "pending", "and still in line"


async def test_an_old_handoff_in_the_history_calls_nobody_again_chatwoot_13880_15068(
    client, resident, wang, engine, run_jobs
):
    turn = await ask(client, resident, "转人工")
    talk = {"conversation_id": turn["conversation_id"]}
    await act(client, wang, turn, "take-over")
    await act(client, wang, turn, "return-to-bot")
    engine.follow(["每小时5元。", "每月300元。"])
    for question in ("临时停车怎么收费？", "那月租车位呢？"):
        asked = await ask(client, resident, question, **talk)
        await run_jobs()
        assert (await finished(client, resident, asked))["route"] == "knowledge"
        assert await status_of(client, resident, turn) == "bot"
    assert not any("人工" in message.content for request in engine.requests for message in request.messages)
    requested = [e for e in await story_of(client, resident, turn) if e["facts"].get("event") == "handoff_requested"]
    assert len(requested) == 1


async def test_asking_again_while_waiting_calls_nobody_twice_and_says_so(client, resident, wang):
    turn = await ask(client, resident, "转人工")
    again = await ask(client, resident, "人工！人工！", conversation_id=turn["conversation_id"])
    assert (again["route"], "已经通知过" in again["answer"]) == ("handoff", True)
    await client.post(f"{ME}/{turn['conversation_id']}/handoff", as_=resident)
    events = [entry for entry in await story_of(client, resident, turn) if entry["kind"] == "event"]
    assert len(events) == 1
    await act(client, wang, turn, "take-over")
    said = await ask(client, resident, "转人工", conversation_id=turn["conversation_id"])
    assert said["status"] == "passed_on", "the person reads it"


async def test_the_status_is_looked_at_again_when_the_answer_is_done_chatwoot_13673(
    client, resident, wang, engine, runtime
):
    engine.follow([Scripted("临时停车每小时5元，每天最高40元。", between_tokens_seconds=0.05)])
    turn = await ask(client, resident, "临时停车怎么收费？")
    [lease] = await runtime.queue.take(1, wait_seconds=0)
    answering = asyncio.ensure_future(HANDLERS[lease.job.name](runtime, lease))
    while not engine.running:  # noqa: ASYNC110 (nobody is told)
        await asyncio.sleep(0.01)
    await act(client, wang, turn, "take-over")
    await answering
    ended = await finished(client, resident, turn)
    assert (ended["status"], ended["answer"]) == ("passed_on", "")
    events = await read_all(client, turn["events_url"], as_=resident)
    assert (events[-1].name, events[-1].data["status"]) == ("done", "passed_on")
    [draft] = (await client.get(f"{url_of(turn, wang)}/drafts", as_=wang)).json()["items"]
    assert (draft["kind"], draft["text"]) == ("bot_answer", "临时停车每小时5元，每天最高40元。")
    assert draft["citations"][0]["document"] == "停车管理办法"
    assert (await client.get(f"{url_of(turn, resident)}/drafts", as_=resident)).status_code == 403


async def test_a_question_that_still_waits_when_a_person_takes_over_is_theirs(client, resident, wang, engine, run_jobs):
    turn = await ask(client, resident, "临时停车怎么收费？")
    await act(client, wang, turn, "take-over")
    await run_jobs()
    assert engine.requests == []
    assert (await finished(client, resident, turn))["status"] == "passed_on"
    events = await read_all(client, turn["events_url"], as_=resident)
    assert [event.name for event in events] == ["accepted", "done"]


async def test_messages_missed_while_away_come_once_and_in_order_chatwoot_14934_995_4335(client, resident, wang):
    turn = await ask(client, resident, "转人工")
    await act(client, wang, turn, "take-over")
    await reply(client, wang, turn, "第一句")
    before = await heard(client, resident, turn)
    await reply(client, wang, turn, "第二句")
    await reply(client, wang, turn, "不给住户看的", kind="note")
    await reply(client, wang, turn, "第三句")
    after = await heard(client, resident, turn, before[-1].id)
    assert [e.data["text"] for e in before if e.name == "message"] == ["第一句"]
    assert [e.data["text"] for e in after] == ["第二句", "第三句"]
    everything = await heard(client, resident, turn)
    assert [e.id for e in everything] == [e.id for e in before + after]
    refused = await client.get(
        f"{ME}/{turn['conversation_id']}/events", as_=resident, headers={"Last-Event-ID": "17-3"}
    )
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_event_id")


async def test_a_message_reaches_who_is_listening_at_once_and_a_wiped_feed_loses_none(
    client, web, runtime, resident, wang
):
    import dataclasses

    settings = runtime.settings.model_copy(update={"conversation_stream_seconds": 20, "feed_idle_seconds": 0.3})
    web[1].state.runtime = dataclasses.replace(
        runtime, settings=settings, feed=type(runtime.feed)(runtime.redis, settings)
    )
    turn = await ask(client, resident, "转人工")
    await act(client, wang, turn, "take-over")
    got: list[str] = []
    async with (
        asyncio.timeout(15),
        client.stream("GET", f"{ME}/{turn['conversation_id']}/events", as_=resident) as response,
    ):
        events = read(response)
        async for event in events:
            if event.name == "status" and event.data["facts"]["event"] == "taken_over":
                await reply(client, wang, turn, "在吗")
            if event.name == "message":
                got.append(event.data["text"])
                if len(got) == 2:
                    break
                await runtime.redis.flushall()
                await reply(client, wang, turn, "还在吗")
    assert got == ["在吗", "还在吗"]


async def test_not_everybody_sees_everything_chatwoot_10221(client, make, resident, wang):
    turn = await ask(client, resident, "转人工")
    neighbour, engineer = await make.resident(), await make.staff(role=StaffRole.ENGINEER)
    elsewhere = await make.staff(place=await make.place())
    for other in (neighbour, elsewhere):
        for method, path in (("GET", ""), ("GET", "/messages"), ("GET", "/events"), ("POST", "/handoff"),
                             ("POST", "/return-to-bot")):  # fmt: skip
            refused = await client.request(method, f"{ME}/{turn['conversation_id']}{path}", as_=other)
            assert refused.status_code == 404, (method, path)
    assert (await client.get(f"/api/v1/turns/{turn['id']}", as_=engineer)).status_code == 404
    for path in ("", "/messages"):
        assert (await client.get(f"{url_of(turn, engineer)}{path}", as_=engineer)).status_code == 403
        assert (await client.get(f"{url_of(turn, wang)}{path}", as_=wang)).status_code == 200
        foreign = f"{elsewhere.place.url}/conversations/{turn['conversation_id']}{path}"
        assert (await client.get(foreign, as_=elsewhere)).status_code == 404
    refused = await client.post(f"{ME}/{turn['conversation_id']}/handoff", as_=wang)
    assert refused.status_code == 404, "staff who may read it do not speak for its resident"


# Staff


async def test_of_two_who_take_over_at_the_same_instant_one_has_it_and_the_other_is_told_who(client, make, resident):
    staff = [await make.staff(role=StaffRole.FRONT_DESK) for _ in range(6)]
    turn = await ask(client, resident, "转人工")
    answers = await asyncio.gather(*(client.post(f"{url_of(turn, who)}/take-over", as_=who) for who in staff))
    winners = [who for who, answer in zip(staff, answers, strict=True) if answer.status_code == 200]
    assert len(winners) == 1
    for answer in answers:
        if answer.status_code != 200:
            assert (answer.status_code, answer.json()["code"]) == (409, "conversation_taken")
            assert answer.json()["facts"]["assignee_id"] == str(winners[0].id)
            assert answer.json()["facts"]["assignee_name"] == "员工"
    again = await client.post(f"{url_of(turn, winners[0])}/take-over", as_=winners[0])
    assert again.status_code == 200
    came = [e for e in await story_of(client, resident, turn) if e["facts"].get("event") == "taken_over"]
    assert len(came) == 1


async def test_only_who_has_the_conversation_replies_and_a_colleague_leaves_a_note(client, make, resident, wang):
    li = await make.staff()
    turn = await ask(client, resident, "你好")
    url = f"{url_of(turn, wang)}/messages"
    nobody = await client.post(url, as_=wang, json={"text": "您好"})
    assert (nobody.status_code, nobody.json()["code"]) == (409, "conversation_move_not_allowed")
    assert "human" in nobody.json()["facts"]["allowed"]
    await act(client, wang, turn, "take-over")
    other = await client.post(url, as_=li, json={"text": "您好"})
    assert (other.status_code, other.json()["facts"]["assignee_id"]) == (409, str(wang.id))
    await reply(client, li, turn, "这户上周也报过", kind="note")
    key = {"Idempotency-Key": uuid4().hex}
    twice = [await client.post(url, as_=wang, json={"text": "您好"}, headers=key) for _ in range(2)]
    assert twice[0].json() == twice[1].json()
    seen = (await client.get(url, as_=li)).json()["items"]
    assert [entry["text"] for entry in seen if entry["kind"] in ("reply", "note")] == ["这户上周也报过", "您好"]
    assert [entry["text"] for entry in await story_of(client, resident, turn) if entry["kind"] == "reply"] == ["您好"]
    assert "这户上周也报过" not in str(await story_of(client, resident, turn))
    assert "这户上周也报过" not in str(await heard(client, resident, turn))


async def test_a_conversation_is_given_to_a_colleague_and_put_back(client, make, resident, wang):
    li, engineer = await make.staff(), await make.staff(role=StaffRole.ENGINEER)
    turn = await ask(client, resident, "转人工")
    url = f"{url_of(turn, wang)}/assignee"
    given = (await client.put(url, as_=wang, json={"assignee_id": str(li.id)})).json()
    assert (given["status"], given["assignee_id"], given["assignee_name"]) == ("human", str(li.id), "员工")
    for nobody in (engineer.id, uuid4(), resident.id):
        refused = await client.put(url, as_=wang, json={"assignee_id": str(nobody)})
        assert (refused.status_code, refused.json()["code"]) == (404, "staff_not_found")
    back = (await client.put(url, as_=li, json={"assignee_id": None})).json()
    assert (back["status"], back["assignee_id"]) == ("pending", None)


async def test_a_closed_conversation_begins_with_the_bot_again(client, resident, wang, engine, run_jobs):
    turn = await ask(client, resident, "转人工")
    talk = {"conversation_id": turn["conversation_id"]}
    await act(client, wang, turn, "take-over")
    assert (await act(client, wang, turn, "resolve"))["status"] == "resolved"
    assert (await act(client, wang, turn, "resolve"))["status"] == "resolved"
    engine.follow(["每小时5元。"])
    asked = await ask(client, resident, "临时停车怎么收费？", **talk)
    assert asked["status"] == "waiting"
    await run_jobs()
    assert (await finished(client, resident, asked))["answer"] == "每小时5元。"
    item = (await client.get(url_of(turn, wang), as_=wang)).json()
    assert (item["status"], item["assignee_id"]) == ("bot", None)
    late = await client.post(f"{url_of(turn, wang)}/snooze", as_=wang, json={"until": "2026-12-01T00:00:00Z"})
    assert (late.status_code, late.json()["code"]) == (409, "conversation_move_not_allowed")
    assert set(late.json()["facts"]["allowed"]) == {"pending", "human", "resolved"}


async def test_a_snoozed_conversation_wakes_by_time_or_when_the_resident_writes(
    client, resident, wang, run_jobs, clock, runtime
):
    turn = await ask(client, resident, "转人工")
    talk = {"conversation_id": turn["conversation_id"]}
    await act(client, wang, turn, "take-over")
    past = await client.post(
        f"{url_of(turn, wang)}/snooze", as_=wang, json={"until": (clock.now - timedelta(hours=1)).isoformat()}
    )
    assert past.json()["code"] == "snooze_unfit"
    until = (clock.now + timedelta(hours=1)).isoformat()
    assert (await act(client, wang, turn, "snooze", until=until))["status"] == "snoozed"
    assert (await ask(client, resident, "零件到了吗", **talk))["status"] == "passed_on"
    item = (await client.get(url_of(turn, wang), as_=wang)).json()
    assert (item["status"], item["assignee_id"]) == ("human", str(wang.id))
    await act(client, wang, turn, "snooze", until=until)
    clock.now += timedelta(hours=2)
    await sweep_conversations(runtime)
    await run_jobs()
    assert (await client.get(url_of(turn, wang), as_=wang)).json()["status"] == "human"


# Nobody there


async def set_office(client, make, **more: Any) -> Person:
    """Open every day from half past eight to six."""
    manager: Person = await make.staff()
    days = {day: ["08:30-18:00"] for day in ("mon", "tue", "wed", "thu", "fri", "sat", "sun")}
    chosen = {"work_hours": days, "service_phone": "021-5555 0100", **more}
    url = f"{manager.place.url}/settings"
    answer = await client.patch(url, as_=manager, json=chosen, headers={"If-Match": "*"})
    assert answer.status_code == 200, answer.text
    return manager


async def told(client, person: Person) -> list[str]:
    """What one person was told outside of the chat."""
    answer = await client.get("/api/v1/me/messages", as_=person)
    assert answer.status_code == 200, answer.text
    return [f"{message['title']['zh']}：{message['body']['zh']}" for message in answer.json()["items"]]


async def promised(client, person: Person) -> list[dict[str, Any]]:
    answer = await client.get("/api/v1/me/promises", as_=person)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["items"])


async def test_out_of_hours_it_says_so_and_when_and_keeps_the_promise(
    client, make, resident, wang, clock, runtime, run_jobs
):
    await set_office(client, make)
    clock.now = datetime(2026, 11, 22, 14, 0, tzinfo=UTC)  # 22:00 there
    turn = await ask(client, resident, "转人工")
    assert "下班时间" in turn["answer"]
    assert "11月23日08:30上班。" in turn["answer"]
    assert "11月23日10:30前会有人联系您" in turn["answer"]
    assert "021-5555 0100" in turn["answer"]
    await ask(client, resident, "人工", conversation_id=turn["conversation_id"])
    [promise] = await promised(client, resident)
    assert (promise["due_at"], promise["status"]) == ("2026-11-23T02:30:00Z", "open")
    clock.now += timedelta(hours=2)
    await sweep_conversations(runtime)
    await run_jobs()
    waits = [e for e in await story_of(client, resident, turn) if e["facts"].get("event") == "still_waiting"]
    assert waits == [], "nobody is told in the night that nobody comes"
    clock.now = datetime(2026, 11, 23, 0, 45, tzinfo=UTC)
    await act(client, wang, turn, "take-over")
    assert [one["status"] for one in await promised(client, resident)] == ["kept"]


async def test_a_holiday_is_out_of_hours(client, make, resident, clock):
    await set_office(client, make, extra_holidays=["2026-11-24"])
    clock.now = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
    turn = await ask(client, resident, "Can I talk to a human please?")
    assert "The office is closed now" in turn["answer"]
    assert "25 Nov 08:30" in turn["answer"]


async def test_nobody_comes_and_the_lead_is_told_and_in_the_end_it_is_promised(
    client, make, resident, wang, clock, runtime, run_jobs
):
    lead = await set_office(client, make)
    turn = await ask(client, resident, "转人工")
    assert len(await told(client, wang)) == len(await told(client, lead)) == 1
    for times in range(1, 6):
        clock.now += timedelta(minutes=11)
        for _ in range(2):
            await sweep_conversations(runtime)
            await run_jobs()
        at_most = min(times, handoff.CHASES_MAX)
        assert len(await told(client, resident)) == at_most, "told once each time, and not for ever"
        assert len(await told(client, lead)) == 1 + at_most
    assert len(await told(client, wang)) == 1
    assert len(await promised(client, resident)) == 1
    assert "前会有人联系您" in (await story_of(client, resident, turn))[-1]["text"]


async def test_who_was_given_a_conversation_is_told(client, make, resident, wang):
    li = await make.staff(role=StaffRole.FRONT_DESK)
    turn = await ask(client, resident, "转人工")
    before = len(await told(client, li))
    await client.put(f"{url_of(turn, wang)}/assignee", as_=wang, json={"assignee_id": str(li.id)})
    assert len(await told(client, li)) == before + 1
    assert (await told(client, li))[0].startswith("有一个会话交给了您")


async def test_webhooks_hear_of_it_and_nothing_personal(client, make, resident, wang):
    manager = await make.staff()
    kinds = [f"conversation.{kind}" for kind in ("handoff_requested", "taken_over", "resolved")]
    made = await client.post(
        f"{manager.place.url}/webhooks",
        as_=manager,
        json={"name": "ERP", "url": "https://93.184.216.34/hook", "events": kinds},
    )
    assert made.status_code == 201, made.text
    turn = await ask(client, resident, "转人工，我是张三")
    await act(client, wang, turn, "take-over")
    await act(client, wang, turn, "resolve")
    log = await client.get(f"{manager.place.url}/webhooks/{made.json()['id']}/deliveries", as_=manager)
    assert {row["kind"] for row in log.json()["items"]} == set(kinds), log.text
    assert "张三" not in log.text


async def test_cancel_as_the_first_word_opens_one_conversation(client, resident):
    await ask(client, resident, "cancel")
    assert len((await client.get(ME, as_=resident)).json()["items"]) == 1


async def test_who_waits_may_go_on_with_the_bot(client, resident, engine, run_jobs):
    turn = await ask(client, resident, "转人工")
    talk = {"conversation_id": turn["conversation_id"]}
    back = await ask(client, resident, "继续问机器人", **talk)
    assert (back["route"], await status_of(client, resident, turn)) == ("handoff", "bot")
    engine.follow(["每小时5元。"])
    asked = await ask(client, resident, "临时停车怎么收费？", **talk)
    await run_jobs()
    assert (await finished(client, resident, asked))["answer"] == "每小时5元。"
    await ask(client, resident, "转人工", **talk)
    button = await client.post(f"{ME}/{turn['conversation_id']}/return-to-bot", as_=resident)
    assert button.json()["status"] == "bot"


async def test_through_the_openai_door_nobody_is_called_and_it_says_so(client, make, run_jobs, wang):
    key = await make.api_key("chat:write")
    body = {"model": "linli", "messages": [{"role": "user", "content": "转人工"}]}
    answering = asyncio.create_task(client.post("/v1/chat/completions", as_=key, json=body))
    while not answering.done():
        await run_jobs()
        await asyncio.sleep(0.02)
    assert "这个入口接不了人工" in answering.result().json()["choices"][0]["message"]["content"]
    listed = await client.get(f"{wang.place.url}/conversations?filter[status]=pending", as_=wang)
    assert listed.json()["items"] == []
