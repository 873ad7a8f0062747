"""One delivery, from its row through a channel and back: taken, sent with no session open, written down."""

import asyncio
import time
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from prometheus_client import Counter
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.clock import CLOCK
from app.db import Tenant
from app.notices import channels, deliveries, quiet
from app.notices.channels import Parcel, SendFailed
from app.notices.tables import (
    ChannelKind,
    Delivery,
    DeliveryAttempt,
    DeliveryStatus,
    Message,
    NoticeChannel,
    PersonKind,
)
from app.people.tables import Account, Community, Resident, Staff
from app.runtime import Runtime

log = structlog.get_logger(__name__)

DELIVERIES = Counter(
    "linli_deliveries_total", "Tries to send a message, by channel and outcome.", ["channel", "outcome"]
)
CLAIM_MARGIN_SECONDS = 20
"""How much longer than a try may take its row stays taken: whoever holds it is dead after that."""
LOUD_RETRY_SECONDS_MAX = 30
"""An emergency is tried again soon, however often it failed."""


async def deliver(runtime: Runtime, tenant: Tenant, delivery_id: UUID) -> None:
    """Send one waiting delivery. Safe to run twice: who does not get the row leaves it alone.

    A try whose worker dies after sending and before writing is made again: at least once, under the same id.
    """
    parcel = await _claim(runtime, tenant, delivery_id)
    if parcel is None:
        return
    started, at = time.perf_counter(), runtime.clock()
    failed: SendFailed | None = None
    facts: dict[str, Any] = {}
    try:
        async with asyncio.timeout(try_seconds(runtime) + 5):
            facts = await channels.SENDERS[parcel.channel](runtime.settings, parcel)
    except SendFailed as error:
        failed, facts = error, error.facts
    except TimeoutError:
        failed = SendFailed(f"not over within {try_seconds(runtime):g} s")
    attempt = DeliveryAttempt(
        id=CLOCK.new_id(), community_id=tenant.community_id, delivery_id=delivery_id, number=parcel.attempt,
        succeeded=failed is None, detail=failed.detail if failed else "sent", facts=facts, started_at=at,
        seconds=round(time.perf_counter() - started, 3),
    )  # fmt: skip
    async with runtime.transaction(tenant) as session:
        await _record(session, runtime, parcel, attempt, failed)


def try_seconds(runtime: Runtime) -> float:
    """How long a channel may take."""
    return max(runtime.settings.outgoing_seconds, runtime.settings.smtp_seconds)


async def _claim(runtime: Runtime, tenant: Tenant, delivery_id: UUID) -> Parcel | None:
    """Take the delivery for as long as a try may last; None when it is not ours to send now."""
    now = runtime.clock()
    until = now + timedelta(seconds=try_seconds(runtime) + CLAIM_MARGIN_SECONDS)
    async with runtime.transaction(tenant) as session:
        taken = await session.scalar(
            update(Delivery)
            .where(
                Delivery.id == delivery_id,
                Delivery.status == DeliveryStatus.WAITING,
                Delivery.due_at <= now,
            )
            .values(due_at=until, attempts=Delivery.attempts + 1)
            .returning(Delivery.attempts)
        )
        if taken is None:
            return None
        delivery = await session.get_one(Delivery, delivery_id)
        message = await session.get_one(Message, delivery.message_id)
        # It may have waited into the night since it was written.
        may_go = await deliveries.may_go_at(session, delivery.community_id, message.kind, now)
        if may_go > now:
            delivery.due_at, delivery.attempts = may_go, taken - 1
            return None
        channel = await session.get_one(NoticeChannel, delivery.channel_id)
        parcel = await _pack(session, runtime, delivery, message, channel)
        if parcel is None or not channel.enabled:
            why = "the channel was switched off" if parcel else "there is no address to send to"
            _end(delivery, DeliveryStatus.SKIPPED, why, now=now)
            DELIVERIES.labels(delivery.kind.value, "skipped").inc()
            return None
        delivery.address = channels.masked(parcel.address) if parcel.address else ""
        return parcel


