"""Wire types of people and places."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID
from zoneinfo import available_timezones

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, SecretStr, StringConstraints

from app.people.callers import CallerKind
from app.people.personal import OfHousehold, OfResident, OfStaff
from app.people.tables import ResidentRole, SpaceKind, StaffRole

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
Login = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Slug = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=63)]
Phone = Annotated[str, StringConstraints(pattern=r"^[0-9+() -]{0,30}$")]
RefreshSecret = Annotated[SecretStr, Field(max_length=200, examples=["lr_0197…_…"])]
Password = Annotated[SecretStr, Field(min_length=1, max_length=200)]
Language = Literal["zh", "en"]


def known_timezone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError("no such time zone")
    return name


Timezone = Annotated[
    str, StringConstraints(max_length=100), AfterValidator(known_timezone), Field(examples=["Asia/Shanghai"])
]


class Body(BaseModel):
    """What a caller sends: unknown fields are refused, so that a typing error is not silently ignored."""

    model_config = ConfigDict(extra="forbid")


class FromRow(BaseModel):
    model_config = ConfigDict(from_attributes=True)


# Sign-in


class SignInIn(Body):
    community: Slug = Field(description="The community's short name.", examples=["taohuayuan"])
    login: Login = Field(examples=["owner@demo"])
    password: Password


class RefreshIn(Body):
    refresh_token: RefreshSecret


class SwitchIn(Body):
    refresh_token: RefreshSecret
    community: Slug


class PasswordIn(Body):
    current: Password
    new: Password


class CommunityBrief(FromRow):
    id: UUID
    slug: str
    name: str
    name_en: str


class RoomOut(BaseModel):
    """A resident's place in a household."""

    room_id: UUID
    household_id: UUID
    label: str = Field(examples=["3期2栋1单元1502"])
    role: ResidentRole
    verified_at: datetime | None


class MeOut(BaseModel):
    kind: CallerKind
    id: UUID
    name: str
    language: str
    roles: list[StaffRole]
    scopes: list[str]
    verified: bool
    community: CommunityBrief
    communities: list[CommunityBrief] = Field(description="Where this account may act; see /auth/switch.")
    rooms: list[RoomOut]


class TokensOut(BaseModel):
    access_token: str
    refresh_token: str = Field(description="Works once; a second use signs out everywhere it was handed on to.")
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105
    expires_in: int = Field(description="Seconds the access token lives.", examples=[900])
    me: MeOut


# Communities


class CommunityOut(FromRow):
    id: UUID
    slug: str
    name: str
    name_en: str
    timezone: str
    version: int
    created_at: datetime


class CommunityChange(Body):
    name: Name | None = None
    name_en: Annotated[str, StringConstraints(strip_whitespace=True, max_length=100)] | None = None
    timezone: Timezone | None = None


class SettingOut(BaseModel):
    value: Any
    source: Literal["built_in", "organisation", "community"]


class SettingsOut(BaseModel):
    """Every setting with where it comes from: the community, else its property company, else Linli."""

    settings: dict[str, SettingOut]


class SettingsChange(Body):
    """Overrides of this community. `null` takes one back; what is left out stays."""

    assistant_name: Name | None = Field(None, examples=["小邻"])
    assistant_name_en: Name | None = None
    service_phone: Phone | None = Field(None, examples=["021-5555 0100"])
    emergency_phone: Phone | None = None
    office_hours: Annotated[str, StringConstraints(max_length=200)] | None = Field(None, examples=["08:30-18:00"])
    work_orders_per_day_max: Annotated[int, Field(ge=1, le=100)] | None = Field(
        None, description="Work orders of one resident within 24 hours; emergencies are not counted."
    )
    work_order_duplicate_hours: Annotated[int, Field(ge=0, le=720)] | None = Field(
        None, description="Within so many hours the same report again is linked to the first."
    )
    work_order_reopen_days: Annotated[int, Field(ge=0, le=365)] | None = Field(
        None, description="Days after which what was done can no longer be reopened."
    )
    return_visit_score_max: Annotated[int, Field(ge=0, le=5)] | None = Field(
        None, description="A rating with a score this low or lower brings a return visit; 0: none does."
    )
    handoff_wait_minutes: int | None = Field(
        None, ge=1, le=240, description="How long a resident waits for a person until both are told again."
    )


# Spaces


class SpaceIn(Body):
    kind: SpaceKind
    name: Name = Field(examples=["1502"])
    parent_id: UUID | None = None


class SpaceChange(Body):
    name: Name


class SpaceOut(FromRow):
    id: UUID
    kind: SpaceKind
    name: str
    label: str = Field(description="The whole address.", examples=["3期2栋1单元1502"])
    parent_id: UUID | None
    building_id: UUID | None


class SpaceNode(BaseModel):
    id: UUID
    kind: SpaceKind
    name: str
    label: str
    children: list["SpaceNode"] = Field(default_factory=list)


class SpaceTree(BaseModel):
    spaces: list[SpaceNode]


# Residents and households


class ResidentIn(Body):
    name: Name
    phone: Phone = ""
    language: Language = "zh"


class ResidentChange(Body):
    name: Name | None = None
    phone: Phone | None = None
    language: Language | None = None


class ResidentOut(BaseModel):
    id: OfResident
    name: str
    phone: str
    language: str
    has_account: bool
    rooms: list[RoomOut]


class RoomIn(Body):
    role: ResidentRole
    household_id: UUID | None = Field(None, description="Needed only where a room has several households.")


class VerifyIn(Body):
    room_id: UUID | None = Field(None, description="Left out: all rooms of the resident.")
    verified: bool = True


class HouseholdIn(Body):
    room_id: UUID


class MemberOut(BaseModel):
    resident_id: OfResident
    name: str
    role: ResidentRole
    verified_at: datetime | None


class HouseholdOut(BaseModel):
    id: OfHousehold
    room_id: UUID
    label: str
    members: list[MemberOut]


# Accounts and staff


class AccountIn(Body):
    """Sign-in of a resident or a member of staff. What is left out stays as it is."""

    login: Login | None = None
    password: Password | None = None
    oidc_subject: Annotated[str, StringConstraints(min_length=1, max_length=255)] | None = Field(
        None, description="`sub` at the OpenID Connect issuer; null unlinks."
    )
    disabled: bool | None = None


class AccountOut(BaseModel):
    login: str
    has_password: bool
    oidc_subject: str | None
    disabled_at: datetime | None


class StaffIn(Body):
    name: Name
    login: Login = Field(description="A colleague who has this login already gets the roles here.")
    roles: list[StaffRole] = Field(min_length=1, max_length=len(StaffRole))


class StaffChange(Body):
    name: Name


class RightsIn(Body):
    roles: list[StaffRole] = Field(max_length=len(StaffRole), description="All roles in this community; [] ends them.")


class StaffOut(BaseModel):
    id: OfStaff
    name: str
    login: str
    roles: list[StaffRole] = Field(description="In this community.")
    disabled: bool


# API keys


class ApiKeyIn(Body):
    name: Name
    scopes: list[Annotated[str, StringConstraints(max_length=100)]] = Field(
        min_length=1, max_length=50, examples=[["chat:write", "knowledge:read"]]
    )
    expires_at: AwareDatetime | None = None


class ApiKeyOut(FromRow):
    id: UUID
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class ApiKeyMade(ApiKeyOut):
    secret: str = Field(description="Shown this once.", examples=["lk_0197…_…"])
