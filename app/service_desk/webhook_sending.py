"""Sending what waits for a webhook: one thing at a time to each receiver, later each time it fails, and not for ever.

The receiver as a whole rests, not only what failed: while it is dead one try at a time is made, however much waits for
it, and after a slow answer it rests three times as long as it took. So one receiver takes a quarter of a worker's place
at most, and the others wait for none of it.
"""

import random
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from prometheus_client import Counter
from pydantic_core import to_json
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.db import Tenant
from app.notices import deliveries, outgoing, sealing
from app.notices.outgoing import Answer, TargetRefused, Undelivered
from app.notices.sealing import SealBroken
from app.people.callers import tenant_of_community
from app.people.tables import StaffRight, StaffRole
from app.queue import Lease
from app.runtime import Runtime
from app.service_desk import webhooks
from app.service_desk.webhook_events import WebhookBody
from app.service_desk.webhook_tables import (
    SwitchedOff,
    Webhook,
    WebhookDelivery,
    WebhookDeliveryStatus,
    WebhookEvent,
)
from app.settings import Settings

log = structlog.get_logger(__name__)

TRIED = Counter("linli_webhook_tries_total", "Requests to webhooks by how they ended.", ["outcome"])
ENDED = Counter("linli_webhook_deliveries_total", "Deliveries to webhooks that ended.", ["outcome"])
SWITCHED_OFF = Counter("linli_webhooks_switched_off_total", "Webhooks switched off because they failed for too long.")

