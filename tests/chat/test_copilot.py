"""Drafts for staff: with sources, with checked numbers, never sent by themselves."""

import asyncio

import pytest

from app.chat.copilot import WRITERS
from app.chat.copilot_actions import ACTION_OF_INTENT, TEXTS, Action
from app.chat.jobs import sweep_drafts
from app.chat.tables import DraftKind
from app.people.tables import StaffRole
from app.service_desk.triage_tables import CATEGORY_OF_INTENT
from models.engine import State
from models.scripted_engine import Scripted
from tests.chat.events import read_all, text_of
from tests.chat.test_handoff import act, reply, story_of, url_of
from tests.chat.test_turns import PARKING, ask


@pytest.fixture
async def wang(make):
    return await make.staff(role=StaffRole.FRONT_DESK)


@pytest.fixture
async def resident(make):
    person = await make.resident()
    await make.document("停车管理办法", PARKING)
    return person


@pytest.fixture
async def talk(client, resident, wang):
    """A conversation that Wang has, with a question in it."""
    turn = await ask(client, resident, "转人工")
    await act(client, wang, turn, "take-over")
    await ask(client, resident, "临时停车怎么收费？", conversation_id=turn["conversation_id"])
    return turn


@pytest.fixture
def draft(client, wang, talk, run_jobs):
    async def draft(kind: str, **body):
        asked = await client.post(f"{url_of(talk, wang)}/drafts", as_=wang, json={"kind": kind, **body})
        assert asked.status_code == 202, asked.text
        assert asked.json()["status"] == "waiting"
        await run_jobs()
        return (await client.get(f"{url_of(talk, wang)}/drafts/{asked.json()['id']}", as_=wang)).json()

    return draft


def test_every_kind_has_a_writer():
    assert set(WRITERS) == set(DraftKind) - {DraftKind.BOT_ANSWER}


async def test_a_reply_is_drafted_with_its_source_and_sent_by_nobody(client, resident, engine, talk, draft):
    engine.follow(["临时停车每小时5元，每天最高40元。"])
    before = await story_of(client, resident, talk)
    drafted = await draft("reply")
    assert (drafted["status"], drafted["mode"]) == ("done", "model")
    assert drafted["text"] == "临时停车每小时5元，每天最高40元。"
    assert drafted["citations"][0]["document"] == "停车管理办法"
    assert await story_of(client, resident, talk) == before
    assert len(engine.requests) == 1, "the second delivery asks the engine nothing"


async def test_an_invented_number_takes_the_words_back(engine, draft):
    engine.follow(["临时停车每小时8元。"])
    drafted = await draft("reply")
    assert (drafted["mode"], drafted["facts"]["reason"]) == ("quotes", "ungrounded")
    assert "每小时5元" in drafted["text"]
    engine.follow(["您好，押金300元，周三9点来取。"])
    drafted = await draft("rewrite", text="押金200元，周三来取")
    assert (drafted["mode"], drafted["facts"]["reason"]) == ("fixed", "ungrounded")
    assert "押金200元，周三来取" in drafted["text"]


async def test_what_only_staff_may_know_is_in_no_reply(client, make, engine, draft, resident):
    await make.document("员工手册", "# 停车\n\n临时停车给熟人每小时收1元。", audience="staff")
    engine.stand(State.OFF, "stopped")
    drafted = await draft("reply")
    assert "熟人" not in str(drafted)
    assert "每小时5元" in drafted["text"]


async def test_a_kinder_wording_and_what_it_left_out(engine, draft):
    engine.follow(["您好，押金200元，请您来取。"])
    drafted = await draft("rewrite", text="押金200元，11月25日来取")
    assert (drafted["mode"], drafted["text"]) == ("model", "您好，押金200元，请您来取。")
    assert drafted["facts"]["left_out"] == ["11月25日"]


async def test_a_translation_keeps_its_numbers(engine, draft):
    engine.follow(["The deposit is 200 yuan."])
    drafted = await draft("translate", text="押金200元。")
    assert (drafted["language"], drafted["mode"], drafted["text"]) == ("en", "model", "The deposit is 200 yuan.")
    engine.follow(["装修押金是200元。"])
    drafted = await draft("translate", text="装修押金是200元。")
    assert (drafted["mode"], drafted["facts"]) == ("fixed", {"reason": "wrong_language", "untranslated": True})


async def test_a_summary_and_the_extract_that_is_there_at_once(client, engine, talk, draft, wang, resident):
    url = f"{url_of(talk, wang)}/summary"
    at_once = (await client.get(url, as_=wang)).json()
    assert (at_once["worded"], at_once["is_current"]) == (None, False)
    assert "临时停车怎么收费？" in at_once["extract"]
    engine.follow(["住户问临时停车怎么收费，还没有答复。"])
    await draft("summary")
    worded = (await client.get(url, as_=wang)).json()
    assert (worded["worded"]["text"], worded["is_current"]) == ("住户问临时停车怎么收费，还没有答复。", True)
    await reply(client, wang, talk, "每小时5元。")
    assert (await client.get(url, as_=wang)).json()["is_current"] is False


