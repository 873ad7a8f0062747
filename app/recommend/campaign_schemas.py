"""Wire types of campaigns and their rules."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field, StringConstraints

from app.people.schemas import Body, FromRow
from app.recommend.campaign_copy import BODY_CHARS_MAX, PLAIN_CHARS_MAX, TITLE_CHARS_MAX
from app.recommend.campaign_tables import (
    CampaignKind,
    CampaignStatus,
    Hold,
    LeftOut,
    RuleEvent,
    WordedBy,
)
from app.recommend.tables import FeedbackKind
from app.rest.texts import filled

Label = Literal["A", "B", "C"]
Goal = Literal[FeedbackKind.CLICKED, FeedbackKind.JOINED, FeedbackKind.BOUGHT]
Done = Literal[FeedbackKind.CLICKED, FeedbackKind.JOINED, FeedbackKind.BOUGHT, FeedbackKind.LIKED]
CampaignName = Annotated[str, filled(100)]
ItemIds = Annotated[list[UUID], Field(max_length=10)]
Percent = Annotated[int, Field(ge=0, le=50)]
Days = Annotated[int, Field(ge=1, le=90)]
Messages = Annotated[int, Field(ge=1, le=100)]
Category = Annotated[str, StringConstraints(strip_whitespace=True, max_length=60)]
LocalTime = Annotated[str, StringConstraints(pattern=r"^20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]$")]
FILTER: dict[str, Any] = {
    "and": [
        {"is": "lives", "roles": ["owner", "tenant"]},
        {"is": "did", "what": ["joined"], "category": "亲子", "within_days": 90, "at_least": 2},
    ]
}


def _text(chars_max: int) -> Any:
    return Annotated[str, StringConstraints(strip_whitespace=True, max_length=chars_max)]


class CopyTexts(Body):
    """The words of one variant. `plain_…`: the same in short sentences and everyday words. {item}: the item's title."""

    title_zh: _text(2 * TITLE_CHARS_MAX) = ""  # type: ignore[valid-type]
    title_en: _text(4 * TITLE_CHARS_MAX) = ""  # type: ignore[valid-type]
    body_zh: _text(2 * BODY_CHARS_MAX) = ""  # type: ignore[valid-type]
    body_en: _text(4 * BODY_CHARS_MAX) = ""  # type: ignore[valid-type]
    plain_zh: _text(2 * PLAIN_CHARS_MAX) = ""  # type: ignore[valid-type]
    plain_en: _text(4 * PLAIN_CHARS_MAX) = ""  # type: ignore[valid-type]


class VariantIn(Body):
    label: Label = "A"
    share: Annotated[int, Field(ge=1, le=100)] = Field(1, description="Of all who are told, against the others'.")
    texts: CopyTexts | None = Field(None, description="Left out: as before; see /draft-copy.")


Variants = Annotated[list[VariantIn], Field(min_length=1, max_length=3)]


class _Capped(Body):
    cap_messages: Messages | None = Field(None, description="Campaigns a resident is sent within `cap_days` at most.")
    cap_days: Days | None = Field(None, description="Beside the community's own cap; both must hold.")
    variants: Variants | None = None


class CampaignIn(_Capped):
    """A draft. Households are assigned as a whole, to a variant or to the hold-out, and always the same."""

    name: CampaignName = Field(examples=["周末亲子烘焙"])
    kind: CampaignKind = Field(CampaignKind.BROADCAST, description="triggered: /campaign-rules start it.")
    item_ids: ItemIds = Field(default_factory=list, description="What it is about, the main one first.")
    goal: Goal = Field(FeedbackKind.JOINED, description="What counts as success, done with one of the items.")
    filter: dict[str, Any] = Field(
        default_factory=dict, examples=[FILTER],
        description='{"and": […]}, {"or": […]}, {"not": {…}} over {"is": "lives" or "language", "moved_in", "did", '
        "…}; {} is everybody.",
    )  # fmt: skip
    holdout_percent: Percent = Field(10, description="Share of the households that is not told, to compare with.")
    attribution_days: Days = Field(7, description="Days in which what somebody does counts for the campaign.")
    variants: Variants = Field(default_factory=lambda: [VariantIn()])


class CampaignChange(_Capped):
    """What is left out stays. Other items take every approval back, other words that of their variant."""

    name: CampaignName | None = None
    item_ids: ItemIds | None = None
    goal: Goal | None = None
    filter: dict[str, Any] | None = None
    holdout_percent: Percent | None = None
    attribution_days: Days | None = None


