"""Campaigns over REST, and the way out of them for residents."""

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Response
from fastapi.responses import HTMLResponse
from sqlalchemy.ext.asyncio import AsyncSession

from app.people import audit
from app.people.callers import (
    Caller,
    CallerKind,
    SessionDep,
    require,
    require_in_community,
    system_caller,
    tenant_of_community,
)
from app.people.cells import write_csv
from app.people.doors import DoorRoute
from app.people.residents import ResidentNotFound
from app.recommend import (
    campaign_audience,
    campaign_drafting,
    campaign_preview,
    campaign_results,
    campaign_unsubscribe,
    campaign_views,
    campaigns,
)
from app.recommend.campaign_rule_routes import router as rules
from app.recommend.campaign_schemas import (
    CampaignBrief,
    CampaignChange,
    CampaignIn,
    CampaignOut,
    DraftCopyIn,
    PreviewOut,
    ResultsOut,
    ScheduleIn,
    UnsubscribedOut,
)
from app.recommend.campaign_tables import Campaign, CampaignStatus
from app.rest.etags import IfMatch, if_match_of
from app.rest.idempotency import OnceDep
from app.rest.pages import Page, PageQuery, fetch_page, page_query
from app.rest.plain_page import plain_page
from app.runtime import RuntimeDep

router = APIRouter()
house = APIRouter(prefix="/communities/{cid}/campaigns", tags=["campaigns"], route_class=DoorRoute)
mine = APIRouter(prefix="/me/campaigns", tags=["campaigns"], route_class=DoorRoute)
doorless = APIRouter(prefix="/unsubscribe", tags=["campaigns"], route_class=DoorRoute)

PageDep = Annotated[PageQuery, Depends(page_query)]
IfMatchDep = Annotated[IfMatch, Depends(if_match_of)]
Reader = Annotated[Caller, Depends(require_in_community("campaigns:read"))]
Writer = Annotated[Caller, Depends(require_in_community("campaigns:write"))]
Resident = Annotated[Caller, Depends(require("recommendations:own"))]
Format = Annotated[Literal["json", "csv"] | None, Query(alias="format", description="Also by `Accept: text/csv`.")]
Accept = Annotated[str | None, Header(max_length=500, include_in_schema=False)]
Token = Annotated[str, Query(alias="t", min_length=1, max_length=100)]
CSV = "text/csv"
AS_CSV: dict[int | str, dict[str, Any]] = {
    200: {"content": {CSV: {"schema": {"type": "string"}}}, "description": "Also as CSV."}
}
MAY_BE_NULL = frozenset({"cap_messages", "cap_days"})


@house.get("")
async def get_campaigns(
    caller: Reader, session: SessionDep, page: PageDep,
    status: Annotated[CampaignStatus | None, Query(alias="filter[status]")] = None,
) -> Page[CampaignBrief]:  # fmt: skip
    """Newest first."""
    statement = campaigns.list_statement(caller, status=status)
    rows, cursor = await fetch_page(session, statement, id_column=Campaign.id, query=page, newest_first=True)
    return Page(items=[CampaignBrief.model_validate(row) for row in rows], next_cursor=cursor)


@house.post("", status_code=201, response_model=CampaignOut)
async def post_campaign(
    body: CampaignIn, caller: Writer, session: SessionDep, runtime: RuntimeDep, once: OnceDep
) -> Response:
    """A draft; nobody is told of it. Its audience is a filter, its copy may be drafted by /draft-copy."""
    if replayed := await once.replay(session, caller.community_id, caller.key):
        return replayed
    campaign = await campaigns.open_campaign(session, runtime, caller, **body.model_dump())
    return await once.keep(session, 201, await campaign_views.show(session, campaign))


@house.get("/{campaign_id}")
async def get_campaign(campaign_id: UUID, caller: Reader, session: SessionDep, response: Response) -> CampaignOut:
    return await _shown(session, response, await campaigns.get(session, caller, campaign_id))


