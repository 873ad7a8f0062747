"""Communities and their settings: the property company's defaults, overridden by the community."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.clock import CLOCK
from app.errors import Conflict
from app.people import callers, community_settings
from app.people.callers import Caller, CommunityNotFound
from app.people.community_settings import CommunitySettings
from app.people.schemas import Body, SettingsOut
from app.people.tables import Community, Organisation

visible_to = callers.visible_communities


class SlugTaken(Conflict):
    code = "slug_taken"

    def __init__(self, slug: str) -> None:
        super().__init__(f"Another community has the short name {slug}.", f"小区短名 {slug} 已被使用。", slug=slug)


async def create(
    session: AsyncSession, *, organisation_id: UUID, slug: str, name: str, name_en: str = "",
    timezone: str = "Asia/Shanghai", community_id: UUID | None = None,
) -> Community:  # fmt: skip
    """A new community with its partitions. The transaction's tenant is its company. Raises SlugTaken."""
    taken = await session.execute(text("SELECT 1 FROM tenant_of_slug(:slug)"), {"slug": slug})
    if taken.one_or_none():
        raise SlugTaken(slug)
    community = Community(
        id=community_id or CLOCK.new_id(), organisation_id=organisation_id, slug=slug, name=name, name_en=name_en,
        timezone=timezone,
    )  # fmt: skip
    session.add(community)
    await session.flush()
    await session.execute(text("SELECT create_community_partitions(:id)"), {"id": community.id})
    return community


async def get(session: AsyncSession, caller: Caller) -> Community:
    """The community the caller acts in. Raises CommunityNotFound."""
    return await _one(session, caller, locked=False)


async def lock(session: AsyncSession, caller: Caller) -> Community:
    """As `get`, held until the transaction ends: changes to its space tree, rights and settings follow each other."""
    return await _one(session, caller, locked=True)


async def _one(session: AsyncSession, caller: Caller, *, locked: bool) -> Community:
    statement = visible_to(caller).where(Community.id == caller.community_id)
    if locked:
        statement = statement.with_for_update(key_share=True)
    community: Community | None = (await session.scalars(statement)).one_or_none()
    if community is None:
        raise CommunityNotFound
    return community


async def change(session: AsyncSession, community: Community, changes: Mapping[str, Any]) -> Community:
    """Apply the given columns to a locked community; every change is a new version."""
    for name, value in changes.items():
        setattr(community, name, value)
    community.version += 1
    await session.flush()
    return community


async def override(session: AsyncSession, community: Community, changes: Body) -> Community:
    """Set the given settings of a locked community; None takes an override back. Raises SettingInvalid."""
    kept = {**community.overrides, **community_settings.stored(changes)}
    return await change(
        session, community, {"overrides": {name: value for name, value in kept.items() if value is not None}}
    )


async def settings_of(session: AsyncSession, community: Community) -> SettingsOut:
    """Every setting, with where its value comes from."""
    statement = select(Organisation.defaults).where(Organisation.id == community.organisation_id)
    return community_settings.merge_settings((await session.scalars(statement)).one(), community.overrides)


async def read_settings(session: AsyncSession, community_id: UUID) -> CommunitySettings:
    """The settings of a community, for features. The transaction's tenant names the company too
    (`callers.tenant_of_community`). Raises CommunityNotFound.
    """
    statement = (
        select(Organisation.defaults, Community.overrides)
        .join(Organisation, Organisation.id == Community.organisation_id)
        .where(Community.id == community_id)
    )
    row = (await session.execute(statement)).one_or_none()
    if row is None:
        raise CommunityNotFound
    return community_settings.typed(community_settings.merge_settings(row.defaults, row.overrides))