class DraftCopyIn(Body):
    label: Label = "A"
    replace: bool = Field(False, description="Also what a person wrote.")


class ScheduleIn(Body):
    local_time: LocalTime = Field(description="By the community's wall clock.", examples=["2026-11-25T18:30"])


class CopyProblemOut(BaseModel):
    field: str
    code: str = Field(examples=["not_in_facts", "absolute_term"])
    said: str
    zh: str
    en: str


class VariantOut(BaseModel):
    label: Label
    share: int
    texts: CopyTexts
    worded_by: WordedBy
    approved_at: datetime | None
    problems: list[CopyProblemOut] = Field(description="What stands against approving it.")


class CampaignBrief(FromRow):
    id: UUID
    name: str
    kind: CampaignKind
    status: CampaignStatus
    hold: Hold | None = Field(description="Why Linli paused it, or what it has to say of one that is over.")
    item_ids: list[UUID]
    goal: FeedbackKind
    holdout_percent: int
    send_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    version: int
    created_at: datetime
    updated_at: datetime


class CampaignOut(CampaignBrief):
    filter: dict[str, Any]
    attribution_days: int
    cap_messages: int | None
    cap_days: int | None
    send_at_local: str | None = Field(description="By the community's wall clock.")
    allowed: list[CampaignStatus] = Field(description="Where it may go from here.")
    variants: list[VariantOut]


class OverlapOut(BaseModel):
    campaign_id: UUID
    name: str
    status: CampaignStatus
    at: datetime | None
    residents: int | None = Field(description="null: some, of too few households to say how many.")


class PreviewOut(BaseModel):
    """Counts of fewer than `households_min` households are null: they would tell of somebody."""

    nobody: bool = Field(description="True: sending it would tell nobody.")
    recipients: int | None = Field(description="Who may be told; of them the hold-out is not.")
    households: int | None
    left_out: dict[LeftOut, int | None]
    leaves_at: datetime = Field(description="When it would leave: after the quiet hours.")
    quiet: bool = Field(description="Whether all of it waits for the end of the quiet hours.")
    overlaps: list[OverlapOut] = Field(description="Other campaigns, lately or soon, that reach some of the same.")
    households_min: int


class RateOut(BaseModel):
    share: float
    low: float
    high: float


class LiftOut(BaseModel):
    """Against the hold-out, in shares, with its 95 % interval."""

    difference: float
    low: float
    high: float
    ratio: float | None = Field(description="Of the difference to the hold-out's share; null when that is 0.")
    clear: bool = Field(description="Whether the interval leaves 0 out.")


class ArmOut(BaseModel):
    arm: str = Field(description="A, B, C; `told`, all of them together; `holdout`.")
    hidden: bool = Field(description="Too few households stand behind it: every figure is null.")
    households: int | None
    residents: int | None
    sent: int | None
    delivered: int | None
    read: int | None
    clicked: int | None
    reached_goal: int | None
    rate: RateOut | None = Field(description="Of those who reached the goal, with its 95 % interval.")
    lift: LiftOut | None


class ResultsOut(BaseModel):
    """`told` and `holdout` are compared among those who could have been told; the unit is the household."""

    campaign_id: UUID
    goal: FeedbackKind
    confidence: float
    method: str
    arms: list[ArmOut]
    left_out: dict[LeftOut, int | None]
    attributed_until: datetime | None
    complete: bool
    households_min: int


class RuleIn(Body):
    campaign_id: UUID
    event: RuleEvent
    what: Annotated[list[Done], Field(max_length=4)] = Field(
        default_factory=list, description="Of feedback; none: any."
    )
    category: Category = Field("", description="Of the item; empty: any. An added item needs one.")
    wait_hours: Annotated[int, Field(ge=0, le=2_160)] = 0
    enabled: bool = True


class RuleChange(Body):
    what: Annotated[list[Done], Field(max_length=4)] | None = None
    category: Category | None = None
    wait_hours: Annotated[int, Field(ge=0, le=2_160)] | None = None
    enabled: bool | None = None


class RuleOut(FromRow):
    id: UUID
    campaign_id: UUID
    event: RuleEvent
    what: list[str]
    category: str
    wait_hours: int
    enabled: bool
    version: int
    created_at: datetime
    updated_at: datetime


class UnsubscribedOut(BaseModel):
    unsubscribed: bool
