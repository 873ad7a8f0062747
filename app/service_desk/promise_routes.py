"""Promises over REST: staff see and decide all of the community, residents see what was promised to them."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response

from app.people.callers import Caller, SessionDep, require, require_in_community
from app.people.doors import DoorRoute
from app.rest.idempotency import OnceDep
from app.rest.moments import Moment
from app.rest.pages import Page, PageQuery, fetch_page, page_query
from app.runtime import RuntimeDep
from app.service_desk import promises, work_orders
from app.service_desk.promise_schemas import ConfirmIn, MyPromiseOut, PromiseIn, PromiseOut, WithdrawIn
from app.service_desk.promise_tables import Promise, PromiseStatus

router = APIRouter(tags=["promises"], route_class=DoorRoute)

PageDep = Annotated[PageQuery, Depends(page_query)]
Resident = Annotated[Caller, Depends(require("promises:read"))]
Reader = Annotated[Caller, Depends(require_in_community("workorders:read"))]
Writer = Annotated[Caller, Depends(require_in_community("workorders:write"))]


@router.get("/me/promises")
async def get_my_promises(
    caller: Resident,
    session: SessionDep,
    page: PageDep,
    status: Annotated[PromiseStatus | None, Query(alias="filter[status]")] = None,
) -> Page[MyPromiseOut]:
    """What was promised to the caller, newest first; broken ones too."""
    statement = promises.list_mine(caller, status=status)
    rows, cursor = await fetch_page(session, statement, id_column=Promise.id, query=page, newest_first=True)
    return Page(items=[MyPromiseOut.model_validate(row) for row in rows], next_cursor=cursor)


@router.get("/communities/{cid}/promises")
async def get_promises(
    caller: Reader,
    session: SessionDep,
    page: PageDep,
    status: Annotated[PromiseStatus | None, Query(alias="filter[status]")] = None,
    staff_id: Annotated[UUID | None, Query(alias="filter[staff_id]", description="Who promised.")] = None,
    resident_id: Annotated[UUID | None, Query(alias="filter[resident_id]")] = None,
    order_id: Annotated[UUID | None, Query(alias="filter[order_id]")] = None,
    due_before: Annotated[Moment | None, Query(alias="filter[due_before]")] = None,
) -> Page[PromiseOut]:
    """Newest first. `filter[status]=proposed`: found in comments, to be confirmed or declined."""
    statement = promises.list_statement(
        caller, status=status, by_id=staff_id, work_order_id=order_id, resident_id=resident_id,
        due_before=due_before,
    )  # fmt: skip
    rows, cursor = await fetch_page(session, statement, id_column=Promise.id, query=page, newest_first=True)
    return Page(items=[PromiseOut.model_validate(row) for row in rows], next_cursor=cursor)


@router.post("/communities/{cid}/promises", status_code=201, response_model=PromiseOut)
async def post_promise(
    body: PromiseIn, caller: Writer, session: SessionDep, runtime: RuntimeDep, once: OnceDep
) -> Response:
    """Promise something to a resident until a time."""
    if replayed := await once.replay(session, caller.community_id, caller.key):
        return replayed
    order = await work_orders.get(session, caller, body.order_id) if body.order_id else None
    made = await promises.state(
        session, runtime, caller, text=body.text, due_at=body.due_at, to_resident_id=body.resident_id, work_order=order
    )
    return await once.keep(session, 201, PromiseOut.model_validate(made))


@router.get("/communities/{cid}/promises/{promise_id}")
async def get_promise(promise_id: UUID, caller: Reader, session: SessionDep) -> PromiseOut:
    return PromiseOut.model_validate(await promises.get(session, caller, promise_id))


@router.post("/communities/{cid}/promises/{promise_id}/confirm")
async def post_confirm(
    promise_id: UUID, body: ConfirmIn, caller: Writer, session: SessionDep, runtime: RuntimeDep
) -> PromiseOut:
    """What was found in a comment is a promise, as found or put right. From now on the resident sees it."""
    found = await promises.get(session, caller, promise_id, locked=True)
    confirmed = await promises.confirm(session, runtime, caller, found, text=body.text, due_at=body.due_at)
    return PromiseOut.model_validate(confirmed)


@router.post("/communities/{cid}/promises/{promise_id}/decline")
async def post_decline(promise_id: UUID, caller: Writer, session: SessionDep, runtime: RuntimeDep) -> PromiseOut:
    """What was found in a comment promises nothing."""
    found = await promises.get(session, caller, promise_id, locked=True)
    return PromiseOut.model_validate(await promises.decline(session, runtime, caller, found))


@router.post("/communities/{cid}/promises/{promise_id}/keep")
async def post_keep(promise_id: UUID, caller: Writer, session: SessionDep, runtime: RuntimeDep) -> PromiseOut:
    """It was done. One that ran out stays broken and tells when it was kept."""
    found = await promises.get(session, caller, promise_id, locked=True)
    return PromiseOut.model_validate(await promises.keep(session, runtime, caller, found))


@router.post("/communities/{cid}/promises/{promise_id}/withdraw")
async def post_withdraw(
    promise_id: UUID, body: WithdrawIn, caller: Writer, session: SessionDep, runtime: RuntimeDep
) -> PromiseOut:
    """Take it back, with a reason that the resident reads."""
    found = await promises.get(session, caller, promise_id, locked=True)
    return PromiseOut.model_validate(await promises.withdraw(session, runtime, caller, found, reason=body.reason))
