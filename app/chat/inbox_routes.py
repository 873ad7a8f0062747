"""The staff's inbox over REST."""

from collections.abc import Awaitable, Callable
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from sqlalchemy.ext.asyncio import AsyncSession

from app.chat import handoff, inbox, story
from app.chat.handoff import Actor
from app.chat.inbox_schemas import (
    AssigneeIn,
    CannedReplyChange,
    CannedReplyIn,
    CannedReplyOut,
    EntryOut,
    FilterIn,
    HandoffIn,
    InboxItem,
    LabelsIn,
    MessageIn,
    ReadIn,
    SnoozeIn,
    StoryOut,
    canned_reply_out,
    entry_out,
    resident_of,
)
from app.chat.story import View
from app.chat.tables import CannedReply, Conversation, ConversationStatus, HandoffReason, MessageKind
from app.people.callers import Caller, SessionDep, require_in_community
from app.people.doors import DoorRoute
from app.rest.etags import IfMatch, etag_of, if_match_of
from app.rest.idempotency import OnceDep
from app.rest.pages import Page, PageQuery, fetch_page, page_query
from app.runtime import Runtime, RuntimeDep

router = APIRouter(prefix="/communities/{cid}", tags=["inbox"], route_class=DoorRoute)

PageDep = Annotated[PageQuery, Depends(page_query)]
IfMatchDep = Annotated[IfMatch, Depends(if_match_of)]
Reader = Annotated[Caller, Depends(require_in_community("conversations:read"))]
Writer = Annotated[Caller, Depends(require_in_community("conversations:write"))]
After = Annotated[int, Query(ge=0, le=2**31 - 1, description="Number of the last entry you have.")]
Rows = Annotated[int, Query(ge=1, le=200)]


@router.get("/conversations")
async def get_community_conversations(
    caller: Reader, session: SessionDep, page: PageDep,
    status: Annotated[ConversationStatus | None, Query(alias="filter[status]")] = None,
    assignee_id: Annotated[UUID | None, Query(alias="filter[assignee_id]")] = None,
    label: Annotated[str | None, Query(alias="filter[label]", min_length=1, max_length=40)] = None,
    reason: Annotated[HandoffReason | None, Query(alias="filter[reason]")] = None,
    unread: Annotated[bool, Query(alias="filter[unread]")] = False,
) -> Page[InboxItem]:  # fmt: skip
    """All conversations of the community, for staff, last activity first."""
    wanted = FilterIn(
        status=[status] if status else [], assignee_id=[assignee_id] if assignee_id else [],
        labels=[label] if label else [], reason=[reason] if reason else [], unread=unread, cursor=page.cursor,
        limit=page.limit,
    )  # fmt: skip
    return await _page(session, caller, wanted)


@router.post("/conversations/filter")
async def filter_conversations(body: FilterIn, caller: Reader, session: SessionDep) -> Page[InboxItem]:
    """As the list, with any number of conditions."""
    return await _page(session, caller, body)


async def _page(session: AsyncSession, caller: Caller, wanted: FilterIn) -> Page[InboxItem]:
    statement = inbox.filtered(caller, wanted)
    rows, cursor = await inbox.fetch_page(session, statement, cursor=wanted.cursor, limit=wanted.limit)
    return Page(items=await inbox.show(session, rows), next_cursor=cursor)


@router.get("/conversations/{conversation_id}")
async def get_community_conversation(conversation_id: UUID, caller: Reader, session: SessionDep) -> InboxItem:
    return await _item(session, await inbox.get(session, caller, conversation_id))


async def _item(session: AsyncSession, conversation: Conversation) -> InboxItem:
    return (await inbox.show(session, [conversation]))[0]


@router.get("/conversations/{conversation_id}/messages")
async def get_messages(
    conversation_id: UUID, caller: Reader, session: SessionDep, after: After = 0, limit: Rows = 100
) -> StoryOut:
    """Questions, answers, replies, notes and moves in one order, oldest first."""
    conversation = await inbox.get(session, caller, conversation_id)
    return await story_page(session, caller, conversation, after=after, limit=limit, view=View.STAFF)


