"""A resident's own work orders over REST, and those of their household to read."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from sqlalchemy.ext.asyncio import AsyncSession

from app.people.callers import Caller, SessionDep, require
from app.rest import pages
from app.rest.etags import IfMatch, if_match_of
from app.rest.idempotency import OnceDep
from app.rest.pages import Page, PageQuery, page_query
from app.runtime import RuntimeDep
from app.service_desk import categories, doings, incident_offers, listing, showing, work_orders
from app.service_desk.hearing_route import HearingRoute
from app.service_desk.incident_schemas import MatchIn
from app.service_desk.listing import Filters, OrderSort
from app.service_desk.schemas import (
    CategoryOut,
    CommentIn,
    CommentOut,
    EventOut,
    MyOrderChange,
    MyOrderIn,
    MyOrderOut,
    NoteIn,
    RateIn,
)
from app.service_desk.tables import (
    Channel,
    Status,
    Visibility,
    WorkOrder,
    WorkOrderCategory,
    WorkOrderComment,
    WorkOrderEvent,
)

router = APIRouter(prefix="/me", tags=["my work orders"], route_class=HearingRoute)

Own = Annotated[Caller, Depends(require("workorders:own"))]
PageDep = Annotated[PageQuery, Depends(page_query)]
IfMatchDep = Annotated[IfMatch, Depends(if_match_of)]


@router.get("/workorder-categories")
async def get_my_categories(caller: Own, session: SessionDep, page: PageDep) -> Page[CategoryOut]:
    """What an order may be about."""
    await categories.ensure_defaults(session, caller)
    rows, cursor = await pages.fetch_page(
        session, categories.in_use(caller), id_column=WorkOrderCategory.id, query=page
    )
    return Page(items=[showing.show_category(row) for row in rows], next_cursor=cursor)


@router.get("/workorders")
async def get_my_orders(
    caller: Own, session: SessionDep, page: PageDep,
    status: Annotated[list[Status] | None, Query(alias="filter[status]", max_length=len(Status))] = None,
    is_open: Annotated[bool | None, Query(alias="filter[open]")] = None,
) -> Page[MyOrderOut]:  # fmt: skip
    """The caller's own orders and those of their household, newest first. `mine` tells whose it is to act."""
    wanted = Filters(status=status or [], is_open=is_open)
    statement = await listing.narrowed(session, caller, work_orders.shared_with(caller), wanted)
    rows, cursor = await listing.fetch_page(session, statement, sort=OrderSort.NEWEST, wanted=wanted, query=page)
    return Page(items=await showing.show_own(session, caller, rows), next_cursor=cursor)


@router.post("/workorders", status_code=201, response_model=MyOrderOut)
async def post_my_order(
    body: MyOrderIn, caller: Own, session: SessionDep, runtime: RuntimeDep, once: OnceDep
) -> Response:
    """Report something. A report that repeats a recent one is taken and linked to it.

    Where a live incident is known of it, 409 `incident_known` offers to follow that; with `open_anyway` it is taken.
    """
    look = None if body.open_anyway else await incident_offers.look(runtime, caller, body.text)
    if replayed := await once.replay(session, caller.community_id, caller.key):
        return replayed
    if look is not None:
        report = MatchIn(text=body.text, space_id=body.space_id, category_id=body.category_id)
        await incident_offers.check_unknown(session, runtime, caller, report, look)
    details = body.model_dump(exclude_unset=True, exclude={"open_anyway"}) | {"kind": body.kind}
    order = await work_orders.open_order(session, runtime, caller, channel=Channel.SELF, **details)
    return await once.keep(session, 201, (await showing.show_own(session, caller, [order]))[0])


@router.get("/workorders/{order_id}")
async def get_my_order(order_id: UUID, caller: Own, session: SessionDep, response: Response) -> MyOrderOut:
    return await _out(session, response, caller, await work_orders.get(session, caller, order_id, own=True))


@router.patch("/workorders/{order_id}")
async def patch_my_order(
    *, order_id: UUID, body: MyOrderChange, caller: Own, session: SessionDep, runtime: RuntimeDep, response: Response,
    if_match: IfMatchDep,
) -> MyOrderOut:  # fmt: skip
    """Say when to come, whether staff may go in, and whom to call."""
    order = await work_orders.lock(session, caller, order_id, own=True)
    if_match.check(showing.etag_of(order))
    doings.check_unsettled(order)
    order = await doings.change(session, runtime, caller, order, body.changes())
    return await _out(session, response, caller, order)


