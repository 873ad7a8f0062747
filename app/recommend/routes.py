"""Items, feedback and recommendations over REST, for staff and for the systems that items come from."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response

from app.people import residents
from app.people.callers import Caller, SessionDep, require_in_community
from app.people.doors import DoorRoute
from app.people.schemas import Language
from app.people.sheet_doors import (
    ACCEPTED,
    FILE_ANSWER,
    UPLOAD_BODY_BYTES_MAX,
    FormatDep,
    Key,
    Sheet,
    import_sheet,
    template_of,
)
from app.people.tables import JobKind
from app.recommend import exposure, feedback, items, recommendations, similar
from app.recommend.feedback import Told
from app.recommend.me_routes import router as me_router
from app.recommend.me_routes import shown_list
from app.recommend.ranker_routes import router as ranker_router
from app.recommend.schemas import (
    NULLABLE,
    ExposureOut,
    FeedbackOut,
    ItemBrief,
    ItemChange,
    ItemIn,
    ItemOut,
    RecommendationsOut,
    ResidentFeedbackIn,
    SimilarItem,
    SimilarItems,
)
from app.recommend.tables import Item, ItemKind
from app.rest.etags import IfMatch, if_match_of
from app.rest.idempotency import OnceDep
from app.rest.pages import Page, PageQuery, fetch_page, page_query
from app.runtime import RuntimeDep

router = APIRouter(route_class=DoorRoute)
router.include_router(me_router)
router.include_router(ranker_router)
places = APIRouter(prefix="/communities/{cid}", tags=["recommendations"], route_class=DoorRoute)

PageDep = Annotated[PageQuery, Depends(page_query)]
IfMatchDep = Annotated[IfMatch, Depends(if_match_of)]
Reader = Annotated[Caller, Depends(require_in_community("items:read"))]
Writer = Annotated[Caller, Depends(require_in_community("items:write"))]
Looker = Annotated[Caller, Depends(require_in_community("recommendations:read"))]
Teller = Annotated[Caller, Depends(require_in_community("recommendations:write"))]
LimitDep = Annotated[int, Query(ge=1, le=50)]


@places.get("/items")
async def get_items(
    caller: Reader, session: SessionDep, page: PageDep,
    kind: Annotated[ItemKind | None, Query(alias="filter[kind]")] = None,
    category: Annotated[str | None, Query(alias="filter[category]", min_length=1, max_length=40)] = None,
    enabled: Annotated[bool | None, Query(alias="filter[enabled]")] = None,
) -> Page[ItemOut]:  # fmt: skip
    """All items that were not deleted, also those that are over."""
    statement = items.all_items(caller)
    if kind is not None:
        statement = statement.where(Item.kind == kind)
    if category is not None:
        statement = statement.where(Item.categories.contains([category]))
    if enabled is not None:
        statement = statement.where(Item.enabled.is_(enabled))
    rows, cursor = await fetch_page(session, statement, id_column=Item.id, query=page)
    return Page(items=[ItemOut.model_validate(row) for row in rows], next_cursor=cursor)


@places.post("/items", status_code=201, response_model=ItemOut)
async def post_item(
    body: ItemIn, runtime: RuntimeDep, caller: Writer, session: SessionDep, once: OnceDep
) -> Response:  # fmt: skip
    """Offer something. What it means is worked out by a job, a moment later."""
    if replayed := await once.replay(session, caller.community_id, caller.key):
        return replayed
    item = await items.open_item(session, runtime, caller, body.model_dump())
    return await once.keep(session, 201, ItemOut.model_validate(item))


@places.get("/items/import/template", responses=FILE_ANSWER, response_class=Response)
async def get_item_template(caller: Writer, file_format: FormatDep = "xlsx") -> Response:
    """A sheet with the columns of an import and a row as an example."""
    return await template_of(JobKind.IMPORT_ITEMS, file_format)


@places.post("/items/import", max_body_size=UPLOAD_BODY_BYTES_MAX, **ACCEPTED)
async def post_item_import(
    request: Request, runtime: RuntimeDep, caller: Writer, session: SessionDep, file: Sheet, key: Key = None
) -> Response:
    """Open or change items as the sheet says, known by their external ids. Rows with mistakes are left out."""
    return await import_sheet(request, runtime, caller, session, JobKind.IMPORT_ITEMS, file, key)


@places.get("/items/{item_id}")
async def get_item(
    item_id: UUID, runtime: RuntimeDep, caller: Reader, session: SessionDep, response: Response
) -> ItemOut:  # fmt: skip
    return _item_out(response, await items.get(session, caller, item_id, now=runtime.clock()))


@places.patch("/items/{item_id}")
async def patch_item(
    *, item_id: UUID, body: ItemChange, runtime: RuntimeDep, caller: Writer, session: SessionDep, response: Response,
    if_match: IfMatchDep,
) -> ItemOut:  # fmt: skip
    item = await items.get(session, caller, item_id, now=runtime.clock(), locked=True)
    if_match.check(_etag(item))
    changes = {
        name: value
        for name, value in body.model_dump(exclude_unset=True).items()
        if value is not None or name in NULLABLE
    }
    await items.change(session, runtime, caller, item, changes)
    return _item_out(response, item)


@places.delete("/items/{item_id}", status_code=204)
async def delete_item(item_id: UUID, runtime: RuntimeDep, caller: Writer, session: SessionDep) -> None:
    item = await items.get(session, caller, item_id, now=runtime.clock(), locked=True)
    await items.delete(session, runtime, caller, item)


@places.get("/items/{item_id}/similar")
async def get_similar_items(
    item_id: UUID, runtime: RuntimeDep, caller: Reader, session: SessionDep, limit: LimitDep = 10
) -> SimilarItems:
    """Items that are about much the same, the nearest first."""
    item = await items.get(session, caller, item_id, now=runtime.clock())
    found = await similar.similar_to(session, runtime, caller, item, limit=limit)
    shown = [SimilarItem(item=ItemBrief.model_validate(one.facts), score=one.score) for one in found]
    return SimilarItems(items=shown)


@places.get("/interactions/import/template", responses=FILE_ANSWER, response_class=Response)
async def get_interaction_template(caller: Teller, file_format: FormatDep = "xlsx") -> Response:
    """A sheet with the columns of an import and a row as an example."""
    return await template_of(JobKind.IMPORT_INTERACTIONS, file_format)


@places.post("/interactions/import", max_body_size=UPLOAD_BODY_BYTES_MAX, **ACCEPTED)
async def post_interaction_import(
    request: Request, runtime: RuntimeDep, caller: Teller, session: SessionDep, file: Sheet, key: Key = None
) -> Response:
    """Take in what people did elsewhere: user, item, rating, timestamp. Users who are no residents stay names."""
    return await import_sheet(request, runtime, caller, session, JobKind.IMPORT_INTERACTIONS, file, key)


@places.post("/recommendation-feedback")
async def post_recommendation_feedback(
    body: ResidentFeedbackIn, runtime: RuntimeDep, caller: Teller, session: SessionDep
) -> FeedbackOut:
    """What a resident did with items, told by another system. The same again changes nothing."""
    await residents.get(session, caller, body.resident_id)
    told = Told(**body.model_dump(exclude={"resident_id"}))
    return FeedbackOut(recorded=await feedback.record(session, caller, body.resident_id, told, now=runtime.clock()))


@places.get("/residents/{resident_id}/recommendations")
async def get_resident_recommendations(
    *, resident_id: UUID, runtime: RuntimeDep, caller: Looker, session: SessionDep, limit: LimitDep = 10,
    language: Language | None = None,
) -> RecommendationsOut:  # fmt: skip
    """What a resident would be shown now, with reasons. It does not count as shown; looking at it is on record."""
    made = await recommendations.look_for(session, runtime, caller, resident_id, limit, language=language)
    return shown_list(made)


@places.get("/recommendation-exposure")
async def get_recommendation_exposure(
    runtime: RuntimeDep, caller: Looker, session: SessionDep, days: Annotated[int, Query(ge=1, le=180)] = 30
) -> ExposureOut:
    """How often each provider's items were shown, beside how many items they have."""
    return await exposure.report(session, caller, days=days, now=runtime.clock())


def _etag(item: Item) -> str:
    return f'"{item.version}"'


def _item_out(response: Response, item: Item) -> ItemOut:
    response.headers["ETag"] = _etag(item)
    return ItemOut.model_validate(item)


router.include_router(places)
