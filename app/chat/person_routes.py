"""A resident and the people behind the bot: asking for one, hearing from one, going back."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query
from fastapi.responses import StreamingResponse

from app.chat import conversations, following, handoff
from app.chat.handoff import Actor
from app.chat.inbox_routes import After, Rows, story_page
from app.chat.inbox_schemas import StoryOut
from app.chat.relay import EventStream
from app.chat.schemas import ConversationOut, conversation_out
from app.chat.story import View
from app.people.callers import Caller, SessionDep, require
from app.people.doors import DoorRoute
from app.runtime import RuntimeDep

router = APIRouter(prefix="/me/conversations/{conversation_id}", tags=["chat"], route_class=DoorRoute)

ChatCaller = Annotated[Caller, Depends(require("chat:write"))]
SSE = {200: {"content": {"text/event-stream": {}}, "description": "Events"}}


@router.get("")
async def get_conversation(conversation_id: UUID, caller: ChatCaller, session: SessionDep) -> ConversationOut:
    """Who has the word."""
    return conversation_out(await conversations.get_own(session, caller, conversation_id))


@router.get("/messages")
async def get_messages(
    conversation_id: UUID, caller: ChatCaller, session: SessionDep, after: After = 0, limit: Rows = 100
) -> StoryOut:
    """Questions, answers and what people said, in one order, oldest first."""
    conversation = await conversations.get_own(session, caller, conversation_id)
    return await story_page(session, caller, conversation, after=after, limit=limit, view=View.RESIDENT)


@router.post("/handoff")
async def post_handoff(
    conversation_id: UUID, caller: ChatCaller, session: SessionDep, runtime: RuntimeDep
) -> ConversationOut:
    """A person, please. Works at once and whatever the bot is doing; asked twice, one is called once."""
    conversation = await conversations.get_own(session, caller, conversation_id, locked=True)
    await handoff.request_by_button(session, runtime, caller, conversation)
    await session.flush()
    return conversation_out(conversation)


@router.post("/return-to-bot")
async def post_return_to_bot(
    conversation_id: UUID, caller: ChatCaller, session: SessionDep, runtime: RuntimeDep
) -> ConversationOut:
    """Wait for nobody any more. What was promised stays promised."""
    conversation = await conversations.get_own(session, caller, conversation_id, locked=True)
    await handoff.back_to_bot(session, runtime, conversation, actor=Actor.RESIDENT, caller=caller)
    await session.flush()
    return conversation_out(conversation)


@router.get("/events", response_class=StreamingResponse, responses=SSE)  # type: ignore[arg-type]
async def follow_conversation(
    conversation_id: UUID, caller: ChatCaller, session: SessionDep, runtime: RuntimeDep,
    last_event_id: Annotated[str | None, Header(max_length=64)] = None,
    cursor: Annotated[str | None, Query(max_length=64, description="As Last-Event-ID, for clients without it.")] = None,
) -> StreamingResponse:  # fmt: skip
    """What people say, as it comes; after `Last-Event-ID`, what was missed, then the rest.

    Events: message, status. The bot's answers have streams of their own. It ends after some minutes: come back with
    the last id.
    """
    await conversations.get_own(session, caller, conversation_id)
    after = following.number_of(last_event_id or cursor or "0")
    return EventStream(following.server_sent_events(runtime, caller, conversation_id, after=after))