async def story_page(
    session: AsyncSession, caller: Caller, conversation: Conversation, *, after: int, limit: int, view: View
) -> StoryOut:
    entries = await story.read(session, conversation.id, after=after, rows_max=limit + 1, view=view)
    more, entries = len(entries) > limit, entries[:limit]
    shown = [entry_out(entry, language=caller.language) for entry in entries]
    next_after = entries[-1].number if more else None
    return StoryOut(resident_id=resident_of(conversation), items=shown, next_after=next_after)


@router.post("/conversations/{conversation_id}/messages", status_code=201, response_model=EntryOut)
async def post_message(
    conversation_id: UUID, body: MessageIn, caller: Writer, session: SessionDep, runtime: RuntimeDep, once: OnceDep
) -> Response:
    """A reply to the resident, of who has the conversation, or a note among staff."""
    if replayed := await once.replay(session, caller.community_id, caller.key):
        return replayed
    conversation = await inbox.lock(session, caller, conversation_id)
    message = await inbox.write(session, runtime, caller, conversation, kind=MessageKind(body.kind), text=body.text)
    [entry] = await story.read(session, conversation_id, after=message.number - 1, rows_max=1, view=View.STAFF)
    return await once.keep(session, 201, entry_out(entry, language=caller.language))


Act = Callable[[AsyncSession, Runtime, Caller, Conversation], Awaitable[None]]


async def _act(act: Act, conversation_id: UUID, caller: Caller, session: AsyncSession, runtime: Runtime) -> InboxItem:
    """What staff do with a conversation, under its lock, and how it stands then."""
    conversation = await inbox.lock(session, caller, conversation_id)
    await act(session, runtime, caller, conversation)
    await session.flush()
    return await _item(session, conversation)


@router.post("/conversations/{conversation_id}/handoff")
async def post_handoff(
    conversation_id: UUID, body: HandoffIn, caller: Writer, session: SessionDep, runtime: RuntimeDep
) -> InboxItem:
    """Call a person for the resident. Where one was called already nothing changes."""

    async def act(session: AsyncSession, runtime: Runtime, caller: Caller, conversation: Conversation) -> None:
        await inbox.request(session, runtime, caller, conversation, reason=body.reason, note=body.note)

    return await _act(act, conversation_id, caller, session, runtime)


@router.post("/conversations/{conversation_id}/take-over")
async def post_take_over(conversation_id: UUID, caller: Writer, session: SessionDep, runtime: RuntimeDep) -> InboxItem:
    """The conversation is yours and the bot is silent. 409 with who has it when a colleague was faster."""
    return await _act(handoff.take_over, conversation_id, caller, session, runtime)


@router.post("/conversations/{conversation_id}/return-to-bot")
async def post_return_to_bot(
    conversation_id: UUID, caller: Writer, session: SessionDep, runtime: RuntimeDep
) -> InboxItem:
    """The bot answers again, and knows what people said."""

    async def act(session: AsyncSession, runtime: Runtime, caller: Caller, conversation: Conversation) -> None:
        await handoff.back_to_bot(session, runtime, conversation, actor=Actor.STAFF, caller=caller)

    return await _act(act, conversation_id, caller, session, runtime)


@router.post("/conversations/{conversation_id}/resolve")
async def post_resolve(conversation_id: UUID, caller: Writer, session: SessionDep, runtime: RuntimeDep) -> InboxItem:
    """Done. When the resident writes again, the bot begins."""
    return await _act(handoff.resolve, conversation_id, caller, session, runtime)


