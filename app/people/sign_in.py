"""Signing in and staying signed in: short access tokens and a family of refresh tokens that rotates.

Hashing takes long, so it runs between transactions, never inside one. What was read before is checked again under
the account's lock.
"""

import hmac
import secrets
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from uuid import UUID

import structlog
from sqlalchemy import text, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.clock import CLOCK
from app.db import Tenant
from app.errors import Unauthorised
from app.people import accounts, audit, tokens
from app.people.callers import BadToken, Caller, CommunityNotFound, account_caller
from app.people.tables import Account, RefreshToken
from app.rest.rate_limits import RateLimits
from app.runtime import Runtime

log = structlog.get_logger(__name__)

REFRESH_PREFIX = "lr_"


class SignInRefused(Unauthorised):
    """One answer for an unknown community, an unknown login, a wrong password and an account without rights."""

    code = "sign_in_refused"

    def __init__(self) -> None:
        super().__init__("Community, login or password is wrong.", "小区、登录名或密码不正确。")


@dataclass(frozen=True, slots=True)
class Tokens:
    access: str
    refresh: str
    caller: Caller


async def limit_attempts(limits: RateLimits, runtime: Runtime, *, login: str | None, address: str) -> None:
    """Raises TooManyRequests: so many attempts a minute for one address and, where one is named, for one login."""
    per_minute_max = runtime.settings.sign_ins_per_minute_max
    await limits.check("sign-in-address", address, per_minute_max=per_minute_max)
    if login is not None:
        await limits.check("sign-in-login", sha256(login.encode()).hexdigest()[:32], per_minute_max=per_minute_max)


async def find_tenant(runtime: Runtime, slug: str) -> Tenant | None:
    """The tenant of a community's short name."""
    async with runtime.transaction(None) as session:
        row = (await session.execute(text("SELECT * FROM tenant_of_slug(:slug)"), {"slug": slug})).one_or_none()
    return Tenant(row.organisation_id, row.community_id) if row else None


async def sign_in(runtime: Runtime, *, slug: str, login: str, password: str) -> Tokens:
    """Tokens of a new family. Raises SignInRefused."""
    tenant = await find_tenant(runtime, slug)
    account: Account | None = None
    if tenant is not None and tenant.organisation_id is not None:
        async with runtime.transaction(tenant) as session:
            account = await accounts.find_by_login(session, tenant.organisation_id, login)
    seen_hash = account.password_hash if account else None
    checked = await accounts.check_password(seen_hash, password)
    if tenant is None or account is None or not checked.right:
        raise SignInRefused
    async with runtime.transaction(tenant) as session:
        locked = await accounts.lock(session, account.id)
        if locked is None or locked.password_hash != seen_hash:
            raise SignInRefused
        if checked.new_hash:
            locked.password_hash = checked.new_hash
        return await open_family(session, runtime, tenant, locked, action="people.sign_in.post_sign_in")


async def open_family(
    session: AsyncSession, runtime: Runtime, tenant: Tenant, account: Account, *, action: str
) -> Tokens:
    """The first tokens of a new family, for an account that is locked and known to be its owner's.

    `action` is what the audit log calls it.

    Raises SignInRefused for one that is disabled or has nothing to do with this community.
    """
    try:
        caller = await account_caller(session, tenant, account.id)
    except BadToken:
        raise SignInRefused from None
    await _note(session, caller, action)
    now = runtime.clock()
    expires_at = now + timedelta(days=runtime.settings.refresh_token_days)
    log.info("signed_in", account_id=str(account.id), community_id=str(tenant.community_id))
    return _add_link(session, runtime, caller, family_id=None, expires_at=expires_at, now=now)


def _add_link(
    session: AsyncSession, runtime: Runtime, caller: Caller, *, family_id: UUID | None, expires_at: datetime,
    now: datetime,
) -> Tokens:  # fmt: skip
    assert caller.account_id is not None
    link_id = CLOCK.new_id()
    refresh = f"{REFRESH_PREFIX}{link_id.hex}_{secrets.token_urlsafe(32)}"
    session.add(
        RefreshToken(
            id=link_id,
            organisation_id=caller.tenant.organisation_id,
            community_id=caller.community_id,
            account_id=caller.account_id,
            family_id=family_id or link_id,
            secret_hash=sha256(refresh.encode()).hexdigest(),
            expires_at=expires_at,
        )
    )
    access = tokens.make_access(runtime.settings, caller.account_id, caller.tenant, now=now)
    return Tokens(access, refresh, caller)


