"""What is said about a document: by the YAML header of its file, or by whoever uploads it. Pure, but for a building."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.errors import Invalid
from app.knowledge.language import Language
from app.knowledge.tables import Audience
from app.people.tables import Space, SpaceKind


class AudienceUnknown(Invalid):
    code = "document_audience_unknown"

    def __init__(self, audience: str) -> None:
        super().__init__(
            "The audience is all, owners, staff or building:NAME.",
            "适用对象应为 all、owners、staff 或 building:楼栋名。",
            audience=audience[:100],
        )


class BuildingUnknown(Invalid):
    code = "document_building_unknown"

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no one building {name[:50]} here.", f"本小区没有唯一的楼栋：{name[:50]}。")


class DateInvalid(Invalid):
    code = "document_date_invalid"

    def __init__(self, field: str) -> None:
        super().__init__(
            f"{field} is a date (2026-03-01) or an RFC 3339 time.", f"{field} 应为日期（2026-03-01）或 RFC 3339 时间。",
            field=field,
        )  # fmt: skip


@dataclass(frozen=True)
class Said:
    """`audience` is still in words ("building:9栋"); `valid_until` is the first moment at which it no longer holds."""

    title: str | None = None
    audience: str = "all"
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    language: Language | None = None
    replaces_key: str | None = None
    source_key: str | None = None


def read(header: Mapping[str, Any], *, timezone: str) -> Said:
    """Fields title, audience, valid_from, valid_to (its last day included), language, replaces, source_key.

    Raises DateInvalid. Unknown fields are ignored.
    """
    zone = ZoneInfo(timezone)
    language = str(header.get("language") or "").lower()[:2]
    return Said(
        title=_text(header, "title", 300),
        audience=_text(header, "audience", 100) or "all",
        valid_from=_moment(header, "valid_from", zone, last_day_included=False),
        valid_until=_moment(header, "valid_to", zone, last_day_included=True),
        language=Language(language) if language in set(Language) else None,
        replaces_key=_text(header, "replaces", 300),
        source_key=_text(header, "source_key", 300),
    )


def _text(header: Mapping[str, Any], field: str, chars_max: int) -> str | None:
    value = str(header.get(field) or "").strip()
    return value[:chars_max] or None


def _moment(header: Mapping[str, Any], field: str, zone: ZoneInfo, *, last_day_included: bool) -> datetime | None:
    value = str(header.get(field) or "").strip()
    if not value:
        return None
    try:
        if len(value) <= len("2026-03-01"):
            day = date.fromisoformat(value) + timedelta(days=1 if last_day_included else 0)
            return datetime.combine(day, time.min, zone)
        moment = datetime.fromisoformat(value)
    except (ValueError, OverflowError) as error:
        raise DateInvalid(field) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=zone)


async def resolve_audience(session: AsyncSession, community_id: UUID, audience: str) -> tuple[Audience, UUID | None]:
    """The audience and, for "building:9栋", that building. Raises AudienceUnknown or BuildingUnknown."""
    word, _, name = audience.partition(":")
    word, name = word.strip().lower(), name.strip()
    if word not in set(Audience) or (word == Audience.BUILDING) != bool(name):
        raise AudienceUnknown(audience)
    if word != Audience.BUILDING:
        return Audience(word), None
    same = or_(Space.name == name, Space.label == name)
    found = (
        await session.scalars(
            select(Space.id).where(Space.community_id == community_id, Space.kind == SpaceKind.BUILDING, same).limit(2)
        )
    ).all()
    if len(found) != 1:
        raise BuildingUnknown(name)
    return Audience.BUILDING, found[0]
