"""Chat over REST: conversations, questions, answers as they come."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from redis.exceptions import RedisError

from app.chat import asking, conversations, relay
from app.chat.conversations import ANSWER_TURN
from app.chat.schemas import (
    ConversationIn,
    ConversationOut,
    PositionOut,
    TraceOut,
    TurnIn,
    TurnOut,
    conversation_out,
    trace_out,
    turn_out,
)
from app.chat.tables import AT_ONCE, Conversation, Turn, TurnStatus
from app.feed import check_event_id
from app.people import audit
from app.people.callers import Caller, SessionDep, require, require_in_community
from app.rest.idempotency import OnceDep
from app.rest.pages import Page, PageQuery, fetch_page, page_query
from app.rest.rate_limits import RateLimits
from app.runtime import Runtime, RuntimeDep
from app.service_desk.hearing_route import HearingRoute

router = APIRouter(tags=["chat"], route_class=HearingRoute)

ChatCaller = Annotated[Caller, Depends(require("chat:write"))]
StaffReader = Annotated[Caller, Depends(require_in_community("conversations:read"))]
PageDep = Annotated[PageQuery, Depends(page_query)]
SSE = {200: {"content": {"text/event-stream": {}}, "description": "Events of the turn"}}


@router.post("/me/conversations", status_code=201, response_model=ConversationOut)
async def post_conversation(
    body: ConversationIn, caller: ChatCaller, session: SessionDep, runtime: RuntimeDep, once: OnceDep
) -> Response:
    """Open a conversation."""
    if replayed := await once.replay(session, caller.community_id, caller.key):
        return replayed
    opened = await conversations.open_conversation(session, runtime, caller, title=body.title)
    return await once.keep(session, 201, conversation_out(opened))


@router.get("/me/conversations")
async def get_conversations(caller: ChatCaller, session: SessionDep, page: PageDep) -> Page[ConversationOut]:
    """The caller's own conversations, newest first."""
    own = conversations.visible_to(caller).where(Conversation.caller_id == caller.id)
    rows, cursor = await fetch_page(session, own, id_column=Conversation.id, query=page, newest_first=True)
    return Page(items=[conversation_out(row) for row in rows], next_cursor=cursor)


@router.get("/me/conversations/{conversation_id}/turns")
async def get_turns(conversation_id: UUID, caller: ChatCaller, session: SessionDep, page: PageDep) -> Page[TurnOut]:
    """Questions and answers of a conversation, oldest first."""
    await conversations.get_conversation(session, caller, conversation_id)
    statement = conversations.visible_turns(caller).where(Turn.conversation_id == conversation_id)
    rows, cursor = await fetch_page(session, statement, id_column=Turn.id, query=page)
    return Page(items=[turn_out(row) for row in rows], next_cursor=cursor)


@router.post("/me/turns", status_code=202, response_model=TurnOut, responses=SSE)  # type: ignore[arg-type]
async def post_turn(
    body: TurnIn, request: Request, caller: ChatCaller, session: SessionDep, runtime: RuntimeDep, once: OnceDep,
    accept: Annotated[str, Header()] = "",
) -> Response:  # fmt: skip
    """Ask. 202 with the turn; with `Accept: text/event-stream` the answer's events at once.

    An emergency is answered in the turn itself, and the staff on duty have it as a work order.

    A message sent while an earlier one of the conversation still waits joins it.
    """
    limits: RateLimits = request.app.state.rate_limits
    emergency = await asking.hear_emergency(runtime, limits, caller, body.text)
    if replayed := await once.replay(session, caller.community_id, caller.key):
        return replayed
    turn = await asking.ask(
        session, runtime, caller, text=body.text, emergency=emergency, conversation_id=body.conversation_id
    )
    await relay.tell_accepted(runtime, turn)
    answer = await once.keep(session, 202, turn_out(turn))
    if "text/event-stream" in accept:
        return events_response(runtime, caller, turn, after=None)
    return answer


@router.get("/turns/{turn_id}")
async def get_turn(turn_id: UUID, caller: ChatCaller, session: SessionDep, runtime: RuntimeDep) -> TurnOut:
    """A turn as it stands; while it waits, with its place in the queue."""
    turn = await conversations.get_turn(session, caller, turn_id)
    return turn_out(turn, await position_of(runtime, turn))


@router.get("/turns/{turn_id}/events", response_class=StreamingResponse, responses=SSE)  # type: ignore[arg-type]
async def follow_turn(
    turn_id: UUID, caller: ChatCaller, session: SessionDep, runtime: RuntimeDep,
    last_event_id: Annotated[str | None, Header(max_length=64)] = None,
    cursor: Annotated[str | None, Query(max_length=64, description="As Last-Event-ID, for clients without it.")] = None,
) -> StreamingResponse:  # fmt: skip
    """The events of a turn as they come; after `Last-Event-ID`, what was missed, then the rest.

    Events: accepted, position, started, retrieved, token, citation, replaced, restart, done, failed. After `restart`
    the text begins anew; `replaced` holds what stands in place of it. `done` holds the whole answer.
    """
    turn = await conversations.get_turn(session, caller, turn_id)
    after = last_event_id or cursor
    if after:
        # Now: a stream that has begun can no longer tell a status.
        check_event_id(after)
    return events_response(runtime, caller, turn, after=after or None)


@router.post("/turns/{turn_id}/stop")
async def stop_turn(turn_id: UUID, caller: ChatCaller, runtime: RuntimeDep) -> TurnOut:
    """Stop an answer. What was said so far is kept; the engine stops at once."""
    async with runtime.transaction(caller.tenant) as session:
        turn = await conversations.get_own_turn(session, caller, turn_id)
        ended_here = await conversations.stop_turn(session, runtime, turn)
    await relay.cancel(runtime, turn.id)
    async with runtime.transaction(caller.tenant) as session:
        turn = await conversations.get_turn(session, caller, turn_id)
    if ended_here:
        await relay.tell_stopped(runtime, turn)
    return turn_out(turn)


@router.get("/communities/{cid}/turns/{turn_id}/trace")
async def get_trace(turn_id: UUID, caller: StaffReader, session: SessionDep) -> TraceOut:
    """How an answer came about: route, passages with scores, tokens, times."""
    turn = await conversations.get_turn(session, caller, turn_id)
    audit.about((await session.get_one(Conversation, turn.conversation_id)).caller_id)
    return trace_out(turn)


async def position_of(runtime: Runtime, turn: Turn) -> PositionOut | None:
    """The place in the queue while the turn waits; None when it does not, or Redis cannot say."""
    if turn.status is not TurnStatus.WAITING:
        return None
    try:
        position = await runtime.queue.position(ANSWER_TURN, turn.id)
    except (RedisError, OSError):
        return None
    if position is None:
        return None
    return PositionOut(ahead=position.ahead, expected_wait_seconds=position.expected_wait_seconds)


def events_response(runtime: Runtime, caller: Caller, turn: Turn, *, after: str | None) -> StreamingResponse:
    if turn.route in AT_ONCE:
        return relay.EventStream(relay.frames_at_once(turn))
    look = relay.look_at_turn(caller, turn.id)
    return relay.EventStream(relay.server_sent_events(runtime, caller, turn.id, look, job=ANSWER_TURN, after=after))