async def rotate(runtime: Runtime, refresh: str, *, slug: str | None = None) -> Tokens:
    """The next tokens of the family, in another community when `slug` names one.

    Raises: BadToken; CommunityNotFound when the account has nothing to do with that community, the token stays good.
    A token used twice revokes its family: that is committed first, and only then refused.
    """
    token_id, tenant = await _find_link_tenant(runtime, refresh)
    if slug is not None:
        wanted = await find_tenant(runtime, slug)
        if wanted is None or wanted.organisation_id != tenant.organisation_id:
            raise CommunityNotFound
        tenant = wanted
    async with runtime.transaction(tenant) as session:
        link = await _lock_link(session, token_id, refresh, now=runtime.clock())
        handed_on: Tokens | None = None
        if link is not None and link.used_at is not None:
            await _revoke_family(session, link.family_id, now=runtime.clock())
            log.warning("refresh_token_reused", account_id=str(link.account_id), family_id=str(link.family_id))
        elif link is not None:
            handed_on = await _hand_on(session, runtime, tenant, link, switching=slug is not None)
    if handed_on is None:
        raise BadToken
    return handed_on


async def _hand_on(
    session: AsyncSession, runtime: Runtime, tenant: Tenant, link: RefreshToken, *, switching: bool
) -> Tokens:
    try:
        caller = await account_caller(session, tenant, link.account_id)
    except BadToken:
        if switching:
            raise CommunityNotFound from None
        raise
    if switching:
        await _note(session, caller, "people.sign_in.post_switch")
    now = runtime.clock()
    link.used_at = now
    return _add_link(session, runtime, caller, family_id=link.family_id, expires_at=link.expires_at, now=now)


async def sign_out(runtime: Runtime, refresh: str) -> None:
    """End the family of this token. A token that is nobody's has nothing to end."""
    try:
        token_id, tenant = await _find_link_tenant(runtime, refresh)
    except BadToken:
        return
    async with runtime.transaction(tenant) as session:
        link = await _lock_link(session, token_id, refresh, now=runtime.clock())
        if link is not None:
            await _revoke_family(session, link.family_id, now=runtime.clock())
            # Who lost every right since may still sign out, and is nobody by then.
            with suppress(BadToken):
                caller = await account_caller(session, tenant, link.account_id)
                await _note(session, caller, "people.sign_in.post_sign_out")


async def _note(session: AsyncSession, caller: Caller, action: str) -> None:
    await audit.note(session, caller, action=action, object_kind="account", object_id=caller.account_id)


async def change_password(runtime: Runtime, caller: Caller, *, current: str, new: str) -> Tokens:
    """Tokens of a new family; all others of the account end. Raises SignInRefused, PasswordTooShort."""
    accounts.check_length(new, runtime.settings)
    if caller.account_id is None:
        raise SignInRefused
    async with runtime.transaction(caller.tenant) as session:
        account = await session.get_one(Account, caller.account_id)
    seen_hash = account.password_hash
    if not (await accounts.check_password(seen_hash, current)).right:
        raise SignInRefused
    new_hash = await accounts.hash_password(new)
    async with runtime.transaction(caller.tenant) as session:
        locked = await accounts.lock(session, caller.account_id)
        if locked is None or locked.password_hash != seen_hash:
            raise SignInRefused
        locked.password_hash = new_hash
        await accounts.sign_out_everywhere(session, locked.id, now=runtime.clock())
        return await open_family(session, runtime, caller.tenant, locked, action="people.sign_in.post_password")


async def _find_link_tenant(runtime: Runtime, refresh: str) -> tuple[UUID, Tenant]:
    """The id in the token and the tenant behind it. Raises BadToken."""
    try:
        token_id = UUID(hex=refresh.removeprefix(REFRESH_PREFIX).split("_", 1)[0])
    except ValueError:
        raise BadToken from None
    async with runtime.transaction(None) as session:
        statement = text("SELECT * FROM tenant_of_refresh_token(:id)")
        row = (await session.execute(statement, {"id": token_id})).one_or_none()
    if row is None:
        raise BadToken
    return token_id, Tenant(row.organisation_id, row.community_id)


async def _lock_link(session: AsyncSession, token_id: UUID, refresh: str, *, now: datetime) -> RefreshToken | None:
    """The link of a genuine token of a living family, used or not, with its account locked; else nothing."""
    link = await session.get(RefreshToken, token_id)
    if link is None or not hmac.compare_digest(link.secret_hash, sha256(refresh.encode()).hexdigest()):
        return None
    # The account's lock, not the link's: a newer link of the family may be rotating at this very moment.
    account = await accounts.lock(session, link.account_id)
    await session.refresh(link)
    if account is None or link.revoked_at is not None or link.expires_at <= now:
        return None
    return link


async def _revoke_family(session: AsyncSession, family_id: UUID, *, now: datetime) -> None:
    await session.execute(
        update(RefreshToken)
        .where(RefreshToken.family_id == family_id, RefreshToken.revoked_at.is_(None))
        .values(revoked_at=now)
    )
