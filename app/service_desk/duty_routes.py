"""Deadline rules, the areas of staff, and answers to ringing, over REST."""

from html import escape
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import HTMLResponse
from sqlalchemy.ext.asyncio import AsyncSession

from app.people import audit
from app.people.callers import Caller, SessionDep, account_caller, require_in_community
from app.people.doors import DoorRoute
from app.people.tables import Staff
from app.rest.etags import IfMatch, etag_of, if_match_of
from app.rest.idempotency import OnceDep
from app.rest.pages import Page, PageQuery, fetch_page, page_query
from app.rest.plain_page import plain_page
from app.runtime import RuntimeDep
from app.service_desk import areas, ring_answers, ring_links, ringing, sla_rules, work_orders
from app.service_desk.duty_schemas import (
    AreasIn,
    AreasOut,
    RingAnswerIn,
    RingCallOut,
    RingOut,
    SlaRuleChange,
    SlaRuleIn,
    SlaRuleOut,
)
from app.service_desk.duty_tables import RingAnswer, SlaRule

router = APIRouter()
house = APIRouter(prefix="/communities/{cid}", route_class=DoorRoute)
doorless = APIRouter(prefix="/ring", tags=["ringing"], route_class=DoorRoute)

PageDep = Annotated[PageQuery, Depends(page_query)]
IfMatchDep = Annotated[IfMatch, Depends(if_match_of)]
Reader = Annotated[Caller, Depends(require_in_community("workorders:read"))]
Writer = Annotated[Caller, Depends(require_in_community("workorders:write"))]
DeskWriter = Annotated[Caller, Depends(require_in_community("desk:write"))]
Token = Annotated[str, Query(alias="t", min_length=1, max_length=ring_links.TOKEN_CHARS_MAX)]


@house.get("/sla-rules", tags=["deadlines"])
async def get_rules(caller: Reader, session: SessionDep, page: PageDep) -> Page[SlaRuleOut]:
    """How long orders may take. What no rule names takes as long as its category or Linli says."""
    rows, cursor = await fetch_page(session, sla_rules.visible_to(caller), id_column=SlaRule.id, query=page)
    return Page(items=[SlaRuleOut.model_validate(row) for row in rows], next_cursor=cursor)


@house.post("/sla-rules", status_code=201, response_model=SlaRuleOut, tags=["deadlines"])
async def post_rule(
    body: SlaRuleIn, caller: DeskWriter, session: SessionDep, runtime: RuntimeDep, once: OnceDep
) -> Response:
    """A new rule. It holds for orders from the next time they are looked at."""
    if replayed := await once.replay(session, caller.community_id, caller.key):
        return replayed
    given = body.model_dump()
    rule = await sla_rules.open_rule(session, runtime, caller, class_=given.pop("deadline_class"), **given)
    return await once.keep(session, 201, SlaRuleOut.model_validate(rule))


@house.get("/sla-rules/{rule_id}", tags=["deadlines"])
async def get_rule(rule_id: UUID, caller: Reader, session: SessionDep, response: Response) -> SlaRuleOut:
    return _rule_out(response, await sla_rules.get(session, caller, rule_id))


@house.patch("/sla-rules/{rule_id}", tags=["deadlines"])
async def patch_rule(
    *, rule_id: UUID, body: SlaRuleChange, caller: DeskWriter, session: SessionDep, response: Response,
    if_match: IfMatchDep,
) -> SlaRuleOut:  # fmt: skip
    """Change what is given; null takes the community's setting for warning and escalation."""
    rule = await sla_rules.get(session, caller, rule_id, locked=True)
    if_match.check(etag_of(SlaRuleOut.model_validate(rule)))
    await sla_rules.change(session, rule, body.model_dump(exclude_unset=True))
    return _rule_out(response, rule)


@house.delete("/sla-rules/{rule_id}", status_code=204, tags=["deadlines"])
async def delete_rule(rule_id: UUID, caller: DeskWriter, session: SessionDep) -> None:
    await session.delete(await sla_rules.get(session, caller, rule_id, locked=True))


def _rule_out(response: Response, rule: SlaRule) -> SlaRuleOut:
    shown = SlaRuleOut.model_validate(rule)
    response.headers["ETag"] = etag_of(shown)
    return shown


@house.get("/staff/{staff_id}/areas", tags=["staff"])
async def get_areas(staff_id: UUID, caller: Reader, session: SessionDep) -> AreasOut:
    """Where the work of a member of staff is limited to."""
    return AreasOut(space_ids=await areas.of(session, caller, staff_id))


