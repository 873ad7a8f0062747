"""The circuit breaker by the clock of the test."""

import pytest

from models.breaker import Breaker, Position


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(failures_max=3, window_seconds=60, rest_seconds=5, now=clock)


def at(breaker: Breaker) -> Position:
    return breaker.position


def fail(breaker: Breaker, times: int) -> None:
    for _ in range(times):
        breaker.failed("down")


def test_opens_at_the_limit_and_names_the_reason(breaker):
    fail(breaker, 2)
    assert at(breaker) is Position.CLOSED
    fail(breaker, 1)
    assert at(breaker) is Position.OPEN
    assert not breaker.enter()
    assert breaker.detail == "down"


def test_old_failures_are_forgotten(breaker, clock):
    fail(breaker, 2)
    clock.now += 61
    fail(breaker, 2)
    assert at(breaker) is Position.CLOSED


def test_rare_failures_of_a_busy_engine_do_not_open_it(breaker):
    for _ in range(20):
        breaker.succeeded()
    fail(breaker, 10)
    assert at(breaker) is Position.CLOSED
    fail(breaker, 10)
    assert at(breaker) is Position.OPEN


def test_one_at_a_time_in_half_open(breaker, clock):
    fail(breaker, 3)
    clock.now += 5
    assert at(breaker) is Position.HALF_OPEN
    assert breaker.enter()
    assert not breaker.enter()
    breaker.leave()
    assert breaker.enter(), "a cancelled try must not block the next one"
    breaker.succeeded()
    assert at(breaker) is Position.CLOSED
    assert breaker.enter()
    assert breaker.enter()


def test_each_failed_try_doubles_the_rest_up_to_a_limit(breaker, clock):
    fail(breaker, 3)
    for rest in (5, 10, 20, 40, 80, 80):
        assert breaker.seconds_until_probe() == pytest.approx(rest)
        clock.now += rest
        assert breaker.enter()
        breaker.failed("still down")
    clock.now += 80
    breaker.enter()
    breaker.succeeded()
    fail(breaker, 3)
    assert breaker.seconds_until_probe() == pytest.approx(5), "after a recovery it starts from the short rest"


def test_a_certain_failure_opens_at_once(breaker):
    breaker.failed("hung", certain=True)
    assert at(breaker) is Position.OPEN


def test_late_failures_of_old_requests_do_not_prolong_the_rest(breaker, clock):
    fail(breaker, 3)
    clock.now += 3
    fail(breaker, 3)
    assert breaker.seconds_until_probe() == pytest.approx(2)
