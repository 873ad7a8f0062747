"""Webhooks over REST."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from pydantic_core import from_json

from app.people.callers import Caller, SessionDep, require_in_community
from app.people.doors import DoorRoute
from app.rest.etags import IfMatch, if_match_of
from app.rest.idempotency import OnceDep
from app.rest.pages import Page, PageQuery, fetch_page, page_query
from app.runtime import RuntimeDep
from app.service_desk import webhook_sending, webhooks
from app.service_desk.webhook_schemas import (
    DeliveryOut,
    DeliveryWithBody,
    WebhookChange,
    WebhookIn,
    WebhookMade,
    WebhookOut,
)
from app.service_desk.webhook_tables import Webhook, WebhookDelivery, WebhookDeliveryStatus, WebhookEvent

router = APIRouter(prefix="/communities/{cid}/webhooks", tags=["webhooks"], route_class=DoorRoute)

PageDep = Annotated[PageQuery, Depends(page_query)]
IfMatchDep = Annotated[IfMatch, Depends(if_match_of)]
Reader = Annotated[Caller, Depends(require_in_community("webhooks:read"))]
Writer = Annotated[Caller, Depends(require_in_community("webhooks:write"))]


@router.get("")
async def get_webhooks(caller: Reader, session: SessionDep, page: PageDep) -> Page[WebhookOut]:
    """All webhooks of the community; never a secret."""
    rows, cursor = await fetch_page(session, webhooks.visible_to(caller), id_column=Webhook.id, query=page)
    return Page(items=[WebhookOut.model_validate(row) for row in rows], next_cursor=cursor)


@router.post("", status_code=201)
async def post_webhook(
    body: WebhookIn, caller: Writer, session: SessionDep, runtime: RuntimeDep, response: Response
) -> WebhookMade:
    """A new webhook. The secret is in this answer and nowhere else, so this takes no Idempotency-Key."""
    webhook, secret = await webhooks.open_webhook(
        session, runtime, caller, name=body.name, url=body.url, events=body.events
    )
    return _made(response, webhook, secret)


@router.get("/{webhook_id}")
async def get_webhook(webhook_id: UUID, caller: Reader, session: SessionDep, response: Response) -> WebhookOut:
    return _shown(response, await webhooks.get(session, caller, webhook_id))


@router.patch("/{webhook_id}")
async def patch_webhook(
    *, webhook_id: UUID, body: WebhookChange, caller: Writer, session: SessionDep, runtime: RuntimeDep,
    response: Response, if_match: IfMatchDep,
) -> WebhookOut:  # fmt: skip
    webhook = await webhooks.get(session, caller, webhook_id, locked=True)
    if_match.check(_etag(webhook))
    changes = body.model_dump(exclude_unset=True, exclude_none=True)
    return _shown(response, await webhooks.change(session, runtime, webhook, changes))


@router.delete("/{webhook_id}", status_code=204)
async def delete_webhook(webhook_id: UUID, caller: Writer, session: SessionDep) -> None:
    """Take it away with its log. What waits is not sent."""
    await session.delete(await webhooks.get(session, caller, webhook_id, locked=True))
    await session.flush()


@router.post("/{webhook_id}/rotate-secret")
async def post_rotate_secret(
    webhook_id: UUID, caller: Writer, session: SessionDep, runtime: RuntimeDep, response: Response
) -> WebhookMade:
    """A new secret, shown this once. Until `old_secret_until` each request is signed with both."""
    webhook = await webhooks.get(session, caller, webhook_id, locked=True)
    return _made(response, webhook, await webhooks.rotate(session, runtime, webhook))


@router.post("/{webhook_id}/test", status_code=202, response_model=DeliveryOut)
async def post_test(
    webhook_id: UUID, caller: Writer, session: SessionDep, runtime: RuntimeDep, once: OnceDep
) -> Response:
    """Send `webhook.test` now. The delivery tells how it went."""
    if replayed := await once.replay(session, caller.community_id, caller.key):
        return replayed
    webhook = await webhooks.get(session, caller, webhook_id, locked=True)
    return await once.keep(session, 202, _delivery_out(await webhooks.test(session, runtime, webhook)))


# Deliveries


@router.get("/{webhook_id}/deliveries")
async def get_deliveries(
    webhook_id: UUID,
    caller: Reader,
    session: SessionDep,
    page: PageDep,
    status: Annotated[WebhookDeliveryStatus | None, Query(alias="filter[status]")] = None,
    kind: Annotated[str | None, Query(alias="filter[event]", min_length=1, max_length=100)] = None,
) -> Page[DeliveryOut]:
    """What was sent and what waits, newest first."""
    webhook = await webhooks.get(session, caller, webhook_id)
    statement = webhooks.deliveries_of(caller, webhook, status=status, kind=kind)
    rows, cursor = await fetch_page(session, statement, id_column=WebhookDelivery.id, query=page, newest_first=True)
    return Page(items=[_delivery_out(row) for row in rows], next_cursor=cursor)


@router.get("/{webhook_id}/deliveries/{webhook_delivery_id}")
async def get_delivery(
    webhook_id: UUID, webhook_delivery_id: UUID, caller: Reader, session: SessionDep
) -> DeliveryWithBody:
    webhook = await webhooks.get(session, caller, webhook_id)
    delivery = await webhooks.get_delivery(session, caller, webhook, webhook_delivery_id)
    told = await session.get_one(WebhookEvent, delivery.event_id)
    return DeliveryWithBody(**_fields(delivery), body=from_json(webhook_sending.body_of(told)))


@router.post(
    "/{webhook_id}/deliveries/{webhook_delivery_id}/replay", status_code=202, response_model=DeliveryOut
)  # fmt: skip
async def post_replay(
    *, webhook_id: UUID, webhook_delivery_id: UUID, caller: Writer, session: SessionDep, runtime: RuntimeDep,
    once: OnceDep,
) -> Response:  # fmt: skip
    """Send the same event once more, now, with the same `Linli-Event-Id`."""
    if replayed := await once.replay(session, caller.community_id, caller.key):
        return replayed
    webhook = await webhooks.get(session, caller, webhook_id, locked=True)
    delivery = await webhooks.get_delivery(session, caller, webhook, webhook_delivery_id)
    return await once.keep(session, 202, _delivery_out(await webhooks.replay(session, runtime, webhook, delivery)))


def _etag(webhook: Webhook) -> str:
    return f'"{webhook.version}"'


def _shown(response: Response, webhook: Webhook) -> WebhookOut:
    response.headers["ETag"] = _etag(webhook)
    return WebhookOut.model_validate(webhook)


def _made(response: Response, webhook: Webhook, secret: str) -> WebhookMade:
    response.headers["Cache-Control"] = "no-store"
    return WebhookMade(**_shown(response, webhook).model_dump(), secret=secret)


def _fields(row: WebhookDelivery) -> dict[str, Any]:
    shown = {name: getattr(row, name) for name in DeliveryOut.model_fields}
    return shown | {"next_at": row.next_at if row.status is WebhookDeliveryStatus.WAITING else None}


def _delivery_out(row: WebhookDelivery) -> DeliveryOut:
    return DeliveryOut(**_fields(row))
