"""How often a turn asks Postgres. BEGIN (which carries the tenant) and COMMIT are not counted."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import event

from app.queue import HANDLERS
from tests.chat.test_turns import PARKING, ask

STATEMENTS_MAX = 5
"""Who asks, the question's row, the claim with all it needs, the search, the answer's row."""


@pytest.fixture
async def resident(make):
    person = await make.resident()
    await make.document("停车管理办法", PARKING)
    return person


@contextmanager
def counting(runtime) -> Iterator[list[str]]:
    seen: list[str] = []

    def note(connection, cursor, statement, *rest) -> None:
        seen.append(statement)

    database = runtime.sessions.kw["bind"].sync_engine
    event.listen(database, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(database, "before_cursor_execute", note)


async def answer(runtime) -> None:
    for lease in await runtime.queue.take(8, wait_seconds=0):
        await HANDLERS[lease.job.name](runtime, lease)
        await runtime.queue.finish(lease)


async def test_a_turn_costs_few_statements_at_the_first_question_and_later(client, runtime, resident, engine):
    engine.follow(["每小时5元。", "每小时5元。", "每月300元。"])
    await ask(client, resident, "临时停车怎么收费？")
    await answer(runtime)  # a worker learns once whose community this is
    with counting(runtime) as first:
        turn = await ask(client, resident, "临时停车怎么收费？")
        await answer(runtime)
    with counting(runtime) as later:
        await ask(client, resident, "那月租车位呢？", conversation_id=turn["conversation_id"])
        await answer(runtime)
    assert len(engine.requests) == 3
    assert len(first) <= STATEMENTS_MAX, "\n\n".join(first)
    assert len(later) <= STATEMENTS_MAX, "\n\n".join(later)


async def test_a_long_answer_costs_no_statement_more_than_a_short_one(client, runtime, resident, engine):
    counts = []
    for words in ("每小时5元。", "每小时5元。", "临时停车前30分钟免费，之后每小时5元。" * 20):
        engine.follow([words])
        with counting(runtime) as seen:
            await ask(client, resident, "临时停车怎么收费？")
            await answer(runtime)
        counts.append(len(seen))
    assert counts[1] == counts[2]


async def test_a_question_over_the_openai_door_costs_no_more(client, runtime, make, engine):
    key = await make.api_key("chat:write")
    await make.document("停车管理办法", PARKING)
    body = {"model": "linli", "messages": [{"role": "user", "content": "临时停车怎么收费？"}], "stream": True}
    counts = []
    for _ in range(2):
        engine.follow(["每小时5元。"])
        with counting(runtime) as seen:
            async with client.stream("POST", "/v1/chat/completions", as_=key, json=body) as response:
                await answer(runtime)
                assert "[DONE]" in (await response.aread()).decode()
        counts.append(len(seen))
    assert counts[1] <= STATEMENTS_MAX
