"""Chat's work in the background."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import text

from app.chat import copilot, drafts, handoff, turns
from app.chat.conversations import ANSWER_TURN, job_of
from app.chat.tables import Conversation
from app.people.callers import tenant_of_community
from app.queue import Job, Lane, Lease, job, periodic
from app.runtime import Runtime

SWEEP_SECONDS = 5
SWEEP_ROWS_MAX = 1_000
CHASE = "chat.chase_conversation"
CHASE_SECONDS = 15


@job(ANSWER_TURN)
async def answer_turn(runtime: Runtime, lease: Lease) -> None:
    await turns.answer_turn(runtime, lease)


@periodic(SWEEP_SECONDS)
async def sweep_open_turns(runtime: Runtime) -> None:
    """Send again what the rows say is not done. A turn that waits or runs already is left alone by the queue."""
    before = runtime.clock() - timedelta(seconds=SWEEP_SECONDS)
    async with runtime.transaction(None) as session:
        rows = await session.execute(
            text("SELECT * FROM open_turns(:before, :rows)"), {"before": before, "rows": SWEEP_ROWS_MAX}
        )
        found = rows.all()
    if not found:
        return
    dead = await _dead(runtime, ANSWER_TURN)
    for row in found:
        if row.turn_id in dead:
            await turns.give_up(runtime, row.turn_id, row.community_id, reason=dead[row.turn_id])
        else:
            await runtime.send(job_of(row.turn_id, row.community_id, row.conversation_id))


@job(CHASE)
async def chase_conversation(runtime: Runtime, lease: Lease) -> None:
    """Tell a resident again who waits for a person, or wake what was snoozed."""
    async with runtime.transaction(await tenant_of_community(runtime, lease.job.community_id)) as session:
        conversation = await session.get(Conversation, lease.job.row_id, with_for_update=True)
        if conversation is not None:
            await handoff.chase(session, runtime, conversation)


@periodic(CHASE_SECONDS)
async def sweep_conversations(runtime: Runtime) -> None:
    """A job for each conversation that is due; one that fails stops no other."""
    async with runtime.transaction(None) as session:
        found = await session.execute(
            text("SELECT * FROM conversations_to_chase(:due_at, :rows)"),
            {"due_at": runtime.clock(), "rows": SWEEP_ROWS_MAX},
        )
        rows = found.all()
    for row in rows:
        await runtime.send(Job(CHASE, row.conversation_id, row.community_id, lane=Lane.SERVICE))


@job(drafts.JOB)
async def write_draft(runtime: Runtime, lease: Lease) -> None:
    await copilot.write_draft(runtime, lease)


@periodic(SWEEP_SECONDS)
async def sweep_drafts(runtime: Runtime) -> None:
    """As for turns: sent again, or given up where the job died."""
    before = runtime.clock() - timedelta(seconds=SWEEP_SECONDS)
    async with runtime.transaction(None) as session:
        found = await session.execute(
            text("SELECT * FROM open_conversation_drafts(:before, :rows)"), {"before": before, "rows": SWEEP_ROWS_MAX}
        )
        rows = found.all()
    dead = await _dead(runtime, drafts.JOB) if rows else {}
    for row in rows:
        if row.draft_id in dead:
            await drafts.give_up(runtime, row.draft_id, row.community_id, reason="gave_up")
        else:
            await runtime.send(drafts.job_of(row.draft_id, row.community_id))


async def _dead(runtime: Runtime, name: str) -> dict[UUID, str]:
    """Why the dead jobs of a name died, by row."""
    dead = await runtime.queue.dead(limit=runtime.settings.dead_jobs_max)
    return {one.job.row_id: one.reason for one in dead if one.job.name == name}
