"""Reading the audit log: managers see all of their community, residents who looked at their data and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field
from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.people.callers import Caller, CallerKind
from app.people.personal import OfStaff
from app.people.schemas import FromRow
from app.people.tables import AuditEvent, StaffRole


class Words(BaseModel):
    zh: str
    en: str


ROLES: dict[StaffRole, Words] = {
    StaffRole.MANAGER: Words(zh="物业管理员", en="Manager"),
    StaffRole.FRONT_DESK: Words(zh="前台", en="Front desk"),
    StaffRole.ENGINEER: Words(zh="维修师傅", en="Engineer"),
    StaffRole.SECURITY: Words(zh="保安", en="Security"),
    StaffRole.FINANCE: Words(zh="财务", en="Finance"),
}

VERBS: dict[str, Words] = {
    "get": Words(zh="查看了", en="looked at"),
    "post": Words(zh="登记或处理了", en="recorded or handled"),
    "put": Words(zh="设置了", en="set"),
    "patch": Words(zh="修改了", en="changed"),
    "delete": Words(zh="删除了", en="removed"),
    "": Words(zh="处理了", en="worked on"),
}
"""By how the name of an operation begins."""

OBJECTS: dict[str, Words] = {
    "resident": Words(zh="您的住户资料", en="your resident record"),
    "room": Words(zh="您的住户资料", en="your resident record"),
    "household": Words(zh="您的家庭资料", en="your household's record"),
    "vehicle": Words(zh="您的车辆资料", en="your vehicle's record"),
    "workorder": Words(zh="您的工单", en="your work order"),
    "order": Words(zh="您的工单", en="your work order"),
    "comment": Words(zh="您工单下的留言", en="comments on your work order"),
    "file": Words(zh="您工单的照片或文件", en="photos and files of your work order"),
    "conversation": Words(zh="您与邻里的会话", en="your conversation with Linli"),
    "turn": Words(zh="您与邻里的会话", en="your conversation with Linli"),
    "promise": Words(zh="对您的承诺", en="a promise made to you"),
    "incident": Words(zh="您关注的突发事件", en="an incident that you follow"),
    "filter": Words(zh="您与邻里的会话", en="your conversation with Linli"),
    "draft": Words(zh="您与邻里的会话", en="your conversation with Linli"),
    "on_shift": Words(zh="当班名单", en="who is on shift"),
    "on_call": Words(zh="值班名单", en="who is on call"),
    "staff": Words(zh="员工资料", en="a record of staff"),
    "audit_event": Words(zh="操作记录", en="the audit log"),
    "": Words(zh="您的信息", en="your data"),
}
"""By the kind of an audit row's object."""


class AuditEventOut(FromRow):
    """One row of the audit log. `fields` are names of changed fields; values are never kept."""

    id: UUID
    created_at: datetime
    kind: str = Field(description="`write`, or `read` of personal data.", examples=["write"])
    action: str = Field(description="The operation id.", examples=["people.resident.patch_resident"])
    object_kind: str = Field(examples=["resident"])
    object_id: UUID | None
    caller_kind: str = Field(examples=["staff"])
    caller_id: OfStaff
    caller_name: str
    caller_roles: list[str]
    request_id: str
    network: str = Field(description="Where the request came from, as a network.", examples=["203.0.113.0/24"])
    fields: list[str] = Field(examples=[["phone"]])
    facts: dict[str, Any]
    residents: list[UUID] = Field(description="Residents whose data it was about.")


class AccessOut(BaseModel):
    """Somebody saw or changed one's data."""

    id: UUID
    at: datetime
    who: Words = Field(examples=[{"zh": "物业管理员 王芳", "en": "Manager 王芳"}])
    why: Words = Field(examples=[{"zh": "查看了您的工单", "en": "looked at your work order"}])
    fields: list[str] = Field(description="Names of what was changed.", examples=[["phone"]])
    object_id: UUID | None


@dataclass(frozen=True)
class Filters:
    """What a manager looks for. None matches everything."""

    kind: str | None = None
    action: str | None = None
    caller_id: UUID | None = None
    object_kind: str | None = None
    object_id: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None


def visible_to(caller: Caller) -> Select[AuditEvent]:
    return select(AuditEvent).where(AuditEvent.community_id == caller.community_id)


def list_statement(caller: Caller, filters: Filters) -> Select[AuditEvent]:
    statement = visible_to(caller)
    for name in ("kind", "action", "caller_id", "object_kind", "object_id"):
        if (wanted := getattr(filters, name)) is not None:
            statement = statement.where(getattr(AuditEvent, name) == wanted)
    if filters.since is not None:
        statement = statement.where(AuditEvent.created_at >= filters.since)
    if filters.until is not None:
        statement = statement.where(AuditEvent.created_at < filters.until)
    return statement


async def about(
    session: AsyncSession, caller: Caller, resident_id: UUID, *, before: UUID | None, rows_max: int
) -> list[AuditEvent]:
    """What others did with a resident's data, newest first."""
    found = select(func.audit_events_about(resident_id, before, rows_max))
    statement = visible_to(caller).where(AuditEvent.id.in_(found)).order_by(AuditEvent.id.desc())
    return list(await session.scalars(statement))


def shown(rows: Sequence[AuditEvent]) -> list[AccessOut]:
    return [
        AccessOut(
            id=row.id, at=row.created_at, who=who(row), why=why(row), fields=row.fields, object_id=row.object_id
        )
        for row in rows
    ]  # fmt: skip


def who(row: AuditEvent) -> Words:
    """Staff by role and name, machines and Linli itself as such."""
    if row.caller_kind == CallerKind.STAFF:
        roles = [ROLES[StaffRole(role)] for role in row.caller_roles if role in set(StaffRole)]
        zh, en = "、".join(role.zh for role in roles) or "员工", ", ".join(role.en for role in roles) or "Staff"
    elif row.caller_kind == CallerKind.API_KEY:
        zh, en = "程序接口", "API key"
    elif row.caller_kind == CallerKind.RESIDENT:
        zh, en = "住户", "Resident"
    else:
        return Words(zh="邻里（自动处理）", en="Linli itself")
    return Words(zh=f"{zh} {row.caller_name}", en=f"{en} {row.caller_name}")


def why(row: AuditEvent) -> Words:
    verb = VERBS.get(row.action.rpartition(".")[2].partition("_")[0], VERBS[""])
    thing = OBJECTS.get(row.object_kind, OBJECTS[""])
    return Words(zh=f"{verb.zh}{thing.zh}", en=f"{verb.en} {thing.en}")