@house.put("/staff/{staff_id}/areas", tags=["staff"])
async def put_areas(staff_id: UUID, body: AreasIn, caller: DeskWriter, session: SessionDep) -> AreasOut:
    """Limit somebody's work to these spaces and what lies in them."""
    return AreasOut(space_ids=await areas.put(session, caller, staff_id, body.space_ids))


# Ringing


@house.get("/workorders/{order_id}/ring", tags=["ringing"])
async def get_ring(order_id: UUID, caller: Reader, session: SessionDep) -> RingOut:
    """Who was rung about an emergency, and what came of it."""
    return await _ring_out(session, caller, order_id)


async def _ring_out(session: AsyncSession, caller: Caller, order_id: UUID) -> RingOut:
    ring, calls = await ring_answers.find(session, caller, order_id)
    if ring is None:
        return RingOut()
    return RingOut(
        state=ring.state, step=ring.step, next_at=ring.next_at, answer=ring.answer, answered_by=ring.answered_by,
        answered_at=ring.answered_at, calls=[RingCallOut.model_validate(one) for one in calls],
    )  # fmt: skip


SAYS: dict[RingAnswer, str] = {
    RingAnswer.ACCEPT: "I take it: the ringing ends and the order is yours. Of two at once one gets it.",
    RingAnswer.DOWNGRADE: "It is no emergency: the ringing ends and the order goes its usual way, as urgent.",
    RingAnswer.KNOWN: "It is known and looked after: the ringing ends and the desk links or closes the order.",
}


def _add(given: RingAnswer) -> None:
    async def by_caller(
        order_id: UUID, body: RingAnswerIn, caller: Writer, session: SessionDep, runtime: RuntimeDep
    ) -> RingOut:
        await ring_answers.answer(session, runtime, caller, order_id, given=given, note=body.note)
        return await _ring_out(session, caller, order_id)

    async def by_link(runtime: RuntimeDep, t: Token) -> HTMLResponse:
        link = ring_links.read(runtime, t)
        async with runtime.transaction(link.tenant) as session:
            caller = await _staff_caller(session, link)
            order = await ring_answers.answer(session, runtime, caller, link.order_id, given=given)
            action = f"service_desk.duty.post_{given}_by_link"
            await audit.note(session, caller, action=action, object_kind="work_order", object_id=order.id)
        zh, en = ring_answers.WORDS[given]
        return plain_page(
            f"<p>工单 {order.number}：已记录“{zh}”。</p><p>Order {order.number}: noted, {escape(caller.name)} {en}.</p>"
        )

    by_caller.__name__, by_link.__name__ = f"post_{given}", f"post_{given}_by_link"
    path, said = f"/workorders/{{order_id}}/ring/{given}", SAYS[given]
    house.add_api_route(path, by_caller, methods=["POST"], description=said, tags=["ringing"])
    by_whom = "By the link that was sent, without signing in."
    doorless.add_api_route(
        f"/{given}", by_link, methods=["POST"], response_class=HTMLResponse, description=f"{said} {by_whom}"
    )


for _given in RingAnswer:
    _add(_given)


@doorless.get("", response_class=HTMLResponse)
async def get_ring_page(runtime: RuntimeDep, t: Token) -> HTMLResponse:
    """The page behind the link that was sent: what happened, and the three answers.

    Only a press of a button answers: mail programs follow links before anybody reads them.
    """
    link = ring_links.read(runtime, t)
    async with runtime.transaction(link.tenant) as session:
        caller = await _staff_caller(session, link)
        order = await work_orders.get(session, caller, link.order_id)
        zh, en = ringing.EMERGENCIES.get(order.emergency_kind or "", ringing.SOME_EMERGENCY)
        said = escape(f"{order.place_text} {order.text}".strip())
    buttons = "".join(
        f'<form method="post" action="ring/{answer}?t={escape(t)}"><button>{words[0]} · {words[1]}</button></form>'
        for answer, words in ring_answers.WORDS.items()
    )
    return plain_page(f"<h1>{zh} · {en}</h1><p>工单 {order.number}：{said}</p>{buttons}")


async def _staff_caller(session: AsyncSession, link: ring_links.RingLink) -> Caller:
    """Whom the link was sent to, with the rights they have now. Raises: RingLinkInvalid, BadToken."""
    member = await session.get(Staff, link.staff_id)
    if member is None:
        raise ring_links.RingLinkInvalid
    return await account_caller(session, link.tenant, member.account_id)


router.include_router(house)
router.include_router(doorless)
