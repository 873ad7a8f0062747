"""Who gets an order: pure, so that every claim about fairness is tried on made-up staff."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from app.people.tables import Skill
from app.service_desk import staffing
from app.service_desk.staffing import OUT_WORDS, Candidate, Mode, OrderFacts, Out, choose

SKILLS = ("plumbing", "electrical", "lift")
NOW = datetime(2026, 11, 22, 2, tzinfo=UTC)
PHASE, HOUSE_1, HOUSE_2, ROOM = (UUID(int=n) for n in (1, 2, 3, 4))
PLACE = (PHASE, HOUSE_1, ROOM)
PLACES = st.sampled_from([(), (PHASE,), (PHASE, HOUSE_1), (PHASE, HOUSE_2), PLACE])


@st.composite
def staff(draw: st.DrawFn, least: int = 0) -> list[Candidate]:
    ids = draw(st.lists(st.integers(100, 130), unique=True, min_size=least, max_size=6))
    return [
        Candidate(
            staff_id=UUID(int=number), name=f"员工{number}", skills=draw(st.frozensets(st.sampled_from(SKILLS))),
            on_shift=draw(st.booleans()), on_call=draw(st.booleans()), open_orders=draw(st.integers(0, 5)),
            week_orders=draw(st.integers(0, 9)), areas=tuple(draw(st.lists(PLACES.filter(bool), max_size=2))),
            last_place=draw(PLACES),
            last_assigned_at=draw(st.none() | st.integers(0, 99).map(lambda hours: NOW - timedelta(hours=hours))),
        )
        for number in ids
    ]  # fmt: skip


def plumber(number: int, **known: object) -> Candidate:
    values: dict[str, object] = {"skills": frozenset({"plumbing"}), "on_shift": True, **known}
    return Candidate(staff_id=UUID(int=number), name=f"员工{number}", **values)  # type: ignore[arg-type]


ORDERS = st.builds(OrderFacts, skill=st.sampled_from(SKILLS), place=PLACES, urgent=st.booleans())
AT_PLACE = OrderFacts("plumbing", PLACE)


@given(ORDERS, staff(), st.sampled_from(Mode))
def test_nobody_without_the_skill_is_chosen_and_nobody_away_while_one_with_it_is_at_work(order, people, mode):
    choice = choose(order, people, mode=mode)
    by_id = {one.staff_id: one for one in people}
    able = [one for one in people if staffing.out_for(order, one) is None]
    for staff_id in filter(None, (choice.staff_id, *choice.offered_to)):
        assert order.skill in by_id[staff_id].skills
        assert by_id[staff_id].on_shift or by_id[staff_id].on_call
        if any(one.on_shift for one in able):
            assert by_id[staff_id].on_shift, "who is on call is rung only when nobody is at work"
    chosen = bool(choice.staff_id or choice.offered_to)
    assert chosen == any(one.on_shift or one.on_call for one in able), "somebody who could come is never overlooked"


@given(ORDERS, staff(), st.sampled_from(Mode), st.randoms())
def test_it_does_not_matter_in_which_order_they_stand_in_the_table(order, people, mode, random):
    before = choose(order, people, mode=mode)
    random.shuffle(people)
    after = choose(order, people, mode=mode)
    assert (after, after.why) == (before, before.why)


@given(ORDERS, staff(), st.sampled_from(Mode))
def test_every_choice_is_explained_in_both_languages(order, people, mode):
    why = choose(order, people, mode=mode).why
    assert why["zh"].endswith("。")
    assert why["en"].endswith(".")
    named = {one["staff_id"] for one in (*why["considered"], *why["out"])} | set(why.get("offered_to", ()))
    assert named == {str(one.staff_id) for one in people}, "everybody is accounted for"
    assert all(one["zh"] and one["en"] for one in (*why["factors"], *why["out"]))


@given(ORDERS.filter(lambda order: not order.urgent), staff(least=1))
def test_more_work_never_brings_more_work(order, people):
    first = choose(order, people).staff_id
    busier = [
        Candidate(**{**one.__dict__, "open_orders": one.open_orders + 1, "week_orders": one.week_orders + 1})
        if one.staff_id != first else one
        for one in people
    ]  # fmt: skip
    assert choose(order, busier).staff_id == first


@given(st.integers(2, 6), st.integers(1, 40), st.sampled_from([Mode.DISPATCH, Mode.ROTATION]))
def test_over_a_week_equals_get_equally_many(people_count, orders_count, mode):
    """Each order is done before the next one comes."""
    had, last = dict.fromkeys(range(people_count), 0), dict[int, datetime]()
    for n in range(orders_count):
        people = [plumber(one, week_orders=had[one], last_assigned_at=last.get(one)) for one in had]
        chosen = choose(AT_PLACE, people, mode=mode).staff_id
        assert chosen is not None
        had[chosen.int] += 1
        last[chosen.int] = NOW + timedelta(minutes=n)
    assert max(had.values()) - min(had.values()) <= 1


def test_load_then_distance_then_the_week_decide():
    near, far = plumber(1, last_place=PLACE), plumber(2)
    assert choose(AT_PLACE, [near, far]).staff_id == near.staff_id
    assert choose(AT_PLACE, [plumber(1, last_place=PLACE, open_orders=2), far]).staff_id == far.staff_id
    assert choose(AT_PLACE, [plumber(1, week_orders=3), far]).staff_id == far.staff_id
    tired = plumber(1, last_place=PLACE, week_orders=9)
    assert choose(AT_PLACE, [tired, far]).staff_id == far.staff_id
    assert choose(OrderFacts("plumbing", PLACE, urgent=True), [tired, far]).staff_id == tired.staff_id


def test_a_building_limit_is_a_limit_and_a_complaint_does_not_go_to_whom_it_is_about():
    elsewhere, here = plumber(1, areas=((PHASE, HOUSE_2),)), plumber(2, areas=((PHASE, HOUSE_1),), open_orders=5)
    assert choose(AT_PLACE, [elsewhere, here]).staff_id == here.staff_id
    assert choose(AT_PLACE, [elsewhere]).staff_id is None
    assert choose(OrderFacts("plumbing", ()), [elsewhere]).staff_id == elsewhere.staff_id, (
        "an unknown place limits nobody"
    )
    about = OrderFacts("plumbing", PLACE, not_for=here.staff_id)
    assert choose(about, [elsewhere, here]).staff_id is None


def test_at_night_who_is_on_call_comes_and_without_a_rota_a_person_decides():
    asleep, on_call = plumber(1, on_shift=False), plumber(2, on_shift=False, on_call=True)
    night = choose(AT_PLACE, [asleep, on_call])
    assert night.staff_id == on_call.staff_id
    assert "值班" in night.why["zh"]
    nobody = choose(AT_PLACE, [asleep])
    assert (nobody.staff_id, "都不在班" in nobody.why["zh"]) == (None, True)
    unskilled = choose(AT_PLACE, [plumber(1, skills=frozenset({"lift"}))])
    assert "没有员工可以处理" in unskilled.why["zh"]


def test_grabbing_offers_it_to_all_who_can_and_rotation_goes_round():
    waited, fresh = plumber(1, last_assigned_at=NOW - timedelta(hours=5)), plumber(2, last_assigned_at=NOW)
    offered = choose(AT_PLACE, [waited, fresh, plumber(3, skills=frozenset())], mode=Mode.GRAB)
    assert (offered.staff_id, offered.offered_to) == (None, (waited.staff_id, fresh.staff_id))
    busy = plumber(1, last_assigned_at=NOW - timedelta(hours=5), open_orders=9)
    assert choose(AT_PLACE, [busy, fresh], mode=Mode.ROTATION).staff_id == busy.staff_id
    new = plumber(3)
    assert choose(AT_PLACE, [busy, fresh, new], mode=Mode.ROTATION).staff_id == new.staff_id


def test_the_table_of_words_is_complete():
    assert set(OUT_WORDS) == set(Out)


def test_every_skill_has_its_chinese_name():
    assert set(staffing.SKILLS_ZH) == set(Skill)
