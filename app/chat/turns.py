"""One turn, read top to bottom: claim, answer, save, tell. Safe to run twice for one turn."""

import asyncio
from uuid import UUID

import structlog
from prometheus_client import Counter, Histogram
from sqlalchemy import update

from app.chat import claims
from app.chat.answering import write_answer
from app.chat.claims import Claim, Draft
from app.chat.publishing import END_TOKEN, TurnFeed
from app.chat.schemas import turn_out
from app.chat.tables import FINAL, Turn, TurnStatus
from app.db import is_away
from app.people.callers import tenant_of_community
from app.queue import Lease
from app.runtime import Runtime
from models.engine import EngineBusy

log = structlog.get_logger(__name__)

SAVE_RETRY_SECONDS = 0.5
TURNS = Counter("linli_turns_total", "Turns that ended", ["status", "route", "mode"])
SECONDS = Histogram(
    "linli_turn_seconds", "Seconds from claim to each mark of a turn", ["mark"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 60),
)  # fmt: skip


async def answer_turn(runtime: Runtime, lease: Lease) -> None:
    """Answer one waiting turn. The claim makes a second delivery harmless.

    Raises: EngineBusy (the queue puts the turn back). A failure of the last attempt marks the turn failed and tells
    the feed, so that nobody waits for ever.
    """
    claimed = await claims.claim(runtime, lease)
    if not isinstance(claimed, Claim):
        if claimed is not None:
            # Answered before, but the worker may have died between saving and telling.
            await tell_end(runtime, claimed, token=lease.token)
        return
    feed = TurnFeed(runtime.feed, claimed.turn.id, token=claimed.token)
    draft = Draft(trace={"times": feed.watch.marks, "attempt": claimed.turn.attempts})
    await feed.publish("restart" if claimed.restarted else "started", {"attempt": claimed.turn.attempts})
    if claimed.turn.stop_requested or claimed.caller is None:
        status = TurnStatus.STOPPED if claimed.turn.stop_requested else TurnStatus.FAILED
        await end(runtime, claimed, draft, status=status, error=None if claimed.caller else "caller_gone")
        return
    try:
        await write_answer(runtime, claimed, draft, feed)
    except asyncio.CancelledError:
        # Stopped by the resident, or the worker is told to leave or has lost the lease: then another one starts over.
        if await asyncio.shield(claims.stop_requested(runtime, claimed)):
            await asyncio.shield(end(runtime, claimed, draft, status=TurnStatus.STOPPED))
        raise
    except EngineBusy:
        raise
    except Exception as error:
        if lease.attempt >= runtime.settings.job_attempts_max and not is_away(error):
            log.exception("turn_failed", turn_id=str(claimed.turn.id))
            await end(runtime, claimed, draft, status=TurnStatus.FAILED, error=type(error).__name__)
        raise
    feed.watch.mark("total")
    await end(runtime, claimed, draft, status=TurnStatus.ANSWERED)


async def end(runtime: Runtime, claimed: Claim, draft: Draft, *, status: TurnStatus, error: str | None = None) -> None:
    """Save the turn and tell its followers, in this order: what is told is kept. What a person took over is theirs."""
    turn = await _save(runtime, claimed, draft, status=status, error=error)
    if turn is None and (passed_on := await claims.keep_for_staff(runtime, claimed, draft)):
        # A person took over meanwhile: not a word of this is the bot's any more.
        await tell_end(runtime, passed_on, token=claimed.token)
        return
    if turn is None:
        log.warning("turn_taken_over", turn_id=str(claimed.turn.id), token=claimed.token)
        return
    TURNS.labels(status, turn.route or "none", turn.mode or "none").inc()
    for mark, milliseconds in draft.trace["times"].items():
        SECONDS.labels(mark.removesuffix("_ms")).observe(milliseconds / 1000)
    await tell_end(runtime, turn, token=claimed.token)


async def _save(
    runtime: Runtime, claimed: Claim, draft: Draft, *, status: TurnStatus, error: str | None
) -> Turn | None:
    """As `claims.save`, waiting for Postgres while it is away: an answer that was shown whole is worth keeping.

    Who loses the lease meanwhile is cancelled here.
    """
    tried = 0
    while True:
        try:
            saved = await claims.save(runtime, claimed, draft, status=status, error=error)
            # The first try may have been kept though its reply was lost.
            return saved or (await claims.find_saved(runtime, claimed) if tried else None)
        except Exception as failure:
            if not is_away(failure):
                raise
            tried += 1
            log.warning("answer_waits_for_postgres", turn_id=str(claimed.turn.id), tried=tried)
        await asyncio.sleep(SAVE_RETRY_SECONDS)


async def tell_end(runtime: Runtime, turn: Turn, *, token: int) -> None:
    """The last event of a turn, with the whole answer: a client may compare what it has."""
    name = "failed" if turn.status is TurnStatus.FAILED else "done"
    data = turn_out(turn).model_dump(mode="json")
    await runtime.feed.publish(turn.id, name, data, token=token)


async def give_up(runtime: Runtime, turn_id: UUID, community_id: UUID, *, reason: str) -> None:
    """For a turn whose job died, with every worker that took it: it fails, and whoever waits is told."""
    tenant = await tenant_of_community(runtime, community_id)
    async with runtime.transaction(tenant) as session:
        turn = await session.scalar(
            update(Turn)
            .where(Turn.id == turn_id, Turn.status.not_in(FINAL))
            .values(status=TurnStatus.FAILED, error="gave_up", claim_token=END_TOKEN, finished_at=runtime.clock())
            .returning(Turn)
        )
    if turn is not None:
        log.error("turn_given_up", turn_id=str(turn_id), community_id=str(community_id), reason=reason)
        TURNS.labels(TurnStatus.FAILED, "none", "none").inc()
        await tell_end(runtime, turn, token=END_TOKEN)
