"""Shifts, the on-call rota, and who is there now, over REST."""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from sqlalchemy.ext.asyncio import AsyncSession

from app.people import rota, shifts, staff
from app.people.callers import Caller, SessionDep, require_in_community
from app.people.doors import DoorRoute
from app.people.rota import OnCall
from app.people.rota_schemas import (
    OnDuty,
    OnDutyOut,
    RotaChange,
    RotaIn,
    RotaOut,
    ShiftChange,
    ShiftIn,
    ShiftOut,
)
from app.people.tables import RotaEntry, Skill, Staff, StaffShift
from app.rest.etags import IfMatch, etag_of, if_match_of
from app.rest.idempotency import OnceDep
from app.rest.moments import Moment
from app.rest.pages import Page, PageQuery, fetch_page, page_query
from app.runtime import RuntimeDep

router = APIRouter(prefix="/communities/{cid}", tags=["rota"], route_class=DoorRoute)

PageDep = Annotated[PageQuery, Depends(page_query)]
IfMatchDep = Annotated[IfMatch, Depends(if_match_of)]
Reader = Annotated[Caller, Depends(require_in_community("rota:read"))]
Writer = Annotated[Caller, Depends(require_in_community("rota:write"))]
OfStaff = Annotated[UUID | None, Query(alias="filter[staff_id]")]
At = Annotated[Moment | None, Query(description="The moment asked for; now by default.")]


@router.get("/on-shift")
async def get_on_shift(caller: Reader, session: SessionDep, runtime: RuntimeDep, at: At = None) -> OnDuty:
    """Who is at work. Everybody where the community keeps no shifts."""
    moment = at or runtime.clock()
    there: Iterable[UUID] = await shifts.on_shift(session, caller.community_id, moment)
    if not there and not await shifts.are_kept(session, caller.community_id):
        there = await session.scalars(staff.working_in(caller.community_id).with_only_columns(Staff.id))
    return await _on_duty(session, caller, moment, [OnCall(0, staff_id) for staff_id in sorted(there)])


@router.get("/on-call")
async def get_on_call(caller: Reader, session: SessionDep, runtime: RuntimeDep, at: At = None) -> OnDuty:
    """Who is rung, first to last. The managers where the rota has nobody."""
    moment = at or runtime.clock()
    return await _on_duty(session, caller, moment, await rota.levels(session, caller.community_id, moment))


async def _on_duty(session: AsyncSession, caller: Caller, at: datetime, called: list[OnCall]) -> OnDuty:
    statement = staff.visible_to(caller).where(Staff.id.in_([one.staff_id for one in called]))
    known = {member.id: member for member in await session.scalars(statement)}
    return OnDuty(
        at=at,
        staff=[
            OnDutyOut(
                staff_id=member.id, name=member.name, title=member.title, phone=member.phone,
                skills=[Skill(skill) for skill in member.skills], level=one.level or None,
            )
            for one in called if (member := known.get(one.staff_id))
        ],
    )  # fmt: skip


@router.get("/shifts")
async def get_shifts(caller: Reader, session: SessionDep, page: PageDep, staff_id: OfStaff = None) -> Page[ShiftOut]:
    statement = shifts.visible_to(caller, staff_id=staff_id)
    rows, cursor = await fetch_page(session, statement, id_column=StaffShift.id, query=page)
    return Page(items=[ShiftOut.model_validate(row) for row in rows], next_cursor=cursor)


@router.post("/shifts", status_code=201, response_model=ShiftOut)
async def post_shift(body: ShiftIn, caller: Writer, session: SessionDep, once: OnceDep) -> Response:
    """A weekly shift, a dated one, or with `off` a time away."""
    if replayed := await once.replay(session, caller.community_id, caller.key):
        return replayed
    shift = await shifts.open_shift(session, caller, **body.model_dump())
    return await once.keep(session, 201, ShiftOut.model_validate(shift))


@router.get("/shifts/{shift_id}")
async def get_shift(shift_id: UUID, caller: Reader, session: SessionDep, response: Response) -> ShiftOut:
    return _shift_out(response, await shifts.get(session, caller, shift_id))


@router.patch("/shifts/{shift_id}")
async def patch_shift(
    *, shift_id: UUID, body: ShiftChange, caller: Writer, session: SessionDep, response: Response, if_match: IfMatchDep
) -> ShiftOut:
    shift = await shifts.get(session, caller, shift_id, locked=True)
    if_match.check(etag_of(ShiftOut.model_validate(shift)))
    await shifts.change(session, shift, body.model_dump(exclude_unset=True))
    return _shift_out(response, shift)


@router.delete("/shifts/{shift_id}", status_code=204)
async def delete_shift(shift_id: UUID, caller: Writer, session: SessionDep) -> None:
    await shifts.delete(session, await shifts.get(session, caller, shift_id))


def _shift_out(response: Response, shift: StaffShift) -> ShiftOut:
    shown = ShiftOut.model_validate(shift)
    response.headers["ETag"] = etag_of(shown)
    return shown


@router.get("/rota")
async def get_rota(caller: Reader, session: SessionDep, page: PageDep, staff_id: OfStaff = None) -> Page[RotaOut]:
    statement = rota.visible_to(caller, staff_id=staff_id)
    rows, cursor = await fetch_page(session, statement, id_column=RotaEntry.id, query=page)
    return Page(items=[RotaOut.model_validate(row) for row in rows], next_cursor=cursor)


@router.post("/rota", status_code=201, response_model=RotaOut)
async def post_rota_entry(body: RotaIn, caller: Writer, session: SessionDep, once: OnceDep) -> Response:
    """Put a member of staff on call on a level."""
    if replayed := await once.replay(session, caller.community_id, caller.key):
        return replayed
    entry = await rota.open_entry(session, caller, **body.model_dump())
    return await once.keep(session, 201, RotaOut.model_validate(entry))


@router.get("/rota/{rota_entry_id}")
async def get_rota_entry(rota_entry_id: UUID, caller: Reader, session: SessionDep, response: Response) -> RotaOut:
    return _rota_out(response, await rota.get(session, caller, rota_entry_id))


@router.patch("/rota/{rota_entry_id}")
async def patch_rota_entry(
    *, rota_entry_id: UUID, body: RotaChange, caller: Writer, session: SessionDep, response: Response,
    if_match: IfMatchDep,
) -> RotaOut:  # fmt: skip
    entry = await rota.get(session, caller, rota_entry_id, locked=True)
    if_match.check(etag_of(RotaOut.model_validate(entry)))
    await rota.change(session, entry, body.model_dump(exclude_unset=True))
    return _rota_out(response, entry)


@router.delete("/rota/{rota_entry_id}", status_code=204)
async def delete_rota_entry(rota_entry_id: UUID, caller: Writer, session: SessionDep) -> None:
    await rota.delete(session, await rota.get(session, caller, rota_entry_id))


def _rota_out(response: Response, entry: RotaEntry) -> RotaOut:
    shown = RotaOut.model_validate(entry)
    response.headers["ETag"] = etag_of(shown)
    return shown
