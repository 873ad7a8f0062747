"""Categories of work orders over REST."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response

from app.people.callers import Caller, SessionDep, require_in_community
from app.people.doors import DoorRoute
from app.rest.etags import IfMatch, etag_of, if_match_of
from app.rest.idempotency import OnceDep
from app.rest.pages import Page, PageQuery, fetch_page, page_query
from app.runtime import RuntimeDep
from app.service_desk import categories, showing
from app.service_desk.schemas import CategoryChange, CategoryIn, CategoryOut
from app.service_desk.tables import WorkOrderCategory

router = APIRouter(prefix="/workorder-categories", route_class=DoorRoute)

Reader = Annotated[Caller, Depends(require_in_community("workorders:read"))]
Writer = Annotated[Caller, Depends(require_in_community("desk:write"))]
PageDep = Annotated[PageQuery, Depends(page_query)]
IfMatchDep = Annotated[IfMatch, Depends(if_match_of)]
COLUMNS = {"parent_category_id": "parent_id", "deadline_class": "class_"}
"""Fields whose columns have another name."""
NULLABLE = frozenset({"parent_category_id", "respond_minutes", "resolve_minutes"})


def _columns(given: dict[str, Any]) -> dict[str, Any]:
    return {COLUMNS.get(name, name): value for name, value in given.items() if value is not None or name in NULLABLE}


@router.get("")
async def get_categories(
    caller: Reader, session: SessionDep, page: PageDep,
    archived: Annotated[bool, Query(description="With those that are offered no more.")] = False,
) -> Page[CategoryOut]:  # fmt: skip
    """The categories with their deadlines. A community begins with the default ones."""
    await categories.ensure_defaults(session, caller)
    statement = categories.visible_to(caller) if archived else categories.in_use(caller)
    rows, cursor = await fetch_page(session, statement, id_column=WorkOrderCategory.id, query=page)
    return Page(items=[showing.show_category(row) for row in rows], next_cursor=cursor)


@router.post("", status_code=201, response_model=CategoryOut)
async def post_category(body: CategoryIn, caller: Writer, session: SessionDep, once: OnceDep) -> Response:
    if replayed := await once.replay(session, caller.community_id, caller.key):
        return replayed
    category = await categories.open_category(session, caller, _columns(body.model_dump()))
    return await once.keep(session, 201, showing.show_category(category))


@router.get("/{category_id}")
async def get_category(category_id: UUID, caller: Reader, session: SessionDep, response: Response) -> CategoryOut:
    return _out(response, await categories.get(session, caller, category_id))


@router.patch("/{category_id}")
async def patch_category(
    *, category_id: UUID, body: CategoryChange, caller: Writer, session: SessionDep, response: Response,
    if_match: IfMatchDep,
) -> CategoryOut:  # fmt: skip
    category = await categories.get(session, caller, category_id, locked=True)
    if_match.check(etag_of(showing.show_category(category)))
    changes = _columns(body.model_dump(exclude_unset=True))
    return _out(response, await categories.change(session, caller, category, changes))


@router.delete("/{category_id}", status_code=204)
async def delete_category(category_id: UUID, caller: Writer, session: SessionDep, runtime: RuntimeDep) -> None:
    """Offer it no more. Orders that have it keep it."""
    category = await categories.get(session, caller, category_id, locked=True)
    await categories.archive(session, category, now=runtime.clock())


def _out(response: Response, category: WorkOrderCategory) -> CategoryOut:
    shown = showing.show_category(category)
    response.headers["ETag"] = etag_of(shown)
    return shown