@house.patch("/{campaign_id}")
async def patch_campaign(
    *, campaign_id: UUID, body: CampaignChange, caller: Writer, session: SessionDep, runtime: RuntimeDep,
    response: Response, if_match: IfMatchDep,
) -> CampaignOut:  # fmt: skip
    """Change a draft, or what was paused before anybody was told."""
    campaign = await campaigns.get(session, caller, campaign_id, locked=True)
    if_match.check(_etag(campaign))
    given = body.model_dump(exclude_unset=True)
    kept = {name: value for name, value in given.items() if value is not None or name in MAY_BE_NULL}
    if body.variants is not None:
        kept["variants"] = [one.model_dump() for one in body.variants]
    await campaigns.change(session, runtime, caller, campaign, kept)
    return await _shown(session, response, campaign)


@house.delete("/{campaign_id}", status_code=204)
async def delete_campaign(campaign_id: UUID, caller: Writer, session: SessionDep) -> None:
    """Delete one of which nobody was told anything; any other is cancelled instead."""
    await campaigns.remove(session, await campaigns.get(session, caller, campaign_id, locked=True))


@house.post("/{campaign_id}/preview")
async def post_preview(campaign_id: UUID, caller: Reader, session: SessionDep, runtime: RuntimeDep) -> PreviewOut:
    """How many would be told, who is left out and why, and whom other campaigns reach too. Changes nothing."""
    campaign = await campaigns.get(session, caller, campaign_id)
    items = await campaign_audience.get_items(session, caller.community_id, campaign.item_ids)
    found = await campaign_preview.preview(session, campaign, items, now=runtime.clock())
    return campaign_views.show_preview(found)


@house.post("/{campaign_id}/draft-copy")
async def post_draft_copy(
    *, campaign_id: UUID, body: DraftCopyIn, caller: Writer, session: SessionDep, runtime: RuntimeDep,
    response: Response,
) -> CampaignOut:  # fmt: skip
    """Draft the words of a variant from its items' facts. A ready engine words them soon after; read it again then."""
    campaign = await campaigns.get(session, caller, campaign_id, locked=True)
    await campaign_drafting.draft(session, runtime, campaign, label=body.label, replace=body.replace)
    return await _shown(session, response, campaign)


@house.post("/{campaign_id}/approve")
async def post_approve(
    campaign_id: UUID, caller: Writer, session: SessionDep, runtime: RuntimeDep, response: Response
) -> CampaignOut:
    """A person stands for the words of every variant. Refused while something stands against one of them."""
    campaign = await campaigns.get(session, caller, campaign_id, locked=True)
    await campaigns.approve(session, runtime, caller, campaign)
    return await _shown(session, response, campaign)


@house.post("/{campaign_id}/schedule")
async def post_schedule(
    *, campaign_id: UUID, body: ScheduleIn, caller: Writer, session: SessionDep, runtime: RuntimeDep,
    response: Response,
) -> CampaignOut:  # fmt: skip
    """Send it at a time of the community's wall clock."""
    campaign = await campaigns.get(session, caller, campaign_id, locked=True)
    await campaigns.schedule(session, runtime, campaign, local_time=body.local_time)
    return await _shown(session, response, campaign)


@house.post("/{campaign_id}/send", status_code=202)
async def post_send(
    campaign_id: UUID, caller: Writer, session: SessionDep, runtime: RuntimeDep, response: Response
) -> CampaignOut:
    """Send it now, or go on with one that was paused. Of a triggered one: from now on its rules start it."""
    campaign = await campaigns.get(session, caller, campaign_id, locked=True)
    await campaigns.send(session, runtime, campaign)
    return await _shown(session, response, campaign)


