"""The whole house at one moment, from what its processes and stores tell; parts that are down are named."""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from app import vitals
from app.db import Tenant, is_full
from app.people.callers import CommunityNotFound, tenant_of_community
from app.people.tables import Community
from app.queue import DeadJob, Lane, QueueStats
from app.runtime import Runtime, open_parts
from app.settings import Settings
from app.vitals import AWAY, EngineVital, Vitals
from models.embedder import Vectors
from models.engine import State

CROWDS_SHOWN = 5


@dataclass(frozen=True)
class Crowd:
    """A community with jobs that wait. `name` is empty where Postgres could not be asked."""

    community_id: UUID
    name: str
    waiting: int


@dataclass(frozen=True)
class House:
    """What was seen. `stats` is None while Redis is down; `lately` sums the last minute of all living processes."""

    at: datetime
    settings: Settings
    parts: dict[str, str]
    processes: list[Vitals] = field(default_factory=list)
    engines: list[EngineVital] = field(default_factory=list)
    stats: QueueStats | None = None
    crowds: list[Crowd] = field(default_factory=list)
    dead: list[DeadJob] = field(default_factory=list)
    documents_waiting: int | None = None

    @property
    def engine_wanted(self) -> bool:
        return any(found.engine_wanted for found in self.processes) or bool(self.settings.engine_url)

    @property
    def engine_ready(self) -> bool:
        return any(engine.state is State.READY for engine in self.engines)

    @property
    def tokens_per_second(self) -> float:
        return sum(found.tokens_per_second for found in self.processes)

    @property
    def first_token_seconds(self) -> list[float]:
        """The waits for a first token within the last minute, shortest first."""
        return sorted(seconds for found in self.processes for seconds in found.first_token_seconds)

    @property
    def cache_hit_share(self) -> float | None:
        """Share of prompt tokens from the prefix cache within the last minute; None when nothing was asked."""
        prompts = self.lately("prompt_tokens")
        return self.lately("cached_tokens") / prompts if prompts else None

    def lately(self, name: str) -> float:
        """How often something of vitals.COUNTED happened within the last minute."""
        assert name in vitals.COUNTED
        return sum(found.lately.get(name, 0.0) for found in self.processes)

    def of_role(self, role: str) -> list[Vitals]:
        return [found for found in self.processes if found.role == role]

    def waits_seconds(self, lane: Lane) -> float:
        """How long the oldest ready job of a lane waits."""
        return self.stats.lanes[lane].oldest_wait_seconds if self.stats else 0.0


def quantile(values: Sequence[float], share: float) -> float | None:
    """The value below which `share` of the sorted values are; None of none."""
    return values[min(len(values) - 1, int(len(values) * share))] if values else None


class _NoEmbedder:
    """Looking at the house embeds nothing, and loading the real one takes a second."""

    name, width = "none", 0

    async def embed_passages(self, texts: Sequence[str]) -> Vectors:
        raise NotImplementedError

    async def embed_queries(self, texts: Sequence[str]) -> Vectors:
        raise NotImplementedError

    def close(self) -> None:
        """Nothing is held."""


def open_view(settings: Settings) -> AbstractAsyncContextManager[Runtime]:
    """A runtime to look with: it opens at once, also while parts of the house are down."""
    return open_parts(settings, _NoEmbedder())


async def look(runtime: Runtime) -> House:
    """The house now. Never raises because a part is down."""
    parts = await vitals.parts(runtime)
    house = House(at=runtime.clock(), settings=runtime.settings, parts=parts)
    if parts["redis"] == "ok":
        try:
            async with asyncio.timeout(vitals.ANSWER_SECONDS * 2):
                house = await _with_queue(runtime, house)
        except AWAY as error:
            parts["redis"] = vitals.FULL if is_full(error) else f"down: {type(error).__name__}"
        if parts["database"] == "ok" and any(one.parts.get("database") == vitals.FULL for one in house.processes):
            # Who only looks writes nothing, and so does not meet it.
            parts["database"] = vitals.FULL
    if not house.processes:
        # Nobody tells how the engine stands, so it is asked.
        await runtime.engine.state()
        house = replace(house, engines=vitals.engine_vitals(runtime))
    if parts["database"] == "ok":
        with suppress(SQLAlchemyError, *AWAY):
            async with asyncio.timeout(vitals.ANSWER_SECONDS * 2):
                house = replace(
                    house,
                    documents_waiting=await vitals.documents_waiting(runtime),
                    crowds=[await _named(runtime, crowd) for crowd in house.crowds],
                )
    return house


async def _with_queue(runtime: Runtime, house: House) -> House:
    stats, processes, dead = await asyncio.gather(
        runtime.queue.stats(), vitals.processes(runtime.redis), runtime.queue.dead(limit=3)
    )
    return replace(
        house,
        stats=stats, processes=processes, dead=dead, engines=engines_of(processes),
        crowds=[Crowd(community, "", waiting) for community, waiting in stats.communities[:CROWDS_SHOWN]],
    )  # fmt: skip


def engines_of(processes: Sequence[Vitals]) -> list[EngineVital]:
    """Each engine once: as the worker sees it that fares best with it, with the requests of all."""
    best: dict[str, EngineVital] = {}
    for engine in (engine for found in processes for engine in found.engines):
        known = best.get(engine.name)
        if known is None:
            best[engine.name] = engine
            continue
        better = engine if engine.state is State.READY and known.state is not State.READY else known
        best[engine.name] = better.model_copy(
            update={"in_flight": known.in_flight + engine.in_flight, "slots": known.slots + engine.slots}
        )
    return [best[name] for name in sorted(best)]


async def _named(runtime: Runtime, crowd: Crowd) -> Crowd:
    """The crowd with its community's name, read inside that community's own fence."""
    return Crowd(crowd.community_id, await community_name(runtime, crowd.community_id), crowd.waiting)


async def community_name(runtime: Runtime, community_id: UUID) -> str:
    """Its name; empty when it is gone."""
    try:
        tenant: Tenant = await tenant_of_community(runtime, community_id)
    except CommunityNotFound:
        return ""
    async with runtime.transaction(tenant) as session:
        return await session.scalar(select(Community.name).where(Community.id == community_id)) or ""