WORK_SECONDS = 20.0
"""A receiver with much to take hands its worker's place on after so long; the sweeper goes on with it."""
REST_SHARE = 3
GONE = 410
RESTING = frozenset({408, 425, 429, *range(500, 600)})
"""Answers by which the server as a whole cannot take anything now."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """What is to be sent, read before and used after the transaction."""

    delivery_id: UUID
    webhook_id: UUID
    token: int
    url: str
    body: bytes
    headers: dict[str, str]
    sealed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Tried:
    """How a try went. `rests`: the receiver is left alone for a while."""

    ok: bool
    seconds: float
    status: int | None = None
    error: str = ""
    text: str = ""
    rests: bool = False
    retry_after_seconds: float = 0.0

    @property
    def logged(self) -> dict[str, Any]:
        return {"status": self.status, "error": self.error, "seconds": round(self.seconds, 3)}


async def deliver(runtime: Runtime, lease: Lease) -> None:
    """Send what is due for one webhook. Safe to run twice: a delivery belongs to who claimed it last."""
    tenant = await tenant_of_community(runtime, lease.job.community_id)
    until = time.monotonic() + WORK_SECONDS
    while time.monotonic() < until:
        async with runtime.transaction(tenant) as session:
            claimed = await _claim(session, runtime, lease)
        if claimed is None:
            return
        tried = await _try(runtime, claimed)
        TRIED.labels("ok" if tried.ok else tried.error or str(tried.status)).inc()
        await _settle(runtime, tenant, claimed, tried)


async def _claim(session: AsyncSession, runtime: Runtime, lease: Lease) -> Claimed | None:
    """The delivery that is due longest, counted as tried; None when there is none or the receiver rests."""
    now = runtime.clock()
    webhook = await session.get(Webhook, lease.job.row_id, with_for_update={"key_share": True})
    if webhook is None or not webhook.enabled or (webhook.rest_until is not None and webhook.rest_until > now):
        return None
    due = (
        select(WebhookDelivery)
        .where(
            WebhookDelivery.webhook_id == webhook.id,
            WebhookDelivery.status == WebhookDeliveryStatus.WAITING,
            WebhookDelivery.next_at <= now,
        )
        .order_by(WebhookDelivery.next_at, WebhookDelivery.id)
        .limit(1)
    )
    delivery = (await session.scalars(due)).one_or_none()
    if delivery is None:
        return None
    told = await session.get_one(WebhookEvent, delivery.event_id)
    delivery.attempts += 1
    delivery.claim_token = lease.token
    # When this worker dies, it is tried again then.
    delivery.next_at = now + _pause(runtime.settings, delivery.attempts)
    sealed = [webhook.sealed_secret]
    if webhook.sealed_old_secret and webhook.old_secret_until and webhook.old_secret_until > now:
        sealed.append(webhook.sealed_old_secret)
    headers = {
        "Linli-Event": told.kind, "Linli-Event-Id": str(told.id), "Linli-Delivery-Id": str(delivery.id),
        "Linli-Attempt": str(delivery.attempts), **_of_order(told),
    }  # fmt: skip
    return Claimed(
        delivery.id, webhook.id, lease.token, webhook.url, body_of(told), headers, tuple(sealed)
    )  # fmt: skip


def body_of(told: WebhookEvent) -> bytes:
    """The same bytes at every try."""
    shown = WebhookBody(
        id=told.id, event=told.kind, community_id=told.community_id, created_at=told.created_at,
        data=told.data,
    )  # fmt: skip
    return to_json(shown)


def _of_order(told: WebhookEvent) -> dict[str, str]:
    order_id = (told.data.get("work_order") or {}).get("id")
    return {"Linli-Work-Order-Id": str(order_id)} if order_id else {}


async def _try(runtime: Runtime, claimed: Claimed) -> Tried:
    """No session is open while this waits."""
    started = time.monotonic()
    try:
        secrets = [sealing.unseal(runtime.settings, sealed) for sealed in claimed.sealed]
        answer = await outgoing.post_signed(
            runtime.settings, claimed.url, claimed.body, secrets=secrets, now=runtime.clock(), headers=claimed.headers
        )
    except SealBroken:
        return Tried(False, 0.0, error="secret_unreadable", rests=True)
    except TargetRefused as refused:
        return Tried(False, time.monotonic() - started, error=f"refused_{refused.reason}", rests=True)
    except Undelivered as undelivered:
        return Tried(False, time.monotonic() - started, error=undelivered.reason, rests=True)
    return _judged(answer)


def _judged(answer: Answer) -> Tried:
    return Tried(
        answer.ok, answer.seconds, answer.status, text=answer.text, rests=answer.status in RESTING,
        retry_after_seconds=answer.retry_after_seconds or 0.0,
    )  # fmt: skip


async def _settle(runtime: Runtime, tenant: Tenant, claimed: Claimed, tried: Tried) -> None:
    async with runtime.transaction(tenant) as session:
        webhook = await session.get(Webhook, claimed.webhook_id, with_for_update={"key_share": True})
        delivery = await session.get(WebhookDelivery, claimed.delivery_id, with_for_update={"key_share": True})
        if webhook is None or delivery is None:
            return
        if delivery.claim_token != claimed.token or delivery.status is not WebhookDeliveryStatus.WAITING:
            return
        now = runtime.clock()
        delivery.tries = [*delivery.tries, {"at": now.isoformat(), **tried.logged}]
        delivery.answer = tried.text
        if tried.ok:
            slow = tried.seconds > runtime.settings.webhook_slow_seconds
            webhook.rest_until = now + timedelta(seconds=REST_SHARE * tried.seconds) if slow else None
            await _delivered(session, webhook, delivery, now=now)
        else:
            await _failed(session, runtime, webhook, delivery, tried, now=now)


async def _delivered(session: AsyncSession, webhook: Webhook, delivery: WebhookDelivery, *, now: datetime) -> None:
    _end(delivery, WebhookDeliveryStatus.DELIVERED, now=now)
    if webhook.failures:
        webhook.failures, webhook.failing_since = 0, None
        # It is back: what failed while it was away need not wait for its own next try.
        await session.execute(
            update(WebhookDelivery)
            .where(
                WebhookDelivery.webhook_id == webhook.id, WebhookDelivery.status == WebhookDeliveryStatus.WAITING,
                WebhookDelivery.next_at > now,
            )
            .values(next_at=now)
        )  # fmt: skip


async def _failed(
    session: AsyncSession, runtime: Runtime, webhook: Webhook, delivery: WebhookDelivery, tried: Tried, *,
    now: datetime,
) -> None:  # fmt: skip
    settings = runtime.settings
    webhook.failures += 1
    webhook.failing_since = webhook.failing_since or now
    if tried.rests:
        asked = timedelta(seconds=min(tried.retry_after_seconds, settings.webhook_retry_seconds_max))
        webhook.rest_until = now + max(asked, _pause(settings, webhook.failures))
    log.info(
        "webhook_failed", webhook_id=str(webhook.id), delivery_id=str(delivery.id), attempts=delivery.attempts,
        status=tried.status, error=tried.error,
    )  # fmt: skip
    if delivery.attempts >= settings.webhook_attempts_max:
        _end(delivery, WebhookDeliveryStatus.GIVEN_UP, now=now)
    failing = now - webhook.failing_since
    if tried.status == GONE:
        await _switch_off(session, runtime, webhook, SwitchedOff.GONE, now=now)
    elif failing >= timedelta(hours=settings.webhook_failing_hours_max):
        await _switch_off(session, runtime, webhook, SwitchedOff.FAILING, now=now)


def _end(delivery: WebhookDelivery, status: WebhookDeliveryStatus, *, now: datetime) -> None:
    delivery.status, delivery.ended_at = status, now
    ENDED.labels(status).inc()


def _pause(settings: Settings, failures: int) -> timedelta:
    """Doubles with each failure. A quarter is chance: what failed together should not come back together."""
    seconds = min(settings.webhook_retry_seconds_max, settings.webhook_retry_seconds_min * 2 ** min(failures - 1, 30))
    return timedelta(seconds=seconds * random.uniform(0.75, 1.0))  # noqa: S311


async def _switch_off(
    session: AsyncSession, runtime: Runtime, webhook: Webhook, why: SwitchedOff, *, now: datetime
) -> None:
    given_up = await webhooks.switch_off(session, webhook, why, now=now)
    ENDED.labels(WebhookDeliveryStatus.GIVEN_UP).inc(given_up)
    SWITCHED_OFF.inc()
    log.warning("webhook_switched_off", webhook_id=str(webhook.id), why=why, given_up=given_up)
    managers = await session.scalars(
        select(StaffRight.staff_id).where(
            StaffRight.community_id == webhook.community_id, StaffRight.role == StaffRole.MANAGER
        )
    )
    for staff_id in managers.all():
        await deliveries.tell(
            session, runtime, community_id=webhook.community_id, staff_id=staff_id, kind="webhook_switched_off",
            title={"zh": "Webhook 已停用", "en": "A webhook was switched off"},
            body={
                "zh": f"“{webhook.name}”长时间无法送达，已停用，{given_up} 条推送未送达。请检查接收方后重新启用。",
                "en": f"“{webhook.name}” could not be reached for long and is off; {given_up} deliveries were given "
                "up. Mend the receiver and enable it again.",
            },
            link=f"/webhooks/{webhook.id}", key=f"webhook-off:{webhook.id}:{webhook.version}",
        )  # fmt: skip
