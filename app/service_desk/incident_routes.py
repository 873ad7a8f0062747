"""Incidents over REST: for staff under the community, for residents under /me."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from sqlalchemy.ext.asyncio import AsyncSession

from app.people.callers import Caller, SessionDep, require_in_community
from app.people.doors import DoorRoute
from app.rest.etags import IfMatch, if_match_of
from app.rest.idempotency import OnceDep
from app.rest.pages import Page, PageQuery, fetch_page, page_query
from app.runtime import RuntimeDep
from app.service_desk import incident_notices, incident_orders, incident_views, incidents, meaning
from app.service_desk.incident_kinds import IncidentKind
from app.service_desk.incident_schemas import (
    CloseIn,
    DismissIn,
    FollowerOut,
    IncidentChange,
    IncidentDetail,
    IncidentIn,
    IncidentOut,
    LinkedOrderOut,
    LinkIn,
    MatchesOut,
    MatchIn,
    NewsIn,
    NoticeDraftOut,
)
from app.service_desk.incident_tables import Incident, IncidentFollower, IncidentStatus
from app.service_desk.tables import WorkOrder

router = APIRouter(prefix="/communities/{cid}", tags=["incidents"], route_class=DoorRoute)

PageDep = Annotated[PageQuery, Depends(page_query)]
IfMatchDep = Annotated[IfMatch, Depends(if_match_of)]
Reader = Annotated[Caller, Depends(require_in_community("incidents:read"))]
Writer = Annotated[Caller, Depends(require_in_community("incidents:write"))]
OrderReader = Annotated[Caller, Depends(require_in_community("workorders:read"))]


@router.get("/incidents")
async def get_incidents(
    caller: Reader,
    session: SessionDep,
    page: PageDep,
    status: Annotated[IncidentStatus | None, Query(alias="filter[status]")] = None,
    kind: Annotated[IncidentKind | None, Query(alias="filter[kind]")] = None,
    space_id: Annotated[UUID | None, Query(alias="filter[space_id]")] = None,
) -> Page[IncidentOut]:
    """Newest first."""
    statement = incidents.list_statement(caller, status=status, kind=kind, space_id=space_id)
    rows, cursor = await fetch_page(session, statement, id_column=Incident.id, query=page, newest_first=True)
    return Page(items=await incident_views.show(session, caller, rows), next_cursor=cursor)


@router.post("/incidents", status_code=201, response_model=IncidentDetail)
async def post_incident(
    body: IncidentIn, caller: Writer, session: SessionDep, runtime: RuntimeDep, once: OnceDep
) -> Response:
    """Open a confirmed incident."""
    if replayed := await once.replay(session, caller.community_id, caller.key):
        return replayed
    incident = await incidents.open_incident(session, runtime, caller, **body.model_dump())
    return await once.keep(session, 201, await incident_views.show_one(session, caller, incident))


@router.get("/incidents/{incident_id}")
async def get_incident(incident_id: UUID, caller: Reader, session: SessionDep, response: Response) -> IncidentDetail:
    return await _shown(session, response, caller, await incidents.get(session, caller, incident_id))


@router.patch("/incidents/{incident_id}")
async def patch_incident(
    *, incident_id: UUID, body: IncidentChange, caller: Writer, session: SessionDep, runtime: RuntimeDep,
    response: Response, if_match: IfMatchDep,
) -> IncidentDetail:  # fmt: skip
    incident = await incidents.get(session, caller, incident_id, locked=True)
    if_match.check(_etag(incident))
    given = body.model_dump(exclude_unset=True)
    kept = {name: value for name, value in given.items() if value is not None or name == "expected_end_at"}
    await incidents.change(session, runtime, caller, incident, kept)
    return await _shown(session, response, caller, incident)


@router.delete("/incidents/{incident_id}", status_code=204)
async def delete_incident(incident_id: UUID, caller: Writer, session: SessionDep, runtime: RuntimeDep) -> None:
    """Delete one opened by mistake; its orders go on one by one. Once residents follow it, it is closed."""
    incident = await incidents.get(session, caller, incident_id, locked=True)
    await incident_orders.unlink_all(session, runtime, caller, incident)
    await incidents.remove(session, incident)


@router.post("/incidents/{incident_id}/confirm")
async def post_confirm(
    incident_id: UUID, caller: Writer, session: SessionDep, runtime: RuntimeDep, response: Response
) -> IncidentDetail:
    """A suspected incident is real: followers are told."""
    incident = await incidents.get(session, caller, incident_id, locked=True)
    return await _shown(session, response, caller, await incidents.confirm(session, runtime, caller, incident))


@router.post("/incidents/{incident_id}/dismiss")
async def post_dismiss(
    *, incident_id: UUID, body: DismissIn, caller: Writer, session: SessionDep, runtime: RuntimeDep, response: Response
) -> IncidentDetail:
    """A suspected incident is none: its orders go on one by one."""
    incident = await incidents.get(session, caller, incident_id, locked=True)
    await incidents.dismiss(session, runtime, caller, incident, note=body.note)
    return await _shown(session, response, caller, incident)


@router.post("/incidents/{incident_id}/news", status_code=201, response_model=IncidentDetail)
async def post_news(
    *, incident_id: UUID, body: NewsIn, caller: Writer, session: SessionDep, runtime: RuntimeDep, once: OnceDep
) -> Response:
    """Append what residents are told; every follower is."""
    if replayed := await once.replay(session, caller.community_id, caller.key):
        return replayed
    incident = await incidents.get(session, caller, incident_id, locked=True)
    changes = {"expected_end_at": body.expected_end_at} if "expected_end_at" in body.model_fields_set else {}
    await incidents.tell(session, runtime, caller, incident, text=body.text, text_en=body.text_en, changes=changes)
    return await once.keep(session, 201, await incident_views.show_one(session, caller, incident))


@router.post("/incidents/{incident_id}/close")
async def post_close(
    *, incident_id: UUID, body: CloseIn, caller: Writer, session: SessionDep, runtime: RuntimeDep, response: Response
) -> IncidentDetail:
    """It is over: every follower is told once; linked orders that nobody has taken are closed, others get a note."""
    incident = await incidents.get(session, caller, incident_id, locked=True)
    await incidents.close(
        session, runtime, caller, incident, note=body.note, note_en=body.note_en, ended_at=body.ended_at
    )
    return await _shown(session, response, caller, incident)


@router.get("/incidents/{incident_id}/workorders")
async def get_linked_orders(
    incident_id: UUID, caller: Reader, session: SessionDep, page: PageDep
) -> Page[LinkedOrderOut]:
    """Its orders, as far as the caller may see them."""
    incident = await incidents.get(session, caller, incident_id)
    statement = incident_orders.linked_to(caller, incident)
    rows, cursor = await fetch_page(session, statement, id_column=WorkOrder.id, query=page)
    return Page(items=[LinkedOrderOut.model_validate(row) for row in rows], next_cursor=cursor)


@router.post("/incidents/{incident_id}/workorders")
async def post_linked_order(
    *, incident_id: UUID, body: LinkIn, caller: Writer, session: SessionDep, runtime: RuntimeDep, response: Response
) -> IncidentDetail:
    """Link an order; its reporter follows the incident. Safe to repeat."""
    incident = await incidents.get(session, caller, incident_id, locked=True)
    orders = await incident_orders.lock_orders(session, caller, [body.order_id])
    await incident_orders.link(session, runtime, caller, incident, orders)
    return await _shown(session, response, caller, incident)


@router.delete("/incidents/{incident_id}/workorders/{order_id}", status_code=204)
async def delete_linked_order(
    incident_id: UUID, order_id: UUID, caller: Writer, session: SessionDep, runtime: RuntimeDep
) -> None:
    """The order goes on by itself."""
    incident = await incidents.get(session, caller, incident_id)
    [order] = await incident_orders.lock_orders(session, caller, [order_id])
    if order.incident_id == incident.id:
        await incident_orders.unlink(session, runtime, caller, order)


@router.get("/incidents/{incident_id}/followers")
async def get_followers(incident_id: UUID, caller: Reader, session: SessionDep, page: PageDep) -> Page[FollowerOut]:
    incident = await incidents.get(session, caller, incident_id)
    rows, cursor = await fetch_page(
        session, incidents.followers_of(incident), id_column=IncidentFollower.id, query=page
    )
    return Page(items=await incident_views.show_followers(session, rows), next_cursor=cursor)


@router.post("/incidents/{incident_id}/draft-notice")
async def post_draft_notice(
    incident_id: UUID, caller: Writer, session: SessionDep, runtime: RuntimeDep
) -> NoticeDraftOut:
    """The one draft, filled anew from what is known now. A ready engine words it soon after; read it again then."""
    incident = await incidents.get(session, caller, incident_id, locked=True)
    return NoticeDraftOut.model_validate(await incident_notices.draft(session, runtime, caller, incident))


@router.get("/incidents/{incident_id}/draft-notice")
async def get_draft_notice(incident_id: UUID, caller: Reader, session: SessionDep) -> NoticeDraftOut:
    await incidents.get(session, caller, incident_id)
    return NoticeDraftOut.model_validate(await incident_notices.get(session, caller, incident_id))


@router.post("/workorders/matches")
async def post_matches(body: MatchIn, caller: OrderReader, session: SessionDep, runtime: RuntimeDep) -> MatchesOut:
    """What is known of a report before an order is opened: live incidents and recent like orders. Changes nothing."""
    # Before the first statement: no transaction is open while the embedder is waited for.
    vector = await meaning.vector_of(runtime, body.text)
    return await incident_views.find_matches(session, runtime, caller, body, vector=vector)


def _etag(incident: Incident) -> str:
    return f'"{incident.version}"'


async def _shown(session: AsyncSession, response: Response, caller: Caller, incident: Incident) -> IncidentDetail:
    response.headers["ETag"] = _etag(incident)
    return await incident_views.show_one(session, caller, incident)
