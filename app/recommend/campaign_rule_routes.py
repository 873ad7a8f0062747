"""Rules that start campaigns, over REST."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Response

from app.people.callers import Caller, SessionDep, require_in_community
from app.people.doors import DoorRoute
from app.recommend import campaign_rules
from app.recommend.campaign_schemas import RuleChange, RuleIn, RuleOut
from app.recommend.campaign_tables import CampaignRule
from app.rest.etags import IfMatch, if_match_of
from app.rest.idempotency import OnceDep
from app.rest.pages import Page, PageQuery, fetch_page, page_query
from app.runtime import RuntimeDep

router = APIRouter(prefix="/communities/{cid}/campaign-rules", tags=["campaigns"], route_class=DoorRoute)

PageDep = Annotated[PageQuery, Depends(page_query)]
IfMatchDep = Annotated[IfMatch, Depends(if_match_of)]
Reader = Annotated[Caller, Depends(require_in_community("campaigns:read"))]
Writer = Annotated[Caller, Depends(require_in_community("campaigns:write"))]


@router.get("")
async def get_rules(caller: Reader, session: SessionDep, page: PageDep) -> Page[RuleOut]:
    rows, cursor = await fetch_page(session, campaign_rules.visible_to(caller), id_column=CampaignRule.id, query=page)
    return Page(items=[RuleOut.model_validate(row) for row in rows], next_cursor=cursor)


@router.post("", status_code=201, response_model=RuleOut)
async def post_rule(body: RuleIn, caller: Writer, session: SessionDep, runtime: RuntimeDep, once: OnceDep) -> Response:
    """Some hours after an event, tell its resident a triggered campaign: same caps, opt-outs, hold-out and audience."""
    if replayed := await once.replay(session, caller.community_id, caller.key):
        return replayed
    rule = await campaign_rules.open_rule(session, runtime, caller, **body.model_dump())
    return await once.keep(session, 201, RuleOut.model_validate(rule))


@router.get("/{campaign_rule_id}")
async def get_rule(campaign_rule_id: UUID, caller: Reader, session: SessionDep, response: Response) -> RuleOut:
    return _shown(response, await campaign_rules.get(session, caller, campaign_rule_id))


@router.patch("/{campaign_rule_id}")
async def patch_rule(
    *, campaign_rule_id: UUID, body: RuleChange, caller: Writer, session: SessionDep, runtime: RuntimeDep,
    response: Response, if_match: IfMatchDep,
) -> RuleOut:  # fmt: skip
    """Change what is given. What it heard before keeps its time."""
    rule = await campaign_rules.get(session, caller, campaign_rule_id, locked=True)
    if_match.check(_etag(rule))
    await campaign_rules.change(session, runtime, rule, body.model_dump(exclude_unset=True, exclude_none=True))
    return _shown(response, rule)


@router.delete("/{campaign_rule_id}", status_code=204)
async def delete_rule(campaign_rule_id: UUID, caller: Writer, session: SessionDep) -> None:
    """With what it heard and told nobody yet."""
    await session.delete(await campaign_rules.get(session, caller, campaign_rule_id, locked=True))


def _etag(rule: CampaignRule) -> str:
    return f'"{rule.version}"'


def _shown(response: Response, rule: CampaignRule) -> RuleOut:
    response.headers["ETag"] = _etag(rule)
    return RuleOut.model_validate(rule)
