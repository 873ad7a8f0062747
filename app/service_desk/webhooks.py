"""Webhooks: who is told of what. Telling writes rows together with what happened; sending comes after commit."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from pydantic_core import to_jsonable_python
from sqlalchemy import BindParameter, ColumnElement, Select, exists, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.clock import CLOCK
from app.errors import Conflict, NotFound
from app.notices import outgoing, sealing
from app.people import communities
from app.people.callers import Caller
from app.queue import Job, Lane, send_after_commit
from app.runtime import Runtime
from app.service_desk import tables as order_tables
from app.service_desk.tables import WorkOrder, WorkOrderEvent
from app.service_desk.webhook_events import TEST, EventKind
from app.service_desk.webhook_tables import (
    SwitchedOff,
    Webhook,
    WebhookDelivery,
    WebhookDeliveryStatus,
    WebhookEvent,
)

DELIVER = "service_desk.deliver_webhooks"
"""The job that sends what waits for one receiver; its row is the webhook. There is one in the queue at most, so that a
receiver is sent one thing at a time and a dead one takes one place."""
SECRET_PREFIX = "whsec_"  # noqa: S105


class WebhookNotFound(NotFound):
    code = "webhook_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such webhook.", "没有这个 Webhook。")


class WebhookDeliveryNotFound(NotFound):
    code = "webhook_delivery_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such delivery.", "没有这条推送记录。")


class WebhookDisabled(Conflict):
    code = "webhook_disabled"

    def __init__(self) -> None:
        super().__init__("The webhook is switched off. Enable it first.", "该 Webhook 已停用，请先启用。")


class TooManyWebhooks(Conflict):
    code = "too_many_webhooks"

    def __init__(self, webhooks_max: int) -> None:
        super().__init__(
            f"A community has at most {webhooks_max} webhooks.", f"每个小区最多 {webhooks_max} 个 Webhook。",
            webhooks_max=webhooks_max,
        )  # fmt: skip


def visible_to(caller: Caller) -> Select[Webhook]:
    return select(Webhook).where(Webhook.community_id == caller.community_id)


async def get(session: AsyncSession, caller: Caller, webhook_id: UUID, *, locked: bool = False) -> Webhook:
    """Raises WebhookNotFound."""
    statement = visible_to(caller).where(Webhook.id == webhook_id)
    if locked:
        statement = statement.with_for_update(key_share=True)
    webhook = (await session.scalars(statement)).one_or_none()
    if webhook is None:
        raise WebhookNotFound
    return webhook


async def open_webhook(
    session: AsyncSession, runtime: Runtime, caller: Caller, *, name: str, url: str, events: Sequence[EventKind]
) -> tuple[Webhook, str]:
    """A new webhook, and its secret, which nobody is shown again. Raises: TargetRefused, TooManyWebhooks."""
    outgoing.parse_target(runtime.settings, url)
    await communities.lock(session, caller)
    there = await session.scalar(select(func.count()).select_from(visible_to(caller).subquery()))
    if (there or 0) >= runtime.settings.webhooks_max:
        raise TooManyWebhooks(runtime.settings.webhooks_max)
    secret, now = new_secret(), runtime.clock()
    webhook = Webhook(
        id=CLOCK.new_id(), community_id=caller.community_id, name=name, url=url, events=_plain(events),
        sealed_secret=sealing.seal(runtime.settings, secret), created_by=caller.id, created_at=now, updated_at=now,
    )  # fmt: skip
    session.add(webhook)
    await session.flush()
    return webhook, secret


def new_secret() -> str:
    return f"{SECRET_PREFIX}{secrets.token_urlsafe(32)}"


async def change(session: AsyncSession, runtime: Runtime, webhook: Webhook, changes: Mapping[str, Any]) -> Webhook:
    """Apply the given fields to a locked webhook. Another URL, or being switched on again, is a fresh start.

    Raises TargetRefused.
    """
    if "url" in changes:
        outgoing.parse_target(runtime.settings, changes["url"])
        webhook.url = changes["url"]
    webhook.name = changes.get("name", webhook.name)
    webhook.events = _plain(changes["events"]) if "events" in changes else webhook.events
    if changes.get("enabled") is False and webhook.enabled:
        await switch_off(session, webhook, SwitchedOff.BY_HAND, now=runtime.clock())
    elif changes.get("enabled") or "url" in changes:
        webhook.enabled = changes.get("enabled", webhook.enabled)
        webhook.switched_off = None if webhook.enabled else webhook.switched_off
        webhook.failing_since, webhook.failures, webhook.rest_until = None, 0, None
    webhook.version += 1
    webhook.updated_at = runtime.clock()
    await session.flush()
    return webhook


async def rotate(session: AsyncSession, runtime: Runtime, webhook: Webhook) -> str:
    """A new secret for a locked webhook. The one before signs, too, for `webhook_old_secret_hours`."""
    secret = new_secret()
    webhook.sealed_old_secret = webhook.sealed_secret
    webhook.old_secret_until = runtime.clock() + timedelta(hours=runtime.settings.webhook_old_secret_hours)
    webhook.sealed_secret = sealing.seal(runtime.settings, secret)
    webhook.version += 1
    webhook.updated_at = runtime.clock()
    await session.flush()
    return secret


async def switch_off(session: AsyncSession, webhook: Webhook, why: SwitchedOff, *, now: datetime) -> int:
    """Send nothing more to a locked webhook; how many deliveries waited and are given up."""
    webhook.enabled, webhook.switched_off = False, why
    webhook.version += 1
    webhook.updated_at = now
    await session.flush()
    given_up = await session.execute(
        text(
            "UPDATE webhook_deliveries SET status = 'given_up', ended_at = :now "
            "WHERE webhook_id = :webhook AND status = 'waiting' RETURNING id"
        ),
        {"now": now, "webhook": webhook.id},
    )
    return len(given_up.all())


def _plain(events: Sequence[EventKind]) -> list[str]:
    return sorted({str(event) for event in events})


# Telling


DEAF = "webhooks_not_there"
"""In a session's info: the community that has no webhook, as a statement of the same transaction found on its way."""


