"""What residents see and change of their own over REST."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response
from sqlalchemy.ext.asyncio import AsyncSession

from app.people import residents, vehicles
from app.people.callers import Caller, CallerKind, SessionDep, require
from app.people.doors import DoorRoute
from app.people.residents import ResidentNotFound
from app.people.schemas import HouseholdOut, MyChange, ResidentOut, VehicleOut
from app.people.tables import Household, Resident, Vehicle
from app.rest.etags import IfMatch, etag_of, if_match_of
from app.rest.pages import Page, PageQuery, fetch_page, page_query

router = APIRouter(prefix="/me", tags=["me"], route_class=DoorRoute)

PageDep = Annotated[PageQuery, Depends(page_query)]
IfMatchDep = Annotated[IfMatch, Depends(if_match_of)]
Reader = Annotated[Caller, Depends(require("me:read"))]
Writer = Annotated[Caller, Depends(require("me:write"))]


@router.get("/resident")
async def get_my_resident(caller: Reader, session: SessionDep, response: Response) -> ResidentOut:
    """What the property company has on record of me. 404 for who is no resident."""
    return await _resident_out(session, response, await _me(session, caller, locked=False))


@router.patch("/resident")
async def patch_my_resident(
    body: MyChange, caller: Writer, session: SessionDep, response: Response, if_match: IfMatchDep
) -> ResidentOut:
    """Change one's phone number or language."""
    resident = await _me(session, caller, locked=True)
    if_match.check(etag_of((await residents.show(session, [resident]))[0]))
    await residents.change(session, resident, body.model_dump(exclude_unset=True, exclude_none=True))
    return await _resident_out(session, response, resident)


@router.get("/households")
async def get_my_households(caller: Reader, session: SessionDep, page: PageDep) -> Page[HouseholdOut]:
    """The households where I am a verified member, and who belongs to them."""
    rows, cursor = await fetch_page(session, residents.households_of(caller), id_column=Household.id, query=page)
    return Page(items=await residents.show_households(session, rows), next_cursor=cursor)


@router.get("/vehicles")
async def get_my_vehicles(caller: Reader, session: SessionDep, page: PageDep) -> Page[VehicleOut]:
    """My cars, and those of the rooms where I am a verified member."""
    rows, cursor = await fetch_page(session, vehicles.of_resident(caller), id_column=Vehicle.id, query=page)
    return Page(items=[VehicleOut.model_validate(row) for row in rows], next_cursor=cursor)


async def _me(session: AsyncSession, caller: Caller, *, locked: bool) -> Resident:
    if caller.kind is not CallerKind.RESIDENT:
        raise ResidentNotFound
    return await residents.get(session, caller, caller.id, locked=locked)


async def _resident_out(session: AsyncSession, response: Response, resident: Resident) -> ResidentOut:
    shown = (await residents.show(session, [resident]))[0]
    response.headers["ETag"] = etag_of(shown)
    return shown
