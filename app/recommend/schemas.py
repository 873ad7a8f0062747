"""Wire types of items, feedback, recommendations, profiles and rankers."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, Field, StringConstraints

from app.people.callers import CallerKind
from app.people.personal import OfResident
from app.people.schemas import Body, FromRow
from app.recommend.imports import CAPACITY_MAX, CATEGORIES_MAX, CATEGORY_CHARS_MAX, PRICE_MAX
from app.recommend.tables import FeedbackKind, ItemAudience, ItemKind, RankerStatus
from app.rest.moments import Moment
from app.rest.texts import filled

Title = Annotated[str, filled(200)]
TitleEn = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200)]
Words = Annotated[str, StringConstraints(strip_whitespace=True, max_length=5_000)]
Category = Annotated[str, filled(CATEGORY_CHARS_MAX)]
Categories = Annotated[list[Category], Field(max_length=CATEGORIES_MAX, examples=[["亲子", "美食"]])]
ExternalId = Annotated[str, filled(200)]
Provider = Annotated[str, StringConstraints(strip_whitespace=True, max_length=100)]
Place = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200)]
Price = Annotated[int, Field(ge=0, le=PRICE_MAX * 100, description="In cents (分).")]
Capacity = Annotated[int, Field(ge=1, le=CAPACITY_MAX)]
Buildings = Annotated[list[UUID], Field(max_length=50, description="Only residents of these; none: of all.")]
About = Annotated[str, StringConstraints(strip_whitespace=True, max_length=500)]
Interests = Annotated[list[Category], Field(max_length=30)]


class ItemIn(Body):
    kind: ItemKind
    title: Title = Field(examples=["周末亲子包粽子"])
    title_en: TitleEn = ""
    text: Words = ""
    text_en: Words = ""
    categories: Categories = Field(default_factory=list)
    provider: Provider = Field("", description="Who offers it; empty: the house itself.")
    owner_resident_id: UUID | None = Field(None, description="The resident who runs it, of a group or a service.")
    space_id: UUID | None = None
    place: Place = Field("", examples=["3栋架空层"])
    audience: ItemAudience = ItemAudience.ALL
    building_ids: Buildings = Field(default_factory=list)
    price_cents: Price = 0
    capacity: Capacity | None = None
    starts_at: Moment | None = None
    ends_at: Moment | None = None
    expires_at: Moment | None = Field(None, description="From then on it is shown to nobody.")
    enabled: bool = True
    external_id: ExternalId | None = None


class ItemChange(Body):
    """What is left out stays. A null takes a place, a capacity or a time away."""

    kind: ItemKind | None = None
    title: Title | None = None
    title_en: TitleEn | None = None
    text: Words | None = None
    text_en: Words | None = None
    categories: Categories | None = None
    provider: Provider | None = None
    owner_resident_id: UUID | None = None
    space_id: UUID | None = None
    place: Place | None = None
    audience: ItemAudience | None = None
    building_ids: Buildings | None = None
    price_cents: Price | None = None
    capacity: Capacity | None = None
    starts_at: Moment | None = None
    ends_at: Moment | None = None
    expires_at: Moment | None = None
    enabled: bool | None = None
    external_id: ExternalId | None = None


NULLABLE = frozenset({"owner_resident_id", "space_id", "capacity", "starts_at", "ends_at", "expires_at", "external_id"})
"""Columns that a null empties; of others it changes nothing."""


class ItemBrief(FromRow):
    """An item as lists show it."""

    id: UUID
    kind: ItemKind
    title: str
    title_en: str
    categories: list[str]
    provider: str
    place: str
    price_cents: int
    capacity: int | None
    starts_at: datetime | None
    ends_at: datetime | None


class ItemOffered(ItemBrief):
    """An item as residents read it."""

    text: str
    text_en: str
    joined_count: int
    expires_at: datetime | None


class ItemOut(ItemOffered):
    """The same as staff see it."""

    external_id: str | None
    owner_resident_id: UUID | None
    space_id: UUID | None
    building_id: UUID | None
    audience: ItemAudience
    building_ids: list[UUID]
    enabled: bool
    embedder: str | None = Field(description="What made its vector; null until a job has.")
    version: int
    created_at: datetime
    updated_at: datetime


class SimilarItem(BaseModel):
    item: ItemBrief
    score: float = Field(description="Cosine of what both are about.")


class SimilarItems(BaseModel):
    items: list[SimilarItem]


# Feedback


class FeedbackIn(Body):
    """What was done with an item. The same again changes nothing."""

    item_id: UUID
    kind: FeedbackKind
    at: Moment | None = Field(None, description="When it happened; now when left out.")
    list_id: UUID | None = Field(None, description="The list of recommendations that it answers.")


class ResidentFeedbackIn(FeedbackIn):
    resident_id: UUID


class FeedbackOut(BaseModel):
    recorded: bool = Field(description="Whether it was new.")


# Recommendations


class ReasonOut(FromRow):
    """`text` is made of `facts` alone."""

    code: str = Field(examples=["interest"])
    text: str = Field(examples=["您关注「亲子」"])
    facts: dict[str, Any]


class RecommendedOut(BaseModel):
    item: ItemBrief
    score: float
    source: str = Field(description="Which source brought it first.", examples=["meaning"])
    reasons: list[ReasonOut]


class RecommendationsOut(BaseModel):
    list_id: UUID | None = Field(description="Name it in feedback. Null for a list that was only looked at.")
    resident_id: OfResident
    personalised: bool = Field(description="Whether anything of the resident's was used.")
    opted_out: bool = Field(description="The resident wants no recommendations: there are none.")
    ranked: bool = Field(
        description="Whether a trained ranker had its say. Without one, without its file or without a history the "
        "order comes from rules."
    )
    failed_sources: list[str] = Field(description="Sources that could not answer this time.")
    items: list[RecommendedOut]


class WhyOut(BaseModel):
    """Why an item stood in a list, and all that speaks for it now."""

    list_id: UUID
    item: ItemBrief
    shown_at: datetime
    position: int = Field(description="From 1.")
    source: str
    score: float
    personalised: bool
    ranked: bool
    reasons: list[ReasonOut]


# Profiles


class ProfileChange(Body):
    interests: Interests | None = Field(None, description="Categories of items.", examples=[["亲子", "羽毛球"]])
    about: About | None = Field(
        None, description="In one's own words.", examples=["有个五岁女儿，喜欢周末一起做手工。"]
    )
    hidden_categories: Annotated[list[Category], Field(max_length=200)] | None = None
    personalised: bool | None = Field(None, description="Off: the same list as everybody; nothing of mine is used.")
    opted_out: bool | None = Field(None, description="On: no recommendations at all.")
    marketing_opted_out: bool | None = Field(None, description="On: no campaigns.")


class UsedItem(FromRow):
    item_id: UUID
    title: str
    title_en: str
    kind: FeedbackKind
    at: datetime


class ProfileOut(BaseModel):
    """All that recommendations use of me: what I said, and what I did. Each of it can be taken away."""

    interests: list[str]
    about: str
    hidden_categories: list[str]
    personalised: bool
    opted_out: bool
    marketing_opted_out: bool
    categories: list[str] = Field(description="What there is to be interested in.")
    history: list[UsedItem] = Field(description="What I did, newest first; see DELETE /me/recommendation-feedback.")
    hidden_items: list[UsedItem]


# Rankers


class RankerOut(FromRow):
    id: UUID
    number: int
    status: RankerStatus
    reason: str = Field(description="Why it did not go live by itself.", examples=["not_better_than_live"])
    events_count: int
    metrics: dict[str, Any] = Field(description="NDCG@10 on what came later: its own, the live one's, the popular.")
    sha256: str | None
    bytes_count: int | None
    created_by_kind: CallerKind
    created_at: datetime
    trained_at: datetime | None
    promoted_at: datetime | None


class ProviderExposure(BaseModel):
    provider: str = Field(description="Empty: the house itself.")
    impressions: int
    share: float = Field(description="Of all impressions of the days asked for.")
    items: int = Field(description="Items of theirs that are on offer.")
    items_share: float


class ExposureOut(BaseModel):
    days: int
    impressions: int
    share_max: float = Field(description="Setting recommend_provider_share_max: of one list, for one provider.")
    providers: list[ProviderExposure]
