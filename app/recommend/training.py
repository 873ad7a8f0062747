"""Training a community's ranker: a snapshot of what people did, two rankers of it, and a comparison on what came later.

The first ranker knows only what happened before a cut in time, and is measured on what people took after it, beside the
live one and beside what is merely popular. Only when it is better than both does the second one, of all events, go
live. A live ranker that has seen some of that time itself would look better than it is: the cut lies after what it saw.
"""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

import numpy as np
import structlog
from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import file_storage
from app.clock import CLOCK
from app.db import Tenant
from app.errors import AppError
from app.people import communities
from app.people.callers import Caller, tenant_of_community
from app.queue import Job, Lane, send_after_commit
from app.recommend import rankers
from app.recommend.errors import TrainingUnderWay
from app.recommend.feedback import MEANINGS, POSITIVE
from app.recommend.tables import RankerStatus, RankerVersion
from app.runtime import Runtime
from models.training.interactions import Events
from models.training.train_ranker import train_and_compare
from models.versions import WeightsDamaged

log = structlog.get_logger(__name__)

JOB = "recommend.train_ranker"
UNFINISHED = (RankerStatus.WAITING, RankerStatus.TRAINING)
READ_ROWS = 50_000

READ = text("""
SELECT f.id, f.item_id, coalesce(f.resident_id::text, f.outside_person) AS person, f.kind, f.rating,
    f.at
FROM item_feedback f
WHERE f.community_id = :community_id AND f.kind = ANY(:kinds) AND f.created_at <= :until
    AND (f.at, f.id) < (:at, :before)
ORDER BY f.at DESC, f.id DESC LIMIT :rows
""")


async def start(session: AsyncSession, runtime: Runtime, caller: Caller) -> RankerVersion:
    """A version that waits to be trained. Raises TrainingUnderWay."""
    await communities.lock(session, caller)
    mine = rankers.visible_to(caller)
    if (running := (await session.scalars(mine.where(RankerVersion.status.in_(UNFINISHED)))).first()) is not None:
        raise TrainingUnderWay(running.id)
    last = select(func.max(RankerVersion.number)).where(RankerVersion.community_id == caller.community_id)
    number, now = (await session.scalar(last) or 0) + 1, runtime.clock()
    version = RankerVersion(
        id=CLOCK.new_id(), community_id=caller.community_id, number=number, status=RankerStatus.WAITING, reason="",
        seed=number, events_count=0, metrics={}, claim_token=0, created_by_kind=caller.kind, created_by=caller.id,
        created_at=now, touched_at=now,
    )  # fmt: skip
    session.add(version)
    await session.flush()
    send_after_commit(session, job_of(version.id, caller.community_id))
    return version


def job_of(version_id: UUID, community_id: UUID) -> Job:
    return Job(JOB, version_id, community_id, Lane.BATCH, cost=20.0)


@dataclass(frozen=True, slots=True)
class Trained:
    """`better` says whether it may go live, `reason` why not. `data` is None where there was nothing to train on."""

    data: bytes | None
    events: int
    metrics: dict[str, Any]
    better: bool
    reason: str


async def run(runtime: Runtime, community_id: UUID, version_id: UUID, *, token: int) -> None:
    """Train one version. Safe to run twice: only the newest run writes."""
    tenant = await tenant_of_community(runtime, community_id)
    async with runtime.transaction(tenant) as session:
        seed = await _claim(session, version_id, token=token, now=runtime.clock())
        live = await _live(session, community_id)
    if seed is None:
        return
    events = await _snapshot(runtime, tenant, until=runtime.clock())
    trained = await asyncio.to_thread(
        _train, events, seed, await _load(runtime, live),
        seen_until=float(live.metrics["learned_until"]) if live is not None else None,
        people_min=runtime.settings.ranker_training_people_min,
    )  # fmt: skip
    key = digest = None
    if trained.data is not None:
        digest = sha256(trained.data).hexdigest()
        key = rankers.key_of(community_id, digest)
        await file_storage.put(runtime.settings, key, trained.data)
    async with runtime.transaction(tenant) as session:
        version = await _hold(session, version_id, token=token)
        if version is None:
            return
        now = runtime.clock()
        version.events_count, version.metrics, version.reason = trained.events, trained.metrics, trained.reason
        version.file_key, version.sha256 = key, digest
        version.bytes_count = len(trained.data) if trained.data is not None else None
        version.trained_at = version.touched_at = now
        version.status = RankerStatus.CANDIDATE if trained.data is not None else RankerStatus.FAILED
        await session.flush()
        if trained.better:
            await rankers.promote(session, version, now=now)
    log.info("ranker_trained", version_id=str(version_id), promoted=trained.better, reason=trained.reason)


