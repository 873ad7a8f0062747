"""Incidents for residents: what concerns them, what they follow, and what is known of what they want to report."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query

from app.people.callers import Caller, SessionDep, require
from app.people.doors import DoorRoute
from app.rest.pages import Page, PageQuery, fetch_page, page_query
from app.runtime import RuntimeDep
from app.service_desk import incident_offers, incident_views, incidents, meaning
from app.service_desk.incident_schemas import MatchesOut, MatchIn, MyIncidentOut
from app.service_desk.incident_tables import Incident, IncidentStatus

router = APIRouter(prefix="/me", tags=["incidents"], route_class=DoorRoute)

PageDep = Annotated[PageQuery, Depends(page_query)]
Resident = Annotated[Caller, Depends(require("workorders:own"))]


@router.get("/incidents")
async def get_my_incidents(
    caller: Resident,
    session: SessionDep,
    page: PageDep,
    status: Annotated[IncidentStatus | None, Query(alias="filter[status]")] = None,
) -> Page[MyIncidentOut]:
    """Confirmed incidents that concern where the caller lives, and all that they follow; newest first."""
    statement = incidents.list_mine(caller, status=status)
    rows, cursor = await fetch_page(session, statement, id_column=Incident.id, query=page, newest_first=True)
    return Page(items=await incident_views.show_mine(session, caller, rows), next_cursor=cursor)


@router.get("/incidents/{incident_id}")
async def get_my_incident(incident_id: UUID, caller: Resident, session: SessionDep) -> MyIncidentOut:
    incident = await incidents.get(session, caller, incident_id, own=True)
    return (await incident_views.show_mine(session, caller, [incident]))[0]


@router.post("/incidents/{incident_id}/follow")
async def post_follow(incident_id: UUID, caller: Resident, session: SessionDep, runtime: RuntimeDep) -> MyIncidentOut:
    """Be told how it goes on, and when it is over. Safe to repeat."""
    incident = await incident_offers.follow(session, runtime, caller, incident_id)
    return (await incident_views.show_mine(session, caller, [incident]))[0]


@router.delete("/incidents/{incident_id}/follow", status_code=204)
async def delete_follow(incident_id: UUID, caller: Resident, session: SessionDep) -> None:
    """Be told no more."""
    await incidents.unfollow(session, await incidents.get(session, caller, incident_id, own=True), caller.id)


@router.post("/workorders/matches")
async def post_my_matches(body: MatchIn, caller: Resident, session: SessionDep, runtime: RuntimeDep) -> MatchesOut:
    """What is known of a report before an order is opened. Nothing is opened or changed by asking."""
    # Before the first statement: no transaction is open while the embedder is waited for.
    vector = await meaning.vector_of(runtime, body.text)
    return await incident_views.find_matches(session, runtime, caller, body, vector=vector)
