"""Which status of a work order follows which, and who may make the move: data, checked by one pure function."""

from enum import StrEnum

from app.service_desk.tables import Status


class Mover(StrEnum):
    """In what capacity somebody moves an order; one person may have several at once."""

    REPORTER = "reporter"
    """The resident whose order it is."""
    STAFF = "staff"
    """May take on what nobody has."""
    ASSIGNEE = "assignee"
    """The member of staff who has the order."""
    DISPATCHER = "dispatcher"
    """Moves any order, also on behalf of others."""
    SYSTEM = "system"
    """Linli itself: triage, staffing, deadlines, payment."""


S = Status
_DESK = frozenset({Mover.DISPATCHER, Mover.SYSTEM})
_DISPATCHER = frozenset({Mover.DISPATCHER})
_HANDS = frozenset({Mover.ASSIGNEE, Mover.DISPATCHER})
_GRAB = frozenset({Mover.STAFF, Mover.DISPATCHER, Mover.SYSTEM})
_PAID = _HANDS | {Mover.SYSTEM}
_REPORTER = frozenset({Mover.REPORTER, Mover.DISPATCHER, Mover.SYSTEM})

_LEAVING = {S.RETURNED: _HANDS, S.TRANSFERRED: _HANDS, S.DISPATCHED: _DESK, S.CLOSED_UNHANDLED: _DISPATCHER}
"""How an order leaves whoever has it."""
_WAITING_TO_START = {
    S.IN_PROGRESS: _HANDS, S.PAUSED: _HANDS, S.QUOTED: _HANDS, S.CANCELLED: _REPORTER,
}  # fmt: skip

MOVES: dict[Status, dict[Status, frozenset[Mover]]] = {
    S.SUBMITTED: {
        S.ACCEPTED: _GRAB, S.DISPATCHED: _DESK, S.CANCELLED: _REPORTER, S.CLOSED_UNHANDLED: _DESK,
        # Praise and suggestions that were read need nobody to go anywhere, nor what an incident has answered.
        S.CLOSED: _DESK,
    },
    S.RETURNED: {
        S.ACCEPTED: _GRAB, S.DISPATCHED: _DESK, S.CANCELLED: _REPORTER, S.CLOSED_UNHANDLED: _DISPATCHER,
    },
    S.ACCEPTED: _WAITING_TO_START | _LEAVING,
    S.DISPATCHED: {S.ACCEPTED: _HANDS} | _WAITING_TO_START | _LEAVING,
    S.TRANSFERRED: {S.ACCEPTED: _HANDS} | _WAITING_TO_START | _LEAVING,
    S.IN_PROGRESS: {
        S.AWAITING_RATING: _PAID, S.PAUSED: _HANDS, S.QUOTED: _HANDS, S.AWAITING_PAYMENT: _HANDS,
        S.CANCELLED: _DISPATCHER,
    } | _LEAVING,
    S.PAUSED: {S.IN_PROGRESS: _PAID, S.CANCELLED: _REPORTER} | _LEAVING,
    S.QUOTED: {
        # Only who pays says yes; the desk may say it for them, on the telephone.
        S.IN_PROGRESS: frozenset({Mover.REPORTER, Mover.DISPATCHER}), S.QUOTED: _HANDS, S.CANCELLED: _REPORTER,
    } | _LEAVING,
    S.AWAITING_PAYMENT: {
        S.AWAITING_RATING: _DESK, S.PAYMENT_FAILED: _DESK, S.CANCELLED: _DISPATCHER, S.CLOSED_UNHANDLED: _DISPATCHER,
    },
    S.PAYMENT_FAILED: {
        S.AWAITING_PAYMENT: _PAID | {Mover.REPORTER}, S.AWAITING_RATING: _DESK, S.CANCELLED: _DISPATCHER,
        S.CLOSED_UNHANDLED: _DISPATCHER,
    },
    S.AWAITING_RATING: {S.CLOSED: _REPORTER, S.RETURN_VISIT: _REPORTER, S.SUBMITTED: _REPORTER},
    S.RETURN_VISIT: {S.CLOSED: _DESK, S.SUBMITTED: _REPORTER},
    S.CLOSED: {S.SUBMITTED: _REPORTER},
    S.CLOSED_UNHANDLED: {},
    S.CANCELLED: {},
}  # fmt: skip
"""From each status, where to and by whom. Back to SUBMITTED is a reopening: within the window, and counted."""

ENDED = frozenset({S.CLOSED, S.CLOSED_UNHANDLED, S.CANCELLED})
"""Nothing more is to be done. A row has `closed_at` exactly in these."""
REOPENABLE = frozenset(status for status, moves in MOVES.items() if S.SUBMITTED in moves)
UNASSIGNED = frozenset({S.SUBMITTED, S.RETURNED})
"""Nobody has the order: it can be grabbed, and a move here takes it from whoever had it."""
STANDING = frozenset({S.PAUSED, S.QUOTED, S.AWAITING_PAYMENT, S.PAYMENT_FAILED})
"""The property company waits for somebody else."""
HANDLED = frozenset({S.AWAITING_RATING, S.RETURN_VISIT, S.CLOSED})
"""The work itself is done."""


def allowed(current: Status, movers: frozenset[Mover]) -> list[Status]:
    """The statuses to which these movers may bring an order, in the order of `Status`."""
    moves = MOVES[current]
    return [status for status in Status if movers & moves.get(status, frozenset())]


def is_allowed(current: Status, wanted: Status, movers: frozenset[Mover]) -> bool:
    return bool(movers & MOVES[current].get(wanted, frozenset()))