def are_there(community_id: UUID | BindParameter[UUID]) -> ColumnElement[bool]:
    """A column that tells whether a community has webhooks; for `note`, which then spares a statement."""
    return exists().where(Webhook.community_id == community_id, Webhook.enabled)


def note(session: AsyncSession, community_id: UUID, *, listens: bool) -> None:
    """Say what `are_there` found: where nobody listens, nobody is asked for in this transaction."""
    if not listens:
        session.info[DEAF] = community_id


SUBSCRIBED = text("""
    SELECT id, events, rest_until FROM webhooks
    WHERE community_id = :community_id AND enabled AND events && CAST(:kinds AS varchar[]) ORDER BY id
""")


async def tell(session: AsyncSession, runtime: Runtime, community_id: UUID, event: str, data: dict[str, Any]) -> None:
    """Tell every webhook of the community that wants to hear of `event`: rows now, the sending after commit.

    `data` holds ids and states, as in webhook_events.EVENTS; nothing personal.
    """
    await _tell(session, runtime, community_id, {EventKind(event): data})


async def _tell(
    session: AsyncSession, runtime: Runtime, community_id: UUID, happened: Mapping[EventKind, dict[str, Any]]
) -> None:
    if session.info.get(DEAF) == community_id:
        return
    kinds = {"community_id": community_id, "kinds": [str(kind) for kind in happened]}
    wanted = (await session.execute(SUBSCRIBED, kinds)).all()
    now = runtime.clock()
    for kind, data in happened.items():
        told_to = [row for row in wanted if kind in row.events]
        if not told_to:
            continue
        told = WebhookEvent(
            id=CLOCK.new_id(), community_id=community_id, kind=kind, data=to_jsonable_python(data), created_at=now
        )
        session.add(told)
        await session.flush()
        session.add_all(_delivery(told, row.id, now=now) for row in told_to)
        await session.flush()
        for row in told_to:
            if row.rest_until is None or row.rest_until <= now:
                send_after_commit(session, job_of(row.id, community_id))


Facts = Callable[[WorkOrder, WorkOrderEvent], dict[str, Any]]

