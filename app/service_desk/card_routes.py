"""Emergency cards over REST: staff read them and approve their own words."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Response

from app.people.callers import Caller, SessionDep, require_in_community
from app.people.doors import DoorRoute
from app.rest.etags import IfMatch, if_match_of
from app.rest.pages import Page, PageQuery, fetch_page, page_query
from app.runtime import RuntimeDep
from app.service_desk import cards
from app.service_desk.cards import Card
from app.service_desk.emergency_schemas import CardChange, CardOut, CardVersionOut
from app.service_desk.emergency_tables import EmergencyCard

router = APIRouter(prefix="/communities/{cid}/emergency-cards", tags=["emergencies"], route_class=DoorRoute)

Reader = Annotated[Caller, Depends(require_in_community("workorders:read"))]
Writer = Annotated[Caller, Depends(require_in_community("desk:write"))]
IfMatchDep = Annotated[IfMatch, Depends(if_match_of)]
PageDep = Annotated[PageQuery, Depends(page_query)]


def _etag(card: Card) -> str:
    return f'"{card.id}.{card.version}"'


def _shown(card: Card) -> CardOut:
    return CardOut(
        id=card.id, kind=card.kind, title_zh=card.title["zh"], title_en=card.title["en"], text_zh=card.text["zh"],
        text_en=card.text["en"], version=card.version, built_in=card.built_in, changed_at=card.changed_at,
    )  # fmt: skip


def _out(response: Response, card: Card) -> CardOut:
    response.headers["ETag"] = _etag(card)
    return _shown(card)


@router.get("")
async def get_cards(caller: Reader, session: SessionDep) -> Page[CardOut]:
    """The card in force for every kind of emergency. {…} in a text is a telephone number of the settings."""
    return Page(items=[_shown(card) for card in await cards.in_force(session, caller)], next_cursor=None)


@router.get("/{card_id}")
async def get_card(card_id: UUID, caller: Reader, session: SessionDep, response: Response) -> CardOut:
    return _out(response, await cards.get(session, caller, card_id))


@router.patch("/{card_id}")
async def patch_card(
    *, card_id: UUID, body: CardChange, caller: Writer, session: SessionDep, runtime: RuntimeDep, response: Response,
    if_match: IfMatchDep,
) -> CardOut:  # fmt: skip
    """Approve other words. They are in force at once, and what was before stays on record."""
    card = await cards.get(session, caller, card_id)
    if_match.check(_etag(card))
    changed = await cards.change(
        session, caller, card, text_zh=body.text_zh, text_en=body.text_en, now=runtime.clock()
    )  # fmt: skip
    return _out(response, changed)


@router.delete("/{card_id}", status_code=204)
async def delete_card(card_id: UUID, caller: Writer, session: SessionDep, runtime: RuntimeDep) -> None:
    """Back to the built-in card."""
    await cards.reset(session, caller, await cards.get(session, caller, card_id), now=runtime.clock())


@router.get("/{card_id}/versions")
async def get_card_versions(card_id: UUID, caller: Reader, session: SessionDep, page: PageDep) -> Page[CardVersionOut]:
    """The community's own versions, newest first. Empty texts stand for the built-in card."""
    card = await cards.get(session, caller, card_id)
    statement = cards.visible_to(caller).where(EmergencyCard.kind == card.kind)
    rows, cursor = await fetch_page(session, statement, id_column=EmergencyCard.id, query=page, newest_first=True)
    return Page(items=[CardVersionOut.model_validate(row) for row in rows], next_cursor=cursor)
