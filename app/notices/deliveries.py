"""What one person is told: in the app always, and on through the channels that their community set up."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import BindParameter, ColumnElement, Select, and_, bindparam, func, or_, select, true, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.clock import CLOCK
from app.errors import NotFound
from app.notices import quiet
from app.notices.tables import (
    ChannelAudience,
    ChannelKind,
    ChannelUse,
    Delivery,
    DeliveryAttempt,
    DeliveryStatus,
    Message,
    NoticeChannel,
    PersonKind,
)
from app.people import communities
from app.people.callers import Caller, CallerKind
from app.people.tables import Community, Resident
from app.queue import Job, Lane, send_after_commit
from app.runtime import Runtime

DELIVER = "notices.deliver"


class MessageNotFound(NotFound):
    code = "message_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such message.", "没有这条消息。")


class DeliveryNotFound(NotFound):
    code = "delivery_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such delivery.", "没有这条发送记录。")


def visible_to(caller: Caller) -> Select[Message]:
    """Messages are for one person and nobody else, not for managers either. Staff who live here read both theirs."""
    mine = Message.person_id == caller.id
    if caller.kind is CallerKind.STAFF:
        lives_here = select(Resident.id).where(
            Resident.community_id == caller.community_id, Resident.account_id == caller.account_id
        )
        mine = or_(mine, Message.person_id.in_(lives_here))
    return select(Message).where(Message.community_id == caller.community_id, mine)


def deliveries_of(caller: Caller, *, status: DeliveryStatus | None = None) -> Select[Delivery]:
    """Deliveries of the community, for staff who look after the channels; they do not show what was said."""
    statement = select(Delivery).where(Delivery.community_id == caller.community_id)
    return statement if status is None else statement.where(Delivery.status == status)


def job_of(delivery_id: UUID, community_id: UUID, *, loud: bool, bulk: bool = False) -> Job:
    """`bulk`: one of many, for which nobody waits. Those of a lane for batches leave half of the queue to others."""
    lane = Lane.INTERACTIVE if loud else Lane.BATCH if bulk else Lane.SERVICE
    return Job(DELIVER, delivery_id, community_id, lane=lane)


@dataclass(frozen=True, slots=True)
class Letter:
    """What one of many residents is told. The texts are under "zh" and "en".

    `leave_link`: where one POST ends it for this resident, if they are told as one of a list.
    """

    resident_id: UUID
    title: dict[str, str]
    body: dict[str, str]
    link: str
    leave_link: str = ""


async def tell(
    session: AsyncSession, runtime: Runtime, *, community_id: UUID, resident_id: UUID | None = None,
    staff_id: UUID | None = None, kind: str, title: dict[str, str], body: dict[str, str], link: str = "", key: str,
    through: NoticeChannel | None = None,
) -> None:  # fmt: skip
    """Tell one person one thing. A second call with the same `key` for the same person changes nothing.

    `title` and `body` have the texts under "zh" and "en". Kinds that begin with `quiet.LOUD` leave at night too.
    `through` names the one channel to take.
    """
    assert (resident_id is None) != (staff_id is None), "a message is for one person"
    person_kind = PersonKind.STAFF if staff_id else PersonKind.RESIDENT
    message_id, now = CLOCK.new_id(), runtime.clock()
    values = {
        "id": message_id, "community_id": community_id, "person_kind": person_kind,
        "person_id": staff_id or resident_id, "kind": kind, "key": key, "title": title, "body": body, "link": link,
        "created_at": now, "through": through.id if through else None,
    }  # fmt: skip
    told = {f"told_{name}": value for name, value in values.items()}
    statement = _telling(person_kind, kind, named=through is not None)
    channels = (await session.scalars(statement, told)).all()
    if not channels:
        return
    await _put_on_its_way(session, community_id, [message_id], channels, kind=kind, now=now)


async def tell_each(
    session: AsyncSession, runtime: Runtime, *, community_id: UUID, kind: str, key: str, letters: Sequence[Letter]
) -> None:
    """Tell many residents something each, as `tell` would one after the other, in few statements."""
    if not letters:
        return
    now = runtime.clock()
    rows = [
        {
            "id": CLOCK.new_id(), "community_id": community_id, "person_kind": PersonKind.RESIDENT,
            "person_id": one.resident_id, "kind": kind, "key": key, "title": one.title, "body": one.body,
            "link": one.link, "leave_link": one.leave_link, "created_at": now,
        }
        for one in letters
    ]  # fmt: skip
    # As parameters, not as `values`: of those SQLAlchemy builds the statement anew, which took longer than to run it.
    once = insert(Message).on_conflict_do_nothing(index_elements=["community_id", "person_id", "key"])
    new = list(await session.scalars(once.returning(Message.id), rows))
    found = select(NoticeChannel).where(_goes_through(community_id, PersonKind.RESIDENT, kind))
    if new and (channels := (await session.scalars(found.order_by(NoticeChannel.id))).all()):
        await _put_on_its_way(session, community_id, new, channels, kind=kind, now=now, bulk=True)


async def _put_on_its_way(
    session: AsyncSession, community_id: UUID, message_ids: Sequence[UUID], channels: Sequence[NoticeChannel], *,
    kind: str, now: datetime, bulk: bool = False,
) -> None:  # fmt: skip
    """Each message by each channel, now or when its kind may leave."""
    due_at = await may_go_at(session, community_id, kind, now)
    rows = [
        Delivery(
            id=CLOCK.new_id(), community_id=community_id, message_id=message_id, channel_id=channel.id,
            kind=channel.kind, status=DeliveryStatus.WAITING, loud=quiet.is_loud(kind), address="", attempts=0,
            last_error="", due_at=due_at, created_at=now,
        )
        for message_id in message_ids
        for channel in channels
    ]  # fmt: skip
    session.add_all(rows)
    await session.flush()
    if due_at <= now:
        for row in rows:
            send_after_commit(session, job_of(row.id, community_id, loud=row.loud, bulk=bulk))


async def withdraw(
    session: AsyncSession, *, community_id: UUID, person_id: UUID, kind: str, why: str, now: datetime
) -> None:
    """Messages to one person whose kind begins so leave by no channel any more; what was told in the app stays."""
    theirs = select(Message.id).where(
        Message.community_id == community_id,
        Message.person_id == person_id,
        Message.kind.startswith(kind, autoescape=True),
    )
    await session.execute(
        update(Delivery)
        .where(Delivery.message_id.in_(theirs), Delivery.status == DeliveryStatus.WAITING)
        .values(status=DeliveryStatus.SKIPPED, last_error=why, ended_at=now)
        .execution_options(synchronize_session=False)
    )


@lru_cache(maxsize=512)
def _telling(person: PersonKind, kind: str, *, named: bool) -> Select[NoticeChannel]:
    """Write a message and ask where it goes: one statement, since this stands in many others' transactions, and built
    once, since that takes longer than to run it.
    """
    columns = (
        Message.id, Message.community_id, Message.person_kind, Message.person_id, Message.kind, Message.key,
        Message.title, Message.body, Message.link, Message.created_at,
    )  # fmt: skip
    # A value that bears the name of a column would be written into it, asked for or not.
    given = {column.key: bindparam(f"told_{column.key}", type_=column.type) for column in columns}
    written = (
        insert(Message)
        .values(given)
        .on_conflict_do_nothing(index_elements=["community_id", "person_id", "key"])
        .returning(Message.id)
        .cte("written")
    )
    through = NoticeChannel.id == bindparam("told_through", type_=NoticeChannel.id.type)
    wanted = through if named else _goes_through(given["community_id"], person, kind)
    found = select(NoticeChannel).join(written, true()).where(wanted).order_by(NoticeChannel.id)
    return found.add_cte(written)


def _goes_through(community_id: UUID | BindParameter[UUID], person: PersonKind, kind: str) -> ColumnElement[bool]:
    """A condition for the channels that a message for somebody takes."""
    audience = ChannelAudience.STAFF if person is PersonKind.STAFF else ChannelAudience.RESIDENTS
    return and_(
        NoticeChannel.community_id == community_id,
        NoticeChannel.enabled,
        NoticeChannel.audience.in_([ChannelAudience.ALL, audience]),
        true() if quiet.is_loud(kind) else NoticeChannel.use == ChannelUse.ALL,
        NoticeChannel.kind != ChannelKind.PHONE if quiet.is_advertising(kind) else true(),
    )


async def may_go_at(session: AsyncSession, community_id: UUID, kind: str, now: datetime) -> datetime:
    """When a message of this kind may leave the house, at the earliest."""
    if quiet.is_loud(kind):
        return now
    settings = await communities.read_settings(session, community_id)
    community = await session.get_one(Community, community_id)
    return quiet.may_go_at(now, kind=kind, hours=settings.quiet_hours, zone=ZoneInfo(community.timezone))


async def unread_count(session: AsyncSession, caller: Caller) -> int:
    unread = visible_to(caller).where(Message.read_at.is_(None)).with_only_columns(func.count())
    return int(await session.scalar(unread) or 0)


async def mark_read(
    session: AsyncSession, caller: Caller, *, now: datetime, message_id: UUID | None = None, up_to: UUID | None = None
) -> int:
    """Mark one message, or all up to one (all there are when neither is named); how many were unread till now."""
    unread = visible_to(caller).where(Message.read_at.is_(None)).with_only_columns(Message.id)
    if message_id is not None:
        unread = unread.where(Message.id == message_id)
    if up_to is not None:
        unread = unread.where(Message.id <= up_to)
    marked = await session.execute(
        update(Message).where(Message.id.in_(unread)).values(read_at=now).returning(Message.id)
    )
    return len(marked.all())


async def get(session: AsyncSession, caller: Caller, message_id: UUID) -> Message:
    """Raises MessageNotFound."""
    message = (await session.scalars(visible_to(caller).where(Message.id == message_id))).one_or_none()
    if message is None:
        raise MessageNotFound
    return message


async def get_delivery(session: AsyncSession, caller: Caller, delivery_id: UUID) -> Delivery:
    """Raises DeliveryNotFound."""
    delivery = (await session.scalars(deliveries_of(caller).where(Delivery.id == delivery_id))).one_or_none()
    if delivery is None:
        raise DeliveryNotFound
    return delivery


async def attempts_of(session: AsyncSession, delivery: Delivery) -> Sequence[DeliveryAttempt]:
    """Every try, first to last."""
    statement = select(DeliveryAttempt).where(DeliveryAttempt.delivery_id == delivery.id)
    return (await session.scalars(statement.order_by(DeliveryAttempt.number))).all()


async def retry(session: AsyncSession, runtime: Runtime, caller: Caller, delivery_id: UUID) -> Delivery:
    """Send once more what was given up or had no address; any other stays as it is. Raises DeliveryNotFound."""
    delivery = await get_delivery(session, caller, delivery_id)
    again = (
        update(Delivery)
        .where(Delivery.id == delivery.id, Delivery.status.in_([DeliveryStatus.SKIPPED, DeliveryStatus.GIVEN_UP]))
        .values(status=DeliveryStatus.WAITING, attempts=0, due_at=runtime.clock(), ended_at=None)
        .returning(Delivery.id)
    )
    if await session.scalar(again) is not None:
        send_after_commit(session, job_of(delivery.id, caller.community_id, loud=delivery.loud))
    await session.refresh(delivery)
    return delivery
