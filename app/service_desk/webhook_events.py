"""What a webhook may be told of: every kind of event, in words and with an example of what is sent.

Events carry ids and states, no names, telephone numbers or words of residents: who is told may be anybody's server. A
receiver reads more over the API, with a key whose scopes say what it may see.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Body, Header
from pydantic import AwareDatetime, BaseModel, Field

from app.notices import outgoing


class EventKind(StrEnum):
    WORKORDER_CREATED = "workorder.created"
    WORKORDER_ASSIGNED = "workorder.assigned"
    WORKORDER_STATE_CHANGED = "workorder.state_changed"
    WORKORDER_OVERDUE = "workorder.overdue"
    WORKORDER_RATED = "workorder.rated"
    HANDOFF_REQUESTED = "conversation.handoff_requested"
    TAKEN_OVER = "conversation.taken_over"
    CONVERSATION_RESOLVED = "conversation.resolved"
    INCIDENT_OPENED = "incident.opened"
    INCIDENT_CLOSED = "incident.closed"
    ALARM_RAISED = "alarm.raised"
    ALARM_CLEARED = "alarm.cleared"
    NOTICE_PUBLISHED = "notice.published"
    VISITOR_APPROVED = "visitor_pass.approved"
    VISITOR_CAME = "visitor_pass.used"
    BILL_ISSUED = "bill.issued"
    BILL_PAID = "bill.paid"
    PROMISE_BROKEN = "promise.broken"
    DEPLOYMENT_PROMOTED = "deployment.promoted"
    DEPLOYMENT_ROLLED_BACK = "deployment.rolled_back"
    PRIVACY_REQUEST_COMPLETED = "privacy_request.completed"


TEST = "webhook.test"
"""Sent by the test button only; nobody subscribes to it."""

A, B, C = (f"01980d3e-7c1a-7b2e-9f00-00000000000{number}" for number in (1, 2, 3))
AT = "2026-11-22T02:00:00Z"
ORDER = {"id": A, "number": 1042, "kind": "repair", "urgency": "routine", "status": "dispatched", "version": 4}

INCIDENT = {
    "incident_id": A, "kind": "water", "status": "closed", "space_ids": [B], "began_at": AT, "expected_end_at": AT,
    "ended_at": AT,
}  # fmt: skip


@dataclass(frozen=True)
class Described:
    """What an event means, and its `data` as it may look."""

    en: str
    zh: str
    example: dict[str, Any]


EVENTS: dict[EventKind, Described] = {
    EventKind.WORKORDER_CREATED: Described(
        "A work order was opened.", "新建了工单。",
        {"work_order": {**ORDER, "status": "submitted", "version": 1}, "channel": "self"},
    ),
    EventKind.WORKORDER_ASSIGNED: Described(
        "A work order got somebody to do it, or somebody else.", "工单已派给员工或改派。",
        {"work_order": ORDER, "assignee_id": B, "former_assignee_id": None},
    ),
    EventKind.WORKORDER_STATE_CHANGED: Described(
        "A work order moved on.", "工单状态已变更。", {"work_order": ORDER, "from": "submitted", "to": "dispatched"}
    ),
    EventKind.WORKORDER_OVERDUE: Described(
        "A work order passed its deadline.", "工单已超时。", {"work_order": ORDER, "due_at": AT}
    ),
    EventKind.WORKORDER_RATED: Described(
        "The resident rated the work.", "住户已评价工单。",
        {"work_order": {**ORDER, "status": "closed"}, "speed": 5, "quality": 4, "attitude": 5},
    ),
    EventKind.HANDOFF_REQUESTED: Described(
        "A conversation needs a person.", "会话需要人工处理。", {"conversation_id": A, "reason": "asked_for_person"}
    ),
    EventKind.TAKEN_OVER: Described(
        "Staff took a conversation over.", "员工已接管会话。", {"conversation_id": A, "staff_id": B}
    ),
    EventKind.CONVERSATION_RESOLVED: Described("A conversation was resolved.", "会话已解决。", {"conversation_id": A}),
    EventKind.INCIDENT_OPENED: Described(
        "An incident was opened.", "新建了突发事件。", {**INCIDENT, "status": "open", "ended_at": None}
    ),
    EventKind.INCIDENT_CLOSED: Described("An incident is over.", "突发事件已结束。", INCIDENT),
    EventKind.ALARM_RAISED: Described("A device raised an alarm.", "设备发出告警。", {"alarm_id": A, "device_id": B}),
    EventKind.ALARM_CLEARED: Described("An alarm is over.", "告警已解除。", {"alarm_id": A, "device_id": B}),
    EventKind.NOTICE_PUBLISHED: Described("A notice was published.", "公告已发布。", {"notice_id": A}),
    EventKind.VISITOR_APPROVED: Described("A visitor pass was approved.", "访客通行已批准。", {"visitor_pass_id": A}),
    EventKind.VISITOR_CAME: Described("A visitor came in.", "访客已入场。", {"visitor_pass_id": A, "used_at": AT}),
    EventKind.BILL_ISSUED: Described(
        "A bill was issued.", "账单已出。", {"bill_id": A, "amount_cents": 26_800, "currency": "CNY"}
    ),
    EventKind.BILL_PAID: Described(
        "A bill was paid.", "账单已支付。", {"bill_id": A, "amount_cents": 26_800, "currency": "CNY"}
    ),
    EventKind.PROMISE_BROKEN: Described(
        "A promised time passed.", "承诺时间已过。",
        {"promise_id": A, "due_at": AT, "by_kind": "staff", "work_order_id": B, "conversation_id": None},
    ),
    EventKind.DEPLOYMENT_PROMOTED: Described("A new model answers.", "新模型已上线。", {"deployment_id": A}),
    EventKind.DEPLOYMENT_ROLLED_BACK: Described("An older model answers again.", "模型已回退。", {"deployment_id": A}),
    EventKind.PRIVACY_REQUEST_COMPLETED: Described(
        "A privacy request was fulfilled.", "隐私请求已完成。", {"privacy_request_id": A, "kind": "export"}
    ),
}  # fmt: skip


class WebhookBody(BaseModel):
    """What a receiver is sent. Deliveries of one event have the same `id`: drop what you have had."""

    id: UUID = Field(description="The event; also in `Linli-Event-Id`.")
    event: str = Field(examples=["workorder.created"])
    community_id: UUID
    created_at: AwareDatetime = Field(description="When it happened. Deliveries may come late, and in another order.")
    data: dict[str, Any]


Signature = Annotated[
    str,
    Header(
        alias=outgoing.SIGNATURE,
        description=(
            "`t=<seconds>,v1=<hex>[,v1=<hex>]`: HMAC-SHA256 of `<t>.<body>` under each living secret. Refuse what is "
            f"older than {outgoing.REPLAY_SECONDS} s or fits none of your secrets."
        ),
    ),
]


def described() -> APIRouter:
    """Every event for OpenAPI's `webhooks`: these are requests that Linli makes."""
    router = APIRouter(tags=["webhooks"])
    for kind, event in EVENTS.items():
        whole = {"id": C, "event": kind, "community_id": B, "created_at": AT, "data": event.example}

        async def receive(body: Annotated[WebhookBody, Body(examples=[whole])], signature: Signature) -> None:
            """Answered by the receiver."""

        receive.__doc__ = f"{event.en} {event.zh}"
        router.add_api_route(
            str(kind), receive, methods=["POST"], status_code=200, operation_id=f"told.{kind}", summary=event.en,
            responses={"4XX": {"description": "Tried again later. 410 switches the webhook off."}},
        )  # fmt: skip
    return router
