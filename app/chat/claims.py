"""A worker's hold on a turn's row: claim it, write the end of it. Only the newest claim may write."""

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.chat.tables import FINAL, Conversation, Mode, Route, Turn, TurnStatus
from app.db import Tenant
from app.people.callers import BadToken, Caller, account_caller, key_caller, tenant_of_community
from app.people.tables import Community
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
        turn = await session.scalar(
            update(Turn)
            .where(
                Turn.id == lease.job.row_id,
                Turn.claim_token < lease.token,
                Turn.status.in_((TurnStatus.WAITING, TurnStatus.RUNNING)),
            )
            .values(
                status=TurnStatus.RUNNING,
                claim_token=lease.token,
                attempts=Turn.attempts + 1,
                started_at=func.coalesce(Turn.started_at, runtime.clock()),
            )
            .returning(Turn)
        )
        if turn is None:
            found = await session.get(Turn, lease.job.row_id)
            return found if found is not None and found.status in FINAL else None
        conversation, name = (
            await session.execute(
                select(Conversation, Community.name)
                .join(Community, Community.id == Conversation.community_id)
                .where(Conversation.id == turn.conversation_id)
            )
        ).one()
        caller = await _asker(session, tenant, conversation)
        history = turn.history
        if history is None:
            history = await _history(session, turn, turns_max=runtime.settings.history_turns_max)
    return Claim(turn, lease.token, tenant, caller, name, history, restarted=turn.attempts > 1)


async def _asker(session: AsyncSession, tenant: Tenant, conversation: Conversation) -> Caller | None:
    """Who asked, with the rights of now; None when they have none any more."""
    if conversation.account_id is None:
        return await key_caller(session, tenant, conversation.caller_id)
    try:
        return await account_caller(session, tenant, conversation.account_id)
    except BadToken:
        return None


async def _history(session: AsyncSession, turn: Turn, *, turns_max: int) -> list[dict[str, str]]:
    if turn.number == 1:
        return []
    before = await session.scalars(
        select(Turn)
        .where(Turn.conversation_id == turn.conversation_id, Turn.number < turn.number, Turn.status.in_(FINAL))
        .order_by(Turn.number.desc())
        .limit(turns_max)
    )
    history: list[dict[str, str]] = []
    for earlier in reversed(before.all()):
        history.append({"role": "user", "content": earlier.question})
        if earlier.answer:
            history.append({"role": "assistant", "content": earlier.answer})
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


async def stop_requested(runtime: Runtime, claimed: Claim) -> bool:
    """Whether somebody asked for this turn to end."""
    async with runtime.transaction(claimed.tenant) as session:
        return bool(await session.scalar(select(Turn.stop_requested).where(Turn.id == claimed.turn.id)))
