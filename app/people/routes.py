"""People and places over REST: communities and their space tree. Others of the family have files of their own."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response

from app.people import (
    audit_routes,
    communities,
    import_routes,
    me_routes,
    resident_routes,
    rota_routes,
    sign_in_routes,
    spaces,
    staff_routes,
    vehicle_routes,
)
from app.people.callers import Caller, SessionDep, require, require_in_community
from app.people.community_settings import SettingsChange
from app.people.doors import DoorRoute
from app.people.schemas import (
    CommunityChange,
    CommunityOut,
    SettingsOut,
    SpaceChange,
    SpaceIn,
    SpaceOut,
    SpaceTree,
)
from app.people.tables import Community, Space, SpaceKind
from app.rest.etags import IfMatch, etag_of, if_match_of
from app.rest.idempotency import OnceDep
from app.rest.pages import Page, PageQuery, fetch_page, page_query

router = APIRouter()
router.include_router(sign_in_routes.router)
places = APIRouter(tags=["communities"], route_class=DoorRoute)

PageDep = Annotated[PageQuery, Depends(page_query)]
IfMatchDep = Annotated[IfMatch, Depends(if_match_of)]
CommunityReader = Annotated[Caller, Depends(require_in_community("communities:read"))]
CommunityWriter = Annotated[Caller, Depends(require_in_community("communities:write"))]
SpaceReader = Annotated[Caller, Depends(require_in_community("spaces:read"))]
SpaceWriter = Annotated[Caller, Depends(require_in_community("spaces:write"))]


@places.get("/communities")
async def get_communities(
    caller: Annotated[Caller, Depends(require("me:read"))], session: SessionDep, page: PageDep
) -> Page[CommunityOut]:
    """Staff: communities where they have a right. Others: their own."""
    rows, cursor = await fetch_page(session, communities.visible_to(caller), id_column=Community.id, query=page)
    return Page(items=[CommunityOut.model_validate(row) for row in rows], next_cursor=cursor)


@places.get("/communities/{cid}")
async def get_community(
    caller: Annotated[Caller, Depends(require_in_community("me:read"))], session: SessionDep, response: Response
) -> CommunityOut:
    return _community_out(response, await communities.get(session, caller))


@places.patch("/communities/{cid}")
async def patch_community(
    body: CommunityChange, caller: CommunityWriter, session: SessionDep, response: Response, if_match: IfMatchDep
) -> CommunityOut:
    community = await communities.lock(session, caller)
    if_match.check(_community_etag(community))
    changes = body.model_dump(exclude_unset=True, exclude_none=True)
    return _community_out(response, await communities.change(session, community, changes))


@places.get("/communities/{cid}/settings")
async def get_settings(caller: CommunityReader, session: SessionDep, response: Response) -> SettingsOut:
    """Every setting with its value and where that comes from."""
    return await _settings_out(session, response, await communities.get(session, caller))


@places.patch("/communities/{cid}/settings")
async def patch_settings(
    body: SettingsChange, caller: CommunityWriter, session: SessionDep, response: Response, if_match: IfMatchDep
) -> SettingsOut:
    """Override settings for this community; null takes an override back."""
    community = await communities.lock(session, caller)
    if_match.check(_community_etag(community))
    await communities.override(session, community, body)
    return await _settings_out(session, response, community)


def _community_etag(community: Community) -> str:
    return f'"{community.version}"'


def _community_out(response: Response, community: Community) -> CommunityOut:
    response.headers["ETag"] = _community_etag(community)
    return CommunityOut.model_validate(community)


async def _settings_out(session: SessionDep, response: Response, community: Community) -> SettingsOut:
    response.headers["ETag"] = _community_etag(community)
    return await communities.settings_of(session, community)


# Spaces


@places.get("/communities/{cid}/spaces/tree", tags=["spaces"])
async def get_space_tree(
    caller: SpaceReader,
    session: SessionDep,
    down_to: Annotated[SpaceKind, Query(description="Deepest kind that is shown.")] = SpaceKind.ROOM,
) -> SpaceTree:
    """The whole tree, in the order of an address book."""
    return SpaceTree(spaces=await spaces.tree(session, caller, down_to=down_to))


@places.get("/communities/{cid}/spaces", tags=["spaces"])
async def get_spaces(
    caller: SpaceReader,
    session: SessionDep,
    page: PageDep,
    kind: Annotated[SpaceKind | None, Query(alias="filter[kind]")] = None,
    parent_id: Annotated[UUID | None, Query(alias="filter[parent_id]")] = None,
) -> Page[SpaceOut]:
    statement = spaces.list_statement(caller, kind=kind, parent_id=parent_id)
    rows, cursor = await fetch_page(session, statement, id_column=Space.id, query=page)
    return Page(items=[SpaceOut.model_validate(row) for row in rows], next_cursor=cursor)


@places.post("/communities/{cid}/spaces", status_code=201, response_model=SpaceOut, tags=["spaces"])
async def post_space(body: SpaceIn, caller: SpaceWriter, session: SessionDep, once: OnceDep) -> Response:
    """Open a phase, building, unit or room."""
    if replayed := await once.replay(session, caller.community_id, caller.key):
        return replayed
    space = await spaces.open_space(session, caller, **body.model_dump())
    return await once.keep(session, 201, SpaceOut.model_validate(space))


@places.get("/communities/{cid}/spaces/{space_id}", tags=["spaces"])
async def get_space(space_id: UUID, caller: SpaceReader, session: SessionDep, response: Response) -> SpaceOut:
    return _space_out(response, await spaces.get(session, caller, space_id))


@places.patch("/communities/{cid}/spaces/{space_id}", tags=["spaces"])
async def patch_space(
    *, space_id: UUID, body: SpaceChange, caller: SpaceWriter, session: SessionDep, response: Response,
    if_match: IfMatchDep,
) -> SpaceOut:  # fmt: skip
    """Rename, move below another parent, say in which state a room is. The addresses of everything below follow."""
    await communities.lock(session, caller)
    space = await spaces.get(session, caller, space_id)
    if_match.check(etag_of(SpaceOut.model_validate(space)))
    return _space_out(response, await spaces.change(session, caller, space, body.model_dump(exclude_unset=True)))


@places.delete("/communities/{cid}/spaces/{space_id}", status_code=204, tags=["spaces"])
async def delete_space(space_id: UUID, caller: SpaceWriter, session: SessionDep) -> None:
    """Refused while something stands below it, somebody lives there or anything else names it."""
    await communities.lock(session, caller)
    await spaces.delete_space(session, caller, await spaces.get(session, caller, space_id))


def _space_out(response: Response, space: Space) -> SpaceOut:
    shown = SpaceOut.model_validate(space)
    response.headers["ETag"] = etag_of(shown)
    return shown


router.include_router(import_routes.router)
router.include_router(places)
router.include_router(resident_routes.router)
router.include_router(staff_routes.router)
router.include_router(audit_routes.router)
router.include_router(rota_routes.router)
router.include_router(vehicle_routes.router)
router.include_router(me_routes.router)
