"""Items that are about much the same."""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.people.callers import Caller, CallerKind
from app.recommend import catalogue as catalogues
from app.recommend import knowing, meaning, shelves, store
from app.recommend.catalogue import Catalogue, Facts
from app.recommend.shelves import Audience
from app.recommend.tables import Item, RecommendationState
from app.runtime import Runtime


@dataclass(frozen=True, slots=True)
class Similar:
    facts: Facts
    score: float


async def similar_to(
    session: AsyncSession, runtime: Runtime, caller: Caller, item: Item, *, limit: int
) -> list[Similar]:  # fmt: skip
    """The items nearest in meaning to one that the caller may see, of those on offer for them; none while it has no
    vector of today's embedder.
    """
    audience = await _audience(session, runtime, caller)
    # The last thing that is waited for: nobody changes the catalogue from here on.
    catalogue = await _catalogue(session, runtime, caller)
    code = catalogue.code_of.get(item.id)
    if code is None or catalogue.meaning is None or catalogue.vectors is None or not catalogue.column("embedded")[code]:
        return []
    mask = catalogue.column("embedded") & catalogue.column("live")
    if audience is not None:
        mask &= shelves.allowed(catalogue, audience, now=runtime.clock().timestamp())
    mask[code] = False
    wanted = meaning.centred(catalogue.meaning, catalogue.vectors, [code])[0]
    found, cosines = meaning.nearest(
        catalogue.meaning, catalogue.vectors[: len(catalogue)], wanted, mask, limit=limit
    )  # fmt: skip
    return [
        Similar(catalogue.facts[place], float(score))
        for place, score in zip(found.tolist(), cosines.tolist(), strict=True) if score > 0
    ]  # fmt: skip


async def _catalogue(session: AsyncSession, runtime: Runtime, caller: Caller) -> Catalogue:
    kept = store.of(runtime, caller.community_id)
    statement = select(RecommendationState.catalogue_number).where(
        RecommendationState.community_id == caller.community_id
    )
    number = await session.scalar(statement) or 0
    known = await store.centres_of(runtime, kept)
    await catalogues.refresh(session, kept.catalogue, caller.community_id, number=number, centres=known)
    return kept.catalogue


async def _audience(session: AsyncSession, runtime: Runtime, caller: Caller) -> Audience | None:
    """Whom the caller belongs to; None for staff, who see what is live for anybody."""
    if caller.kind is not CallerKind.RESIDENT:
        return None
    known = await knowing.read(
        session, caller.community_id, caller.id, now=runtime.clock(), shown_days=1, days_max=1
    )  # fmt: skip
    return Audience.of(known) if known is not None else Audience(False, False, frozenset())
