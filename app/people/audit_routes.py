"""The audit log over REST, and a resident's view of it."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query

from app.people import audit_log
from app.people.audit_log import AccessOut, AuditEventOut, Filters
from app.people.callers import Caller, SessionDep, require, require_in_community
from app.people.doors import DoorRoute
from app.people.tables import AuditEvent
from app.rest.moments import Moment
from app.rest.pages import Page, PageQuery, decode_cursor, encode_cursor, fetch_page, page_query

router = APIRouter(tags=["audit"], route_class=DoorRoute)

PageDep = Annotated[PageQuery, Depends(page_query)]


def filters_of(
    kind: Annotated[str | None, Query(alias="filter[kind]", pattern="^(read|write)$")] = None,
    action: Annotated[str | None, Query(alias="filter[action]", min_length=1, max_length=100)] = None,
    caller_id: Annotated[UUID | None, Query(alias="filter[caller_id]")] = None,
    object_kind: Annotated[str | None, Query(alias="filter[object_kind]", min_length=1, max_length=100)] = None,
    object_id: Annotated[UUID | None, Query(alias="filter[object_id]")] = None,
    since: Annotated[Moment | None, Query(alias="filter[since]")] = None,
    until: Annotated[Moment | None, Query(alias="filter[until]")] = None,
) -> Filters:
    return Filters(kind, action, caller_id, object_kind, object_id, since, until)


@router.get("/communities/{cid}/audit-events")
async def get_audit_events(
    caller: Annotated[Caller, Depends(require_in_community("audit:read"))],
    session: SessionDep,
    page: PageDep,
    filters: Annotated[Filters, Depends(filters_of)],
) -> Page[AuditEventOut]:
    """Every write, and every read of personal data, newest first."""
    statement = audit_log.list_statement(caller, filters)
    rows, cursor = await fetch_page(session, statement, id_column=AuditEvent.id, query=page, newest_first=True)
    return Page(items=[AuditEventOut.model_validate(row) for row in rows], next_cursor=cursor)


@router.get("/me/access-log")
async def get_access_log(
    caller: Annotated[Caller, Depends(require("me:read"))], session: SessionDep, page: PageDep
) -> Page[AccessOut]:
    """Who saw or changed my data, when and why, newest first. What I did myself is not in it."""
    before = decode_cursor(page.cursor) if page.cursor else None
    rows = await audit_log.about(session, caller, caller.id, before=before, rows_max=page.limit + 1)
    items = audit_log.shown(rows[: page.limit])
    return Page(items=items, next_cursor=encode_cursor(items[-1].id) if len(rows) > page.limit else None)