@house.post("/{campaign_id}/pause")
async def post_pause(
    campaign_id: UUID, caller: Writer, session: SessionDep, runtime: RuntimeDep, response: Response
) -> CampaignOut:
    """Stop after the batch that is being told."""
    campaign = await campaigns.get(session, caller, campaign_id, locked=True)
    await campaigns.stop(session, runtime, campaign, CampaignStatus.PAUSED)
    return await _shown(session, response, campaign)


@house.post("/{campaign_id}/cancel")
async def post_cancel(
    campaign_id: UUID, caller: Writer, session: SessionDep, runtime: RuntimeDep, response: Response
) -> CampaignOut:
    """For good. Whoever was told stays told."""
    campaign = await campaigns.get(session, caller, campaign_id, locked=True)
    await campaigns.stop(session, runtime, campaign, CampaignStatus.CANCELLED)
    return await _shown(session, response, campaign)


@house.get("/{campaign_id}/results", response_model=ResultsOut, responses=AS_CSV)
async def get_results(
    campaign_id: UUID, caller: Reader, session: SessionDep, runtime: RuntimeDep, format_: Format = None,
    accept: Accept = None,
) -> ResultsOut | Response:  # fmt: skip
    """Figures by variant and for the hold-out, with the lift over it and its interval."""
    campaign = await campaigns.get(session, caller, campaign_id)
    found = await campaign_results.results_of(session, campaign, now=runtime.clock())
    shown = campaign_views.show_results(campaign, found)
    if format_ == "csv" or (format_ is None and (accept or "").lower().startswith(CSV)):
        file = write_csv(campaign_views.HEADER, campaign_views.table_of(campaign, shown))
        named = {"Content-Disposition": f'attachment; filename="campaign-{campaign.id}.csv"'}
        return Response(file, media_type=CSV, headers=named)
    return shown


def _etag(campaign: Campaign) -> str:
    return f'"{campaign.version}"'


async def _shown(session: AsyncSession, response: Response, campaign: Campaign) -> CampaignOut:
    response.headers["ETag"] = _etag(campaign)
    return await campaign_views.show(session, campaign)


# For residents


@mine.post("/unsubscribe")
async def post_my_unsubscribe(caller: Resident, session: SessionDep, runtime: RuntimeDep) -> UnsubscribedOut:
    """No more campaigns. Taken back in the profile of recommendations (`marketing_opted_out`)."""
    if caller.kind is not CallerKind.RESIDENT:
        raise ResidentNotFound
    await campaign_unsubscribe.unsubscribe(session, caller.community_id, caller.id, now=runtime.clock())
    return UnsubscribedOut(unsubscribed=True)


@doorless.get("", response_class=HTMLResponse)
async def get_unsubscribe_page(runtime: RuntimeDep, t: Token) -> HTMLResponse:
    """The page behind the link in each message. Only its button unsubscribes: mail programs follow links."""
    campaign_unsubscribe.read(runtime, t)
    button = f'<form method="post" action="unsubscribe?t={t}"><button>退订 · Unsubscribe</button></form>'
    return plain_page(f"<h1>不再接收推广消息？ · No more messages of this kind?</h1>{button}")


@doorless.post("", response_class=HTMLResponse)
async def post_unsubscribe(runtime: RuntimeDep, t: Token) -> HTMLResponse:
    """Unsubscribe with one tap, by the link that was sent, without signing in."""
    community_id, resident_id = campaign_unsubscribe.read(runtime, t)
    tenant = await tenant_of_community(runtime, community_id)
    async with runtime.transaction(tenant) as session:
        await campaign_unsubscribe.unsubscribe(session, community_id, resident_id, now=runtime.clock())
        await audit.note(
            session, system_caller(tenant), action="recommend.campaign.post_unsubscribe", object_kind="resident",
            object_id=resident_id,
        )  # fmt: skip
    return plain_page("<p>已退订，您不会再收到推广消息。</p><p>Done: you will get no more of these messages.</p>")


router.include_router(rules)
router.include_router(house)
router.include_router(mine)
router.include_router(doorless)