async def _pack(
    session: AsyncSession, runtime: Runtime, delivery: Delivery, message: Message, channel: NoticeChannel
) -> Parcel | None:
    """What the sender needs; None when the person is gone or has no address for this channel."""
    columns = (
        (Staff.name, Staff.phone, Account.login) if message.person_kind is PersonKind.STAFF
        else (Resident.name, Resident.phone, Account.login, Resident.language)
    )  # fmt: skip
    table = Staff if message.person_kind is PersonKind.STAFF else Resident
    found = (
        await session.execute(
            select(*columns)
            .select_from(table)
            .outerjoin(Account, Account.id == table.account_id)
            .where(table.id == message.person_id)
        )
    ).one_or_none()
    if found is None:
        return None
    name, phone, login, *language = found
    address = ""
    if delivery.kind is not ChannelKind.WEBHOOK:
        address = channels.usable_address(delivery.kind, login=login or "", phone=phone)
        if not address:
            return None
    community = await session.get_one(Community, delivery.community_id)
    return Parcel(
        delivery_id=delivery.id, attempt=delivery.attempts, channel=delivery.kind, url=channel.url,
        sealed_secret=channel.sealed_secret, community={"id": str(community.id), "name": community.name},
        person={"kind": message.person_kind.value, "id": str(message.person_id), "name": name},
        language=language[0] if language else "zh", address=address, kind=message.kind, title=message.title,
        body=message.body, link=message.link, leave_link=message.leave_link, created_at=message.created_at,
        sent_at=runtime.clock(),
    )  # fmt: skip


async def give_up(runtime: Runtime, tenant: Tenant, delivery_id: UUID, *, reason: str) -> None:
    """End a delivery whose job died: it would stand in the way of the sweep for ever."""
    async with runtime.transaction(tenant) as session:
        delivery = await session.get(Delivery, delivery_id, with_for_update=True)
        if delivery is not None and delivery.status is DeliveryStatus.WAITING:
            _end(delivery, DeliveryStatus.GIVEN_UP, reason, now=runtime.clock())
            DELIVERIES.labels(delivery.kind.value, "given_up").inc()
            log.error("delivery_given_up", delivery_id=str(delivery_id), why=reason)


async def _record(
    session: AsyncSession, runtime: Runtime, parcel: Parcel, attempt: DeliveryAttempt, failed: SendFailed | None
) -> None:
    """Write down how a try went, and when the next one is."""
    now = runtime.clock()
    delivery = await session.get_one(Delivery, parcel.delivery_id, with_for_update=True)
    if delivery.attempts != parcel.attempt or delivery.status is not DeliveryStatus.WAITING:
        log.warning("delivery_overtaken", delivery_id=str(parcel.delivery_id), attempt=parcel.attempt)
        return
    # A second round that staff asked for counts its tries from one again; the numbers of attempts go on.
    attempt.number = await _next_number(session, delivery.id)
    session.add(attempt)
    outcome = "sent" if failed is None else "failed"
    if failed is None:
        _end(delivery, DeliveryStatus.SENT, "", now=now)
    elif failed.for_good or delivery.attempts >= runtime.settings.delivery_attempts_max:
        outcome = "given_up"
        _end(delivery, DeliveryStatus.GIVEN_UP, failed.detail, now=now)
        log.error("delivery_given_up", delivery_id=str(delivery.id), channel=delivery.kind.value, why=failed.detail)
    else:
        delivery.last_error = failed.detail
        pause = timedelta(seconds=pause_seconds(runtime, parcel.kind, delivery.attempts))
        delivery.due_at = await deliveries.may_go_at(session, delivery.community_id, parcel.kind, now + pause)
    DELIVERIES.labels(delivery.kind.value, outcome).inc()


def _end(delivery: Delivery, status: DeliveryStatus, error: str, *, now: datetime) -> None:
    delivery.status, delivery.last_error, delivery.ended_at = status, error, now


async def _next_number(session: AsyncSession, delivery_id: UUID) -> int:
    last = select(DeliveryAttempt.number).where(DeliveryAttempt.delivery_id == delivery_id)
    return (await session.scalar(last.order_by(DeliveryAttempt.number.desc()).limit(1)) or 0) + 1


def pause_seconds(runtime: Runtime, kind: str, attempts: int) -> float:
    """How long to wait after so many failed tries."""
    config = runtime.settings
    doubled = config.delivery_retry_seconds_min * 2 ** min(attempts - 1, 20)
    longest = LOUD_RETRY_SECONDS_MAX if quiet.is_loud(kind) else config.delivery_retry_seconds_max
    return float(min(longest, doubled))
