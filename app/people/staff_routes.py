"""Staff, their rights, and API keys over REST."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Response
from sqlalchemy.ext.asyncio import AsyncSession

from app.people import accounts, keys, staff
from app.people.callers import Caller, SessionDep, require_in_community
from app.people.doors import DoorRoute
from app.people.schemas import (
    AccountIn,
    AccountOut,
    ApiKeyIn,
    ApiKeyMade,
    ApiKeyOut,
    RightsIn,
    StaffChange,
    StaffIn,
    StaffOut,
)
from app.people.tables import ApiKey, Staff
from app.rest.etags import IfMatch, etag_of, if_match_of
from app.rest.idempotency import OnceDep
from app.rest.pages import Page, PageQuery, fetch_page, page_query
from app.runtime import RuntimeDep

router = APIRouter(prefix="/communities/{cid}", route_class=DoorRoute)

PageDep = Annotated[PageQuery, Depends(page_query)]
IfMatchDep = Annotated[IfMatch, Depends(if_match_of)]
StaffReader = Annotated[Caller, Depends(require_in_community("staff:read"))]
StaffWriter = Annotated[Caller, Depends(require_in_community("staff:write"))]
KeyReader = Annotated[Caller, Depends(require_in_community("keys:read"))]
KeyWriter = Annotated[Caller, Depends(require_in_community("keys:write"))]


@router.get("/staff", tags=["staff"])
async def get_staff(caller: StaffReader, session: SessionDep, page: PageDep) -> Page[StaffOut]:
    """Staff with a role in this community."""
    rows, cursor = await fetch_page(session, staff.visible_to(caller), id_column=Staff.id, query=page)
    return Page(items=await staff.show(session, caller, rows), next_cursor=cursor)


@router.post("/staff", status_code=201, response_model=StaffOut, tags=["staff"])
async def post_staff(body: StaffIn, caller: StaffWriter, session: SessionDep, once: OnceDep) -> Response:
    """Add a member of staff. Their password or identity is set apart, at `/staff/{id}/account`."""
    if replayed := await once.replay(session, caller.community_id, caller.key):
        return replayed
    member = await staff.open_staff(session, caller, **body.model_dump())
    return await once.keep(session, 201, (await staff.show(session, caller, [member]))[0])


@router.get("/staff/{staff_id}", tags=["staff"])
async def get_member(staff_id: UUID, caller: StaffReader, session: SessionDep, response: Response) -> StaffOut:
    return await _staff_out(session, response, caller, await staff.get(session, caller, staff_id))


@router.patch("/staff/{staff_id}", tags=["staff"])
async def patch_member(
    *, staff_id: UUID, body: StaffChange, caller: StaffWriter, session: SessionDep, response: Response,
    if_match: IfMatchDep,
) -> StaffOut:  # fmt: skip
    member = await staff.get(session, caller, staff_id, locked=True)
    if_match.check(etag_of((await staff.show(session, caller, [member]))[0]))
    await staff.change(session, member, body.model_dump(exclude_unset=True, exclude_none=True))
    return await _staff_out(session, response, caller, member)


@router.put("/staff/{staff_id}/rights", tags=["staff"])
async def put_rights(
    staff_id: UUID, body: RightsIn, caller: StaffWriter, session: SessionDep, response: Response
) -> StaffOut:
    """The roles in this community from now on; they end or begin with the next request."""
    member = await staff.get(session, caller, staff_id)
    await staff.set_roles(session, caller, member, body.roles)
    return await _staff_out(session, response, caller, member)


@router.put("/staff/{staff_id}/account", tags=["staff"])
async def put_staff_account(
    staff_id: UUID, body: AccountIn, caller: StaffWriter, session: SessionDep, runtime: RuntimeDep
) -> AccountOut:
    """Change what is given of the sign-in. Refused for colleagues who also work in other communities."""
    member = await staff.get(session, caller, staff_id)
    account = await staff.account_of(session, member)
    return await accounts.apply(session, runtime, caller, account, body)


async def _staff_out(session: AsyncSession, response: Response, caller: Caller, member: Staff) -> StaffOut:
    shown = (await staff.show(session, caller, [member]))[0]
    response.headers["ETag"] = etag_of(shown)
    return shown


# API keys


@router.get("/api-keys", tags=["api-keys"])
async def get_api_keys(caller: KeyReader, session: SessionDep, page: PageDep) -> Page[ApiKeyOut]:
    """All keys of the community, revoked ones too; never a secret."""
    rows, cursor = await fetch_page(session, keys.visible_to(caller), id_column=ApiKey.id, query=page)
    return Page(items=[ApiKeyOut.model_validate(row) for row in rows], next_cursor=cursor)


@router.post("/api-keys", status_code=201, tags=["api-keys"])
async def post_api_key(
    body: ApiKeyIn, caller: KeyWriter, session: SessionDep, response: Response, runtime: RuntimeDep
) -> ApiKeyMade:
    """A new key. The secret is in this answer and nowhere else, so this takes no Idempotency-Key."""
    response.headers["Cache-Control"] = "no-store"
    key, secret = await keys.open_key(
        session, caller, name=body.name, scopes=frozenset(body.scopes), expires_at=body.expires_at,
        keys_max=runtime.settings.api_keys_max, now=runtime.clock(),
    )  # fmt: skip
    return ApiKeyMade(**ApiKeyOut.model_validate(key).model_dump(), secret=secret)


@router.get("/api-keys/{key_id}", tags=["api-keys"])
async def get_api_key(key_id: UUID, caller: KeyReader, session: SessionDep) -> ApiKeyOut:
    return ApiKeyOut.model_validate(await keys.get(session, caller, key_id))


@router.delete("/api-keys/{key_id}", status_code=204, tags=["api-keys"])
async def delete_api_key(key_id: UUID, caller: KeyWriter, session: SessionDep, runtime: RuntimeDep) -> None:
    """Revoke: the key opens nothing from the next request on."""
    await keys.revoke(session, caller, await keys.get(session, caller, key_id), now=runtime.clock())
