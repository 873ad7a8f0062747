"""The choice between engines, as a pure function."""

import math
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from models.engine_pool import LOAD_SHARE_MAX, Standing, choose

standings = st.lists(
    st.builds(
        Standing,
        name=st.text(min_size=1, max_size=8),
        ready=st.booleans(),
        load=st.integers(0, 50),
        slots=st.integers(0, 8),
    ),
    max_size=6,
    unique_by=lambda one: one.name,
)
sessions = st.none() | st.text(max_size=12)


def fresh(count: int) -> dict[str, int]:
    return dict.fromkeys((f"http://engine-{number}:8000/v1" for number in range(count)), 0)


def standing(loads: dict[str, int], *, down: str = "", slots: int = 1_000) -> list[Standing]:
    return [Standing(name, name != down, load, slots - load) for name, load in loads.items()]


@settings(deadline=None)
@given(standings, sessions)
def test_only_a_ready_engine_is_chosen_and_one_is_whenever_there_is_one(engines, session):
    chosen = choose(engines, session=session)
    assert (chosen is None) == (not any(one.ready for one in engines))
    assert chosen is None or chosen.ready


@settings(deadline=None)
@given(standings, sessions)
def test_a_full_engine_is_not_chosen_while_another_has_room(engines, session):
    chosen = choose(engines, session=session)
    if any(one.ready and one.slots > 0 for one in engines):
        assert chosen is not None
        assert chosen.slots > 0


@settings(deadline=None)
@given(standings)
def test_without_a_session_the_least_loaded_is_chosen(engines):
    chosen = choose(engines, session=None)
    free = [one for one in engines if one.ready and one.slots > 0]
    if free:
        assert chosen is not None
        assert chosen.load == min(one.load for one in free)


@settings(deadline=None)
@given(st.integers(1, 5), st.lists(st.integers(0, 5), max_size=120))
def test_no_engine_gets_more_than_its_share_however_lopsided_the_sessions_are(count, asked):
    loads = fresh(count)
    for placed, session in enumerate(asked):
        chosen = choose(standing(loads), session=f"conversation-{session}")
        assert chosen is not None
        loads[chosen.name] += 1
        assert loads[chosen.name] <= math.ceil(LOAD_SHARE_MAX * (placed + 1) / count)


@settings(deadline=None)
@given(st.integers(2, 6), st.text(max_size=12), st.data())
def test_a_dead_engine_moves_its_own_sessions_only(count, session, data):
    loads = fresh(count)
    own = choose(standing(loads), session=session)
    down = data.draw(st.sampled_from(sorted(loads)))
    now = choose(standing(loads, down=down), session=session)
    assert own is not None
    assert now is not None
    assert now.name != down
    assert (now.name == own.name) == (own.name != down)


def test_many_sessions_spread_over_all_engines():
    found = Counter(
        chosen.name for n in range(3_000) if (chosen := choose(standing(fresh(3)), session=f"conversation-{n}"))
    )
    assert len(found) == 3
    assert max(found.values()) / min(found.values()) < 1.2
