"""Recommendations for one resident, read top to bottom: know, gather, weigh, choose, explain, keep what was shown."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.clock import CLOCK
from app.knowledge import centres
from app.people import communities
from app.people.callers import Caller, CallerKind
from app.people.community_settings import CommunitySettings
from app.people.residents import ResidentNotFound
from app.recommend import candidates, knowing, ranking, reasons, signals, situation, store
from app.recommend.catalogue import Facts
from app.recommend.errors import ItemNotFound, RecommendationNotFound
from app.recommend.knowing import Known
from app.recommend.meaning import Codes
from app.recommend.ranking import Pick, Rules
from app.recommend.reasons import Reason
from app.recommend.signals import Signals
from app.recommend.situation import Situation
from app.recommend.tables import ItemKind, ListPurpose, RecommendationList
from app.runtime import Runtime

LIMIT_DEFAULT = 10
INSERT = text("""
INSERT INTO recommendation_lists (id, community_id, resident_id, purpose, personalised, ranked, ranker_number, item_ids,
    sources, scores, propensities, created_at)
VALUES (:id, :community_id, :resident_id, :purpose, :personalised, :ranked, :ranker_number, :item_ids, :sources,
    :scores, :propensities, :created_at)
""")


@dataclass(frozen=True, slots=True)
class Recommended:
    """One item of a list. `source` is who brought it first, of candidates.SOURCES."""

    facts: Facts
    score: float
    source: str
    propensity: float
    reasons: Sequence[Reason]


@dataclass(frozen=True, slots=True)
class Recommendations:
    """A list. `ranked`: a trained ranker had its say. `failed`: sources that could not answer.

    Empty for who opted out. `list_id` is None for a list that was only looked at, by staff.
    """

    list_id: UUID | None
    resident_id: UUID
    personalised: bool
    opted_out: bool
    ranked: bool
    ranker_number: int
    items: Sequence[Recommended]
    failed: Sequence[str] = ()


async def recommend_for(
    session: AsyncSession, runtime: Runtime, caller: Caller, limit: int = LIMIT_DEFAULT, *,
    purpose: ListPurpose = ListPurpose.HOME, language: str | None = None, list_id: UUID | None = None,
    kinds: Collection[ItemKind] = (),
) -> Recommendations:  # fmt: skip
    """Recommendations for the resident who asks, kept as shown. The same `list_id` draws the same lots. `kinds`: only
    items of these.

    Raises ResidentNotFound for a caller who is none.
    """
    if caller.kind is not CallerKind.RESIDENT:
        raise ResidentNotFound
    list_id = list_id or CLOCK.new_id()
    made = await _recommend(
        session, runtime, caller, caller.id, limit=limit, language=language, list_id=list_id, kinds=kinds
    )
    if made.items:
        await _keep(session, runtime, caller, made, purpose=purpose)
    return made


async def look_for(
    session: AsyncSession, runtime: Runtime, caller: Caller, resident_id: UUID, limit: int = LIMIT_DEFAULT, *,
    language: str | None = None,
) -> Recommendations:  # fmt: skip
    """What a resident would be shown, for staff: nothing is drawn by lot, nothing counts as shown.

    Raises ResidentNotFound.
    """
    return await _recommend(session, runtime, caller, resident_id, limit=limit, language=language, list_id=None)


async def _recommend(
    session: AsyncSession, runtime: Runtime, caller: Caller, resident_id: UUID, *, limit: int, language: str | None,
    list_id: UUID | None, kinds: Collection[ItemKind] = (),
) -> Recommendations:  # fmt: skip
    known, kept = await _know(session, runtime, caller, resident_id)
    limit = min(limit, runtime.settings.recommend_limit_max)
    if known.opted_out:
        return Recommendations(list_id, resident_id, known.personalised, True, False, 0, ())
    seen = await _see(session, runtime, caller, known, kept, limit=limit, kinds=kinds)
    rules = _rules(kept, exploring=list_id is not None and known.personalised)
    found = candidates.gather(seen, limit=limit, resting=kept.resting)
    told = signals.of(seen, found.codes)
    picks = _choose(seen, told, limit=limit, rules=rules, seed=(list_id or UUID(int=0)).int)
    explained = _explain(seen, told, picks, language or known.language)
    ranked = seen.reading is not None
    return Recommendations(
        list_id, resident_id, known.personalised, False, ranked, seen.ranker.number if ranked and seen.ranker else 0,
        [
            Recommended(
                seen.catalogue.facts[int(found.codes[pick.place])], pick.score, found.sources[pick.place],
                pick.propensity, why[: reasons.SHOWN_MAX],
            )
            for pick, why in zip(picks, explained, strict=True)
        ],
        found.failed,
    )  # fmt: skip


async def _know(
    session: AsyncSession, runtime: Runtime, caller: Caller, resident_id: UUID
) -> tuple[Known, store.Kept]:  # fmt: skip
    """Raises ResidentNotFound."""
    kept = store.of(runtime, caller.community_id)
    chosen = kept.settings or CommunitySettings()
    known = await knowing.read(
        session, caller.community_id, resident_id, now=runtime.clock(),
        shown_days=runtime.settings.recommend_shown_days, days_max=chosen.recommend_seen_days_max,
    )  # fmt: skip
    if known is None:
        raise ResidentNotFound
    if kept.settings_version != known.community_version:
        kept.settings = await communities.read_settings(session, caller.community_id)
        kept.settings_version = known.community_version
        if kept.settings.recommend_seen_days_max != chosen.recommend_seen_days_max:
            return await _know(session, runtime, caller, resident_id)
    return known, kept


async def _see(
    session: AsyncSession, runtime: Runtime, caller: Caller, known: Known, kept: store.Kept, *, limit: int,
    kinds: Collection[ItemKind] = (),
) -> Situation:  # fmt: skip
    households_min = (kept.settings or CommunitySettings()).analytics_households_min
    counted, shelf = await store.bring_up_to_date(
        session, runtime, caller.community_id, kept, known, households_min=households_min
    )
    known_centres = await centres.generic_centres(runtime.embedder) if kept.catalogue.meaning else None
    return situation.look(
        known, kept.catalogue, counted, shelf, moment=runtime.clock(), limit=limit, ranker=kept.ranker,
        centres=known_centres, kinds=kinds,
    )  # fmt: skip


def _rules(kept: store.Kept, *, exploring: bool) -> Rules:
    chosen = kept.settings or CommunitySettings()
    return Rules(
        share_max=chosen.recommend_provider_share_max, exploration=chosen.recommend_exploration if exploring else 0.0
    )


def _choose(seen: Situation, told: Signals, *, limit: int, rules: Rules, seed: int) -> list[Pick]:
    categories, providers = (seen.catalogue.column(name)[told.codes] for name in ("category", "provider"))
    return ranking.choose(ranking.score(told.features), categories, providers, limit=limit, rules=rules, seed=seed)


def _explain(seen: Situation, told: Signals, picks: Sequence[Pick], language: str) -> list[list[Reason]]:
    codes = told.codes[[pick.place for pick in picks]]
    drove = signals.drivers(seen, codes)
    return [
        reasons.explain(seen, told, pick.place, driver=int(driver), by_lot=pick.by_lot, language=language)
        for pick, driver in zip(picks, drove, strict=True)
    ]


async def _keep(
    session: AsyncSession, runtime: Runtime, caller: Caller, made: Recommendations, *, purpose: ListPurpose
) -> None:  # fmt: skip
    row: Mapping[str, Any] = {
        "id": made.list_id, "community_id": caller.community_id, "resident_id": made.resident_id, "purpose": purpose,
        "personalised": made.personalised, "ranked": made.ranked, "ranker_number": made.ranker_number,
        "item_ids": [one.facts.id for one in made.items], "sources": [one.source for one in made.items],
        "scores": [one.score for one in made.items], "propensities": [one.propensity for one in made.items],
        "created_at": runtime.clock(),
    }  # fmt: skip
    await session.execute(INSERT, row)


# Why


async def why(
    session: AsyncSession,
    runtime: Runtime,
    caller: Caller,
    list_id: UUID,
    item_id: UUID,
    *,
    language: str | None = None,
) -> tuple[RecommendationList, int, list[Reason]]:
    """The caller's own list, the item's place in it (from 0), and all that speaks for the item now.

    Raises: ResidentNotFound, RecommendationNotFound, ItemNotFound.
    """
    if caller.kind is not CallerKind.RESIDENT:
        raise ResidentNotFound
    statement = select(RecommendationList).where(
        RecommendationList.community_id == caller.community_id, RecommendationList.resident_id == caller.id,
        RecommendationList.id == list_id,
    )  # fmt: skip
    shown = (await session.scalars(statement)).one_or_none()
    if shown is None:
        raise RecommendationNotFound
    if item_id not in shown.item_ids:
        raise ItemNotFound
    known, kept = await _know(session, runtime, caller, caller.id)
    if not shown.personalised:
        known = replace(known, personalised=False)
    seen = await _see(session, runtime, caller, known, kept, limit=1)
    place = shown.item_ids.index(item_id)
    codes: Codes = np.array(seen.catalogue.codes([item_id]), np.int32)
    told = signals.of(seen, codes)
    # The ranker's word is a place among candidates, and here is only one: its own facts say enough.
    drove = signals.drivers(seen, codes)
    told.features[:, signals.FEATURES.index("ranker")] = np.where(drove >= 0, 1.0, 0.0)
    explained = reasons.explain(
        seen, told, 0, driver=int(drove[0]), by_lot=_by_lot(shown, place), language=language or known.language
    )
    return shown, place, explained


def _by_lot(shown: RecommendationList, place: int) -> bool:
    """Whether it stood there only because it was tried: who scored best was likely to."""
    return shown.propensities[place] < 0.5
