"""Rows of people and places. Organisation rows are fenced by organisation, all others by community."""

from datetime import date, datetime, time
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ForeignKey,
    Index,
    LargeBinary,
    SmallInteger,
    String,
    UniqueConstraint,
    Uuid,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, deferred, mapped_column

from app.db import Base, HasId, enum_column


class SpaceKind(StrEnum):
    """Levels of the space tree, top down: 期, 栋, 单元, 室."""

    PHASE = "phase"
    BUILDING = "building"
    UNIT = "unit"
    ROOM = "room"


class RoomState(StrEnum):
    """已入住, 未入住, 已交房, 装修中."""

    OCCUPIED = "occupied"
    VACANT = "vacant"
    HANDED_OVER = "handed_over"
    RENOVATING = "renovating"


class ResidentRole(StrEnum):
    """How a resident belongs to a household: 业主, 租户, 家庭成员, 成员 (a flatmate), 其他 (a carer, a housekeeper)."""

    OWNER = "owner"
    TENANT = "tenant"
    FAMILY = "family"
    MEMBER = "member"
    OTHER = "other"


class PlateKind(StrEnum):
    """小型汽车, 新能源, others that exist (使馆, 警, 挂, 军), and those of a community that checks no plates."""

    ORDINARY = "ordinary"
    NEW_ENERGY = "new_energy"
    SPECIAL = "special"
    UNCHECKED = "unchecked"


class StaffRole(StrEnum):
    MANAGER = "manager"
    FRONT_DESK = "front_desk"
    ENGINEER = "engineer"
    SECURITY = "security"
    FINANCE = "finance"


class Skill(StrEnum):
    """What a member of staff can be sent to do; a category of work orders asks for one."""

    PLUMBING = "plumbing"
    ELECTRICAL = "electrical"
    LIFT = "lift"
    LOCKS = "locks"
    CIVIL = "civil"
    CLEANING = "cleaning"
    SECURITY = "security"
    FRONT_DESK = "front_desk"
    FINANCE = "finance"
    GENERAL = "general"


