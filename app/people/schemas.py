"""Wire types of people and places."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID
from zoneinfo import available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
)

from app.people.callers import CallerKind
from app.people.personal import OfHousehold, OfResident, OfStaff
from app.people.tables import PlateKind, ResidentRole, RoomState, Skill, SpaceKind, StaffRole
from app.rest.moments import Moment
from app.rest.texts import filled

Name = Annotated[str, filled(100)]
Login = Annotated[str, filled(200)]
Slug = Annotated[str, filled(63)]
Phone = Annotated[str, StringConstraints(pattern=r"^[0-9+() -]{0,30}$")]
RefreshSecret = Annotated[SecretStr, Field(max_length=200, examples=["lr_0197…_…"])]
Password = Annotated[SecretStr, Field(min_length=1, max_length=200)]
Language = Literal["zh", "en"]
Short = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200)]
Skills = Annotated[list[Skill], Field(max_length=len(Skill))]


def known_timezone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError("no such time zone")
    return name


Timezone = Annotated[
    str,
    StringConstraints(max_length=100),
    AfterValidator(known_timezone),
    Field(examples=["Asia/Shanghai"], json_schema_extra={"format": "iana-timezone"}),
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


# Spaces


Area = Annotated[float, Field(gt=0, le=100_000, description="Square metres of a room.", examples=[89.5])]


class SpaceIn(Body):
    kind: SpaceKind
    name: Name = Field(examples=["1502"])
    parent_id: UUID | None = None
    state: RoomState | None = Field(None, description="Of a room.")
    area_m2: Area | None = None


class SpaceChange(Body):
    """What is left out stays. A null `parent_id` puts a building directly into the community."""

    name: Name | None = None
    parent_id: UUID | None = None
    state: RoomState | None = None
    area_m2: Area | None = None


class SpaceOut(FromRow):
    id: UUID
    kind: SpaceKind
    name: str
    label: str = Field(description="The whole address.", examples=["3期2栋1单元1502"])
    parent_id: UUID | None
    building_id: UUID | None
    state: RoomState | None
    area_m2: float | None


class SpaceNode(BaseModel):
    id: UUID
    kind: SpaceKind
    name: str
    label: str
    state: RoomState | None = None
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


class MyChange(Body):
    """What residents change of themselves; their name is on papers that staff have seen."""

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
    name: Short = Field("", examples=["沈家"])


class HouseholdChange(Body):
    """With another room the whole household moves, and its members are verified again."""

    room_id: UUID | None = None
    name: Short | None = None


class MemberOut(BaseModel):
    resident_id: OfResident
    name: str
    role: ResidentRole
    verified_at: datetime | None


class HouseholdOut(BaseModel):
    id: OfHousehold
    room_id: UUID
    label: str
    name: str
    members: list[MemberOut]


# Vehicles


Plate = Annotated[str, StringConstraints(min_length=1, max_length=20), Field(examples=["沪A·D12345"])]


class VehicleIn(Body):
    plate: Plate
    room_id: UUID | None = None
    resident_id: UUID | None = None
    model: Short = Field("", examples=["比亚迪 海豚"])
    colour: Short = ""
    note: Short = ""


class VehicleChange(Body):
    """What is left out stays; null ends the link to a room or a resident."""

    plate: Plate | None = None
    room_id: UUID | None = None
    resident_id: UUID | None = None
    model: Short | None = None
    colour: Short | None = None
    note: Short | None = None


class VehicleOut(FromRow):
    id: UUID
    plate: str
    plate_kind: PlateKind
    room_id: UUID | None
    resident_id: OfResident | None
    model: str
    colour: str
    note: str


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
    title: Short = Field("", examples=["工程主管"])
    phone: Phone = ""
    skills: Skills = []


class StaffChange(Body):
    name: Name | None = None
    title: Short | None = None
    phone: Phone | None = None
    skills: Skills | None = None


class RightsIn(Body):
    roles: list[StaffRole] = Field(max_length=len(StaffRole), description="All roles in this community; [] ends them.")


class StaffOut(BaseModel):
    id: OfStaff
    name: str
    login: str
    title: str
    phone: str
    skills: list[Skill]
    roles: list[StaffRole] = Field(description="In this community.")
    disabled: bool


# API keys


class ApiKeyIn(Body):
    name: Name
    scopes: list[Annotated[str, StringConstraints(max_length=100)]] = Field(
        min_length=1, max_length=50, examples=[["chat:write", "knowledge:read"]]
    )
    expires_at: Moment | None = None


class ApiKeyOut(FromRow):
    id: UUID
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class ApiKeyMade(ApiKeyOut):
    secret: str = Field(description="Shown this once.", examples=["lk_0197…_…"])
