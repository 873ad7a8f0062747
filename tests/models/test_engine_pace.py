"""Slow or hung: the rule by the clock of the test."""

import pytest

from models.engine_meters import read_meters
from models.engine_pace import LATE_SECONDS, Attention, Pace
from tests.models.conftest import settings_for

STALL, CANARY, BETWEEN, FIRST = 5.0, 10.0, 30.0, 90.0
PROMPT = 2_000


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def attention(clock) -> Attention:
    return Attention(clock)


@pytest.fixture
def pace(attention, tmp_path) -> Pace:
    limits = {
        "engine_stall_seconds_min": STALL,
        "engine_canary_wait_seconds": CANARY,
        "engine_between_tokens_seconds": BETWEEN,
        "engine_first_token_seconds": FIRST,
    }
    return Pace(settings_for("", tmp_path, **limits), now=attention)


def answer(
    pace, clock, *, first: float, pause: float, tokens: int = 30, chars: int = PROMPT, cached_share: float = 0
) -> None:
    """One whole answer: its first token after `first` seconds, then one each `pause`."""
    owed = pace.owe(chars)
    for number in range(tokens):
        clock.now += pause if number else first
        owed.token()
        owed.listen()
    owed.was_read(cached_share=cached_share)
    pace.settle(owed)


def test_a_fast_engine_may_be_silent_for_the_least_time_only(pace, clock):
    answer(pace, clock, first=0.1, pause=0.02)
    running = pace.owe(PROMPT)
    clock.now += 0.1
    running.token()
    running.listen()
    assert pace.patience_seconds() == STALL
    clock.now += 4
    assert pace.silence_seconds() == pytest.approx(4)


def test_a_slow_engine_gets_twenty_times_its_time_per_token(pace, clock):
    answer(pace, clock, first=0.5, pause=0.5)
    running = pace.owe(PROMPT)
    running.token()
    assert pace.patience_seconds() == pytest.approx(10)


def test_no_engine_may_be_silent_longer_than_the_limit_of_an_answer(pace, clock):
    answer(pace, clock, first=2, pause=8)
    running = pace.owe(PROMPT)
    running.token()
    assert pace.patience_seconds() == BETWEEN


def test_without_a_pace_to_go_by_the_limits_of_an_answer_hold(pace, clock):
    running = pace.owe(PROMPT)
    assert pace.patience_seconds() == FIRST
    clock.now += 20
    running.token()
    assert pace.patience_seconds() == BETWEEN


def test_long_prompts_get_the_time_that_reading_takes_here(pace, clock):
    answer(pace, clock, first=6, pause=0.1)
    first = pace.owe(PROMPT)
    assert pace.patience_seconds() == pytest.approx(12, rel=0.01), "twice the six seconds such a prompt took"
    second = pace.owe(PROMPT)
    assert pace.patience_seconds() == pytest.approx(24, rel=0.01), "it reads both before it says a word"
    for _ in range(50):
        pace.owe(PROMPT)
    assert pace.patience_seconds() < FIRST, "a queue is not read in one step"
    assert not first.is_running
    assert not second.is_running


def test_a_silence_that_ended_well_is_remembered_and_by_and_by_forgotten(pace, clock):
    answer(pace, clock, first=0.1, pause=0.02)
    running = pace.owe(PROMPT)
    running.token()
    running.listen()
    clock.now += 9  # another process had a long prompt read
    running.token()
    running.listen()
    assert pace.patience_seconds() >= 18
    for _ in range(200):
        clock.now += 0.02
        running.token()
    clock.now += 2 * 3_600
    assert pace.patience_seconds() == STALL


def test_a_silence_that_our_own_prompt_explains_does_not_make_the_running_ones_wait(pace, clock):
    answer(pace, clock, first=27, pause=0.5)
    running = pace.owe(PROMPT)
    running.token()
    assert pace.patience_seconds() == pytest.approx(10)


def test_another_engine_at_the_same_address_starts_anew(pace, clock):
    answer(pace, clock, first=0.1, pause=0.02)
    pace.forget()
    pace.owe(PROMPT)
    assert pace.patience_seconds() == FIRST


def test_silence_counts_only_while_somebody_listens(pace, clock):
    assert pace.silence_seconds() == 0
    reading = pace.owe(PROMPT)
    clock.now += 1
    reading.token()  # and now the reader is busy with it
    clock.now += 60
    assert pace.silence_seconds() == 0, "our own slow reader is not the engine's silence"
    reading.listen()
    clock.now += 2
    assert pace.silence_seconds() == pytest.approx(2)