class Organisation(HasId, Base):
    """A property company. `defaults` apply to its communities unless a community overrides them."""

    __tablename__ = "organisations"
    name: Mapped[str]
    defaults: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Community(HasId, Base):
    __tablename__ = "communities"
    organisation_id: Mapped[UUID] = mapped_column(ForeignKey("organisations.id"), index=True)
    slug: Mapped[str] = mapped_column(String(63), unique=True)
    name: Mapped[str]
    name_en: Mapped[str] = mapped_column(default="")
    timezone: Mapped[str] = mapped_column(default="Asia/Shanghai")
    overrides: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict)
    version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Space(HasId, Base):
    """A node of the space tree. `label` is the whole address, 3期2栋1单元1502.

    `building_id` is set for a building, to itself, and for everything below it.
    """

    __tablename__ = "spaces"
    __table_args__ = (UniqueConstraint("community_id", "parent_id", "name", postgresql_nulls_not_distinct=True),)
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"))
    parent_id: Mapped[UUID | None] = mapped_column(ForeignKey("spaces.id", ondelete="CASCADE"), index=True)
    building_id: Mapped[UUID | None]
    kind: Mapped[SpaceKind] = mapped_column(enum_column(SpaceKind))
    name: Mapped[str]
    label: Mapped[str]
    state: Mapped[RoomState | None] = mapped_column(enum_column(RoomState))
    area_m2: Mapped[float | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Household(HasId, Base):
    __tablename__ = "households"
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"), index=True)
    room_id: Mapped[UUID] = mapped_column(ForeignKey("spaces.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Account(HasId, Base):
    """A login of a property company's residents and staff. One person may be both, in several communities."""

    __tablename__ = "accounts"
    __table_args__ = (UniqueConstraint("organisation_id", "login"), UniqueConstraint("organisation_id", "oidc_subject"))
    organisation_id: Mapped[UUID] = mapped_column(ForeignKey("organisations.id", ondelete="CASCADE"))
    login: Mapped[str]
    name: Mapped[str]
    password_hash: Mapped[str | None]
    oidc_subject: Mapped[str | None]
    disabled_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Resident(HasId, Base):
    __tablename__ = "residents"
    __table_args__ = (Index("ix_residents_community_id_id", "community_id", "id"),)
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"))
    account_id: Mapped[UUID | None] = mapped_column(ForeignKey("accounts.id", ondelete="SET NULL"), index=True)
    name: Mapped[str]
    phone: Mapped[str] = mapped_column(default="")
    language: Mapped[str] = mapped_column(default="zh")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Residency(HasId, Base):
    """A resident in a household. Until `verified_at` is set it opens nothing but what everyone may see."""

    __tablename__ = "residencies"
    __table_args__ = (UniqueConstraint("resident_id", "household_id"),)
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"), index=True)
    resident_id: Mapped[UUID] = mapped_column(ForeignKey("residents.id", ondelete="CASCADE"))
    household_id: Mapped[UUID] = mapped_column(ForeignKey("households.id", ondelete="CASCADE"), index=True)
    building_id: Mapped[UUID | None]
    role: Mapped[ResidentRole] = mapped_column(enum_column(ResidentRole))
    verified_at: Mapped[datetime | None]


class Vehicle(HasId, Base):
    """A car known by its plate, which is kept without spaces and dots. It may belong to a room, a resident, or both."""

    __tablename__ = "vehicles"
    __table_args__ = (
        UniqueConstraint("community_id", "plate"),
        Index("ix_vehicles_community_id_id", "community_id", "id"),
    )
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"))
    plate: Mapped[str]
    plate_kind: Mapped[PlateKind] = mapped_column(enum_column(PlateKind))
    room_id: Mapped[UUID | None] = mapped_column(ForeignKey("spaces.id", ondelete="SET NULL"), index=True)
    resident_id: Mapped[UUID | None] = mapped_column(ForeignKey("residents.id", ondelete="SET NULL"), index=True)
    model: Mapped[str] = mapped_column(default="")
    colour: Mapped[str] = mapped_column(default="")
    note: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Staff(HasId, Base):
    __tablename__ = "staff"
    organisation_id: Mapped[UUID] = mapped_column(ForeignKey("organisations.id", ondelete="CASCADE"), index=True)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), unique=True)
    name: Mapped[str]
    title: Mapped[str] = mapped_column(default="")
    phone: Mapped[str] = mapped_column(default="")
    skills: Mapped[list[str]] = mapped_column(ARRAY(String), default=list)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class StaffRight(HasId, Base):
    """One role of a member of staff in one community; `PEOPLE`'s scopes follow from the role."""

    __tablename__ = "staff_rights"
    __table_args__ = (UniqueConstraint("staff_id", "community_id", "role"),)
    organisation_id: Mapped[UUID] = mapped_column(ForeignKey("organisations.id", ondelete="CASCADE"), index=True)
    staff_id: Mapped[UUID] = mapped_column(ForeignKey("staff.id", ondelete="CASCADE"))
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"), index=True)
    role: Mapped[StaffRole] = mapped_column(enum_column(StaffRole))


class Recurring:
    """When something recurs, by the wall clock of its community: see recurring.py.

    `weekdays` are ISO numbers, 1 Monday to 7 Sunday; none means every day. The dates are first and last days. A time
    that does not end after it begins ends on the day after: 20:00 to 08:00 is a night, 00:00 to 00:00 a whole day.
    """

    weekdays: Mapped[list[int] | None] = mapped_column(ARRAY(SmallInteger))
    from_date: Mapped[date | None]
    to_date: Mapped[date | None]
    from_time: Mapped[time]
    to_time: Mapped[time]


class StaffShift(HasId, Recurring, Base):
    """When a member of staff works in a community; with `off`, when they do not although another shift says so."""

    __tablename__ = "staff_shifts"
    __table_args__ = (Index("ix_staff_shifts_community_id_id", "community_id", "id"),)
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"))
    staff_id: Mapped[UUID] = mapped_column(ForeignKey("staff.id", ondelete="CASCADE"), index=True)
    off: Mapped[bool] = mapped_column(default=False)
    note: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class RotaEntry(HasId, Recurring, Base):
    """When a member of staff is on call. Level 1 is rung first; who does not answer is followed by the next level."""

    __tablename__ = "rota_entries"
    __table_args__ = (Index("ix_rota_entries_community_id_id", "community_id", "id"),)
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"))
    staff_id: Mapped[UUID] = mapped_column(ForeignKey("staff.id", ondelete="CASCADE"), index=True)
    level: Mapped[int]
    note: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class JobKind(StrEnum):
    """What a background job does."""

    IMPORT_SPACES = "import_spaces"
    IMPORT_RESIDENTS = "import_residents"
    EXPORT_SPACES = "export_spaces"
    EXPORT_RESIDENTS = "export_residents"
    IMPORT_ITEMS = "import_items"
    IMPORT_INTERACTIONS = "import_interactions"


class JobStatus(StrEnum):
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class BackgroundJob(HasId, Base):
    """Long work on many rows. `payload` is what is left to do with, taken away at the end; `file` is what came out.

    `total` rows are gone through from `next_row` on, a batch a transaction, so that a job goes on where it stopped.
    Only who holds `claim_token` may write: it is the lease's, and only grows.
    """

    __tablename__ = "background_jobs"
    __table_args__ = (Index("ix_background_jobs_community_id_id", "community_id", "id"),)
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"))
    kind: Mapped[JobKind] = mapped_column(enum_column(JobKind))
    status: Mapped[JobStatus] = mapped_column(enum_column(JobStatus))
    file_name: Mapped[str]
    total: Mapped[int] = mapped_column(default=0)
    next_row: Mapped[int] = mapped_column(default=0)
    done: Mapped[int] = mapped_column(default=0)
    created: Mapped[int] = mapped_column(default=0)
    changed: Mapped[int] = mapped_column(default=0)
    failed: Mapped[int] = mapped_column(default=0)
    error: Mapped[str | None]
    notes: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict)
    claim_token: Mapped[int] = mapped_column(BigInteger, default=0)
    created_by_kind: Mapped[str]
    created_by: Mapped[UUID]
    created_at: Mapped[datetime]
    touched_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    payload: Mapped[Any] = deferred(mapped_column(JSONB, default=list))
    file: Mapped[bytes | None] = deferred(mapped_column(LargeBinary))


