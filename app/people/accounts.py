"""Accounts: passwords, links to an OpenID Connect subject, and who may change them."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

import structlog
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.errors import Conflict, Forbidden, Invalid
from app.people.callers import Caller
from app.people.schemas import AccountIn, AccountOut
from app.people.scopes import ROLE_SCOPES
from app.people.tables import Account, RefreshToken, Resident, Staff, StaffRight
from app.runtime import Runtime
from app.settings import Settings

log = structlog.get_logger(__name__)

HASHER = PasswordHasher()

HASHING = ThreadPoolExecutor(max_workers=2, thread_name_prefix="argon2")
"""One hash takes 64 MiB and tens of milliseconds: two at once keep a rush of sign-ins from taking the machine."""


class LoginTaken(Conflict):
    code = "login_taken"

    def __init__(self) -> None:
        super().__init__("This login belongs to somebody else.", "该登录名已被使用。")


class SubjectTaken(Conflict):
    code = "oidc_subject_taken"

    def __init__(self) -> None:
        super().__init__("Another account is linked to this subject.", "该身份已关联其他账号。")


class AccountOutOfReach(Forbidden):
    code = "account_out_of_reach"

    def __init__(self) -> None:
        super().__init__(
            "This account acts in other communities or may do more than you. Its owner must change it.",
            "该账号还用于其他小区，或权限高于您，只能由本人修改。",
        )


class PasswordTooShort(Invalid):
    code = "password_too_short"

    def __init__(self, chars_min: int) -> None:
        super().__init__(
            f"A password has at least {chars_min} characters.", f"密码至少 {chars_min} 位。", chars_min=chars_min
        )


@dataclass(frozen=True, slots=True)
class PasswordCheck:
    """Whether the password was right, and a new hash to store when the old one has weaker parameters."""

    right: bool
    new_hash: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A community in which an account has rights or lives."""

    id: UUID
    slug: str
    name: str
    name_en: str


async def hash_password(password: str) -> str:
    return await asyncio.get_running_loop().run_in_executor(HASHING, HASHER.hash, password)


async def check_password(password_hash: str | None, password: str) -> PasswordCheck:
    """Checks in a thread. Without a hash it works as long for nothing, so that time does not tell who has a login."""
    return await asyncio.get_running_loop().run_in_executor(HASHING, _check_password, password_hash, password)


def _check_password(password_hash: str | None, password: str) -> PasswordCheck:
    try:
        HASHER.verify(password_hash or _hash_of_nobody(), password)
    except (VerificationError, InvalidHashError):
        return PasswordCheck(right=False)
    if password_hash is None:
        return PasswordCheck(right=False)
    stale = HASHER.check_needs_rehash(password_hash)
    return PasswordCheck(right=True, new_hash=HASHER.hash(password) if stale else None)


@cache
def _hash_of_nobody() -> str:
    return HASHER.hash("the password of nobody")


def check_length(password: str, settings: Settings) -> None:
    """Raises PasswordTooShort."""
    if len(password) < settings.password_chars_min:
        raise PasswordTooShort(settings.password_chars_min)


async def find_by_login(session: AsyncSession, organisation_id: UUID, login: str) -> Account | None:
    return (
        await session.scalars(select(Account).where(Account.organisation_id == organisation_id, Account.login == login))
    ).one_or_none()


async def find_by_subject(session: AsyncSession, organisation_id: UUID, subject: str) -> Account | None:
    statement = select(Account).where(Account.organisation_id == organisation_id, Account.oidc_subject == subject)
    return (await session.scalars(statement)).one_or_none()


async def lock(session: AsyncSession, account_id: UUID) -> Account | None:
    """The account as it is now, held until the transaction ends.

    Everything that opens or ends a sign-in holds it, so a token cannot be made while its family is being revoked.
    """
    statement = select(Account).where(Account.id == account_id).with_for_update(key_share=True)
    return (await session.scalars(statement.execution_options(populate_existing=True))).one_or_none()


async def places_of(session: AsyncSession, account_id: UUID) -> Sequence[Place]:
    """The communities where the account may act: across tenants, so it asks the owner's function."""
    rows = await session.execute(text("SELECT * FROM communities_of_account(:id)"), {"id": account_id})
    return [Place(row.id, row.slug, row.name, row.name_en) for row in rows]