def test_a_process_that_stood_still_neither_accuses_the_engine_nor_learns_from_it(pace, attention, clock):
    """Two in six frozen workers, woken again, gave the next engine that hung 30 s in place of 5."""
    answer(pace, clock, first=0.1, pause=0.02)
    reading = pace.owe(PROMPT)
    attention.expect(1)
    clock.now += 40
    assert pace.silence_seconds() == pytest.approx(1)
    reading.token()  # it lay in the socket
    reading.listen()
    attention.expect(1)
    clock.now += 40
    reading.token()
    reading.listen()
    reading.was_read(cached_share=0)
    for prompt in (PROMPT, PROMPT):
        pace.owe(prompt)
    assert pace.patience_seconds() == STALL
    attention.rest()
    clock.now += 4
    assert pace.silence_seconds() == pytest.approx(4), "nobody watches, and nobody counts as standing still"


def test_who_wakes_a_little_late_has_not_stood_still(attention, clock):
    before = attention()
    attention.expect(1)
    clock.now += 1 + LATE_SECONDS
    assert attention() - before == pytest.approx(1 + LATE_SECONDS)
    clock.now += 1
    assert attention() - before == pytest.approx(1)


def test_tokens_of_one_answer_are_signs_of_life_for_all(pace, clock):
    pace.owe(PROMPT)
    other = pace.owe(PROMPT)
    for _ in range(100):
        clock.now += 1
        other.token()
        other.listen()
    clock.now += 1
    assert pace.silence_seconds() == pytest.approx(1)


def test_the_first_test_token_gets_its_limit_and_later_ones_less(pace, clock):
    test = pace.owe(0)
    assert pace.patience_seconds() == CANARY
    clock.now += 0.1
    test.token()
    pace.settle(test)
    pace.owe(0)
    assert pace.patience_seconds() == STALL


@pytest.mark.parametrize(("test_seconds", "patience"), [(0.002, STALL), (0.02, 8), (0.5, FIRST)])
def test_before_any_answer_the_test_token_tells_a_fast_engine_from_a_slow_one(pace, clock, test_seconds, patience):
    test = pace.owe(0)
    clock.now += test_seconds
    test.token()
    test.was_read(cached_share=0)
    pace.settle(test)
    pace.owe(PROMPT)
    assert pace.patience_seconds() == pytest.approx(patience)


def test_a_long_prompt_after_short_ones_is_given_its_time(pace, clock):
    """Seen on two busy cores: 34 tokens read in a second, then 700 in more than five, and the engine was called hung."""
    answer(pace, clock, first=0.9, pause=0.5, chars=10)
    pace.owe(1_200)
    assert pace.patience_seconds() >= 0.9 / 34 * 700


def test_prompts_from_the_cache_do_not_make_an_engine_look_fast(pace, clock):
    answer(pace, clock, first=6, pause=0.1)
    pace.forget()
    for _ in range(20):
        answer(pace, clock, first=0.2, pause=0.1, cached_share=0.9)
    pace.owe(PROMPT)
    assert pace.patience_seconds() == FIRST, "no prompt was read yet, none is known to be read fast"


def test_packets_of_tokens_do_not_make_an_engine_look_fast(pace, clock):
    owed = pace.owe(PROMPT)
    for number in range(300):
        clock.now += 3.0 if number % 3 == 0 else 0.0
        owed.token()
        owed.listen()
    clock.now += 0.5
    assert pace.patience_seconds() == BETWEEN


METRICS = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="starter"} 2.0
vllm:num_requests_running{engine="1",model_name="starter"} 1.0
vllm:num_requests_waiting{engine="0",model_name="starter"} 4.0
vllm:kv_cache_usage_perc{engine="0",model_name="starter"} 0.25
vllm:prefix_cache_queries_total{engine="0",model_name="starter"} 1000.0
vllm:prefix_cache_hits_total{engine="0",model_name="starter"} 640.0
vllm:prefix_cache_hits_created{engine="0",model_name="starter"} 1.7e+09
vllm:generation_tokens_total{engine="0",model_name="starter"} 77.0
vllm:iteration_tokens_total_count{engine="0",model_name="starter"} 40.0
"""


def test_the_figures_of_vllm_are_read():
    meters = read_meters(METRICS)
    assert meters is not None
    assert (meters.running, meters.waiting, meters.generated) == (3, 4, 77)
    assert (meters.prefix_cache_hits, meters.prefix_cache_queries) == (640, 1000)


@pytest.mark.parametrize(
    "moved", ['usage_perc{engine="0",model_name="starter"} 0.26', 'count{engine="0",model_name="starter"} 41.0']
)
def test_a_prompt_that_is_read_is_progress_before_its_first_token(moved):
    before = read_meters(METRICS)
    name = moved.split(" ", maxsplit=1)[0]
    line = next(line for line in METRICS.splitlines() if name in line)
    after = read_meters(METRICS.replace(line, line.split(name)[0] + moved))
    assert before is not None
    assert after is not None
    assert before.progress != after.progress


@pytest.mark.parametrize("text", ["", "<html>not found</html>", "vllm:generation_tokens_total", "python_info 1.0"])
def test_the_figures_of_others_are_none_of_ours(text):
    assert read_meters(text) is None
