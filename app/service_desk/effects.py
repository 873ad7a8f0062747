"""What a move writes into the order's row, by the status it goes to: pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from app.people.callers import Caller, CallerKind
from app.service_desk.errors import AssigneeMissing, QuoteMissing
from app.service_desk.tables import Status, WorkOrder
from app.service_desk.transitions import ENDED, UNASSIGNED


@dataclass(frozen=True)
class Move:
    """A move that was found allowed. `facts` is what was said with it: assignee_id, quote_cents, currency."""

    caller: Caller
    to: Status
    now: datetime
    facts: Mapping[str, Any]


Effect = Callable[[WorkOrder, Move], None]


def _take_on(order: WorkOrder, move: Move) -> None:
    if order.assignee_id is None:
        named: UUID | None = move.facts.get("assignee_id")
        order.assignee_id = named or (move.caller.id if move.caller.kind is CallerKind.STAFF else None)
    if order.assignee_id is None:
        raise AssigneeMissing
    order.accepted_at = order.accepted_at or move.now


def _hand_to(order: WorkOrder, move: Move) -> None:
    if move.facts.get("assignee_id") is None:
        raise AssigneeMissing
    order.assignee_id = move.facts["assignee_id"]
    order.accepted_at = None


def _let_go(order: WorkOrder, move: Move) -> None:
    order.assignee_id = order.accepted_at = None


def _begin_again(order: WorkOrder, move: Move) -> None:
    _let_go(order, move)
    order.reopened_count += 1
    order.completed_at = order.respond_overdue_at = None
    order.warned_at = order.overdue_at = order.escalated_at = None


def _start(order: WorkOrder, move: Move) -> None:
    order.accepted_at = order.accepted_at or move.now


def _quote(order: WorkOrder, move: Move) -> None:
    if move.facts.get("quote_cents") is None:
        raise QuoteMissing
    order.quote_cents = move.facts["quote_cents"]
    order.currency = move.facts.get("currency") or order.currency or "CNY"


def _stand_still(order: WorkOrder, move: Move) -> None:
    order.paused_at = move.now


def _finish(order: WorkOrder, move: Move) -> None:
    order.completed_at = order.completed_at or move.now


EFFECTS: dict[Status, Effect] = {
    Status.SUBMITTED: _begin_again,
    Status.ACCEPTED: _take_on,
    Status.DISPATCHED: _hand_to,
    Status.TRANSFERRED: _hand_to,
    Status.RETURNED: _let_go,
    Status.IN_PROGRESS: _start,
    Status.PAUSED: _stand_still,
    Status.QUOTED: _quote,
    Status.AWAITING_RATING: _finish,
}
"""Statuses that are not here need nothing but the times that every move sets."""


def apply(order: WorkOrder, move: Move) -> dict[str, Any]:
    """Bring the row into its new status; gives what else of it changed, for the event.

    Raises: AssigneeMissing, QuoteMissing.
    """
    before = order.assignee_id
    if order.status is Status.PAUSED and order.paused_at is not None:
        order.paused_seconds += round((move.now - order.paused_at).total_seconds())
        order.paused_at = None
    if effect := EFFECTS.get(move.to):
        effect(order, move)
    order.status = move.to
    order.closed_at = move.now if move.to in ENDED else None
    touch(order, move.now)
    changed: dict[str, Any] = {}
    if order.assignee_id != before:
        changed = {"assignee_id": order.assignee_id, "former_assignee_id": before}
    assert (order.assignee_id is None) or move.to not in UNASSIGNED, "who let go has it no more"
    return changed


def touch(order: WorkOrder, now: datetime) -> None:
    """Every change is a new version."""
    order.version += 1
    order.updated_at = now
