"""A worker's hold on a turn's row: claim it, write the end of it. Only the newest claim may write."""

from dataclasses import dataclass, field
from functools import cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    Select,
    Subquery,
    Uuid,
    bindparam,
    func,
    select,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by, insert
from sqlalchemy.orm import aliased

from app.chat import prompt
from app.chat.tables import (
    FINAL,
    Conversation,
    ConversationDraft,
    ConversationMessage,
    ConversationStatus,
    DraftKind,
    DraftStatus,
    MessageKind,
    Mode,
    Route,
    Turn,
    TurnStatus,
)
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
        asker_of(tenant, conversation, rights, key),
        name,
        turn.history if turn.history is not None else _history(earlier or [], turn.language),
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
    turn = aliased(Turn, claimed)
    last = _said_before(turn)
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


def _said_before(turn: Any) -> Subquery:
    """The last turns and replies of staff before a turn. The wish for a person is left out: who reads that one was
    called would call one again, or say so.
    """
    before, reply, at_most = aliased(Turn), aliased(ConversationMessage), bindparam("turns_max", type_=Integer)
    turns = (
        select(before.number, before.messages, before.answer)
        .where(
            before.conversation_id == turn.conversation_id,
            before.number < turn.number,
            before.status.in_(FINAL),
            before.route.is_distinct_from(Route.HANDOFF),
        )
        .order_by(before.number.desc())
        .limit(at_most)
        .correlate(turn)
        .subquery()
    )
    replies = (
        select(reply.number, func.jsonb_build_array().label("messages"), reply.text.label("answer"))
        .where(
            reply.conversation_id == turn.conversation_id,
            reply.number < turn.number,
            reply.kind == MessageKind.REPLY,
        )
        .order_by(reply.number.desc())
        .limit(at_most)
        .correlate(turn)
        .subquery()
    )
    return union_all(select(turns), select(replies)).subquery()


def asker_of(tenant: Tenant, conversation: Conversation, rights: Any, key: ApiKey | None) -> Caller | None:
    """Who asked, with the rights of now; None when they have none any more."""
    if conversation.account_id is None:
        return caller_of_key(tenant, key)
    try:
        return caller_of_rights(tenant, conversation.account_id, rights)
    except BadToken:
        return None


def _history(earlier: list[tuple[list[str], str]], language: str) -> list[dict[str, str]]:
    """As the model reads it. What a person of the staff said is told as such: it is not the bot's word."""
    history: list[dict[str, str]] = []
    for messages, answer in earlier:
        if not messages:
            history.append({"role": "user", "content": prompt.said_by_staff(answer, language)})
            continue
        history.append({"role": "user", "content": "\n".join(messages)})
        if answer:
            history.append({"role": "assistant", "content": answer})
    return history


async def save(
    runtime: Runtime, claimed: Claim, draft: Draft, *, status: TurnStatus, error: str | None = None
) -> Turn | None:
    """The finished turn, or None when it is this worker's no more: a newer claim has it, or a person took over."""
    async with runtime.transaction(claimed.tenant) as session:
        saved: Turn | None = await session.scalar(
            update(Turn)
            .where(
                Turn.id == claimed.turn.id,
                Turn.claim_token == claimed.token,
                Turn.status == TurnStatus.RUNNING,
                _bot_has_the_word(),
            )
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


def _bot_has_the_word() -> ColumnElement[bool]:
    """Looked at once more as the answer is saved: the turn was taken from the bot when a person took over, but not by
    a release that knew of no such thing.
    """
    return (
        select(Conversation.id)
        .where(Conversation.id == Turn.conversation_id, Conversation.status == ConversationStatus.BOT)
        .exists()
    )


async def keep_for_staff(runtime: Runtime, claimed: Claim, draft: Draft) -> Turn | None:
    """The turn, when a person took over while this worker was writing: its words become a draft that staff may use.

    None when the turn is another claim's. Safe to repeat.
    """
    async with runtime.transaction(claimed.tenant) as session:
        turn: Turn | None = await session.scalar(
            update(Turn)
            .where(
                Turn.id == claimed.turn.id,
                Turn.claim_token == claimed.token,
                Turn.status.in_((TurnStatus.RUNNING, TurnStatus.PASSED_ON)),
                ~_bot_has_the_word() | (Turn.status == TurnStatus.PASSED_ON),
            )
            .values(status=TurnStatus.PASSED_ON, finished_at=func.coalesce(Turn.finished_at, runtime.clock()))
            .returning(Turn)
            .execution_options(populate_existing=True)
        )
        if turn is not None and draft.answer:
            now = runtime.clock()
            await session.execute(
                insert(ConversationDraft)
                .values(
                    community_id=turn.community_id, conversation_id=turn.conversation_id, turn_id=turn.id,
                    kind=DraftKind.BOT_ANSWER, status=DraftStatus.DONE, language=turn.language, text=draft.answer,
                    mode=draft.mode, citations=draft.citations, up_to_number=turn.number, created_at=now,
                    finished_at=now,
                )
                .on_conflict_do_nothing()
            )  # fmt: skip
        return turn


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
