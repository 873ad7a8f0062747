"""Work orders over REST, for staff and keys."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from sqlalchemy.ext.asyncio import AsyncSession

from app.people.callers import Caller, SessionDep, require_in_community
from app.people.doors import DoorRoute
from app.rest import pages
from app.rest.etags import IfMatch, if_match_of
from app.rest.idempotency import OnceDep
from app.rest.moments import Moment
from app.rest.pages import Page, PageQuery, page_query
from app.runtime import RuntimeDep
from app.service_desk import (
    analytics_routes,
    assignment_routes,
    card_routes,
    category_routes,
    doings,
    duty_routes,
    emergency_routes,
    file_routes,
    incident_routes,
    listing,
    me_routes,
    move_routes,
    my_incident_routes,
    promise_routes,
    showing,
    triage_routes,
    work_orders,
)
from app.service_desk.listing import Filters, OrderSort
from app.service_desk.schemas import CommentOut, EventOut, OrderChange, OrderIn, OrderOut, StaffCommentIn
from app.service_desk.tables import (
    Channel,
    OrderKind,
    Status,
    Urgency,
    WorkOrder,
    WorkOrderComment,
    WorkOrderEvent,
)

router = APIRouter(route_class=DoorRoute)
orders = APIRouter(prefix="/communities/{cid}", tags=["work orders"], route_class=DoorRoute)

Reader = Annotated[Caller, Depends(require_in_community("workorders:read"))]
Writer = Annotated[Caller, Depends(require_in_community("workorders:write"))]
PageDep = Annotated[PageQuery, Depends(page_query)]
IfMatchDep = Annotated[IfMatch, Depends(if_match_of)]


def filters_of(
    status: Annotated[list[Status] | None, Query(alias="filter[status]", max_length=len(Status))] = None,
    kind: Annotated[list[OrderKind] | None, Query(alias="filter[kind]", max_length=len(OrderKind))] = None,
    urgency: Annotated[list[Urgency] | None, Query(alias="filter[urgency]", max_length=len(Urgency))] = None,
    channel: Annotated[list[Channel] | None, Query(alias="filter[channel]", max_length=len(Channel))] = None,
    category_id: Annotated[
        UUID | None, Query(alias="filter[category_id]", description="With all categories below it.")
    ] = None,
    building_id: Annotated[UUID | None, Query(alias="filter[building_id]")] = None,
    space_id: Annotated[UUID | None, Query(alias="filter[space_id]")] = None,
    assignee_id: Annotated[UUID | None, Query(alias="filter[assignee_id]")] = None,
    reporter_id: Annotated[UUID | None, Query(alias="filter[reporter_id]")] = None,
    number: Annotated[int | None, Query(alias="filter[number]", ge=1, le=2**31 - 1)] = None,
    is_open: Annotated[bool | None, Query(alias="filter[open]", description="Neither closed nor cancelled.")] = None,
    overdue: Annotated[bool | None, Query(alias="filter[overdue]")] = None,
    needs_person: Annotated[bool | None, Query(alias="filter[needs_person]")] = None,
    created_from: Annotated[Moment | None, Query(alias="filter[created_from]")] = None,
    created_to: Annotated[Moment | None, Query(alias="filter[created_to]")] = None,
) -> Filters:
    return Filters(
        status=status or [], kind=kind or [], urgency=urgency or [], channel=channel or [], category_id=category_id,
        building_id=building_id, space_id=space_id, assignee_id=assignee_id, reporter_id=reporter_id, number=number,
        is_open=is_open, overdue=overdue, needs_person=needs_person, created_from=created_from, created_to=created_to,
    )  # fmt: skip


@orders.get("/workorders")
async def get_orders(
    caller: Reader, session: SessionDep, page: PageDep, wanted: Annotated[Filters, Depends(filters_of)],
    sort: Annotated[OrderSort, Query(description="`due` lists open orders with a deadline.")] = OrderSort.NEWEST,
) -> Page[OrderOut]:  # fmt: skip
    """Work orders, newest first unless sorted otherwise."""
    visible = work_orders.visible_to(caller)
    if wanted.reporter_id is not None and "workorders:dispatch" not in caller.scopes:
        # Asking for one person's orders must not tell who complained.
        visible = visible.where(WorkOrder.kind != OrderKind.COMPLAINT)
    statement = await listing.narrowed(session, caller, visible, wanted)
    rows, cursor = await listing.fetch_page(session, statement, sort=sort, wanted=wanted, query=page)
    return Page(items=await showing.show(session, caller, rows), next_cursor=cursor)


@orders.post("/workorders", status_code=201, response_model=OrderOut)
async def post_order(
    body: OrderIn, caller: Writer, session: SessionDep, runtime: RuntimeDep, once: OnceDep, response: Response
) -> Response:
    """Open an order, also for a resident who calls or stands at the desk."""
    if replayed := await once.replay(session, caller.community_id, caller.key):
        return replayed
    order = await work_orders.open_order(session, runtime, caller, **body.model_dump())
    return await once.keep(session, 201, (await showing.show(session, caller, [order]))[0])


@orders.get("/workorders/{order_id}")
async def get_order(order_id: UUID, caller: Reader, session: SessionDep, response: Response) -> OrderOut:
    return await out(session, response, caller, await work_orders.get(session, caller, order_id))


@orders.patch("/workorders/{order_id}")
async def patch_order(
    *, order_id: UUID, body: OrderChange, caller: Writer, session: SessionDep, runtime: RuntimeDep, response: Response,
    if_match: IfMatchDep,
) -> OrderOut:  # fmt: skip
    """Put right what was said or classified. Statuses change by moves."""
    order = await work_orders.lock(session, caller, order_id)
    if_match.check(showing.etag_of(order))
    order = await doings.change(session, runtime, caller, order, body.changes())
    return await out(session, response, caller, order)


@orders.get("/workorders/{order_id}/events")
async def get_events(order_id: UUID, caller: Reader, session: SessionDep, page: PageDep) -> Page[EventOut]:
    """Everything that happened, oldest first. Events are never changed or deleted."""
    order = await work_orders.get(session, caller, order_id)
    statement = work_orders.events_of(caller, order)
    rows, cursor = await pages.fetch_page(session, statement, id_column=WorkOrderEvent.id, query=page)
    return Page(items=[showing.show_event(caller, order, row) for row in rows], next_cursor=cursor)


@orders.get("/workorders/{order_id}/comments")
async def get_comments(order_id: UUID, caller: Reader, session: SessionDep, page: PageDep) -> Page[CommentOut]:
    order = await work_orders.get(session, caller, order_id)
    statement = doings.comments_of(caller, order)
    rows, cursor = await pages.fetch_page(session, statement, id_column=WorkOrderComment.id, query=page)
    return Page(items=[showing.show_comment(caller, order, row) for row in rows], next_cursor=cursor)


@orders.post("/workorders/{order_id}/comments", status_code=201, response_model=CommentOut)
async def post_comment(
    order_id: UUID, body: StaffCommentIn, caller: Writer, session: SessionDep, runtime: RuntimeDep, once: OnceDep
) -> Response:
    """Say something to the resident, or to colleagues alone."""
    if replayed := await once.replay(session, caller.community_id, caller.key):
        return replayed
    order = await work_orders.lock(session, caller, order_id)
    said = await doings.comment(session, runtime, caller, order, text=body.text, visibility=body.visibility)
    return await once.keep(session, 201, CommentOut.model_validate(said))


async def out(session: AsyncSession, response: Response, caller: Caller, order: WorkOrder) -> OrderOut:
    response.headers["ETag"] = showing.etag_of(order)
    return (await showing.show(session, caller, [order]))[0]


orders.include_router(move_routes.router)
orders.include_router(file_routes.staff)
orders.include_router(category_routes.router)
orders.include_router(triage_routes.router)
me_routes.router.include_router(file_routes.mine)
router.include_router(me_routes.router)
router.include_router(emergency_routes.router)
router.include_router(card_routes.router)
router.include_router(orders)
router.include_router(duty_routes.router)
router.include_router(assignment_routes.router)
router.include_router(incident_routes.router)
router.include_router(my_incident_routes.router)
router.include_router(promise_routes.router)
router.include_router(analytics_routes.router)