async def sign_out_everywhere(session: AsyncSession, account_id: UUID, *, now: datetime) -> None:
    await session.execute(
        update(RefreshToken)
        .where(RefreshToken.account_id == account_id, RefreshToken.revoked_at.is_(None))
        .values(revoked_at=now)
    )


async def check_may_change(session: AsyncSession, caller: Caller, account: Account) -> None:
    """Raises AccountOutOfReach: who sets a password can act as its owner, so only where that gives nothing new."""
    if any(place.id != caller.community_id for place in await places_of(session, account.id)):
        raise AccountOutOfReach
    roles = await session.scalars(
        select(StaffRight.role)
        .join(Staff, Staff.id == StaffRight.staff_id)
        .where(Staff.account_id == account.id, StaffRight.community_id == caller.community_id)
    )
    if any(not ROLE_SCOPES[role] <= caller.scopes for role in roles):
        raise AccountOutOfReach


async def open_account(session: AsyncSession, caller: Caller, *, login: str, name: str) -> Account:
    """A new account without a password. Raises LoginTaken."""
    assert caller.tenant.organisation_id is not None
    if await find_by_login(session, caller.tenant.organisation_id, login):
        raise LoginTaken
    account = Account(organisation_id=caller.tenant.organisation_id, login=login, name=name)
    session.add(account)
    await session.flush()
    return account


async def open_resident_account(session: AsyncSession, caller: Caller, resident: Resident, *, login: str) -> Account:
    """The resident's account: one of the company that has this login already, else a new one. Raises LoginTaken."""
    assert caller.tenant.organisation_id is not None
    account = await find_by_login(session, caller.tenant.organisation_id, login)
    if account is None:
        account = await open_account(session, caller, login=login, name=resident.name)
    elif await session.scalar(select(Resident.id).where(Resident.account_id == account.id)):
        # Two residents of one community behind one login could not be told apart.
        raise LoginTaken
    resident.account_id = account.id
    await session.flush()
    return account


async def change(
    session: AsyncSession, caller: Caller, account: Account, *, changes: dict[str, Any], new_hash: str | None,
    now: datetime,
) -> Account:  # fmt: skip
    """Apply what was given of login, oidc_subject, disabled and a password's hash. A new password signs out.

    Raises: AccountOutOfReach, LoginTaken, SubjectTaken.
    """
    await check_may_change(session, caller, account)
    locked = await lock(session, account.id)
    assert locked is not None
    login, subject = changes.get("login"), changes.get("oidc_subject")
    if login and login != account.login:
        if await find_by_login(session, account.organisation_id, login):
            raise LoginTaken
        account.login = login
    if "oidc_subject" in changes:
        other = await find_by_subject(session, account.organisation_id, subject) if subject else None
        if other is not None and other.id != account.id:
            raise SubjectTaken
        account.oidc_subject = subject
    if new_hash is not None:
        account.password_hash = new_hash
    if (disabled := changes.get("disabled")) is not None:
        account.disabled_at = (account.disabled_at or now) if disabled else None
    if new_hash is not None or changes.get("disabled"):
        await sign_out_everywhere(session, account.id, now=now)
    await session.flush()
    log.info("account_changed", account_id=str(account.id), by=caller.key, fields=sorted(changes))
    return account


async def apply(
    session: AsyncSession, runtime: Runtime, caller: Caller, account: Account, wanted: AccountIn
) -> AccountOut:
    """Change what is given of an account. Raises as `change`, and PasswordTooShort."""
    new_hash = None
    if wanted.password is not None:
        check_length(wanted.password.get_secret_value(), runtime.settings)
        new_hash = await hash_password(wanted.password.get_secret_value())
    changes = wanted.model_dump(exclude_unset=True, exclude={"password"})
    await change(session, caller, account, changes=changes, new_hash=new_hash, now=runtime.clock())
    return AccountOut(
        login=account.login,
        has_password=account.password_hash is not None,
        oidc_subject=account.oidc_subject,
        disabled_at=account.disabled_at,
    )
