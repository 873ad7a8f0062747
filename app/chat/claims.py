"""A worker's hold on a turn's row: claim it, write the end of it. Only the newest claim may write."""

from dataclasses import dataclass, field
from functools import cache
from typing import Any

from sqlalchemy import BigInteger, Integer, Select, Uuid, bindparam, func, select, update
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.orm import aliased

from app.chat.tables import FINAL, Conversation, Mode, Route, Turn, TurnStatus
from app.db import Tenant, UtcTime
from app.people.callers import (
    BadToken,
    Caller,
    account_rights,
    caller_of_key,
    caller_of_rights,
    tenant_of_community,
)
from app.people.tables import ApiKey, Community
from app.queue import Lease
from app.runtime import Runtime
from models.engine import Usage


@dataclass(frozen=True)
class Claim:
    """A turn this worker may write, with all it needs to answer. `token` fences off older claims."""

    turn: Turn
    token: int
    tenant: Tenant
    caller: Caller | None
    community_name: str
    history: list[dict[str, str]]
    restarted: bool


@dataclass
class Draft:
    """What an answer has become so far; saved whole at the end, or as far as it came when it is stopped."""

    answer: str = ""
    route: Route | None = None
    mode: Mode | None = None
    quotes: list[dict[str, Any]] = field(default_factory=list)
    citations: list[dict[str, Any]] = field(default_factory=list)
    trace: dict[str, Any] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)


async def claim(runtime: Runtime, lease: Lease) -> Claim | Turn | None:
    """The claim; the turn itself when it is final already; None when a newer claim holds it or it is gone."""
    tenant = await tenant_of_community(runtime, lease.job.community_id)
    async with runtime.transaction(tenant) as session:
        values = {
            "claimed_id": lease.job.row_id,
            "token": lease.token,
            "rights_in": tenant.community_id,
            "now": runtime.clock(),
            "turns_max": runtime.settings.history_turns_max,
        }
        found = (await session.execute(_claiming(), values)).one_or_none()
        if found is None:
            turn = await session.get(Turn, lease.job.row_id)
            return turn if turn is not None and turn.status in FINAL else None
    turn, conversation, name, rights, key, earlier = found
    return Claim(
        turn,
        lease.token,
        tenant,
        _asker(tenant, conversation, rights, key),
        name,
        turn.history if turn.history is not None else _history(earlier or []),
        restarted=turn.attempts > 1,
    )


@cache
def _claiming() -> Select[Any]:
    """One statement that claims the turn and reads all that answering needs. Built once: that takes longer than to run
    it.
    """
    token = bindparam("token", type_=BigInteger)
    claimed = (
        update(Turn)
        .where(
            Turn.id == bindparam("claimed_id", type_=Uuid),
            Turn.claim_token < token,
            Turn.status.in_((TurnStatus.WAITING, TurnStatus.RUNNING)),
        )
        .values(
            status=TurnStatus.RUNNING,
            claim_token=token,
            attempts=Turn.attempts + 1,
            started_at=func.coalesce(Turn.started_at, bindparam("now", type_=UtcTime())),
        )
        .returning(Turn)
        .cte("claimed")
    )
    turn, before = aliased(Turn, claimed), aliased(Turn)
    last = (
        select(before.number, before.messages, before.answer)
        .where(
            before.conversation_id == turn.conversation_id,
            before.number < turn.number,
            before.status.in_(FINAL),
        )
        .order_by(before.number.desc())
        .limit(bindparam("turns_max", type_=Integer))
        .correlate(turn)
        .subquery()
    )
    said = func.jsonb_build_array(last.c.messages, last.c.answer)
    earlier = select(func.jsonb_agg(aggregate_order_by(said, last.c.number))).correlate(turn).scalar_subquery()
    statement: Select[Any] = (
        select(
            turn, Conversation, Community.name, account_rights(Conversation.account_id).correlate(Conversation),
            ApiKey, earlier,
        )
        .join(Conversation, Conversation.id == turn.conversation_id)
        .join(Community, Community.id == Conversation.community_id)
        .outerjoin(ApiKey, ApiKey.id == Conversation.caller_id)
    )  # fmt: skip
    return statement


def _asker(tenant: Tenant, conversation: Conversation, rights: Any, key: ApiKey | None) -> Caller | None:
    """Who asked, with the rights of now; None when they have none any more."""
    if conversation.account_id is None:
        return caller_of_key(tenant, key)
    try:
        return caller_of_rights(tenant, conversation.account_id, rights)
    except BadToken:
        return None


def _history(earlier: list[tuple[list[str], str]]) -> list[dict[str, str]]:
    history: list[dict[str, str]] = []
    for messages, answer in earlier:
        history.append({"role": "user", "content": "\n".join(messages)})
        if answer:
            history.append({"role": "assistant", "content": answer})
    return history


async def save(
    runtime: Runtime, claimed: Claim, draft: Draft, *, status: TurnStatus, error: str | None = None
) -> Turn | None:
    """The finished turn, or None when a newer claim has taken over and this worker's answer is dropped."""
    async with runtime.transaction(claimed.tenant) as session:
        saved: Turn | None = await session.scalar(
            update(Turn)
            .where(Turn.id == claimed.turn.id, Turn.claim_token == claimed.token, Turn.status == TurnStatus.RUNNING)
            .values(
                status=status,
                error=error,
                answer=draft.answer,
                route=draft.route,
                mode=draft.mode,
                quotes=draft.quotes,
                citations=draft.citations,
                trace=draft.trace,
                prompt_tokens=draft.usage.prompt_tokens,
                cached_tokens=draft.usage.cached_tokens,
                completion_tokens=draft.usage.completion_tokens,
                finished_at=runtime.clock(),
            )
            .returning(Turn)
            .execution_options(populate_existing=True)
        )
        return saved


async def find_saved(runtime: Runtime, claimed: Claim) -> Turn | None:
    """The turn as this claim ended it, if it did."""
    async with runtime.transaction(claimed.tenant) as session:
        found: Turn | None = await session.scalar(
            select(Turn).where(Turn.id == claimed.turn.id, Turn.claim_token == claimed.token, Turn.status.in_(FINAL))
        )
        return found


async def stop_requested(runtime: Runtime, claimed: Claim) -> bool:
    """Whether somebody asked for this turn to end."""
    async with runtime.transaction(claimed.tenant) as session:
        return bool(await session.scalar(select(Turn.stop_requested).where(Turn.id == claimed.turn.id)))
