"""Vehicles over REST."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response

from app.people import vehicles
from app.people.callers import Caller, SessionDep, require_in_community
from app.people.doors import DoorRoute
from app.people.schemas import VehicleChange, VehicleIn, VehicleOut
from app.people.tables import Vehicle
from app.rest.etags import IfMatch, etag_of, if_match_of
from app.rest.idempotency import OnceDep
from app.rest.pages import Page, PageQuery, fetch_page, page_query

router = APIRouter(prefix="/communities/{cid}/vehicles", tags=["vehicles"], route_class=DoorRoute)

PageDep = Annotated[PageQuery, Depends(page_query)]
IfMatchDep = Annotated[IfMatch, Depends(if_match_of)]
Reader = Annotated[Caller, Depends(require_in_community("residents:read"))]
Writer = Annotated[Caller, Depends(require_in_community("residents:write"))]


@router.get("")
async def get_vehicles(
    caller: Reader,
    session: SessionDep,
    page: PageDep,
    room_id: Annotated[UUID | None, Query(alias="filter[room_id]")] = None,
    resident_id: Annotated[UUID | None, Query(alias="filter[resident_id]")] = None,
    plate: Annotated[
        str | None, Query(alias="filter[plate]", min_length=1, max_length=20, description="Part of the plate.")
    ] = None,
) -> Page[VehicleOut]:
    statement = vehicles.visible_to(caller, room_id=room_id, resident_id=resident_id, plate=plate)
    rows, cursor = await fetch_page(session, statement, id_column=Vehicle.id, query=page)
    return Page(items=[VehicleOut.model_validate(row) for row in rows], next_cursor=cursor)


@router.post("", status_code=201, response_model=VehicleOut)
async def post_vehicle(body: VehicleIn, caller: Writer, session: SessionDep, once: OnceDep) -> Response:
    """Register a car by its plate, ordinary or new-energy, for a room, a resident or both."""
    if replayed := await once.replay(session, caller.community_id, caller.key):
        return replayed
    vehicle = await vehicles.open_vehicle(session, caller, body.model_dump())
    return await once.keep(session, 201, VehicleOut.model_validate(vehicle))


@router.get("/{vehicle_id}")
async def get_vehicle(vehicle_id: UUID, caller: Reader, session: SessionDep, response: Response) -> VehicleOut:
    return _vehicle_out(response, await vehicles.get(session, caller, vehicle_id))


@router.patch("/{vehicle_id}")
async def patch_vehicle(
    *, vehicle_id: UUID, body: VehicleChange, caller: Writer, session: SessionDep, response: Response,
    if_match: IfMatchDep,
) -> VehicleOut:  # fmt: skip
    vehicle = await vehicles.get(session, caller, vehicle_id, locked=True)
    if_match.check(etag_of(VehicleOut.model_validate(vehicle)))
    await vehicles.change(session, caller, vehicle, body.model_dump(exclude_unset=True))
    return _vehicle_out(response, vehicle)


@router.delete("/{vehicle_id}", status_code=204)
async def delete_vehicle(vehicle_id: UUID, caller: Writer, session: SessionDep) -> None:
    await vehicles.delete(session, await vehicles.get(session, caller, vehicle_id))


def _vehicle_out(response: Response, vehicle: Vehicle) -> VehicleOut:
    shown = VehicleOut.model_validate(vehicle)
    response.headers["ETag"] = etag_of(shown)
    return shown
