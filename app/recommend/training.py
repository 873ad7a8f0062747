"""Training a community's ranker: a snapshot of what people did, two rankers of it, and a comparison on what came later.

The first ranker knows only what happened before a cut in time, and is measured on what people took after it, beside the
live one and beside what is merely popular. Only when it is better than both does the second one, of all events, go
live. A live ranker that has seen some of that time itself would look better than it is: the cut lies after its own.
"""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

import numpy as np
import structlog
from numpy.typing import NDArray
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
from models import ranker as ranker_model
from models.ranker import Ranker
from models.training.interactions import Events
from models.training.train_ranker import train
from models.versions import WeightsDamaged

log = structlog.get_logger(__name__)

JOB = "recommend.train_ranker"
UNFINISHED = (RankerStatus.WAITING, RankerStatus.TRAINING)
HELD_OUT_SHARE = 0.1
"""Of the events, the newest: what rankers are compared on."""
JUDGED_PEOPLE_MAX = 500
CUT_OFF = 10
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
    before = await _load(runtime, live)
    people_min = runtime.settings.ranker_training_people_min
    learned_until = float(live.metrics.get("learned_until", 0)) if live is not None else 0.0
    trained = await asyncio.to_thread(
        _train, events, seed, before, learned_until=learned_until, people_min=people_min
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


async def _load(runtime: Runtime, version: RankerVersion | None) -> Ranker | None:
    """The live ranker to compare with; one that cannot be read is as good as none."""
    if version is None:
        return None
    try:
        return await rankers.read_file(runtime.settings, version)
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
    events: Events, seed: int, before: Ranker | None, *, learned_until: float, people_min: int
) -> Trained:  # fmt: skip
    if not len(events) or events.times is None:
        return Trained(None, 0, {}, better=False, reason="no_events")
    newest = float(events.times[-1])
    cut = max(float(np.quantile(events.times, 1 - HELD_OUT_SHARE)), learned_until)
    earlier, later = events.times <= cut, events.times > cut
    metrics: dict[str, Any] = {
        "learned_until": newest,
        "cut": cut,
        "cut_at": datetime.fromtimestamp(cut, UTC).isoformat(),
    }
    data, told = train(events, seed=seed)
    metrics |= {"training": {name: float(value) for name, value in told.items()}}
    held_out = held_out_of(events, earlier, later, seed=seed)
    if len(held_out) < people_min:
        metrics |= {"people": len(held_out)}
        return Trained(data, len(events), metrics, better=False, reason="too_few_people_to_compare_on")
    trial, _ = train(events.only(earlier), seed=seed)
    candidate = ndcg(ranker_model.load(trial), held_out)
    popular = ndcg_of_popular(ranker_model.load(trial), held_out)
    live = ndcg(before, held_out) if before is not None else None
    metrics |= {"people": len(held_out), "ndcg": candidate, "ndcg_popular": popular, "ndcg_live": live}
    if live is not None and candidate <= live:
        return Trained(data, len(events), metrics, better=False, reason="not_better_than_live")
    if candidate <= popular:
        return Trained(data, len(events), metrics, better=False, reason="not_better_than_popular")
    return Trained(data, len(events), metrics, better=True, reason="")


@dataclass(frozen=True, slots=True)
class HeldOut:
    """One person: what they did before the cut, oldest first, and which other items they took after it."""

    items: list[str]
    weights: list[float]
    taken: frozenset[str]


def held_out_of(
    events: Events, earlier: NDArray[np.bool_], later: NDArray[np.bool_], *, seed: int
) -> list[HeldOut]:  # fmt: skip
    """People who took something after the cut that they had not before. Some of them, drawn by the seed."""
    assert events.weights is not None
    people = np.unique(events.users[later])
    if len(people) > JUDGED_PEOPLE_MAX:
        people = np.random.default_rng(seed).choice(people, JUDGED_PEOPLE_MAX, replace=False)
    wanted = np.isin(events.users, people)
    past: dict[str, dict[str, float]] = {str(one): {} for one in people}
    after: dict[str, set[str]] = {str(one): set() for one in people}
    for place in np.flatnonzero(wanted).tolist():
        person, item = str(events.users[place]), str(events.items[place])
        if earlier[place]:
            weight = max(float(events.weights[place]), past[person].pop(item, 0.0))
            past[person][item] = weight
        else:
            after[person].add(item)
    found = [HeldOut(list(past[one]), list(past[one].values()), frozenset(after[one] - set(past[one]))) for one in past]
    return [one for one in found if one.taken]


def ndcg(ranker: Ranker, people: list[HeldOut]) -> float:
    """Mean NDCG@10 of the blend over all items but those of the past. An item that it does not know is missed."""
    total = 0.0
    every = np.arange(len(ranker.item_ids), dtype=np.int32)
    for one in people:
        pairs = [
            (ranker.code_of[item], weight)
            for item, weight in zip(one.items, one.weights, strict=True)
            if item in ranker.code_of
        ]
        items = np.array([code for code, _ in pairs], np.int32)
        weights = np.array([weight for _, weight in pairs], np.float32)
        scores = ranker.score(ranker.features(items, weights, every))
        total += _gain(ranker, scores, items, one)
    return total / max(len(people), 1)


def ndcg_of_popular(ranker: Ranker, people: list[HeldOut]) -> float:
    """The same for the same order for everybody."""
    total = 0.0
    for one in people:
        items = np.array([ranker.code_of[item] for item in one.items if item in ranker.code_of], np.int32)
        total += _gain(ranker, ranker.popularity.copy(), items, one)
    return total / max(len(people), 1)


def _gain(ranker: Ranker, scores: NDArray[np.float32], items: NDArray[np.int32], one: HeldOut) -> float:
    scores[items] = -np.inf
    best = np.lexsort((np.arange(len(scores)), -scores))[:CUT_OFF]
    discounts = 1 / np.log2(np.arange(2, CUT_OFF + 2))
    hits = np.array([ranker.item_ids[code] in one.taken for code in best], np.float64)
    return float(hits @ discounts[: len(hits)] / discounts[: min(len(one.taken), CUT_OFF)].sum())
