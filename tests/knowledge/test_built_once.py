"""A statement that is built for one caller and run for another keeps nothing of the first."""

from datetime import UTC, datetime
from uuid import uuid4

import numpy as np
import pytest
from sqlalchemy.dialects import postgresql

from app.db import Tenant
from app.knowledge import answers, candidates, tokens
from app.knowledge.centres import Centres
from app.knowledge.documents import fence_shape, fence_values
from app.knowledge.language import Language
from app.knowledge.search import Question, asked_for
from app.people.callers import Caller, CallerKind

WIDTH = 8


def caller(kind: CallerKind, *, owner: bool, buildings: int) -> Caller:
    tenant = Tenant(uuid4(), uuid4())
    return Caller(tenant, kind, uuid4(), owner=owner, building_ids=frozenset(uuid4() for _ in range(buildings)))


def question(text: str) -> Question:
    def vector():
        return np.random.default_rng().standard_normal(WIDTH).astype(np.float32)

    centres = Centres({one: vector() for one in Language}, {one: vector() for one in Language})
    return Question(text, Language.ZH, vector(), f"embedder {uuid4()}", centres)


def unnamed(who: Caller, asked: Question, as_of: datetime) -> dict[str, object]:
    """What the statement holds beside the values that are given at every run."""
    given = asked_for(asked)
    along = answers.nearest(who, asked, as_of=as_of)
    statement = candidates.statement(who, given, as_of=as_of, limit=100, along=along)
    values = statement.compile(dialect=postgresql.asyncpg.dialect()).params
    named = fence_values(who, as_of) | candidates._values(given)
    assert {"community_id", "as_of", "words", "vector", "embedder"} <= values.keys()
    return {name: value for name, value in values.items() if name not in named}


@pytest.mark.parametrize("kind", [CallerKind.RESIDENT, CallerKind.STAFF])
@pytest.mark.parametrize(("owner", "buildings"), [(False, 0), (True, 1), (True, 3)])
def test_two_callers_of_one_shape_share_all_but_the_named_values(kind, owner, buildings):
    first = caller(kind, owner=owner, buildings=buildings)
    second = caller(kind, owner=owner, buildings=buildings and buildings + 1)
    assert fence_shape(first) == fence_shape(second)
    one = unnamed(first, question("临时停车怎么收费？"), datetime(2026, 1, 1, tzinfo=UTC))
    other = unnamed(second, question("垃圾什么时候收，宠物呢？"), datetime(2027, 1, 1, tzinfo=UTC))
    assert one == other
    assert not {str(value) for value in one.values()} & set(tokens.counts("临时停车怎么收费？"))