@router.post("/conversations/{conversation_id}/snooze")
async def post_snooze(
    conversation_id: UUID, body: SnoozeIn, caller: Writer, session: SessionDep, runtime: RuntimeDep
) -> InboxItem:
    """Out of the way until a time, or until the resident writes."""

    async def act(session: AsyncSession, runtime: Runtime, caller: Caller, conversation: Conversation) -> None:
        await inbox.snooze(session, runtime, caller, conversation, until=body.until)

    return await _act(act, conversation_id, caller, session, runtime)


@router.put("/conversations/{conversation_id}/assignee")
async def put_assignee(
    conversation_id: UUID, body: AssigneeIn, caller: Writer, session: SessionDep, runtime: RuntimeDep
) -> InboxItem:
    """Give it to a colleague, or with null back to all."""

    async def act(session: AsyncSession, runtime: Runtime, caller: Caller, conversation: Conversation) -> None:
        await inbox.assign(session, runtime, caller, conversation, assignee_id=body.assignee_id)

    return await _act(act, conversation_id, caller, session, runtime)


@router.put("/conversations/{conversation_id}/labels")
async def put_labels(conversation_id: UUID, body: LabelsIn, caller: Writer, session: SessionDep) -> InboxItem:
    conversation = await inbox.lock(session, caller, conversation_id)
    inbox.label(conversation, body.labels)
    await session.flush()
    return await _item(session, conversation)


@router.put("/conversations/{conversation_id}/read")
async def put_read(conversation_id: UUID, body: ReadIn, caller: Writer, session: SessionDep) -> InboxItem:
    """What was read stays read."""
    conversation = await inbox.lock(session, caller, conversation_id)
    inbox.mark_read(conversation, body.number)
    await session.flush()
    return await _item(session, conversation)


# Canned replies


@router.get("/canned-replies")
async def get_canned_replies(caller: Reader, session: SessionDep, page: PageDep) -> Page[CannedReplyOut]:
    rows, cursor = await fetch_page(
        session, inbox.canned_replies_visible_to(caller), id_column=CannedReply.id, query=page
    )
    return Page(items=[canned_reply_out(row) for row in rows], next_cursor=cursor)


@router.post("/canned-replies", status_code=201, response_model=CannedReplyOut)
async def post_canned_reply(
    body: CannedReplyIn, caller: Writer, session: SessionDep, runtime: RuntimeDep, once: OnceDep
) -> Response:
    if replayed := await once.replay(session, caller.community_id, caller.key):
        return replayed
    row = await inbox.open_canned_reply(session, runtime, caller, code=body.code, text=body.text, text_en=body.text_en)
    return await once.keep(session, 201, canned_reply_out(row))


@router.get("/canned-replies/{canned_reply_id}")
async def get_canned_reply(
    canned_reply_id: UUID, caller: Reader, session: SessionDep, response: Response
) -> CannedReplyOut:
    return _with_etag(response, await inbox.get_canned_reply(session, caller, canned_reply_id))


@router.patch("/canned-replies/{canned_reply_id}")
async def patch_canned_reply(
    *, canned_reply_id: UUID, body: CannedReplyChange, caller: Writer, session: SessionDep, response: Response,
    if_match: IfMatchDep,
) -> CannedReplyOut:  # fmt: skip
    row = await inbox.get_canned_reply(session, caller, canned_reply_id, locked=True)
    if_match.check(etag_of(canned_reply_out(row)))
    changes = {name: value for name, value in body.model_dump(exclude_unset=True).items() if value is not None}
    return _with_etag(response, await inbox.change_canned_reply(session, caller, row, changes))


@router.delete("/canned-replies/{canned_reply_id}", status_code=204)
async def delete_canned_reply(canned_reply_id: UUID, caller: Writer, session: SessionDep) -> None:
    await session.delete(await inbox.get_canned_reply(session, caller, canned_reply_id, locked=True))
    await session.flush()


def _with_etag(response: Response, row: CannedReply) -> CannedReplyOut:
    shown = canned_reply_out(row)
    response.headers["ETag"] = etag_of(shown)
    return shown
