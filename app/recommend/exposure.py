"""How much of what residents are shown is whose: the share of each provider, reported to staff."""

from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.people import communities
from app.people.callers import Caller
from app.recommend.schemas import ExposureOut, ProviderExposure

STATEMENT = text("""
WITH shown AS (
    SELECT i.provider, count(*) AS impressions
    FROM recommendation_lists l CROSS JOIN LATERAL unnest(l.item_ids) AS one (item_id)
    JOIN items i ON i.id = one.item_id
    WHERE l.community_id = :community_id AND l.created_at > :since GROUP BY i.provider
), offered AS (
    SELECT provider, count(*) AS items FROM items
    WHERE community_id = :community_id AND deleted_at IS NULL AND enabled
      AND coalesce(expires_at, 'infinity') > :now GROUP BY provider
)
SELECT coalesce(s.provider, o.provider) AS provider, coalesce(s.impressions, 0) AS impressions,
    coalesce(o.items, 0) AS items
FROM shown s FULL JOIN offered o ON o.provider = s.provider ORDER BY 2 DESC, 1
""")


async def report(session: AsyncSession, caller: Caller, *, days: int, now: datetime) -> ExposureOut:
    values = {"community_id": caller.community_id, "since": now - timedelta(days=days), "now": now}
    rows = (await session.execute(STATEMENT, values)).all()
    impressions, items = sum(row.impressions for row in rows), sum(row.items for row in rows)
    settings = await communities.read_settings(session, caller.community_id)
    return ExposureOut(
        days=days, impressions=impressions, share_max=settings.recommend_provider_share_max,
        providers=[
            ProviderExposure(
                provider=row.provider, impressions=row.impressions, share=row.impressions / max(impressions, 1),
                items=row.items, items_share=row.items / max(items, 1),
            )
            for row in rows
        ],
    )  # fmt: skip
