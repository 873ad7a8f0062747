"""Drafts for staff over REST."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Response
from fastapi.responses import StreamingResponse

from app.chat import copilot_prompt, drafts, inbox, relay
from app.chat.inbox_schemas import DraftIn, DraftOut, SummaryOut, draft_out, resident_of
from app.chat.tables import ConversationDraft, DraftKind
from app.feed import check_event_id
from app.people import audit
from app.people.callers import Caller, SessionDep, require_in_community
from app.people.doors import DoorRoute
from app.rest.idempotency import OnceDep
from app.rest.pages import Page, PageQuery, fetch_page, page_query
from app.runtime import RuntimeDep

router = APIRouter(prefix="/communities/{cid}/conversations/{conversation_id}", tags=["copilot"], route_class=DoorRoute)

PageDep = Annotated[PageQuery, Depends(page_query)]
SSE = {200: {"content": {"text/event-stream": {}}, "description": "Events of the draft"}}
Reader = Annotated[Caller, Depends(require_in_community("conversations:read"))]
Writer = Annotated[Caller, Depends(require_in_community("conversations:write"))]


@router.get("/drafts")
async def get_drafts(conversation_id: UUID, caller: Reader, session: SessionDep, page: PageDep) -> Page[DraftOut]:
    """Newest first. Nothing of this was said to anybody."""
    await inbox.get(session, caller, conversation_id)
    statement = inbox.drafts_visible_to(caller).where(ConversationDraft.conversation_id == conversation_id)
    rows, cursor = await fetch_page(session, statement, id_column=ConversationDraft.id, query=page, newest_first=True)
    return Page(items=[draft_out(row) for row in rows], next_cursor=cursor)


@router.post("/drafts", status_code=202, response_model=DraftOut)
async def post_draft(
    conversation_id: UUID, body: DraftIn, caller: Writer, session: SessionDep, runtime: RuntimeDep, once: OnceDep
) -> Response:
    """Have something drafted: a reply with its sources, a kinder wording, a summary, a translation, a next step.

    202 with the draft; follow its events, or read it until it is done. It is sent by nobody but you.
    """
    if replayed := await once.replay(session, caller.community_id, caller.key):
        return replayed
    conversation = await inbox.lock(session, caller, conversation_id)
    row = await drafts.ask(
        session, runtime, caller, conversation, kind=DraftKind(body.kind), text=body.text, language=body.language
    )
    return await once.keep(session, 202, draft_out(row))


@router.get("/drafts/{draft_id}")
async def get_draft(conversation_id: UUID, draft_id: UUID, caller: Reader, session: SessionDep) -> DraftOut:
    await inbox.get(session, caller, conversation_id)
    return draft_out(await drafts.get(session, caller, conversation_id, draft_id))


@router.get("/drafts/{draft_id}/events", response_class=StreamingResponse, responses=SSE)  # type: ignore[arg-type]
async def follow_draft(
    conversation_id: UUID, draft_id: UUID, caller: Reader, session: SessionDep, runtime: RuntimeDep,
    last_event_id: Annotated[str | None, Header(max_length=64)] = None,
) -> StreamingResponse:  # fmt: skip
    """The events of a draft as they come, as of a turn: of a reply its words, of every kind `done` with the draft."""
    conversation = await inbox.get(session, caller, conversation_id)
    await drafts.get(session, caller, conversation_id, draft_id)
    audit.about(resident_of(conversation))
    if last_event_id:
        check_event_id(last_event_id)
    look = drafts.look_at(caller, conversation_id, draft_id)
    return relay.EventStream(
        relay.server_sent_events(runtime, caller, draft_id, look, job=drafts.JOB, after=last_event_id or None)
    )


@router.get("/summary")
async def get_summary(conversation_id: UUID, caller: Reader, session: SessionDep) -> SummaryOut:
    """What it is about: an extract at once, and the worded summary that was asked for last."""
    conversation = await inbox.get(session, caller, conversation_id)
    entries = await drafts.latest_entries(session, conversation)
    worded = await drafts.latest_summary(session, caller, conversation_id)
    return SummaryOut(
        resident_id=resident_of(conversation),
        extract=copilot_prompt.extract(entries, caller.language),
        worded=draft_out(worded) if worded else None,
        is_current=worded is not None and worded.up_to_number == conversation.last_number,
    )
