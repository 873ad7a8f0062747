"""Who is asking. Every endpoint gets its caller here, with rights read afresh, so a revoked right ends at once."""

import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cache
from hashlib import sha256
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, Path, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import ScalarSelect, Select, Uuid, bindparam, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.db import Tenant
from app.errors import Forbidden, NotFound, Unauthorised
from app.people import audit, tokens
from app.people.scopes import ALL_SCOPES, RESIDENT_SCOPES, ROLE_SCOPES
from app.people.tables import (
    Account,
    ApiKey,
    Community,
    Residency,
    Resident,
    ResidentRole,
    Staff,
    StaffRight,
    StaffRole,
)
from app.runtime import Runtime, RuntimeDep

KEY_PREFIX = "lk_"
SYSTEM_ID = UUID(int=0)
"""Of Linli itself, where a row names who did something."""


class CallerKind(StrEnum):
    RESIDENT = "resident"
    STAFF = "staff"
    API_KEY = "api_key"
    SYSTEM = "system"
    """Linli itself. Nobody signs in as this."""


@dataclass(frozen=True)
class Caller:
    """Who asks, in which community, with which rights.

    `owner` and `building_ids` count verified residencies only. `id` is the resident, member of staff or key.
    """

    tenant: Tenant
    kind: CallerKind
    id: UUID
    account_id: UUID | None = None
    name: str = ""
    language: str = "zh"
    scopes: frozenset[str] = frozenset()
    roles: frozenset[StaffRole] = frozenset()
    owner: bool = False
    verified: bool = False
    building_ids: frozenset[UUID] = field(default_factory=frozenset)

    @property
    def community_id(self) -> UUID:
        assert self.tenant.community_id is not None
        return self.tenant.community_id

    @property
    def reads_staff_knowledge(self) -> bool:
        return self.kind is CallerKind.STAFF or "knowledge:staff" in self.scopes

    @property
    def key(self) -> str:
        """Names this caller in rate limits and idempotency."""
        return f"{self.kind}:{self.id}"


class BadToken(Unauthorised):
    code = "token_invalid"

    def __init__(self) -> None:
        super().__init__("The token is missing, wrong or expired. Sign in again.", "登录已失效，请重新登录。")


class ScopeMissing(Forbidden):
    code = "scope_missing"

    def __init__(self, scope: str) -> None:
        super().__init__(f"This needs the scope {scope}.", f"缺少权限：{scope}。", scope=scope)


class CommunityNotFound(NotFound):
    code = "community_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such community.", "没有这个小区。")


bearer = HTTPBearer(auto_error=False, description="Access token from /api/v1/auth/sign-in, or an API key.")


def secret_of(request: Request) -> str:
    """What a caller shows in the Authorization header; empty when that is nothing of ours."""
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else ""


def claims_of(runtime: Runtime, secret: str) -> dict[str, Any] | None:
    """The claims of an access token that we signed and that is still good, else None."""
    if not secret or secret.startswith(KEY_PREFIX):
        return None
    return tokens.read_access(runtime.settings, secret, now=runtime.clock())


async def find_caller(runtime: Runtime, secret: str, claims: dict[str, Any] | None) -> Caller:
    """The caller who showed this secret, whose claims were read already. Raises BadToken."""
    if secret.startswith(KEY_PREFIX):
        return await _key_caller(runtime, secret)
    if claims is None:
        raise BadToken
    tenant = Tenant(UUID(claims["org"]), UUID(claims["com"]))
    async with runtime.transaction(tenant) as session:
        return await account_caller(session, tenant, UUID(claims["sub"]))


async def caller_of(
    request: Request, _shown_in_openapi: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]
) -> Caller:
    """The caller of this request, whom the door (doors.py) let in."""
    caller: Caller = request.state.caller
    return caller


async def account_caller(session: AsyncSession, tenant: Tenant, account_id: UUID) -> Caller:
    """The caller behind an account, in one statement. Staff rights win over residencies. Raises BadToken."""
    values = {"rights_in": tenant.community_id, "rights_of": account_id}
    return caller_of_rights(tenant, account_id, await session.scalar(_reading_rights(), values))


@cache
def _reading_rights() -> Select[Any]:
    return select(account_rights(bindparam("rights_of", type_=Uuid)))


def account_rights(account_id: Any) -> ScalarSelect[Any]:
    """What `caller_of_rights` reads, as one JSON value, so that another statement can bring it along.

    `account_id` is a column of that statement, which is run with the community as the value `rights_in`.
    """
    here = StaffRight.community_id == bindparam("rights_in", type_=Uuid)
    return (
        select(
            func.jsonb_agg(
                func.jsonb_build_array(
                    Account.name, Staff.id, StaffRight.role, Resident.id, Resident.language, Residency.role,
                    Residency.building_id, Residency.verified_at.is_not(None),
                )
            )
        )
        .select_from(Account)
        .outerjoin(Staff, Staff.account_id == Account.id)
        .outerjoin(StaffRight, (StaffRight.staff_id == Staff.id) & here)
        .outerjoin(Resident, Resident.account_id == Account.id)
        .outerjoin(Residency, Residency.resident_id == Resident.id)
        .where(Account.id == account_id, Account.disabled_at.is_(None))
        .scalar_subquery()
    )  # fmt: skip


