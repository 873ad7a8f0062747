"""What a resident lets recommendations know and do: theirs to see and to change."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Select, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.knowledge.ingest import embedder_key
from app.people.callers import Caller, CallerKind
from app.people.residents import ResidentNotFound
from app.queue import send_after_commit
from app.recommend import campaign_unsubscribe, items
from app.recommend.embedding import text_of_profile
from app.recommend.tables import RecommendationProfile, blank_profile
from app.runtime import Runtime
from models.embedder import Vectors
from models.openai_embedder import EmbedderFailed

log = structlog.get_logger(__name__)

WORDS = frozenset({"interests", "about"})


def visible_to(caller: Caller) -> Select[RecommendationProfile]:
    """A resident's own. What somebody likes is nobody else's matter."""
    if caller.kind is not CallerKind.RESIDENT:
        raise ResidentNotFound
    return select(RecommendationProfile).where(
        RecommendationProfile.community_id == caller.community_id, RecommendationProfile.resident_id == caller.id
    )


async def get(session: AsyncSession, caller: Caller, *, now: datetime, locked: bool = False) -> RecommendationProfile:
    """The caller's profile; one as by default, not yet written, when they have none. Raises ResidentNotFound."""
    statement = visible_to(caller)
    found = (await session.scalars(statement.with_for_update() if locked else statement)).one_or_none()
    return found or blank(caller.community_id, caller.id, now=now)


def blank(community_id: UUID, resident_id: UUID, *, now: datetime) -> RecommendationProfile:
    return RecommendationProfile(**blank_profile(community_id, resident_id, now=now))


async def embed_words(runtime: Runtime, profile: RecommendationProfile, changes: Mapping[str, Any]) -> Vectors | None:
    """The vector of the profile as it will be; None when its words stay or there are none. Ask it before writing."""
    if not WORDS & set(changes):
        return None
    text = text_of_profile(changes.get("interests", profile.interests), changes.get("about", profile.about))
    try:
        return (await runtime.embedder.embed_queries([text]))[0] if text else None
    except EmbedderFailed as error:
        # A job does it later; until then the profile counts by its interests alone.
        log.warning("profile_not_embedded", error=str(error))
        return None


async def change(
    session: AsyncSession, runtime: Runtime, profile: RecommendationProfile, changes: Mapping[str, Any],
    *, vector: Vectors | None,
) -> None:  # fmt: skip
    """`vector` is `embed_words` of the same changes."""
    for name, value in changes.items():
        setattr(profile, name, value)
    if WORDS & set(changes):
        profile.embedder = embedder_key(runtime.embedder) if vector is not None else None
        profile.embedding = vector
        if vector is None and (profile.about or profile.interests):
            send_after_commit(session, items.embed_job(profile.community_id))
    profile.version += 1
    profile.updated_at = runtime.clock()
    session.add(profile)
    await session.flush()
    if changes.get("marketing_opted_out") or changes.get("opted_out"):
        await campaign_unsubscribe.withdraw(
            session, profile.community_id, profile.resident_id, now=profile.updated_at
        )  # fmt: skip


async def hide_category(
    session: AsyncSession, caller: Caller, resident_id: UUID, category: str, *, now: datetime
) -> None:  # fmt: skip
    """Show no more of a category; the resident finds it in their profile and may take it out again."""
    table = RecommendationProfile
    told = {"hidden_categories": [category], "version": 1}
    new = insert(table).values(blank_profile(caller.community_id, resident_id, now=now) | told)
    added = func.array_append(func.array_remove(table.hidden_categories, category), category)
    await session.execute(
        new.on_conflict_do_update(
            index_elements=["resident_id"],
            set_={"hidden_categories": added, "version": table.version + 1, "updated_at": now},
        )
    )
