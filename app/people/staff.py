"""Staff and their rights. Rights name the community; nobody grants more than they have."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Select, delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.errors import Conflict, Forbidden, NotFound
from app.people import accounts, communities
from app.people.callers import Caller
from app.people.schemas import StaffOut
from app.people.scopes import ROLE_SCOPES
from app.people.tables import Account, RotaEntry, Skill, Staff, StaffRight, StaffRole, StaffShift

log = structlog.get_logger(__name__)


class StaffNotFound(NotFound):
    code = "staff_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such member of staff.", "没有这位员工。")


class RoleOutOfReach(Forbidden):
    code = "role_out_of_reach"

    def __init__(self, roles: Iterable[StaffRole]) -> None:
        super().__init__(
            "Nobody grants or takes more than they have.", "不能授予或收回超出自身权限的角色。", roles=sorted(roles)
        )


class LastManager(Conflict):
    code = "last_manager"

    def __init__(self) -> None:
        super().__init__("A community keeps at least one manager.", "小区至少要保留一名管理员。")


class AlreadyStaff(Conflict):
    code = "already_staff"

    def __init__(self, staff_id: UUID) -> None:
        super().__init__("This login works here already.", "该登录名已是本小区员工。", staff_id=str(staff_id))


def visible_to(caller: Caller) -> Select[Staff]:
    """Staff with a right in the caller's community."""
    here = select(StaffRight.staff_id).where(StaffRight.community_id == caller.community_id)
    return select(Staff).where(Staff.organisation_id == caller.tenant.organisation_id, Staff.id.in_(here))


def working_in(community_id: UUID) -> Select[Staff]:
    """Staff with a right in the community whose account is open. The transaction's tenant names the company too."""
    here = select(StaffRight.staff_id).where(StaffRight.community_id == community_id)
    return (
        select(Staff)
        .join(Account, Account.id == Staff.account_id)
        .where(Account.disabled_at.is_(None), Staff.id.in_(here))
    )


async def get(session: AsyncSession, caller: Caller, staff_id: UUID, *, locked: bool = False) -> Staff:
    """Raises StaffNotFound."""
    statement = visible_to(caller).where(Staff.id == staff_id)
    if locked:
        statement = statement.with_for_update(key_share=True)
    member = (await session.scalars(statement)).one_or_none()
    if member is None:
        raise StaffNotFound
    return member


async def open_staff(
    session: AsyncSession, caller: Caller, *, name: str, login: str, roles: Collection[StaffRole], title: str = "",
    phone: str = "", skills: Collection[str] = (),
) -> Staff:  # fmt: skip
    """A member of staff with roles here; a colleague who has this login keeps their name, title, phone and skills.

    Raises: RoleOutOfReach, AlreadyStaff.
    """
    assert caller.tenant.organisation_id is not None
    await communities.lock(session, caller)
    account = await accounts.find_by_login(session, caller.tenant.organisation_id, login)
    if account is None:
        account = await accounts.open_account(session, caller, login=login, name=name)
    member = (await session.scalars(select(Staff).where(Staff.account_id == account.id))).one_or_none()
    if member is None:
        member = Staff(
            organisation_id=account.organisation_id, account_id=account.id, name=account.name, title=title,
            phone=phone, skills=sorted(set(skills)),
        )  # fmt: skip
        session.add(member)
        await session.flush()
    elif await _roles(session, caller, member.id):
        raise AlreadyStaff(member.id)
    await _grant(session, caller, member, frozenset(roles))
    return member


async def set_roles(session: AsyncSession, caller: Caller, member: Staff, roles: Collection[StaffRole]) -> None:
    """Make these the roles of a member of staff in this community. Raises: RoleOutOfReach, LastManager."""
    await communities.lock(session, caller)
    now_has = await _roles(session, caller, member.id)
    wanted = frozenset(roles)
    _check_reach(caller, now_has ^ wanted)
    if StaffRole.MANAGER in now_has - wanted:
        others = select(StaffRight.id).where(
            StaffRight.community_id == caller.community_id,
            StaffRight.role == StaffRole.MANAGER,
            StaffRight.staff_id != member.id,
        )
        if not await session.scalar(others.limit(1)):
            raise LastManager
    await session.execute(
        delete(StaffRight).where(
            StaffRight.staff_id == member.id,
            StaffRight.community_id == caller.community_id,
            StaffRight.role.in_(now_has - wanted),
        )
    )
    await _grant(session, caller, member, wanted - now_has)
    if not wanted:
        for table in (StaffShift, RotaEntry):
            await session.execute(
                delete(table).where(table.staff_id == member.id, table.community_id == caller.community_id)
            )


async def _grant(session: AsyncSession, caller: Caller, member: Staff, roles: frozenset[StaffRole]) -> None:
    _check_reach(caller, roles)
    session.add_all(
        StaffRight(
            organisation_id=member.organisation_id, staff_id=member.id, community_id=caller.community_id, role=role
        )
        for role in sorted(roles)
    )
    await session.flush()
    log.info("rights_granted", staff_id=str(member.id), roles=sorted(roles), by=caller.key)


def _check_reach(caller: Caller, roles: frozenset[StaffRole]) -> None:
    if out_of_reach := [role for role in roles if not ROLE_SCOPES[role] <= caller.scopes]:
        raise RoleOutOfReach(out_of_reach)


async def _roles(session: AsyncSession, caller: Caller, staff_id: UUID) -> frozenset[StaffRole]:
    rights = select(StaffRight.role).where(
        StaffRight.staff_id == staff_id, StaffRight.community_id == caller.community_id
    )
    return frozenset(await session.scalars(rights))


async def account_of(session: AsyncSession, member: Staff) -> Account:
    return await session.get_one(Account, member.account_id)


async def change(session: AsyncSession, member: Staff, changes: Mapping[str, Any]) -> None:
    for name, value in changes.items():
        setattr(member, name, sorted(set(value)) if name == "skills" else value)
    await session.flush()


async def show(session: AsyncSession, caller: Caller, members: Sequence[Staff]) -> list[StaffOut]:
    rights = await session.execute(
        select(StaffRight.staff_id, StaffRight.role)
        .where(
            StaffRight.staff_id.in_([member.id for member in members]),
            StaffRight.community_id == caller.community_id,
        )
        .order_by(StaffRight.role)
    )
    roles = defaultdict(list)
    for staff_id, role in rights:
        roles[staff_id].append(role)
    logins = await session.scalars(select(Account).where(Account.id.in_([member.account_id for member in members])))
    account_of_id = {account.id: account for account in logins}
    return [
        StaffOut(
            id=member.id, name=member.name, login=account_of_id[member.account_id].login, roles=roles[member.id],
            title=member.title, phone=member.phone, skills=[Skill(skill) for skill in member.skills],
            disabled=account_of_id[member.account_id].disabled_at is not None,
        )
        for member in members
    ]  # fmt: skip
