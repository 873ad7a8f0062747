"""Residents and households over REST."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from sqlalchemy.ext.asyncio import AsyncSession

from app.errors import NotFound
from app.people import accounts, communities, residents, spaces
from app.people.callers import Caller, SessionDep, require_in_community
from app.people.doors import DoorRoute
from app.people.schemas import (
    AccountIn,
    AccountOut,
    HouseholdChange,
    HouseholdIn,
    HouseholdOut,
    ResidentChange,
    ResidentIn,
    ResidentOut,
    RoomIn,
    VerifyIn,
)
from app.people.tables import Account, Household, Resident
from app.rest.etags import IfMatch, etag_of, if_match_of
from app.rest.idempotency import OnceDep
from app.rest.pages import Page, PageQuery, fetch_page, page_query
from app.runtime import RuntimeDep

router = APIRouter(prefix="/communities/{cid}", tags=["residents"], route_class=DoorRoute)

PageDep = Annotated[PageQuery, Depends(page_query)]
IfMatchDep = Annotated[IfMatch, Depends(if_match_of)]
Reader = Annotated[Caller, Depends(require_in_community("residents:read"))]
Writer = Annotated[Caller, Depends(require_in_community("residents:write"))]


class NoAccount(NotFound):
    code = "account_not_found"

    def __init__(self) -> None:
        super().__init__(
            "The resident has no account; give a login to open one.", "该住户没有账号，请提供登录名以开通。"
        )


@router.get("/residents")
async def get_residents(
    caller: Reader,
    session: SessionDep,
    page: PageDep,
    room_id: Annotated[UUID | None, Query(alias="filter[room_id]")] = None,
    name: Annotated[
        str | None, Query(alias="filter[name]", min_length=1, max_length=100, description="Part of the name.")
    ] = None,
    phone: Annotated[
        str | None, Query(alias="filter[phone]", min_length=1, max_length=30, description="Part of the number.")
    ] = None,
) -> Page[ResidentOut]:
    statement = residents.list_statement(caller, room_id=room_id, name=name, phone=phone)
    rows, cursor = await fetch_page(session, statement, id_column=Resident.id, query=page)
    return Page(items=await residents.show(session, rows), next_cursor=cursor)


@router.post("/residents", status_code=201, response_model=ResidentOut)
async def post_resident(body: ResidentIn, caller: Writer, session: SessionDep, once: OnceDep) -> Response:
    if replayed := await once.replay(session, caller.community_id, caller.key):
        return replayed
    resident = await residents.open_resident(session, caller, name=body.name, phone=body.phone, language=body.language)
    return await once.keep(session, 201, (await residents.show(session, [resident]))[0])


@router.get("/residents/{resident_id}")
async def get_resident(resident_id: UUID, caller: Reader, session: SessionDep, response: Response) -> ResidentOut:
    return await _resident_out(session, response, await residents.get(session, caller, resident_id))


@router.patch("/residents/{resident_id}")
async def patch_resident(
    *, resident_id: UUID, body: ResidentChange, caller: Writer, session: SessionDep, response: Response,
    if_match: IfMatchDep,
) -> ResidentOut:  # fmt: skip
    resident = await residents.get(session, caller, resident_id, locked=True)
    if_match.check(etag_of((await residents.show(session, [resident]))[0]))
    await residents.change(session, resident, body.model_dump(exclude_unset=True, exclude_none=True))
    return await _resident_out(session, response, resident)


@router.put("/residents/{resident_id}/rooms/{room_id}")
async def put_room(
    *, resident_id: UUID, room_id: UUID, body: RoomIn, caller: Writer, session: SessionDep, response: Response
) -> ResidentOut:  # fmt: skip
    """Make the resident a member of the room's household. A new or changed role waits for verification."""
    resident = await residents.get(session, caller, resident_id)
    await residents.put_in_room(
        session, caller, resident, room_id=room_id, role=body.role, household_id=body.household_id
    )
    return await _resident_out(session, response, resident)