@pytest.mark.parametrize("broken", ["off", "failing"])
async def test_without_the_engine_there_are_quotes_an_extract_and_the_reason(engine, draft, broken):
    if broken == "off":
        engine.stand(State.OFF, "stopped")
    else:
        engine.follow([Scripted("好的", fail_at=0)] * 4)
    reason = "engine_off" if broken == "off" else "engine_failed"
    replied = await draft("reply")
    assert (replied["mode"], replied["facts"]["reason"]) == ("quotes", reason)
    assert replied["text"].startswith("智能回答暂时不可用")
    summary = await draft("summary")
    assert (summary["mode"], summary["facts"]["reason"]) == ("quotes", reason)
    assert "临时停车怎么收费？" in summary["text"]
    rewritten = await draft("rewrite", text="明天来修")
    assert (rewritten["mode"], "明天来修" in rewritten["text"]) == ("fixed", True)
    translated = await draft("translate", text="明天来修")
    assert translated["facts"]["untranslated"] is True


def test_every_intent_has_a_next_step_in_both_languages():
    assert set(ACTION_OF_INTENT) == set(CATEGORY_OF_INTENT)
    assert set(TEXTS) == set(Action)
    assert all(set(words) == {"zh", "en"} for words in TEXTS.values())


@pytest.mark.parametrize(
    ("words", "action", "category"),
    [("厨房水管漏水，一直滴水", "open_order", "plumbing"), ("我家着火了，楼道全是烟", "emergency", None)],
)
async def test_a_category_and_a_next_step_are_suggested(
    client, resident, wang, engine, talk, draft, words, action, category
):
    engine.stand(State.OFF, "stopped")
    await reply(client, wang, talk, "每小时5元。")
    await ask(client, resident, words, conversation_id=talk["conversation_id"])
    before = await story_of(client, resident, talk)
    suggested = await draft("suggest")
    assert (suggested["status"], suggested["facts"]["action"]) == ("done", action)
    assert suggested["text"] == TEXTS[Action(action)]["zh"]
    if category:
        assert suggested["facts"]["category_code"] == category
    assert await story_of(client, resident, talk) == before, "nothing was sent, no order opened"


async def test_a_draft_without_a_text_is_refused_and_one_of_others_is_not_there(
    client, make, talk, wang, draft, engine
):
    empty = await client.post(f"{url_of(talk, wang)}/drafts", as_=wang, json={"kind": "rewrite"})
    assert (empty.status_code, empty.json()["code"]) == (422, "draft_text_missing")
    engine.follow(["概括。"])
    made = await draft("summary")
    other = await ask(client, await make.resident(), "你好")
    assert (await client.get(f"{url_of(other, wang)}/drafts/{made['id']}", as_=wang)).status_code == 404
    engineer = await make.staff(role=StaffRole.ENGINEER)
    refused = await client.get(f"{url_of(talk, engineer)}/drafts/{made['id']}", as_=engineer)
    assert refused.status_code == 403


async def test_a_lost_queue_loses_no_draft_and_a_dead_job_says_so(client, runtime, wang, talk, run_jobs, clock, engine):
    from datetime import timedelta

    engine.follow(["概括。", "概括。"])
    url = f"{url_of(talk, wang)}/drafts"
    first = (await client.post(url, as_=wang, json={"kind": "summary"})).json()
    await runtime.redis.flushall()
    clock.now += timedelta(minutes=1)
    await sweep_drafts(runtime)
    assert await run_jobs() == 1
    assert (await client.get(f"{url}/{first['id']}", as_=wang)).json()["status"] == "done"
    second = (await client.post(url, as_=wang, json={"kind": "summary"})).json()
    [lease] = await runtime.queue.take(1, wait_seconds=0)
    await runtime.queue.fail(lease, reason="it kills its worker")
    clock.now += timedelta(minutes=1)
    await sweep_drafts(runtime)
    ended = (await client.get(f"{url}/{second['id']}", as_=wang)).json()
    assert (ended["status"], ended["error"]) == ("failed", "gave_up")


async def test_a_reply_is_followed_word_by_word_while_it_is_drafted(client, wang, resident, talk, engine, run_jobs):
    engine.follow(["临时停车每小时5元，每天最高40元。"])
    drafts = f"{url_of(talk, wang)}/drafts"
    asked = (await client.post(drafts, as_=wang, json={"kind": "reply"})).json()
    following = asyncio.create_task(read_all(client, f"{drafts}/{asked['id']}/events", as_=wang))
    await run_jobs()
    events = await following
    assert events[-1].name == "done"
    assert text_of(events) == events[-1].data["text"] == "临时停车每小时5元，每天最高40元。"
    assert sum(event.name == "token" for event in events) >= 1
    again = await read_all(client, f"{drafts}/{asked['id']}/events", as_=wang)
    assert again[-1].data == events[-1].data
    rest = await read_all(client, f"{drafts}/{asked['id']}/events", as_=wang, headers={"Last-Event-ID": events[-2].id})
    assert [event.name for event in rest] == ["done"]
    kinder = (await client.post(drafts, as_=wang, json={"kind": "rewrite", "text": "自己去交"})).json()
    engine.stand(State.OFF, "stopped")
    await run_jobs()
    [*_, end] = await read_all(client, f"{drafts}/{kinder['id']}/events", as_=wang)
    assert (end.name, end.data["status"]) == ("done", "done")
    assert (await client.get(f"{drafts}/{asked['id']}/events", as_=resident)).status_code in (403, 404)
    assert (await client.get(f"/api/v1/turns/{asked['id']}/events", as_=resident)).status_code == 404
