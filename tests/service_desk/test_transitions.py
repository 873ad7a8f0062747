"""The table of moves: complete, without dead ends, and the same for everybody who reads it."""

import pytest

from app.service_desk.tables import Status
from app.service_desk.transitions import (
    ENDED,
    HANDLED,
    MOVES,
    REOPENABLE,
    STANDING,
    UNASSIGNED,
    Mover,
    allowed,
    is_allowed,
)


def reached_from(start: Status) -> set[Status]:
    found, rest = {start}, [start]
    while rest:
        for status in MOVES[rest.pop()]:
            if status not in found:
                found.add(status)
                rest.append(status)
    return found


def test_every_status_has_its_row_and_can_be_reached():
    assert set(MOVES) == set(Status)
    assert reached_from(Status.SUBMITTED) == set(Status)


@pytest.mark.parametrize("status", Status)
def test_no_order_gets_stuck(status):
    assert status in ENDED or ENDED & reached_from(status)
    assert all(MOVES[status].values()), "a move that nobody may make is no move"


@pytest.mark.parametrize("status", sorted(set(Status) - ENDED))
def test_the_desk_can_always_end_an_order_or_bring_it_on(status):
    assert allowed(status, frozenset({Mover.DISPATCHER}))


def test_only_what_is_done_is_reopened():
    assert REOPENABLE == HANDLED
    assert not MOVES[Status.CANCELLED]
    assert not MOVES[Status.CLOSED_UNHANDLED]


def test_a_resident_cancels_until_work_begins_and_judges_when_it_is_done():
    def of(status: Status) -> list[Status]:
        return allowed(status, frozenset({Mover.REPORTER}))

    assert of(Status.SUBMITTED) == of(Status.DISPATCHED) == of(Status.PAUSED) == [Status.CANCELLED]
    assert of(Status.IN_PROGRESS) == []
    assert of(Status.QUOTED) == [Status.IN_PROGRESS, Status.CANCELLED]
    assert of(Status.AWAITING_RATING) == [Status.SUBMITTED, Status.RETURN_VISIT, Status.CLOSED]


def test_whoever_has_it_moves_it_and_colleagues_only_take_what_nobody_has():
    colleague, assignee = frozenset({Mover.STAFF}), frozenset({Mover.STAFF, Mover.ASSIGNEE})
    assert [status for status in Status if allowed(status, colleague)] == [Status.SUBMITTED, Status.RETURNED]
    assert is_allowed(Status.IN_PROGRESS, Status.AWAITING_RATING, assignee)
    assert not is_allowed(Status.SUBMITTED, Status.DISPATCHED, assignee)


def test_the_sets_of_statuses_say_what_the_table_says():
    assert {status for status in Status if not MOVES[status]} < ENDED
    assert not (STANDING | UNASSIGNED) & (HANDLED | ENDED)
