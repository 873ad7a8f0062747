"""Versions of a community's ranker over REST: train, look, put into use, go back."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Response

from app.people.callers import Caller, SessionDep, require_in_community
from app.people.doors import DoorRoute
from app.recommend import rankers, training
from app.recommend.schemas import RankerOut
from app.recommend.tables import RankerVersion
from app.rest.idempotency import OnceDep
from app.rest.pages import Page, PageQuery, fetch_page, page_query
from app.runtime import RuntimeDep

router = APIRouter(prefix="/communities/{cid}/rankers", tags=["recommendations"], route_class=DoorRoute)

PageDep = Annotated[PageQuery, Depends(page_query)]
Reader = Annotated[Caller, Depends(require_in_community("recommendations:read"))]
Writer = Annotated[Caller, Depends(require_in_community("rankers:write"))]


@router.get("")
async def get_rankers(caller: Reader, session: SessionDep, page: PageDep) -> Page[RankerOut]:
    """All versions, newest first."""
    rows, cursor = await fetch_page(
        session, rankers.visible_to(caller), id_column=RankerVersion.id, query=page, newest_first=True
    )
    return Page(items=[RankerOut.model_validate(row) for row in rows], next_cursor=cursor)


@router.post("", status_code=202, response_model=RankerOut)
async def post_ranker(runtime: RuntimeDep, caller: Writer, session: SessionDep, once: OnceDep) -> Response:
    """Train one of what happened so far. It goes live if it is better than the live one on what came later."""
    if replayed := await once.replay(session, caller.community_id, caller.key):
        return replayed
    return await once.keep(session, 202, RankerOut.model_validate(await training.start(session, runtime, caller)))


@router.post("/rollback")
async def post_ranker_rollback(runtime: RuntimeDep, caller: Writer, session: SessionDep) -> RankerOut:
    """Put the version into use again that was live before this one."""
    return RankerOut.model_validate(await rankers.roll_back(session, runtime, caller))


@router.get("/{ranker_id}")
async def get_ranker(ranker_id: UUID, caller: Reader, session: SessionDep) -> RankerOut:
    return RankerOut.model_validate(await rankers.get(session, caller, ranker_id))


@router.post("/{ranker_id}/promote")
async def post_ranker_promote(
    ranker_id: UUID, runtime: RuntimeDep, caller: Writer, session: SessionDep
) -> RankerOut:  # fmt: skip
    """Put a trained version into use by hand."""
    version = await rankers.get(session, caller, ranker_id)
    await rankers.go_live(session, runtime, caller, version)
    return RankerOut.model_validate(version)
