"""Jobs that failed for good: why, since when, whose; and what letting them run again does."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from sqlalchemy import select

from app.chat.conversations import ANSWER_TURN
from app.chat.tables import FINAL, Turn
from app.people.callers import CommunityNotFound, tenant_of_community
from app.queue import DeadJob
from app.runtime import Runtime
from app.status.house import community_name

DEAD_MAX = 100_000
"""More than the queue keeps."""


class Replayed(StrEnum):
    """QUEUED: it runs again. TURN_OVER: its question was given up meanwhile, which is not undone. GONE: not dead."""

    QUEUED = "queued"
    TURN_OVER = "turn_over"
    GONE = "gone"


@dataclass(frozen=True)
class Found:
    """A dead job and the name of its community, empty when it is gone."""

    dead: DeadJob
    community: str


async def listed(runtime: Runtime, *, limit: int) -> list[Found]:
    """The dead jobs, newest first. Raises redis and database errors."""
    jobs = await runtime.queue.dead(limit=limit)
    names = {}
    for community_id in {dead.job.community_id for dead in jobs}:
        names[community_id] = await community_name(runtime, community_id)
    return [Found(dead, names[dead.job.community_id]) for dead in jobs]


async def chosen(runtime: Runtime, *, name: str | None, row_id: UUID | None) -> list[DeadJob]:
    """The dead jobs of that name and row; of None all."""
    return [
        dead
        for dead in await runtime.queue.dead(limit=DEAD_MAX)
        if name in (None, dead.job.name) and row_id in (None, dead.job.row_id)
    ]


async def replay(runtime: Runtime, jobs: Sequence[DeadJob]) -> list[tuple[DeadJob, Replayed]]:
    """Let each wait again with all its attempts.

    A question whose job died was ended as failed by the sweeper within seconds, and whoever asked was told. That
    stands: its job finds nothing to do and leaves the dead set, and the resident asks again.
    """
    done = []
    for dead in jobs:
        over = dead.job.name == ANSWER_TURN and await _turn_is_over(runtime, dead)
        if not await runtime.queue.replay(dead.job.name, dead.job.row_id):
            done.append((dead, Replayed.GONE))
        else:
            done.append((dead, Replayed.TURN_OVER if over else Replayed.QUEUED))
    return done


async def _turn_is_over(runtime: Runtime, dead: DeadJob) -> bool:
    try:
        tenant = await tenant_of_community(runtime, dead.job.community_id)
    except CommunityNotFound:
        return True
    async with runtime.transaction(tenant) as session:
        status = await session.scalar(select(Turn.status).where(Turn.id == dead.job.row_id))
    return status is None or status in FINAL