@router.get("/workorders/{order_id}/events")
async def get_my_events(order_id: UUID, caller: Own, session: SessionDep, page: PageDep) -> Page[EventOut]:
    """What happened, oldest first."""
    order = await work_orders.get(session, caller, order_id, own=True)
    statement = showing.own_events(caller, order)
    rows, cursor = await pages.fetch_page(session, statement, id_column=WorkOrderEvent.id, query=page)
    return Page(items=[showing.show_own_event(caller, row) for row in rows], next_cursor=cursor)


@router.get("/workorders/{order_id}/comments")
async def get_my_comments(order_id: UUID, caller: Own, session: SessionDep, page: PageDep) -> Page[CommentOut]:
    order = await work_orders.get(session, caller, order_id, own=True)
    statement = doings.comments_of(caller, order, own=True)
    rows, cursor = await pages.fetch_page(session, statement, id_column=WorkOrderComment.id, query=page)
    return Page(items=[CommentOut.model_validate(row) for row in rows], next_cursor=cursor)


@router.post("/workorders/{order_id}/comments", status_code=201, response_model=CommentOut)
async def post_my_comment(
    order_id: UUID, body: CommentIn, caller: Own, session: SessionDep, runtime: RuntimeDep, once: OnceDep
) -> Response:
    if replayed := await once.replay(session, caller.community_id, caller.key):
        return replayed
    order = await work_orders.lock(session, caller, order_id, own=True)
    said = await doings.comment(session, runtime, caller, order, text=body.text, visibility=Visibility.RESIDENT)
    return await once.keep(session, 201, CommentOut.model_validate(said))


@router.post("/workorders/{order_id}/urge")
async def post_my_urge(
    order_id: UUID, body: NoteIn, caller: Own, session: SessionDep, runtime: RuntimeDep, response: Response
) -> MyOrderOut:
    """Say that it is taking too long; 429 when that was said just now."""
    order = await doings.urge(session, runtime, caller, order_id, note=body.note, own=True)
    return await _out(session, response, caller, order)


@router.post("/workorders/{order_id}/cancel")
async def post_my_cancel(
    order_id: UUID, body: NoteIn, caller: Own, session: SessionDep, runtime: RuntimeDep, response: Response
) -> MyOrderOut:
    """Take it back, until work has begun; a quote is declined like this, too."""
    order = await work_orders.move(session, runtime, caller, order_id, to=Status.CANCELLED, note=body.note, own=True)
    return await _out(session, response, caller, order)


@router.post("/workorders/{order_id}/confirm-quote")
async def post_my_confirmation(
    order_id: UUID, body: NoteIn, caller: Own, session: SessionDep, runtime: RuntimeDep, response: Response
) -> MyOrderOut:
    """Agree to the price, so that work begins."""
    order = await work_orders.lock(session, caller, order_id, own=True)
    facts = {"quote_cents": order.quote_cents, "currency": order.currency}
    if order.status is not Status.QUOTED:
        facts = {}
    order = await work_orders.move_locked(
        session, runtime, caller, order, to=Status.IN_PROGRESS, note=body.note, **facts
    )
    return await _out(session, response, caller, order)


@router.post("/workorders/{order_id}/rate")
async def post_my_rating(
    order_id: UUID, body: RateIn, caller: Own, session: SessionDep, runtime: RuntimeDep, response: Response
) -> MyOrderOut:
    """Rate speed, quality and attitude. A low score brings a return visit."""
    order = await doings.rate(session, runtime, caller, order_id, own=True, **body.model_dump())
    return await _out(session, response, caller, order)


@router.post("/workorders/{order_id}/reopen")
async def post_my_reopening(
    order_id: UUID, body: NoteIn, caller: Own, session: SessionDep, runtime: RuntimeDep, response: Response
) -> MyOrderOut:
    """It is not done after all. Within the days that the community sets."""
    order = await work_orders.move(session, runtime, caller, order_id, to=Status.SUBMITTED, note=body.note, own=True)
    return await _out(session, response, caller, order)


async def _out(session: AsyncSession, response: Response, caller: Caller, order: WorkOrder) -> MyOrderOut:
    response.headers["ETag"] = showing.etag_of(order)
    return (await showing.show_own(session, caller, [order]))[0]