async def give_up(runtime: Runtime, community_id: UUID, version_id: UUID) -> None:
    """Mark a training as failed whose attempts are used up."""
    async with runtime.transaction(await tenant_of_community(runtime, community_id)) as session:
        await session.execute(
            update(RankerVersion)
            .where(RankerVersion.id == version_id, RankerVersion.status.in_(UNFINISHED))
            .values(status=RankerStatus.FAILED, reason="attempts_used_up", touched_at=runtime.clock())
        )


async def _claim(session: AsyncSession, version_id: UUID, *, token: int, now: datetime) -> int | None:
    """The seed of a version that is ours to train from now on; None when it is over or somebody newer has it."""
    taken = (
        update(RankerVersion)
        .where(
            RankerVersion.id == version_id, RankerVersion.status.in_(UNFINISHED), RankerVersion.claim_token < token
        )
        .values(status=RankerStatus.TRAINING, claim_token=token, touched_at=now)
        .returning(RankerVersion.seed)
    )  # fmt: skip
    return (await session.scalars(taken)).one_or_none()


async def _hold(session: AsyncSession, version_id: UUID, *, token: int) -> RankerVersion | None:
    statement = select(RankerVersion).where(
        RankerVersion.id == version_id, RankerVersion.claim_token == token,
        RankerVersion.status == RankerStatus.TRAINING,
    )  # fmt: skip
    return (await session.scalars(statement.with_for_update())).one_or_none()


async def _live(session: AsyncSession, community_id: UUID) -> RankerVersion | None:
    statement = select(RankerVersion).where(
        RankerVersion.community_id == community_id, RankerVersion.status == RankerStatus.LIVE
    )
    return (await session.scalars(statement)).one_or_none()


async def _load(runtime: Runtime, version: RankerVersion | None) -> bytes | None:
    """The live ranker to compare with; one that cannot be read is as good as none."""
    if version is None:
        return None
    try:
        return (await rankers.read_file(runtime.settings, version))[0]
    except (WeightsDamaged, AppError) as error:
        log.error("ranker_not_loaded", number=version.number, error=str(error))
        return None


async def _snapshot(runtime: Runtime, tenant: Tenant, *, until: datetime) -> Events:
    """The newest events of the community, oldest first."""
    people: list[str] = []
    items: list[str] = []
    weights: list[float] = []
    times: list[float] = []
    at, before = datetime.max.replace(tzinfo=UTC), UUID(int=2**128 - 1)
    while len(items) < runtime.settings.ranker_training_events_max:
        values = {
            "community_id": tenant.community_id, "kinds": [str(one) for one in POSITIVE], "until": until,
            "at": at, "before": before, "rows": READ_ROWS,
        }  # fmt: skip
        async with runtime.transaction(tenant) as session:
            rows = (await session.execute(READ, values)).all()
        for row in rows:
            people.append(row.person)
            items.append(str(row.item_id))
            weights.append(MEANINGS[row.kind].weight)
            times.append(row.at.timestamp())
        if len(rows) < READ_ROWS:
            break
        at, before = rows[-1].at, rows[-1].id
    order = np.argsort(np.array(times, np.float64), kind="stable")
    return Events(
        np.array(people, dtype=np.str_)[order], np.array(items, dtype=np.str_)[order],
        np.array(weights, np.float32)[order], np.array(times, np.float64)[order],
    )  # fmt: skip


def _train(
    events: Events, seed: int, live: bytes | None, *, seen_until: float | None, people_min: int
) -> Trained:  # fmt: skip
    if not len(events) or events.times is None:
        return Trained(None, 0, {}, better=False, reason="no_events")
    compared = train_and_compare(events, live, seed=seed, seen_until=seen_until)
    metrics: dict[str, Any] = {name: float(value) for name, value in compared.metrics.items()}
    metrics["learned_until"] = float(events.times[-1])
    metrics["live"] = compared.live_metrics and {name: float(one) for name, one in compared.live_metrics.items()}
    reason = ""
    if metrics["newest_users"] < people_min:
        reason = "too_few_people_to_compare_on"
    elif not compared.better:
        reason = "not_better_than_live"
    elif metrics["newest_ndcg@10"] <= metrics["newest_popular_ndcg@10"]:
        reason = "not_better_than_popular"
    return Trained(compared.data, len(events), metrics, better=not reason, reason=reason)
