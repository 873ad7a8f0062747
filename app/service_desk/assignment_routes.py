"""Rules of who gets which orders, over REST."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Response

from app.people.callers import Caller, SessionDep, require_in_community
from app.people.doors import DoorRoute
from app.rest.etags import IfMatch, etag_of, if_match_of
from app.rest.idempotency import OnceDep
from app.rest.pages import Page, PageQuery, fetch_page, page_query
from app.runtime import RuntimeDep
from app.service_desk import assignment_rules
from app.service_desk.duty_schemas import AssignmentRuleChange, AssignmentRuleIn, AssignmentRuleOut
from app.service_desk.duty_tables import AssignmentRule

router = APIRouter(prefix="/communities/{cid}/assignment-rules", tags=["staffing"], route_class=DoorRoute)

PageDep = Annotated[PageQuery, Depends(page_query)]
IfMatchDep = Annotated[IfMatch, Depends(if_match_of)]
Reader = Annotated[Caller, Depends(require_in_community("workorders:read"))]
DeskWriter = Annotated[Caller, Depends(require_in_community("desk:write"))]


@router.get("")
async def get_assignment_rules(caller: Reader, session: SessionDep, page: PageDep) -> Page[AssignmentRuleOut]:
    """Who gets which orders. For what no rule names, category and settings decide."""
    statement = assignment_rules.visible_to(caller)
    rows, cursor = await fetch_page(session, statement, id_column=AssignmentRule.id, query=page)
    return Page(items=[AssignmentRuleOut.model_validate(row) for row in rows], next_cursor=cursor)


@router.post("", status_code=201, response_model=AssignmentRuleOut)
async def post_assignment_rule(
    body: AssignmentRuleIn, caller: DeskWriter, session: SessionDep, runtime: RuntimeDep, once: OnceDep
) -> Response:
    """A new rule. It holds for orders that are given to somebody from now on."""
    if replayed := await once.replay(session, caller.community_id, caller.key):
        return replayed
    rule = await assignment_rules.open_rule(session, runtime, caller, **body.model_dump())
    return await once.keep(session, 201, AssignmentRuleOut.model_validate(rule))


@router.get("/{assignment_rule_id}")
async def get_assignment_rule(
    assignment_rule_id: UUID, caller: Reader, session: SessionDep, response: Response
) -> AssignmentRuleOut:
    return _out(response, await assignment_rules.get(session, caller, assignment_rule_id))


@router.patch("/{assignment_rule_id}")
async def patch_assignment_rule(
    *, assignment_rule_id: UUID, body: AssignmentRuleChange, caller: DeskWriter, session: SessionDep,
    response: Response, if_match: IfMatchDep,
) -> AssignmentRuleOut:  # fmt: skip
    """Change what is given; null leaves that to category and settings again."""
    rule = await assignment_rules.get(session, caller, assignment_rule_id, locked=True)
    if_match.check(etag_of(AssignmentRuleOut.model_validate(rule)))
    await assignment_rules.change(session, caller, rule, body.model_dump(exclude_unset=True))
    return _out(response, rule)


@router.delete("/{assignment_rule_id}", status_code=204)
async def delete_assignment_rule(assignment_rule_id: UUID, caller: DeskWriter, session: SessionDep) -> None:
    await session.delete(await assignment_rules.get(session, caller, assignment_rule_id, locked=True))


def _out(response: Response, rule: AssignmentRule) -> AssignmentRuleOut:
    shown = AssignmentRuleOut.model_validate(rule)
    response.headers["ETag"] = etag_of(shown)
    return shown
