"""Chat's work in the background."""

from datetime import timedelta

from sqlalchemy import text

from app.chat import turns
from app.chat.conversations import ANSWER_TURN, job_of
from app.queue import Lease, job, periodic
from app.runtime import Runtime

SWEEP_SECONDS = 5
SWEEP_ROWS_MAX = 1_000


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
    dead = {
        job.job.row_id: job.reason
        for job in await runtime.queue.dead(limit=runtime.settings.dead_jobs_max)
        if job.job.name == ANSWER_TURN
    }
    for row in found:
        if row.turn_id in dead:
            await turns.give_up(runtime, row.turn_id, row.community_id, reason=dead[row.turn_id])
        else:
            await runtime.send(job_of(row.turn_id, row.community_id, row.conversation_id))
