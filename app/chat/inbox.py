"""The staff's inbox: conversations by last activity, who has them, what is unread, replies kept ready."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Select, and_, false, func, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from app.chat import conversations, handoff, story
from app.chat.conversations import ConversationNotFound
from app.chat.handoff import Actor, MoveNotAllowed
from app.chat.inbox_schemas import FilterIn, InboxItem, inbox_item
from app.chat.tables import (
    CannedReply,
    Conversation,
    ConversationDraft,
    ConversationMessage,
    ConversationStatus,
    HandoffReason,
    MessageKind,
    Route,
    Turn,
    TurnStatus,
)
from app.errors import Conflict, Forbidden, Invalid, NotFound
from app.people import audit, staff
from app.people.callers import Caller, CallerKind
from app.people.scopes import ROLE_SCOPES
from app.people.staff import StaffNotFound
from app.people.tables import Resident, Staff, StaffRight, StaffRole
from app.rest import time_cursors
from app.runtime import Runtime

WRITERS = [role for role in StaffRole if "conversations:write" in ROLE_SCOPES[role]]
"""Who may be given a conversation."""


SNOOZE_DAYS_MAX = 366


class StaffOnly(Forbidden):
    code = "staff_only"

    def __init__(self) -> None:
        super().__init__("Only a member of staff can have a conversation.", "只有员工可以接手会话。")


class SnoozeUnfit(Invalid):
    code = "snooze_unfit"

    def __init__(self) -> None:
        super().__init__(
            f"Name a time within the next {SNOOZE_DAYS_MAX} days.", f"请选择未来{SNOOZE_DAYS_MAX}天内的时间。",
            days_max=SNOOZE_DAYS_MAX,
        )  # fmt: skip


class MessageEmpty(Invalid):
    code = "message_empty"

    def __init__(self) -> None:
        super().__init__("The message is empty.", "消息不能为空。")


class CannedReplyNotFound(NotFound):
    code = "canned_reply_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such canned reply.", "没有这条快捷回复。")


class CannedReplyExists(Conflict):
    code = "canned_reply_exists"

    def __init__(self, code: str) -> None:
        super().__init__(f"There is a canned reply {code} already.", f"快捷回复 {code} 已存在。", reply_code=code)


visible_to = conversations.visible_to


async def get(session: AsyncSession, caller: Caller, conversation_id: UUID, *, locked: bool = False) -> Conversation:
    """Raises ConversationNotFound."""
    statement = visible_to(caller).where(Conversation.id == conversation_id)
    if locked:
        statement = statement.with_for_update().execution_options(populate_existing=True)
    found = await session.scalar(statement)
    if found is None:
        raise ConversationNotFound
    audit.about(found.caller_id)
    return found


async def lock(session: AsyncSession, caller: Caller, conversation_id: UUID) -> Conversation:
    """The conversation, for a member of staff who acts in it. Raises ConversationNotFound, StaffOnly."""
    found = await get(session, caller, conversation_id, locked=True)
    if caller.kind is not CallerKind.STAFF:
        raise StaffOnly
    return found


# Lists

ACTIVITY = b"a"
"""Marks the cursors of lists by last activity."""


def _is_unread() -> Any:
    """Turns meant for people that staff have not read."""
    for_people = or_(Turn.status == TurnStatus.PASSED_ON, Turn.route.in_((Route.HANDOFF, Route.EMERGENCY)))
    return and_(Turn.conversation_id == Conversation.id, Turn.number > Conversation.read_number, for_people)


def filtered(caller: Caller, wanted: FilterIn) -> Select[Conversation]:
    """The conversations that all of what is given holds for."""
    row, statement = Conversation, visible_to(caller)
    conditions: list[Any] = []
    if wanted.status:
        conditions.append(row.status.in_(wanted.status))
    if wanted.reason:
        conditions.append(row.reason.in_(wanted.reason))
    if wanted.assignee_id:
        conditions.append(row.assignee_id.in_(wanted.assignee_id))
    if wanted.unassigned:
        conditions.append(row.assignee_id.is_(None))
    if wanted.labels:
        conditions.append(row.labels.contains(wanted.labels))
    if wanted.unread:
        conditions.append(select(Turn.id).where(_is_unread()).exists())
    if wanted.active_after is not None:
        conditions.append(row.last_activity_at >= wanted.active_after)
    if wanted.active_before is not None:
        conditions.append(row.last_activity_at < wanted.active_before)
    return statement.where(*conditions)


async def fetch_page(
    session: AsyncSession, statement: Select[Conversation], *, cursor: str | None, limit: int
) -> tuple[list[Conversation], str | None]:
    """One page, last activity first, and the cursor of the next."""
    row = Conversation
    if cursor:
        at, row_id = time_cursors.decode(ACTIVITY, cursor)
        statement = statement.where(tuple_(row.last_activity_at, row.id) < tuple_(at, row_id))
    ordered = statement.order_by(row.last_activity_at.desc(), row.id.desc()).limit(limit + 1)
    rows = list(await session.scalars(ordered))
    more, rows = len(rows) > limit, rows[:limit]
    return rows, time_cursors.encode(ACTIVITY, rows[-1].last_activity_at, rows[-1].id) if more else None


async def show(session: AsyncSession, rows: Sequence[Conversation]) -> list[InboxItem]:
    """With names and what is unread."""
    assignees = {row.assignee_id for row in rows if row.assignee_id}
    callers = {row.caller_id for row in rows}
    audit.about(*callers)
    names = dict((await session.execute(select(Staff.id, Staff.name).where(Staff.id.in_(assignees | callers)))).all())
    residents = select(Resident.id, Resident.name).where(Resident.id.in_(callers))
    names |= dict((await session.execute(residents)).all())
    counted = await session.execute(
        select(Turn.conversation_id, func.count())
        .join(Conversation, _is_unread())
        .where(Conversation.id.in_([row.id for row in rows]))
        .group_by(Turn.conversation_id)
    )
    unread: dict[UUID, int] = dict(counted.all())
    return [
        inbox_item(
            row, assignee=names.get(row.assignee_id, "") if row.assignee_id else "",
            caller=names.get(row.caller_id, ""), unread=unread.get(row.id, 0),
        )
        for row in rows
    ]  # fmt: skip


# What staff do with one


async def write(
    session: AsyncSession, runtime: Runtime, caller: Caller, conversation: Conversation, *, kind: MessageKind, text: str
) -> ConversationMessage:
    """A note, or a reply of who has the conversation.

    Raises MessageEmpty, ConversationTaken, MoveNotAllowed (nobody has it yet).
    """
    if not text:
        raise MessageEmpty
    if kind is MessageKind.REPLY:
        if conversation.status is not ConversationStatus.HUMAN:
            allowed = [to for to, who in handoff.MOVES[conversation.status].items() if Actor.STAFF in who]
            raise MoveNotAllowed(conversation.status, ConversationStatus.HUMAN, allowed)
        if conversation.assignee_id != caller.id:
            raise await handoff.taken(session, conversation)
    message = await story.add(
        session, runtime, conversation, kind=kind, text=text, author_id=caller.id, author_name=caller.name
    )
    if kind is MessageKind.REPLY:
        # Who answers has read what was said before.
        conversation.read_number = message.number
    return message


async def assign(
    session: AsyncSession, runtime: Runtime, caller: Caller, conversation: Conversation, *, assignee_id: UUID | None
) -> None:
    """Give it to a colleague who may write, or back to all. Raises StaffNotFound, MoveNotAllowed."""
    if assignee_id is None:
        await handoff.put_back(session, runtime, caller, conversation)
        return
    may_write = select(StaffRight.staff_id).where(
        StaffRight.community_id == caller.community_id, StaffRight.role.in_(WRITERS)
    )
    member = await session.scalar(staff.visible_to(caller).where(Staff.id == assignee_id, Staff.id.in_(may_write)))
    if member is None:
        raise StaffNotFound
    if conversation.status is ConversationStatus.HUMAN and conversation.assignee_id == member.id:
        return
    await handoff.give_to(session, runtime, caller, conversation, staff_id=member.id, name=member.name)


async def snooze(
    session: AsyncSession, runtime: Runtime, caller: Caller, conversation: Conversation, *, until: datetime
) -> None:
    """Raises SnoozeUnfit, MoveNotAllowed."""
    if not timedelta() < until - runtime.clock() <= timedelta(days=SNOOZE_DAYS_MAX):
        raise SnoozeUnfit
    await handoff.snooze(session, runtime, caller, conversation, until=until)


async def request(
    session: AsyncSession, runtime: Runtime, caller: Caller, conversation: Conversation, *, reason: HandoffReason,
    note: str,
) -> None:  # fmt: skip
    """Staff call a colleague for the resident."""
    await handoff.request(session, runtime, conversation, actor=Actor.STAFF, reason=reason, caller=caller, note=note)


def label(conversation: Conversation, labels: Sequence[str]) -> None:
    conversation.labels = sorted(set(filter(None, labels)))


def mark_read(conversation: Conversation, number: int) -> None:
    """Up to an entry; what is read stays read."""
    conversation.read_number = max(conversation.read_number, min(number, conversation.last_number))


def drafts_visible_to(caller: Caller) -> Select[ConversationDraft]:
    """Drafts of the conversations that staff may read. What staff draft is not for residents."""
    seen = visible_to(caller).with_only_columns(Conversation.id)
    statement = select(ConversationDraft).where(ConversationDraft.conversation_id.in_(seen))
    return statement if "conversations:read" in caller.scopes else statement.where(false())


# Canned replies


def canned_replies_visible_to(caller: Caller) -> Select[CannedReply]:
    return select(CannedReply).where(CannedReply.community_id == caller.community_id)


async def get_canned_reply(
    session: AsyncSession, caller: Caller, canned_reply_id: UUID, *, locked: bool = False
) -> CannedReply:
    """Raises CannedReplyNotFound."""
    statement = canned_replies_visible_to(caller).where(CannedReply.id == canned_reply_id)
    found = await session.scalar(statement.with_for_update() if locked else statement)
    if found is None:
        raise CannedReplyNotFound
    return found


async def open_canned_reply(
    session: AsyncSession, runtime: Runtime, caller: Caller, *, code: str, text: str, text_en: str
) -> CannedReply:
    """Raises CannedReplyExists, MessageEmpty."""
    await _check_code(session, caller, code)
    row = CannedReply(
        community_id=caller.community_id, code=code, text=text, text_en=text_en, created_at=runtime.clock()
    )
    session.add(row)
    await session.flush()
    return row


async def change_canned_reply(
    session: AsyncSession, caller: Caller, row: CannedReply, changes: Mapping[str, Any]
) -> CannedReply:
    """Raises CannedReplyExists, MessageEmpty."""
    if changes.get("code", row.code) != row.code:
        await _check_code(session, caller, changes["code"])
    for name, value in changes.items():
        setattr(row, name, value)
    await session.flush()
    return row


async def _check_code(session: AsyncSession, caller: Caller, code: str) -> None:
    if not code:
        raise MessageEmpty
    if await session.scalar(canned_replies_visible_to(caller).where(CannedReply.code == code)):
        raise CannedReplyExists(code)
