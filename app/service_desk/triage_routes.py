"""Triage over REST: what Linli would make of a text, for staff who take a call."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from app.people import spaces
from app.people.callers import Caller, require_in_community
from app.people.doors import DoorRoute
from app.people.schemas import Body
from app.runtime import RuntimeDep
from app.service_desk import triaging
from app.service_desk.schemas import PlaceText, Text
from app.service_desk.tables import OrderKind, Urgency
from app.service_desk.triage import Doubt, Voice

router = APIRouter(route_class=DoorRoute)
Writer = Annotated[Caller, Depends(require_in_community("workorders:write"))]


class TriageIn(Body):
    text: Text = Field(examples=["三单元楼道灯又闪了"])
    place_text: PlaceText = ""
    room_id: UUID | None = Field(None, description="Whose home it may be about; a text without an address means it.")


class TriageOut(BaseModel):
    """What is thought of a text. With any doubt an order waits for a person."""

    kind: OrderKind
    category_id: UUID | None
    category_code: str
    urgency: Urgency
    confidence: float = Field(description="How likely the category is right.")
    space_id: UUID | None
    place: str
    place_found: str = Field(description="said, home, unknown (said, but not in the tree or several) or none.")
    needs_person: bool
    doubts: list[Doubt]
    intents: dict[str, float] = Field(description="The likeliest, with their shares.")
    categories: dict[str, float]
    slots: dict[str, Any]
    voice: Voice = Field(description="wording: without the embedder; rules: without the classifier.")


@router.post("/triage")
async def post_triage(body: TriageIn, caller: Writer, runtime: RuntimeDep) -> TriageOut:
    """Preview: what an order with this text would be. Nothing is written."""
    async with runtime.transaction(caller.tenant) as session:
        if body.room_id is not None:
            await spaces.get_room(session, caller, body.room_id)
        report = await triaging.look_around(
            session, caller, text=body.text, place_text=body.place_text, home_id=body.room_id
        )
    # Nobody's transaction stays open while embedder and engine think.
    thought = await triaging.think(runtime, report)
    category_id = report.categories[thought.category_code][0] if thought.category_code in report.categories else None
    return TriageOut(
        **thought.facts(), category_id=category_id, space_id=thought.place.space_id, needs_person=thought.needs_person
    )
