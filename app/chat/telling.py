"""Who hears of a hand-off besides the chat itself: staff who may take it, their lead, webhooks, the ledger of promises.

All in the transaction of the move: what was told stands, or neither does.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.chat.tables import Conversation
from app.notices import deliveries
from app.people import shifts
from app.people.callers import SYSTEM_ID, CallerKind
from app.people.scopes import ROLE_SCOPES
from app.people.tables import StaffRole
from app.runtime import Runtime
from app.service_desk import promise_ledger, recipients, webhooks
from app.service_desk.promise_tables import Promise, PromiseStatus

WRITERS = frozenset(role for role in StaffRole if "conversations:write" in ROLE_SCOPES[role])
"""Who may be given a conversation."""
LEAD = frozenset({StaffRole.MANAGER})

Words = Mapping[str, str]
CALLED: Words = {"zh": "有住户请求人工", "en": "A resident asks for a person"}
CALLED_BODY: Words = {"zh": "会话“{title}”正在等人接入。", "en": "The conversation “{title}” waits for somebody."}
WAITS: Words = {"zh": "住户等人工已超时", "en": "A resident still waits for a person"}
WAITS_BODY: Words = {
    "zh": "会话“{title}”第{times}次超过等候时间，还没有人接入，请安排。",
    "en": "Nobody has taken the conversation “{title}” within the time, for the {times}. time. Please see to it.",
}
GIVEN: Words = {"zh": "有一个会话交给了您", "en": "A conversation was given to you"}
GIVEN_BODY: Words = {"zh": "会话“{title}”现在由您答复。", "en": "The conversation “{title}” is yours to answer now."}
ANSWER: Words = {"zh": "您的人工请求", "en": "Your request for a person"}


async def person_called(session: AsyncSession, runtime: Runtime, conversation: Conversation, *, is_open: bool) -> None:
    """Those who may take it and are at work, as far as the community says who is; and webhooks."""
    data = {"conversation_id": str(conversation.id), "reason": conversation.reason}
    await webhooks.tell(session, runtime, conversation.community_id, "conversation.handoff_requested", data)
    writers = await recipients.with_roles(session, conversation.community_id, WRITERS)
    if is_open and await shifts.are_kept(session, conversation.community_id):
        working = await shifts.on_shift(session, conversation.community_id, runtime.clock())
        writers = [one for one in writers if one in working] or writers
    await _tell_staff(session, runtime, conversation, writers, CALLED, CALLED_BODY, key=_round(conversation))


async def still_waiting(session: AsyncSession, runtime: Runtime, conversation: Conversation, *, texts: Words) -> None:
    """The lead, and the resident also outside of the chat."""
    key = f"{_round(conversation)}:{conversation.chased}"
    lead = await recipients.with_roles(session, conversation.community_id, LEAD)
    await _tell_staff(session, runtime, conversation, lead, WAITS, WAITS_BODY, key=key)
    await _tell_resident(session, runtime, conversation, texts, key=key)


async def taken_over(session: AsyncSession, runtime: Runtime, conversation: Conversation, *, by: UUID) -> None:
    """Who was given it by a colleague, and webhooks. What was promised is kept: somebody came."""
    staff_id = conversation.assignee_id
    assert staff_id is not None
    data = {"conversation_id": str(conversation.id), "staff_id": str(staff_id)}
    await webhooks.tell(session, runtime, conversation.community_id, "conversation.taken_over", data)
    if staff_id != by:
        key = f"given:{conversation.last_number}"
        await _tell_staff(session, runtime, conversation, [staff_id], GIVEN, GIVEN_BODY, key=key)
    now = runtime.clock()
    for promised in await _promised(session, conversation):
        kept = promised.due_at >= now
        promised.status = PromiseStatus.KEPT if kept else PromiseStatus.BROKEN
        promised.decided_at, promised.kept_at = now, now if kept else None
        promised.version += 1


async def resolved(session: AsyncSession, runtime: Runtime, conversation: Conversation) -> None:
    data = {"conversation_id": str(conversation.id)}
    await webhooks.tell(session, runtime, conversation.community_id, "conversation.resolved", data)


async def promise_call(
    session: AsyncSession, runtime: Runtime, conversation: Conversation, *, texts: Words, due_at: datetime
) -> None:
    """What a resident was told of being called back becomes a promise that is chased and counted, once."""
    if conversation.caller_kind is CallerKind.RESIDENT and not (await _promised(session, conversation)):
        await promise_ledger.promise(
            session, runtime, community_id=conversation.community_id, by_kind=CallerKind.SYSTEM, by_id=SYSTEM_ID,
            to_resident_id=conversation.caller_id, text=texts["zh"], due_at=due_at, conversation_id=conversation.id,
        )  # fmt: skip


async def _promised(session: AsyncSession, conversation: Conversation) -> Sequence[Promise]:
    """What Linli promised in this conversation and nobody has kept yet, held."""
    rows = await session.scalars(
        select(Promise)
        .where(
            Promise.community_id == conversation.community_id,
            Promise.conversation_id == conversation.id,
            Promise.by_kind == CallerKind.SYSTEM,
            Promise.status == PromiseStatus.OPEN,
        )
        .with_for_update()
    )
    return rows.all()


async def _tell_staff(
    session: AsyncSession, runtime: Runtime, conversation: Conversation, staff_ids: Iterable[UUID], title: Words,
    body: Words, *, key: str,
) -> None:  # fmt: skip
    blanks = {"title": conversation.title, "times": conversation.chased}
    for staff_id in staff_ids:
        await deliveries.tell(
            session, runtime, community_id=conversation.community_id, staff_id=staff_id, kind="conversation.handoff",
            title=dict(title), body={language: text.format(**blanks) for language, text in body.items()},
            link=f"/communities/{conversation.community_id}/conversations/{conversation.id}",
            key=f"conversation:{conversation.id}:{key}",
        )  # fmt: skip


async def _tell_resident(
    session: AsyncSession, runtime: Runtime, conversation: Conversation, texts: Words, *, key: str
) -> None:
    if conversation.caller_kind is CallerKind.RESIDENT:
        await deliveries.tell(
            session, runtime, community_id=conversation.community_id, resident_id=conversation.caller_id,
            kind="conversation.handoff", title=dict(ANSWER), body=dict(texts),
            link=f"/me/conversations/{conversation.id}", key=f"conversation:{conversation.id}:{key}",
        )  # fmt: skip


def _round(conversation: Conversation) -> str:
    """Names one asking for a person, so that the next one is told anew and the same one never twice."""
    assert conversation.requested_at is not None
    return f"asked:{conversation.requested_at.isoformat()}"
