"""Recommendations for me over REST: the list, why, what I did, and what is used of me."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from sqlalchemy.ext.asyncio import AsyncSession

from app.people.callers import Caller, CallerKind, SessionDep, require
from app.people.doors import DoorRoute
from app.people.residents import ResidentNotFound
from app.people.schemas import Language
from app.recommend import feedback, items, profiles, recommendations, similar
from app.recommend.feedback import Told
from app.recommend.recommendations import Recommendations
from app.recommend.schemas import (
    FeedbackIn,
    FeedbackOut,
    ItemBrief,
    ItemOffered,
    ProfileChange,
    ProfileOut,
    ReasonOut,
    RecommendationsOut,
    RecommendedOut,
    SimilarItem,
    SimilarItems,
    UsedItem,
    WhyOut,
)
from app.recommend.tables import FeedbackKind, Item, ItemKind, RecommendationProfile
from app.rest.etags import IfMatch, if_match_of
from app.rest.pages import Page, PageQuery, fetch_page, page_query
from app.runtime import Runtime, RuntimeDep

router = APIRouter(prefix="/me", tags=["recommendations"], route_class=DoorRoute)

PageDep = Annotated[PageQuery, Depends(page_query)]
IfMatchDep = Annotated[IfMatch, Depends(if_match_of)]
Resident = Annotated[Caller, Depends(require("recommendations:own"))]
LimitDep = Annotated[int, Query(ge=1, le=50)]


@router.get("/recommendations")
async def get_my_recommendations(
    runtime: RuntimeDep, caller: Resident, session: SessionDep, limit: LimitDep = 10, language: Language | None = None
) -> RecommendationsOut:
    """What may suit me now, each with reasons. It counts as shown. 404 for who is no resident."""
    return shown_list(await recommendations.recommend_for(session, runtime, caller, limit, language=language))


@router.get("/recommendations/{list_id}/items/{item_id}")
async def get_my_recommendation_reasons(
    *, list_id: UUID, item_id: UUID, runtime: RuntimeDep, caller: Resident, session: SessionDep,
    language: Language | None = None,
) -> WhyOut:  # fmt: skip
    """Why am I seeing this: where it came from, and every fact that speaks for it."""
    shown, place, why = await recommendations.why(session, runtime, caller, list_id, item_id, language=language)
    item = (await session.scalars(items.all_items(caller).where(Item.id == item_id))).one()
    return WhyOut(
        list_id=shown.id, item=ItemBrief.model_validate(item), shown_at=shown.created_at, position=place + 1,
        source=shown.sources[place], score=shown.scores[place], personalised=shown.personalised, ranked=shown.ranked,
        reasons=[ReasonOut.model_validate(one) for one in why],
    )  # fmt: skip


@router.get("/items")
async def get_my_items(
    runtime: RuntimeDep, caller: Resident, session: SessionDep, page: PageDep,
    kind: Annotated[ItemKind | None, Query(alias="filter[kind]")] = None,
    category: Annotated[str | None, Query(alias="filter[category]", min_length=1, max_length=40)] = None,
) -> Page[ItemOffered]:  # fmt: skip
    """All that is on offer for me, newest first."""
    statement = items.visible_to(_resident(caller), now=runtime.clock())
    if kind is not None:
        statement = statement.where(Item.kind == kind)
    if category is not None:
        statement = statement.where(Item.categories.contains([category]))
    rows, cursor = await fetch_page(session, statement, id_column=Item.id, query=page, newest_first=True)
    return Page(items=[ItemOffered.model_validate(row) for row in rows], next_cursor=cursor)


@router.get("/items/{item_id}")
async def get_my_item(item_id: UUID, runtime: RuntimeDep, caller: Resident, session: SessionDep) -> ItemOffered:
    """404 for what is over, or meant for others."""
    item = await items.get(session, _resident(caller), item_id, now=runtime.clock())
    return ItemOffered.model_validate(item)


@router.get("/items/{item_id}/similar")
async def get_my_similar_items(
    item_id: UUID, runtime: RuntimeDep, caller: Resident, session: SessionDep, limit: LimitDep = 10
) -> SimilarItems:
    """What is about much the same, of what is on offer for me."""
    item = await items.get(session, _resident(caller), item_id, now=runtime.clock())
    found = await similar.similar_to(session, runtime, caller, item, limit=limit)
    shown = [SimilarItem(item=ItemBrief.model_validate(one.facts), score=one.score) for one in found]
    return SimilarItems(items=shown)


@router.post("/recommendation-feedback")
async def post_my_recommendation_feedback(
    body: FeedbackIn, runtime: RuntimeDep, caller: Resident, session: SessionDep
) -> FeedbackOut:
    """What I did with an item. `hidden`: never this one again; `show_less`: nothing of its kind."""
    told = Told(**body.model_dump())
    new = await feedback.record(session, _resident(caller), caller.id, told, now=runtime.clock())
    return FeedbackOut(recorded=new)


@router.delete("/recommendation-feedback/{item_id}", status_code=204)
async def delete_my_recommendation_feedback(
    item_id: UUID, caller: Resident, session: SessionDep, kind: FeedbackKind | None = None
) -> None:
    """Take it back, all of it or one kind: as if it had never been. A place that was joined is free again."""
    await feedback.take_back(session, _resident(caller), caller.id, item_id, kind)


@router.get("/recommendation-profile")
async def get_my_recommendation_profile(
    runtime: RuntimeDep, caller: Resident, session: SessionDep, response: Response
) -> ProfileOut:
    """All that recommendations use of me."""
    profile = await profiles.get(session, caller, now=runtime.clock())
    return await _profile_out(session, runtime, caller, profile, response)


@router.patch("/recommendation-profile")
async def patch_my_recommendation_profile(
    body: ProfileChange, runtime: RuntimeDep, caller: Resident, session: SessionDep, response: Response,
    if_match: IfMatchDep,
) -> ProfileOut:  # fmt: skip
    """Say what suits me, and what may be used. It counts from the next list on."""
    changes = body.model_dump(exclude_unset=True, exclude_none=True)
    # Read in a transaction of its own, so that no connection is held while the words are embedded.
    async with runtime.transaction(caller.tenant) as before:
        vector = await profiles.embed_words(
            runtime, await profiles.get(before, caller, now=runtime.clock()), changes
        )  # fmt: skip
    profile = await profiles.get(session, caller, now=runtime.clock(), locked=True)
    if_match.check(_etag(profile))
    await profiles.change(session, runtime, profile, changes, vector=vector)
    return await _profile_out(session, runtime, caller, profile, response)


def shown_list(made: Recommendations) -> RecommendationsOut:
    return RecommendationsOut(
        list_id=made.list_id, resident_id=made.resident_id, personalised=made.personalised, opted_out=made.opted_out,
        ranked=made.ranked, failed_sources=list(made.failed),
        items=[
            RecommendedOut(
                item=ItemBrief.model_validate(one.facts), score=one.score, source=one.source,
                reasons=[ReasonOut.model_validate(why) for why in one.reasons],
            )
            for one in made.items
        ],
    )  # fmt: skip


def _resident(caller: Caller) -> Caller:
    if caller.kind is not CallerKind.RESIDENT:
        raise ResidentNotFound
    return caller


def _etag(profile: RecommendationProfile) -> str:
    return f'"{profile.version}"'


async def _profile_out(
    session: AsyncSession, runtime: Runtime, caller: Caller, profile: RecommendationProfile, response: Response
) -> ProfileOut:
    response.headers["ETag"] = _etag(profile)
    history, hidden = await feedback.used_of(session, caller)
    return ProfileOut(
        interests=profile.interests, about=profile.about, hidden_categories=profile.hidden_categories,
        personalised=profile.personalised, opted_out=profile.opted_out,
        marketing_opted_out=profile.marketing_opted_out,
        categories=await items.categories(session, caller, now=runtime.clock()),
        history=[UsedItem.model_validate(one) for one in history],
        hidden_items=[UsedItem.model_validate(one) for one in hidden],
    )  # fmt: skip
