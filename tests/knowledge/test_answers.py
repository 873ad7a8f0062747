"""Approved answers: given only to the question they answer, while what they rest on is in force."""

import pytest
from sqlalchemy import select

from app.knowledge import answers, search

HOURS = {
    "questions": ["前台几点上班", "物业周末上班吗", "What are the office hours?"],
    "answer_zh": "前台周一至周五8:30-18:00，周末9:00-17:00。",
    "answer_en": "The front desk is open 8:30-18:00, 9:00-17:00 at weekends.",
}


@pytest.fixture
def find(runtime, make):
    async def ask(question, *, as_):
        prepared = await search.prepare(runtime.embedder, question)
        caller = await make.caller(as_)
        async with runtime.transaction(caller.tenant) as session:
            found = await session.scalar(select(answers.nearest(caller, prepared, as_of=runtime.clock())))
        return answers.hit_of(prepared, found, runtime.settings)

    return ask


async def test_the_approved_answer_is_given_to_its_question_and_no_other(client, make, find):
    home, staff, resident = await make.home(), await make.staff(), await make.resident()
    added = await client.post(f"{home.url}/answers", json=HOURS, as_=staff)
    assert added.status_code == 201
    hit = await find("前台几点上班啊", as_=resident)
    assert hit.text("zh") == HOURS["answer_zh"]
    assert hit.text("en") == HOURS["answer_en"]
    assert await find("元旦那天前台上班不", as_=resident) is None, "near in meaning, but asks something else"
    assert await find("电梯坏了找谁", as_=resident) is None
    assert await find("前台几点上班啊", as_=await make.resident(place=await make.place())) is None


async def test_an_answer_rests_when_switched_off_when_not_meant_for_you_and_with_its_document(
    client, make, find, clock
):
    from datetime import timedelta

    home, staff, resident = await make.home(), await make.staff(), await make.resident()
    document = await make.document("手册", "# 手册\n\n前台8:30上班。", valid_to="2026-11-30")
    url = f"{home.url}/answers"
    row = (await client.post(url, json=HOURS | {"document_id": str(document)}, as_=staff)).json()
    assert await find("前台几点上班", as_=resident)

    async def change(**changes):
        etag = (await client.get(f"{url}/{row['id']}", as_=staff)).headers["etag"]
        reply = await client.patch(f"{url}/{row['id']}", json=changes, headers={"If-Match": etag}, as_=staff)
        assert reply.status_code == 200, reply.text

    await change(enabled=False)
    assert await find("前台几点上班", as_=resident) is None
    await change(enabled=True, audience="staff")
    assert await find("前台几点上班", as_=resident) is None
    assert (await client.get(f"{url}/{row['id']}", as_=resident)).status_code == 404
    assert await find("前台几点上班", as_=staff)
    await change(audience="all", questions=["客服中心什么时候开门"])
    assert await find("客服中心什么时候开门", as_=resident)
    clock.now += timedelta(days=30)
    assert await find("客服中心什么时候开门", as_=resident) is None


async def test_answers_are_kept_by_staff_and_hits_are_counted(runtime, client, make):
    home, staff, resident = await make.home(), await make.staff(), await make.resident()
    url = f"{home.url}/answers"
    assert (await client.post(url, json=HOURS, as_=resident)).status_code == 403
    assert (await client.post(url, json=HOURS | {"audience": "building"}, as_=staff)).status_code == 422
    row = (await client.post(url, json=HOURS, as_=staff)).json()
    caller = await make.caller(staff)
    async with runtime.transaction(caller.tenant) as session:
        await answers.count_hit(session, caller, row["id"])
    hits = (await client.get(f"{url}/hits", as_=staff)).json()
    assert (hits["total"], hits["items"][0]["id"]) == (1, row["id"])
    stale = await client.patch(f"{url}/{row['id']}", json={"enabled": False}, headers={"If-Match": '"x"'}, as_=staff)
    assert stale.status_code == 412
    assert (await client.delete(f"{url}/{row['id']}", as_=staff)).status_code == 204
    assert (await client.get(url, as_=staff)).json()["items"] == []
