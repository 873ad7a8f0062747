"""API keys: machines' ways in. Only the hash of a secret is kept."""

import secrets
from collections.abc import Collection
from datetime import datetime
from hashlib import sha256
from uuid import UUID

import structlog
from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.clock import CLOCK
from app.errors import Conflict, Forbidden, Invalid, NotFound
from app.people import communities
from app.people.callers import KEY_PREFIX, Caller
from app.people.scopes import ALL_SCOPES
from app.people.tables import ApiKey

log = structlog.get_logger(__name__)


class ApiKeyNotFound(NotFound):
    code = "api_key_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such API key.", "没有这个 API 密钥。")


class ScopesUnknown(Invalid):
    code = "scopes_unknown"

    def __init__(self, names: Collection[str]) -> None:
        super().__init__(
            "There are no such scopes.", "没有这样的权限范围。", unknown=sorted(names), known=sorted(ALL_SCOPES)
        )


class ScopesOutOfReach(Forbidden):
    code = "scopes_out_of_reach"

    def __init__(self, names: Collection[str]) -> None:
        super().__init__("A key cannot do more than who makes it.", "密钥权限不能超过创建者。", scopes=sorted(names))


class KeyExpiresBeforeNow(Invalid):
    code = "expires_in_the_past"

    def __init__(self) -> None:
        super().__init__("The key would have expired already.", "到期时间已过。")


class TooManyKeys(Conflict):
    code = "too_many_api_keys"

    def __init__(self, keys_max: int) -> None:
        super().__init__(
            f"A community has at most {keys_max} living keys. Revoke one first.",
            f"每个小区最多 {keys_max} 个有效密钥，请先撤销一个。",
            keys_max=keys_max,
        )  # fmt: skip


def visible_to(caller: Caller) -> Select[ApiKey]:
    return select(ApiKey).where(
        ApiKey.organisation_id == caller.tenant.organisation_id, ApiKey.community_id == caller.community_id
    )


async def get(session: AsyncSession, caller: Caller, key_id: UUID) -> ApiKey:
    """Raises ApiKeyNotFound."""
    key = (await session.scalars(visible_to(caller).where(ApiKey.id == key_id))).one_or_none()
    if key is None:
        raise ApiKeyNotFound
    return key


def check_scopes(caller: Caller, scopes: frozenset[str]) -> None:
    """Raises ScopesUnknown, ScopesOutOfReach."""
    if unknown := scopes - ALL_SCOPES:
        raise ScopesUnknown(unknown)
    may_hand_on = caller.scopes | ({"knowledge:staff"} if caller.reads_staff_knowledge else frozenset())
    if out_of_reach := scopes - may_hand_on:
        raise ScopesOutOfReach(out_of_reach)


async def open_key(
    session: AsyncSession, caller: Caller, *, name: str, scopes: frozenset[str], expires_at: datetime | None,
    keys_max: int, now: datetime,
) -> tuple[ApiKey, str]:  # fmt: skip
    """A new key and its secret, which is not kept.

    Raises: ScopesUnknown, ScopesOutOfReach, KeyExpiresBeforeNow, TooManyKeys.
    """
    check_scopes(caller, scopes)
    if expires_at is not None and expires_at <= now:
        raise KeyExpiresBeforeNow
    await communities.lock(session, caller)
    living = visible_to(caller).where(
        ApiKey.revoked_at.is_(None), ApiKey.expires_at.is_(None) | (ApiKey.expires_at > now)
    )
    if (await session.scalar(select(func.count()).select_from(living.subquery())) or 0) >= keys_max:
        raise TooManyKeys(keys_max)
    key_id = CLOCK.new_id()
    secret = f"{KEY_PREFIX}{key_id.hex}_{secrets.token_urlsafe(32)}"
    key = ApiKey(
        id=key_id, organisation_id=caller.tenant.organisation_id, community_id=caller.community_id, name=name,
        secret_hash=sha256(secret.encode()).hexdigest(), scopes=sorted(scopes), created_by=caller.id, created_at=now,
        expires_at=expires_at,
    )  # fmt: skip
    session.add(key)
    await session.flush()
    log.info("api_key_opened", key_id=str(key_id), scopes=key.scopes, by=caller.key)
    return key, secret


async def revoke(session: AsyncSession, caller: Caller, key: ApiKey, *, now: datetime) -> None:
    """End a key at once. A revoked key stays revoked since the first time."""
    key.revoked_at = key.revoked_at or now
    await session.flush()
    log.info("api_key_revoked", key_id=str(key.id), by=caller.key)
