"""What the worker does for recommendations: vectors of items, training, and forgetting what is old."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import text

from app.errors import Conflict
from app.knowledge.ingest import embedder_key
from app.people.callers import system_caller, tenant_of_community
from app.queue import Lease, job, periodic
from app.recommend import embedding, imports, items, training
from app.runtime import Runtime

SWEEP_SECONDS = 30
SWEEP_ROWS_MAX = 200
DEAD_MAX = 1_000
PURGE_ROWS, PURGES_MAX = 5_000, 100

IMPORTED = (imports.write_items, imports.write_interactions)
"""With this import the worker knows what the sheets of this feature are."""


@job(items.EMBED_JOB)
async def embed_items(runtime: Runtime, lease: Lease) -> None:
    await embedding.embed_waiting(runtime, lease.job.community_id)


@periodic(SWEEP_SECONDS)
async def sweep_unembedded_items(runtime: Runtime) -> None:
    """Communities whose items have no vector of today's embedder: a job was forgotten, or another embedder is set."""
    async with runtime.transaction(None) as session:
        found = await session.scalars(
            text("SELECT * FROM communities_with_unembedded_items(:embedder, :rows)"),
            {"embedder": embedder_key(runtime.embedder), "rows": SWEEP_ROWS_MAX},
        )
        waiting: list[UUID] = list(found)
    for community_id in waiting:
        await runtime.send(items.embed_job(community_id))


@job(training.JOB)
async def train_ranker(runtime: Runtime, lease: Lease) -> None:
    await training.run(runtime, lease.job.community_id, lease.job.row_id, token=lease.token)


@periodic(SWEEP_SECONDS)
async def sweep_trainings(runtime: Runtime) -> None:
    """Send the trainings that Redis forgot; of one whose attempts are used up, whoever waits for it is told."""
    before = runtime.clock() - timedelta(seconds=runtime.settings.ranker_wait_seconds)
    async with runtime.transaction(None) as session:
        found = await session.execute(
            text("SELECT * FROM waiting_ranker_versions(:before, :rows)"), {"before": before, "rows": SWEEP_ROWS_MAX}
        )
        waiting: list[tuple[UUID, UUID]] = [(row.ranker_version_id, row.community_id) for row in found]
    dead = {one.job.row_id for one in await runtime.queue.dead(limit=DEAD_MAX) if one.job.name == training.JOB}
    for version_id, community_id in waiting:
        if version_id in dead:
            await training.give_up(runtime, community_id, version_id)
        else:
            await runtime.send(training.job_of(version_id, community_id))


@periodic(600)
async def start_trainings(runtime: Runtime) -> None:
    """Train where something happened since the last time, and that is long enough ago."""
    if not runtime.settings.ranker_training_hours:
        return
    before = runtime.clock() - timedelta(hours=runtime.settings.ranker_training_hours)
    async with runtime.transaction(None) as session:
        found = await session.scalars(
            text("SELECT * FROM communities_to_train(:before, :rows)"), {"before": before, "rows": SWEEP_ROWS_MAX}
        )
        due: list[UUID] = list(found)
    for community_id in due:
        tenant = await tenant_of_community(runtime, community_id)
        try:
            async with runtime.transaction(tenant) as session:
                await training.start(session, runtime, system_caller(tenant))
        except Conflict:
            # Somebody started one a moment ago.
            continue


@periodic(3600)
async def forget_recommendation_lists(runtime: Runtime) -> None:
    """Delete lists that were shown long ago, of all communities: by a function of the owner."""
    before = runtime.clock() - timedelta(days=runtime.settings.recommendation_list_days)
    for _ in range(PURGES_MAX):
        async with runtime.transaction(None) as session:
            statement = text("SELECT forget_recommendation_lists(:before, :rows)")
            gone = await session.scalar(statement, {"before": before, "rows": PURGE_ROWS})
        if (gone or 0) < PURGE_ROWS:
            return
