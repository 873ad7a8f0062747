"""The grammar of audiences: what is in it compiles to bound parameters, everything else is refused."""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.dialects import postgresql

from app.people.tables import Resident
from app.recommend.campaign_conditions import CONDITIONS, condition_of
from app.recommend.campaign_filter import (
    DEPTH_MAX,
    NODES_MAX,
    PREDICATES,
    FilterInvalid,
    ids_in,
    looks_at_behaviour,
    parse,
)

NOW = datetime(2026, 11, 22, tzinfo=UTC)
# The same in every process: they stand in the names of tests.
COMMUNITY, SPACE, ITEM = (UUID(int=n) for n in (1, 2, 3))
EVIL = ("owner'; DROP TABLE residents; --", "1 OR 1=1", "x') OR ('a'='a", "$1", "a\x00b", "%(x)s", "/*", "\\")

WHOLE: dict[str, Any] = {
    "and": [
        {"is": "lives", "space_ids": [str(SPACE)], "roles": ["owner", "tenant"], "verified": True},
        {"or": [{"is": "language", "languages": ["zh"]}, {"is": "moved_in", "within_days": 30}]},
        {"is": "did", "what": ["joined", "bought"], "category": "亲子 活动", "within_days": 90, "at_least": 2},
        {"not": {"is": "did", "what": ["clicked"], "item_id": str(ITEM), "within_days": 7}},
    ]
}


def compiled(value: Any) -> tuple[str, list[Any]]:
    condition = condition_of(parse(value), community_id=COMMUNITY, now=NOW)
    # As asyncpg is given it: text and values apart. What is a list in SQLAlchemy becomes a parameter for each value.
    found = select(Resident.id).where(condition).compile(
        dialect=postgresql.asyncpg.dialect(), compile_kwargs={"render_postcompile": True}
    )  # fmt: skip
    return str(found), list(found.params.values())


def test_all_of_the_grammar_compiles_and_no_value_stands_in_the_sql():
    sql, values = compiled(WHOLE)
    for told in ("owner", "joined", "亲子 活动", str(SPACE), str(ITEM)):
        assert told not in sql
    assert {"owner", "tenant", "zh", SPACE, ITEM, 2, "亲子 活动"} <= set(values)
    assert ids_in(parse(WHOLE)) == (frozenset({SPACE}), frozenset({ITEM}))
    assert looks_at_behaviour(parse(WHOLE))
    assert not looks_at_behaviour(parse({"not": {"is": "lives"}}))
    assert compiled({})[1] == []


def test_the_tables_are_complete_and_ask_for_nothing_sensitive():
    assert set(CONDITIONS) == set(PREDICATES)
    asked = {*PREDICATES, *(name for args in PREDICATES.values() for name in args)}
    assert asked == {
        *("lives", "space_ids", "roles", "verified", "language", "languages", "moved_in", "within_days"),
        *("did", "what", "category", "item_id", "at_least"),
    }


@pytest.mark.parametrize(
    "bad",
    [
        None, [], "SELECT 1", {"sql": "SELECT 1"}, {"and": []}, {"and": {}}, {"and": [{}]}, {"and": [], "or": []},
        {"is": "age"}, {"is": ["lives"]}, {"is": "lives", "or": []}, {"is": "lives", "space_ids": []},
        {"is": "lives", "space_ids": "x"}, {"is": "lives", "space_ids": [f"{{{SPACE}}}"]}, {"is": "lives", "verified": 1},
        {"is": "language"}, {"is": "moved_in", "within_days": True}, {"is": "moved_in", "within_days": 10**9},
        {"is": "moved_in", "within_days": "1"}, {"is": "did", "what": ["seen"], "within_days": 1},
        {"is": "did", "what": ["joined"], "within_days": 1, "category": "a", "item_id": str(ITEM)},
        {"is": "did", "what": ["joined"], "within_days": 1, "category": "x" * 61},
        {"is": "lives", "space_ids": [str(UUID(int=n)) for n in range(101)]},
        *({"is": "lives", "roles": [evil]} for evil in EVIL),
        *({"is": evil} for evil in EVIL), *({evil: []} for evil in EVIL), *({"is": "lives", evil: True} for evil in EVIL),
        *({"is": "did", "what": ["joined"], "within_days": 1, "category": evil} for evil in EVIL),
    ],
    ids=lambda bad: json.dumps(bad)[:40],
)  # fmt: skip
def test_what_is_not_in_the_grammar_is_refused_and_says_where(bad: Any):
    with pytest.raises(FilterInvalid) as refused:
        parse(bad)
    assert refused.value.facts["where"].startswith("filter")
    assert len(refused.value.message_en) < 400


def test_deep_and_wide_filters_are_refused_before_they_cost_anything():
    leaf: Any = {"is": "lives"}
    for _ in range(DEPTH_MAX - 1):
        leaf = {"not": leaf}
    parse(leaf)
    deep: Any = leaf
    for _ in range(900):
        deep = {"not": deep}
    for refused in (deep, {"or": [{"is": "lives"}] * NODES_MAX}, {"or": [{"or": [{"is": "lives"}] * 10}] * 5}):
        with pytest.raises(FilterInvalid):
            parse(refused)
    parse({"or": [{"is": "lives"}] * (NODES_MAX - 1)})


texts = st.sampled_from(
    [*EVIL, "and", "or", "not", "is", "lives", "did", "roles", "what", "owner", "joined", "category"]
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts | st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150)
@given(anything)
def test_whatever_is_sent_is_refused_or_becomes_parameters(value: Any):
    try:
        sql, _ = compiled(value)
    except FilterInvalid:
        return
    for evil in EVIL:
        if len(evil) > 3:
            assert evil not in sql


@given(st.from_regex(r"\A\w[\w /&·+-]{0,59}\Z"))
@settings(max_examples=50)
def test_a_category_of_any_name_is_a_value(category: str):
    sql, values = compiled({"is": "did", "what": ["joined"], "category": category, "within_days": 1})
    assert category in values
    assert sql == compiled({"is": "did", "what": ["joined"], "category": "x", "within_days": 1})[0]