class BackgroundJobProblem(HasId, Base):
    """What is wrong with one cell of a row that was left out. In the order of the file, ids ascend."""

    __tablename__ = "background_job_problems"
    __table_args__ = (Index("ix_background_job_problems_job_id_id", "job_id", "id"),)
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"), index=True)
    job_id: Mapped[UUID] = mapped_column(ForeignKey("background_jobs.id", ondelete="CASCADE"))
    line: Mapped[int]
    column_name: Mapped[str]
    value: Mapped[str]
    code: Mapped[str]
    zh: Mapped[str]
    en: Mapped[str]


class ApiKey(HasId, Base):
    """A machine's key to one community. Only the hash of the secret is kept; the secret is shown once."""

    __tablename__ = "api_keys"
    organisation_id: Mapped[UUID] = mapped_column(ForeignKey("organisations.id", ondelete="CASCADE"))
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"), index=True)
    name: Mapped[str]
    secret_hash: Mapped[str]
    scopes: Mapped[list[str]] = mapped_column(ARRAY(String))
    created_by: Mapped[UUID | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class RefreshToken(HasId, Base):
    """One link of a refresh-token family. A second use of a link revokes the family."""

    __tablename__ = "refresh_tokens"
    __table_args__ = (Index("ix_refresh_tokens_family_id", "family_id"),)
    organisation_id: Mapped[UUID] = mapped_column(ForeignKey("organisations.id", ondelete="CASCADE"))
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"))
    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), index=True)
    family_id: Mapped[UUID]
    secret_hash: Mapped[str]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class AuditEvent(HasId, Base):
    """What somebody did, or whose data they saw. Rows are added and never changed."""

    __tablename__ = "audit_events"
    __table_args__ = (
        Index("ix_audit_events_community_id_id", "community_id", "id"),
        Index("ix_audit_events_created_at", "created_at"),
        Index("ix_audit_events_residents", "residents", postgresql_using="gin"),
    )
    community_id: Mapped[UUID] = mapped_column(ForeignKey("communities.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(String(40))
    action: Mapped[str]
    object_kind: Mapped[str]
    object_id: Mapped[UUID | None]
    caller_kind: Mapped[str] = mapped_column(String(40))
    caller_id: Mapped[UUID]
    caller_name: Mapped[str]
    caller_roles: Mapped[list[str]] = mapped_column(ARRAY(String))
    request_id: Mapped[str]
    network: Mapped[str]
    fields: Mapped[list[str]] = mapped_column(ARRAY(String))
    facts: Mapped[dict[str, Any]] = mapped_column(JSONB)
    residents: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid))
    """Whose data it was about."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
