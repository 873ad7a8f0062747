"""Small groups are hidden, and cannot be computed from the total and the groups that are shown."""

from hypothesis import given
from hypothesis import strategies as st

from app.people.cells import BYTE_ORDER_MARK, write_csv
from app.people.suppression import hidden_groups


def hide(groups: dict[str, set[int]], least: int = 5) -> set[str]:
    sizes = {key: len(members) for key, members in groups.items()}
    return set(hidden_groups(groups, sizes=sizes, least=least))


def some(start: int, count: int) -> set[int]:
    return set(range(start, start + count))


def test_large_groups_are_all_shown():
    assert hide({"a": some(0, 5), "b": some(10, 9)}) == set()


def test_a_lone_small_group_takes_the_smallest_other_with_it():
    assert hide({"a": some(0, 3), "b": some(10, 9), "c": some(30, 6)}) == {"a", "c"}


def test_two_small_groups_that_are_enough_together_need_no_third():
    assert hide({"a": some(0, 3), "b": some(10, 2), "c": some(30, 6)}) == {"a", "b"}


def test_two_groups_of_the_same_two_homes_are_not_five():
    """What the shown leave of the total would be those two homes' figure."""
    assert hide({"a": some(0, 2), "b": some(0, 2), "c": some(30, 6), "d": some(50, 7)}) == {"a", "b", "c"}


def test_all_are_hidden_where_all_together_are_few():
    assert hide({"a": some(0, 2), "b": some(10, 2)}) == {"a", "b"}


@given(
    st.dictionaries(st.text(max_size=3), st.sets(st.integers(0, 30), max_size=12), min_size=1, max_size=8),
    st.integers(1, 6),
)
def test_what_the_total_tells_of_the_hidden_stands_for_enough_homes(groups, least):
    hidden = hide(groups, least)
    assert all(len(groups[key]) >= least for key in groups.keys() - hidden)
    everybody = {one for members in groups.values() for one in members}
    if hidden and len(everybody) >= least:
        behind = {one for key in hidden for one in groups[key]}
        assert len(behind) >= least
        assert len(hidden) >= 2 or len(groups) == 1


@given(st.dictionaries(st.text(max_size=3), st.sets(st.integers(0, 30), max_size=12), max_size=6), st.integers(1, 6))
def test_a_sample_of_the_homes_decides_as_all_would(groups, least):
    sizes = {key: len(members) for key, members in groups.items()}
    sampled = {key: sorted(members)[:least] for key, members in groups.items()}
    hidden = hidden_groups(sampled, sizes=sizes, least=least)
    behind = {one for key in hidden for one in groups[key]}
    everybody = {one for members in groups.values() for one in members}
    assert not hidden or len(behind) >= least or len(everybody) < least


def test_a_spreadsheet_gets_text_and_no_formula():
    text = write_csv(
        ["group", "value"], [["=1+1", 2], ["@cmd", -3.5], ["+8613", None], ["-x", 0], ["3栋,北", 1], [" =A1", 4]]
    )
    lines = text.removeprefix(BYTE_ORDER_MARK).split("\r\n")
    assert lines == ["group,value", "'=1+1,2", "'@cmd,-3.5", "'+8613,", "'-x,0", '"3栋,北",1', "' =A1,4", ""]