@router.delete("/residents/{resident_id}/rooms/{room_id}", status_code=204)
async def delete_room(resident_id: UUID, room_id: UUID, caller: Writer, session: SessionDep) -> None:
    """Take the resident out of the room."""
    resident = await residents.get(session, caller, resident_id)
    await residents.take_out_of_room(session, caller, resident, room_id=room_id)


@router.post("/residents/{resident_id}/verify")
async def post_verify(
    *, resident_id: UUID, body: VerifyIn, caller: Writer, session: SessionDep, response: Response,
    runtime: RuntimeDep,
) -> ResidentOut:  # fmt: skip
    """Say that the resident belongs to the room, or all rooms, by papers seen; or take that back."""
    resident = await residents.get(session, caller, resident_id)
    await residents.verify(session, resident, room_id=body.room_id, verified=body.verified, now=runtime.clock())
    return await _resident_out(session, response, resident)


@router.put("/residents/{resident_id}/account")
async def put_account(
    resident_id: UUID, body: AccountIn, caller: Writer, session: SessionDep, runtime: RuntimeDep
) -> AccountOut:
    """Open the resident's sign-in or change what is given of it."""
    resident = await residents.get(session, caller, resident_id, locked=True)
    if resident.account_id is not None:
        account = await session.get_one(Account, resident.account_id)
    elif body.login:
        account = await accounts.open_resident_account(session, caller, resident, login=body.login)
    else:
        raise NoAccount
    return await accounts.apply(session, runtime, caller, account, body)


async def _resident_out(session: AsyncSession, response: Response, resident: Resident) -> ResidentOut:
    shown = (await residents.show(session, [resident]))[0]
    response.headers["ETag"] = etag_of(shown)
    return shown


# Households


@router.get("/households")
async def get_households(
    caller: Reader,
    session: SessionDep,
    page: PageDep,
    room_id: Annotated[UUID | None, Query(alias="filter[room_id]")] = None,
) -> Page[HouseholdOut]:
    statement = residents.households_visible_to(caller)
    if room_id is not None:
        statement = statement.where(Household.room_id == room_id)
    rows, cursor = await fetch_page(session, statement, id_column=Household.id, query=page)
    return Page(items=await residents.show_households(session, rows), next_cursor=cursor)


@router.post("/households", status_code=201, response_model=HouseholdOut)
async def post_household(body: HouseholdIn, caller: Writer, session: SessionDep, once: OnceDep) -> Response:
    """Open one more household in a room."""
    if replayed := await once.replay(session, caller.community_id, caller.key):
        return replayed
    room = await spaces.get_room(session, caller, body.room_id)
    household = await residents.open_household(session, caller, room, name=body.name)
    return await once.keep(session, 201, (await residents.show_households(session, [household]))[0])


@router.get("/households/{household_id}")
async def get_household(household_id: UUID, caller: Reader, session: SessionDep, response: Response) -> HouseholdOut:
    household = await residents.get_household(session, caller, household_id)
    return await _household_out(session, response, household)


@router.patch("/households/{household_id}")
async def patch_household(
    *, household_id: UUID, body: HouseholdChange, caller: Writer, session: SessionDep, response: Response,
    if_match: IfMatchDep,
) -> HouseholdOut:  # fmt: skip
    """Name it, or move it with all its members to another room, where they are verified again."""
    await communities.lock(session, caller)
    household = await residents.get_household(session, caller, household_id)
    if_match.check(etag_of((await residents.show_households(session, [household]))[0]))
    room = await spaces.get_room(session, caller, body.room_id) if body.room_id else None
    await residents.change_household(session, caller, household, name=body.name, room=room)
    return await _household_out(session, response, household)


async def _household_out(session: AsyncSession, response: Response, household: Household) -> HouseholdOut:
    shown = (await residents.show_households(session, [household]))[0]
    response.headers["ETag"] = etag_of(shown)
    return shown


@router.delete("/households/{household_id}", status_code=204)
async def delete_household(household_id: UUID, caller: Writer, session: SessionDep) -> None:
    """Close an empty household."""
    await residents.close_household(session, caller, await residents.get_household(session, caller, household_id))