def caller_of_rights(tenant: Tenant, account_id: UUID, rights: list[list[Any]] | None) -> Caller:
    """The caller that `account_rights` describe. Raises BadToken when there is nobody any more."""
    if not rights:
        raise BadToken
    name, staff_id, _, resident_id, language, *_ = rights[0]
    roles = frozenset(StaffRole(row[2]) for row in rights if row[2] is not None)
    if roles:
        scopes = frozenset[str]().union(*(ROLE_SCOPES[role] for role in roles))
        return Caller(
            tenant, CallerKind.STAFF, UUID(staff_id), account_id, name, scopes=scopes, roles=roles, verified=True
        )
    if resident_id is None:
        raise BadToken
    verified = [row for row in rights if row[7]]
    return Caller(
        tenant,
        CallerKind.RESIDENT,
        UUID(resident_id),
        account_id,
        name,
        language=language,
        scopes=RESIDENT_SCOPES,
        owner=any(row[5] == ResidentRole.OWNER for row in verified),
        verified=bool(verified),
        building_ids=frozenset(UUID(row[6]) for row in verified if row[6]),
    )


def system_caller(tenant: Tenant) -> Caller:
    """Linli itself, in one community: for jobs and sweeps that nobody in particular asked for."""
    return Caller(tenant, CallerKind.SYSTEM, SYSTEM_ID, name="Linli", scopes=ALL_SCOPES, verified=True)


async def _key_caller(runtime: Runtime, secret: str) -> Caller:
    key_id, tenant = await _key_tenant(runtime, secret)
    async with runtime.transaction(tenant) as session:
        key = await session.get(ApiKey, key_id)
    if key is None or not key_is_live(key, secret, now=runtime.clock()):
        raise BadToken
    return _of_key(tenant, key)


def caller_of_key(tenant: Tenant, key: ApiKey | None) -> Caller | None:
    """The caller behind a key whose secret was checked when the work was accepted; None when it was revoked since."""
    return _of_key(tenant, key) if key is not None and key.revoked_at is None else None


def _of_key(tenant: Tenant, key: ApiKey) -> Caller:
    return Caller(tenant, CallerKind.API_KEY, key.id, name=key.name, scopes=frozenset(key.scopes), verified=False)


async def tenant_of_community(runtime: Runtime, community_id: UUID) -> Tenant:
    """The tenant of a community that a job names."""
    if community_id not in runtime.tenants:
        async with runtime.transaction(None) as session:
            organisation_id = await session.scalar(select(func.organisation_of_community(community_id)))
        if organisation_id is None:
            raise CommunityNotFound
        runtime.tenants[community_id] = Tenant(organisation_id, community_id)
    return runtime.tenants[community_id]


def key_is_live(key: ApiKey, secret: str, *, now: datetime) -> bool:
    """Whether the secret opens this key now."""
    same = hmac.compare_digest(key.secret_hash, sha256(secret.encode()).hexdigest())
    return same and key.revoked_at is None and (key.expires_at is None or key.expires_at > now)


async def _key_tenant(runtime: Runtime, secret: str) -> tuple[UUID, Tenant]:
    # A key starts with its own id, which the owner's function turns into the tenant: no row is read across tenants.
    try:
        key_id = UUID(hex=secret.removeprefix(KEY_PREFIX).split("_", 1)[0])
    except ValueError:
        raise BadToken from None
    if key_id not in runtime.tenants:
        async with runtime.transaction(None) as session:
            found = (await session.execute(text("SELECT * FROM tenant_of_api_key(:id)"), {"id": key_id})).one_or_none()
        if found is None:
            raise BadToken
        runtime.tenants[key_id] = Tenant(found.organisation_id, found.community_id)
    return key_id, runtime.tenants[key_id]


CallerDep = Annotated[Caller, Depends(caller_of)]


def require(scope: str) -> Callable[..., Awaitable[Caller]]:
    """A dependency that gives the caller and refuses one without this scope."""

    async def check_scope(caller: CallerDep) -> Caller:
        if scope not in caller.scopes:
            raise ScopeMissing(scope)
        return caller

    check_scope.scope = scope  # type: ignore[attr-defined]  # read by the test that every route names its scope
    return check_scope


async def community_caller(cid: Annotated[UUID, Path(description="Community id.")], caller: CallerDep) -> Caller:
    """The caller, in the community named by the path. Another community's id is 404, whoever asks."""
    if cid != caller.tenant.community_id:
        raise CommunityNotFound
    return caller


def require_in_community(scope: str) -> Callable[..., Awaitable[Caller]]:
    """As `require`, for paths under /communities/{cid}."""

    async def check_community_scope(caller: Annotated[Caller, Depends(community_caller)]) -> Caller:
        if scope not in caller.scopes:
            raise ScopeMissing(scope)
        return caller

    check_community_scope.scope = scope  # type: ignore[attr-defined]
    return check_community_scope


async def session_of(request: Request, runtime: RuntimeDep, caller: CallerDep) -> Any:
    """One transaction for the request, in the caller's tenant, committed before the response leaves.

    Its last statement is the request's row in the audit log.
    """
    async with runtime.transaction(caller.tenant) as session:
        yield session
        await audit.record(session, request, caller)


SessionDep = Annotated[AsyncSession, Depends(session_of, scope="function")]


def visible_communities(caller: Caller) -> Any:
    """Communities the caller may see: staff those with a right, others their own."""
    statement = select(Community).where(Community.organisation_id == caller.tenant.organisation_id)
    if caller.kind is CallerKind.STAFF:
        rights = select(StaffRight.community_id).where(StaffRight.staff_id == caller.id)
        return statement.where(Community.id.in_(rights))
    return statement.where(Community.id == caller.community_id)
