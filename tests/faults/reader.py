"""The independent reader: plain SQL as the superuser, beside the logs of the clients. It shares no code with the app.

I1 no acknowledged message is lost. I2 one answer per idempotency key. I3 what a client holds is a prefix of the stored
answer. I4 no row of another community in any response. I5 every request ends within its deadline. I6 tokens charged are
tokens stored.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from tests.faults.residents import Asked
from tests.faults.stack import Stack
from tests.faults.town import answer_of, tokens_of

TURNS = """
SELECT id::text, status, messages, answer, mode, completion_tokens, claim_token, attempts, error,
       extract(epoch FROM finished_at)::float8 AS finished_at
FROM turns WHERE community_id = ANY($1::uuid[])"""


@dataclass
class Verdict:
    """What broke, in words, by invariant. Empty lists are what is promised."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    wrong_text: list[str] = field(default_factory=list)
    crossed: list[str] = field(default_factory=list)
    unended: list[str] = field(default_factory=list)
    mischarged: list[str] = field(default_factory=list)

    @property
    def broken(self) -> list[str]:
        names = ("I1 lost", "I2 doubled", "I3 wrong text", "I4 crossed", "I5 unended", "I6 mischarged")
        found = (self.lost, self.doubled, self.wrong_text, self.crossed, self.unended, self.mischarged)
        return [f"{name}: {what}" for name, whats in zip(names, found, strict=True) for what in whats]


async def connect(stack: Stack) -> asyncpg.Connection:
    """As superuser, past row-level security and past the proxy."""
    url = stack.services.database_superuser_url.replace("+asyncpg", "")
    connection: asyncpg.Connection = await asyncpg.connect(url.rpartition("/")[0] + "/linli")
    return connection


async def read_turns(stack: Stack, asked: Sequence[Asked]) -> list[dict[str, Any]]:
    """All turns of the communities that were asked, as rows."""
    connection = await connect(stack)
    try:
        communities = list({str(one.community.place.id) for one in asked})
        rows = [dict(row) for row in await connection.fetch(TURNS, communities)]
    finally:
        await connection.close()
    for row in rows:
        row["messages"] = json.loads(row["messages"])
    return rows


async def check(stack: Stack, asked: Sequence[Asked]) -> Verdict:
    """The verdict on everything that was asked, after it has ended or its deadline has passed."""
    verdict = Verdict()
    rows = await read_turns(stack, asked)
    by_id = {row["id"]: row for row in rows}
    by_question: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        for message in row["messages"]:
            by_question[message].append(row["id"])
    for one in asked:
        _check_one(verdict, one, by_id, by_question[one.question])
    return verdict


def _check_one(verdict: Verdict, asked: Asked, by_id: dict[str, dict[str, Any]], turns: list[str]) -> None:
    name = f"{asked.code} ({asked.turn_id or 'never acknowledged'})"
    for turn_id in set(asked.turn_ids) - set(turns):
        verdict.lost.append(f"{name}: turn {turn_id} was acknowledged and does not hold the message")
    if len(turns) > 1 or len(set(asked.turn_ids)) > 1:
        verdict.doubled.append(f"{name}: key {asked.key} made turns {turns}, acknowledged {set(asked.turn_ids)}")
    for violation in asked.violations:
        kind = violation.split(":")[0]
        bad = {"hang": verdict.unended, "gap": verdict.wrong_text, "repeat": verdict.wrong_text}
        (verdict.crossed if "canary" in kind else bad.get(kind, verdict.unended)).append(f"{name}: {violation}")
    if asked.end is None:
        row = by_id.get(asked.turn_id or "")
        verdict.unended.append(f"{name}: no end; its row is {row and (row['status'], row['attempts'], row['error'])}")
    if (row := by_id.get(asked.turn_id or "")) is not None:
        _check_text(verdict, asked, row, name)
        _check_charge(verdict, asked, row, name)


def _check_text(verdict: Verdict, asked: Asked, row: dict[str, Any], name: str) -> None:
    expected = answer_of(asked.code, asked.community.canary)
    if asked.end is not None and not row["answer"].startswith(asked.text):
        verdict.wrong_text.append(f"{name}: holds {asked.text!r}, stored is {row['answer']!r}")
    if asked.end is not None and "answer" in asked.end and asked.end["answer"] != row["answer"]:
        verdict.wrong_text.append(f"{name}: was told {asked.end['answer']!r}, stored is {row['answer']!r}")
    if row["mode"] == "model" and not (row["answer"] == expected or row["status"] == "stopped"):
        verdict.wrong_text.append(f"{name}: the engine said {expected!r}, stored is {row['answer']!r}")
    for text in (asked.text, *asked.taken_back):
        if not (expected.startswith(text) or row["answer"].startswith(text)):
            verdict.wrong_text.append(f"{name}: was shown {text!r}")


def _check_charge(verdict: Verdict, asked: Asked, row: dict[str, Any], name: str) -> None:
    full = tokens_of(answer_of(asked.code, asked.community.canary))
    whole = row["mode"] == "model" and row["status"] == "answered"
    told = (asked.end or {}).get("usage", {}).get("completion_tokens", row["completion_tokens"])
    if row["completion_tokens"] not in ((full,) if whole else (0, full)) or told != row["completion_tokens"]:
        verdict.mischarged.append(
            f"{name}: stored {row['completion_tokens']}, told {told}, the engine said {full} ({row['mode']})"
        )
