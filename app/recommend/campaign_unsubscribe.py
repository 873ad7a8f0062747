"""No more campaigns: by the link that stands in each message, without signing in, or by whoever is signed in.

The link names one resident and does one thing, which hurts nobody: it is signed, and never expires.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.notices import deliveries
from app.people.tables import Resident
from app.recommend.campaign_errors import UnsubscribeLinkInvalid
from app.recommend.tables import RecommendationProfile, blank_profile
from app.runtime import Runtime

PURPOSE = b"linli-unsubscribe"
TOKEN_CHARS = 64
"""Community, resident and half of an HMAC-SHA256, 16 bytes each: short enough for an SMS."""


def link(runtime: Runtime, community_id: UUID, resident_id: UUID) -> str:
    """The address of the page with the one button."""
    config = runtime.settings
    base = (config.public_url or f"http://{config.web_host}:{config.web_port}").rstrip("/")
    return f"{base}/api/v1/unsubscribe?t={token(runtime, community_id, resident_id)}"


def token(runtime: Runtime, community_id: UUID, resident_id: UUID) -> str:
    named = community_id.bytes + resident_id.bytes
    return urlsafe_b64encode(named + _signature(runtime, named)).decode()


def read(runtime: Runtime, given: str) -> tuple[UUID, UUID]:
    """The community and the resident of a link. Raises UnsubscribeLinkInvalid."""
    try:
        raw = urlsafe_b64decode(given) if len(given) == TOKEN_CHARS and given.isascii() else b""
    except (NotBase64, ValueError):
        raw = b""
    if len(raw) != 48 or not hmac.compare_digest(raw[32:], _signature(runtime, raw[:32])):
        raise UnsubscribeLinkInvalid
    return UUID(bytes=raw[:16]), UUID(bytes=raw[16:32])


def _signature(runtime: Runtime, named: bytes) -> bytes:
    assert runtime.settings.secret_key is not None, "LINLI_SECRET_KEY is not set"
    key = runtime.settings.secret_key.get_secret_value().encode()
    return hmac.digest(key, PURPOSE + named, "sha256")[:16]


async def unsubscribe(session: AsyncSession, community_id: UUID, resident_id: UUID, *, now: datetime) -> None:
    """From now on no campaign is sent to this resident, and what waits on its way is not. Safe to repeat.

    Raises UnsubscribeLinkInvalid when there is no such resident any more.
    """
    here = select(Resident.id).where(Resident.id == resident_id, Resident.community_id == community_id)
    if await session.scalar(here) is None:
        raise UnsubscribeLinkInvalid
    table = RecommendationProfile
    told = {"marketing_opted_out": True, "version": 1}
    new = insert(table).values(blank_profile(community_id, resident_id, now=now) | told)
    await session.execute(
        new.on_conflict_do_update(
            index_elements=["resident_id"],
            set_={"marketing_opted_out": True, "version": table.version + 1, "updated_at": now},
            where=table.marketing_opted_out.is_(False),
        )
    )
    await withdraw(session, community_id, resident_id, now=now)


async def withdraw(session: AsyncSession, community_id: UUID, resident_id: UUID, *, now: datetime) -> None:
    """What was told in a campaign and has not left the house yet stays in it."""
    await deliveries.withdraw(
        session, community_id=community_id, person_id=resident_id, kind="campaign.", why="unsubscribed", now=now
    )