OF_ORDERS: dict[order_tables.EventKind, tuple[EventKind, Facts]] = {
    order_tables.EventKind.CREATED: (EventKind.WORKORDER_CREATED, lambda order, event: {"channel": order.channel}),
    order_tables.EventKind.MOVED: (
        EventKind.WORKORDER_STATE_CHANGED, lambda order, event: {"from": event.from_status, "to": event.to_status}
    ),
    order_tables.EventKind.OVERDUE: (EventKind.WORKORDER_OVERDUE, lambda order, event: {"due_at": order.due_at}),
    order_tables.EventKind.RATED: (
        EventKind.WORKORDER_RATED,
        lambda order, event: {
            "speed": order.rating_speed, "quality": order.rating_quality, "attitude": order.rating_attitude,
        },
    ),
}  # fmt: skip
"""What is told of what happens to an order, and what of it besides the order itself."""


async def hear_of_order(session: AsyncSession, runtime: Runtime, order: WorkOrder, event: WorkOrderEvent) -> None:
    """A listener of happenings.py."""
    happened: dict[EventKind, dict[str, Any]] = {}
    if event.kind in OF_ORDERS:
        kind, facts = OF_ORDERS[event.kind]
        happened[kind] = {"work_order": brief(order), **facts(order, event)}
    if event.facts.get("assignee_id") is not None:
        names = ("assignee_id", "former_assignee_id")
        told = {name: event.facts.get(name) for name in names}
        happened[EventKind.WORKORDER_ASSIGNED] = {"work_order": brief(order), **told}
    if happened:
        await _tell(session, runtime, order.community_id, happened)


def brief(order: WorkOrder) -> dict[str, Any]:
    """Of an order what is nobody's secret: a complaint tells neither who nor about whom."""
    names = ("id", "number", "kind", "urgency", "status", "version")
    return {name: getattr(order, name) for name in names}


async def test(session: AsyncSession, runtime: Runtime, webhook: Webhook) -> WebhookDelivery:
    """Send a locked webhook an event that means nothing, now. Raises WebhookDisabled."""
    now = runtime.clock()
    told = WebhookEvent(
        id=CLOCK.new_id(), community_id=webhook.community_id, kind=TEST, data={"webhook_id": str(webhook.id)},
        created_at=now,
    )  # fmt: skip
    session.add(told)
    await session.flush()
    return await _send_now(session, webhook, _delivery(told, webhook.id, now=now))


async def replay(
    session: AsyncSession, runtime: Runtime, webhook: Webhook, delivery: WebhookDelivery
) -> WebhookDelivery:
    """Send the same event to a locked webhook once more, now: with the same event id. Raises WebhookDisabled."""
    told = await session.get_one(WebhookEvent, delivery.event_id)
    again = _delivery(told, webhook.id, now=runtime.clock())
    again.replay_of = delivery.id
    return await _send_now(session, webhook, again)


async def _send_now(session: AsyncSession, webhook: Webhook, delivery: WebhookDelivery) -> WebhookDelivery:
    if not webhook.enabled:
        raise WebhookDisabled
    webhook.rest_until = None
    session.add(delivery)
    await session.flush()
    send_after_commit(session, job_of(webhook.id, webhook.community_id))
    return delivery


def _delivery(told: WebhookEvent, webhook_id: UUID, *, now: datetime) -> WebhookDelivery:
    return WebhookDelivery(
        id=CLOCK.new_id(), community_id=told.community_id, webhook_id=webhook_id, event_id=told.id, kind=told.kind,
        status=WebhookDeliveryStatus.WAITING, attempts=0, next_at=now, tries=[], answer="", claim_token=0,
        created_at=now,
    )  # fmt: skip


def job_of(webhook_id: UUID, community_id: UUID) -> Job:
    return Job(DELIVER, webhook_id, community_id, lane=Lane.SERVICE)


# The log


def deliveries_of(
    caller: Caller, webhook: Webhook, *, status: WebhookDeliveryStatus | None = None, kind: str | None = None
) -> Select[WebhookDelivery]:
    statement = select(WebhookDelivery).where(
        WebhookDelivery.community_id == caller.community_id, WebhookDelivery.webhook_id == webhook.id
    )
    if status is not None:
        statement = statement.where(WebhookDelivery.status == status)
    return statement if kind is None else statement.where(WebhookDelivery.kind == kind)


async def get_delivery(session: AsyncSession, caller: Caller, webhook: Webhook, delivery_id: UUID) -> WebhookDelivery:
    """Raises WebhookDeliveryNotFound."""
    statement = deliveries_of(caller, webhook).where(WebhookDelivery.id == delivery_id)
    delivery = (await session.scalars(statement)).one_or_none()
    if delivery is None:
        raise WebhookDeliveryNotFound
    return delivery
