"""Times as the people of a community read them."""

from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.people.tables import Community

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


async def zone_of(session: AsyncSession, community_id: UUID) -> ZoneInfo:
    return ZoneInfo(await session.scalar(select(Community.timezone).where(Community.id == community_id)) or "UTC")


def clock(at: datetime, zone: ZoneInfo, language: str) -> str:
    """A time as people say it: 11月22日08:10, 22 Nov 08:10."""
    here = at.astimezone(zone)
    if language == "zh":
        return f"{here.month}月{here.day}日{here:%H:%M}"
    return f"{here.day} {MONTHS[here.month - 1]} {here:%H:%M}"
