"""Drafts for staff: asked for over HTTP, claimed and saved by a worker, read by whoever reads the conversation.

A draft is never sent by itself: nothing here writes into the story.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.chat import inbox, story
from app.chat.claims import asker_of
from app.chat.inbox_schemas import draft_out
from app.chat.publishing import END_TOKEN
from app.chat.relay import Look, Seen
from app.chat.story import Entry, View
from app.chat.tables import Conversation, ConversationDraft, DraftKind, DraftStatus, Mode, Turn
from app.db import Tenant
from app.errors import Invalid, NotFound
from app.feed import Event, publish_after_commit
from app.knowledge.language import language_of
from app.people.callers import Caller, account_rights, tenant_of_community
from app.people.tables import ApiKey, Community
from app.queue import Job, Lane, Lease, send_after_commit
from app.runtime import Runtime

JOB = "chat.write_draft"
STORY_ENTRIES_MAX = 60
OPEN = (DraftStatus.WAITING, DraftStatus.RUNNING)
FROM_TEXT = frozenset({DraftKind.REWRITE, DraftKind.TRANSLATE})
"""Made from a text that staff give; the others from the conversation."""


class DraftNotFound(NotFound):
    code = "draft_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such draft.", "没有这份草稿。")


class DraftTextMissing(Invalid):
    code = "draft_text_missing"

    def __init__(self) -> None:
        super().__init__("Give the text to rewrite or translate.", "请提供要改写或翻译的文字。")


@dataclass(frozen=True)
class Work:
    """A draft this worker may write, with all it needs. `asker` is the resident with the rights of now, if they have
    any: what is drafted for them is found as they would find it.
    """

    draft: ConversationDraft
    token: int
    tenant: Tenant
    conversation: Conversation
    community_name: str
    asker: Caller | None
    entries: list[Entry]


@dataclass(frozen=True)
class Written:
    """What a draft became. `facts` say what staff should know of it: why the model did not write it, say."""

    text: str
    mode: Mode
    citations: list[dict[str, Any]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


async def ask(
    session: AsyncSession, runtime: Runtime, caller: Caller, conversation: Conversation, *, kind: DraftKind,
    text: str, language: str | None,
) -> ConversationDraft:  # fmt: skip
    """A waiting draft, written by a worker. Raises DraftTextMissing."""
    if kind in FROM_TEXT and not text:
        raise DraftTextMissing
    last = select(Turn.language).where(Turn.conversation_id == conversation.id).order_by(Turn.number.desc()).limit(1)
    spoken = await session.scalar(last) or "zh"
    if kind is DraftKind.TRANSLATE:
        spoken = "zh" if language_of(text) == "en" else "en"
    elif kind is DraftKind.REWRITE:
        spoken = language_of(text)
    row = ConversationDraft(
        community_id=conversation.community_id, conversation_id=conversation.id, asked_by=caller.id, kind=kind,
        language=language or spoken, text_given=text, up_to_number=conversation.last_number,
        created_at=runtime.clock(),
    )  # fmt: skip
    session.add(row)
    await session.flush()
    send_after_commit(session, job_of(row.id, row.community_id))
    # So that there is something to follow.
    publish_after_commit(session, row.id, "accepted", {"draft_id": str(row.id)})
    return row


def job_of(draft_id: UUID, community_id: UUID) -> Job:
    return Job(JOB, draft_id, community_id, lane=Lane.SERVICE)


async def get(session: AsyncSession, caller: Caller, conversation_id: UUID, draft_id: UUID) -> ConversationDraft:
    """Raises DraftNotFound."""
    found = await session.scalar(
        inbox.drafts_visible_to(caller).where(
            ConversationDraft.id == draft_id, ConversationDraft.conversation_id == conversation_id
        )
    )
    if found is None:
        raise DraftNotFound
    return found


def look_at(caller: Caller, conversation_id: UUID, draft_id: UUID) -> Look:
    """For whoever follows a draft."""

    async def look(session: AsyncSession) -> Seen:
        row = await get(session, caller, conversation_id, draft_id)
        return Seen(None if row.status in OPEN else last_event(row), row.attempts, row.text)

    return look


def last_event(row: ConversationDraft) -> Event:
    name = "failed" if row.status is DraftStatus.FAILED else "done"
    return Event("", name, draft_out(row).model_dump(mode="json"))


async def latest_summary(session: AsyncSession, caller: Caller, conversation_id: UUID) -> ConversationDraft | None:
    found: ConversationDraft | None = await session.scalar(
        inbox.drafts_visible_to(caller)
        .where(
            ConversationDraft.conversation_id == conversation_id,
            ConversationDraft.kind == DraftKind.SUMMARY,
            ConversationDraft.status == DraftStatus.DONE,
        )
        .order_by(ConversationDraft.id.desc())
        .limit(1)
    )
    return found


async def claim(runtime: Runtime, lease: Lease) -> Work | None:
    """None when it is written already, a newer claim has it, or it is gone."""
    tenant = await tenant_of_community(runtime, lease.job.community_id)
    async with runtime.transaction(tenant) as session:
        draft = await session.scalar(
            update(ConversationDraft)
            .where(
                ConversationDraft.id == lease.job.row_id,
                ConversationDraft.claim_token < lease.token,
                ConversationDraft.status.in_(OPEN),
            )
            .values(
                status=DraftStatus.RUNNING, claim_token=lease.token, attempts=ConversationDraft.attempts + 1
            )
            .returning(ConversationDraft)
        )  # fmt: skip
        if draft is None:
            return None
        row = await session.execute(
            select(Conversation, Community.name, account_rights(Conversation.account_id), ApiKey)
            .join(Community, Community.id == Conversation.community_id)
            .outerjoin(ApiKey, ApiKey.id == Conversation.caller_id)
            .where(Conversation.id == draft.conversation_id),
            {"rights_in": tenant.community_id},
        )
        conversation, name, rights, key = row.one()
        entries = await latest_entries(session, conversation)
    return Work(draft, lease.token, tenant, conversation, name, asker_of(tenant, conversation, rights, key), entries)


async def latest_entries(session: AsyncSession, conversation: Conversation) -> list[Entry]:
    """The end of the story, without notes, oldest first."""
    after = max(0, conversation.last_number - STORY_ENTRIES_MAX)
    return await story.read(session, conversation.id, after=after, rows_max=STORY_ENTRIES_MAX, view=View.RESIDENT)


async def save(runtime: Runtime, work: Work, written: Written) -> bool:
    """Keep it and tell who follows. False when a newer claim has it."""
    values = {
        "status": DraftStatus.DONE, "text": written.text, "mode": written.mode, "citations": written.citations,
        "facts": written.facts,
    }  # fmt: skip
    return await _end(runtime, work.tenant, work.draft.id, values, token=work.token)


async def give_up(runtime: Runtime, draft_id: UUID, community_id: UUID, *, reason: str) -> None:
    """For a draft whose job died: who waits for it is told."""
    tenant = await tenant_of_community(runtime, community_id)
    await _end(runtime, tenant, draft_id, {"status": DraftStatus.FAILED, "error": reason})


async def _end(
    runtime: Runtime, tenant: Tenant, draft_id: UUID, values: Mapping[str, Any], *, token: int | None = None
) -> bool:
    statement = update(ConversationDraft).where(ConversationDraft.id == draft_id, ConversationDraft.status.in_(OPEN))
    if token is not None:
        statement = statement.where(ConversationDraft.claim_token == token)
    async with runtime.transaction(tenant) as session:
        ended: ConversationDraft | None = await session.scalar(
            statement.values(finished_at=runtime.clock(), **values).returning(ConversationDraft)
        )
        if ended is not None:
            event = last_event(ended)
            publish_after_commit(session, draft_id, event.name, event.data, token=token or END_TOKEN)
    return ended is not None
