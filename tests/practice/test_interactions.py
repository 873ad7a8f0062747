"""The made-up year of the practice community: the same in every run, and with the structure that it claims."""

from collections import Counter, defaultdict

import pytest

from app.practice import interactions, offers
from app.practice.world import build


@pytest.fixture(scope="module")
def town():
    world = build()
    people = interactions.people_of(world, world.communities[0].id)[::4]
    items = offers.facts(world)
    return people, items, interactions.happenings(people, items)


def test_the_same_seed_gives_the_same_year_and_nobody_takes_an_item_twice(town):
    people, items, told = town
    few = people[:40]
    assert interactions.happenings(few, items, seed=3) == interactions.happenings(few, items, seed=3)
    assert interactions.happenings(few, items, seed=3) != interactions.happenings(few, items, seed=4)
    pairs = Counter((one.resident_id, one.item_id) for one in told)
    assert max(pairs.values()) == 1
    assert [one.at for one in told] == sorted(one.at for one in told)
    assert {one.item_id for one in told} <= {item.id for item in items}
    assert interactions.happenings([], items) == interactions.happenings(people, []) == []


def test_tastes_seasons_popularity_and_homes_leave_their_marks(town):
    people, items, told = town
    facts = {item.id: item for item in items}
    person_of = {one.resident.id: one for one in people}
    taken: dict[str, Counter[str]] = defaultdict(Counter)
    for one in told:
        taken[person_of[one.resident_id].group][facts[one.item_id].category] += 1
    assert set(taken) == set(interactions.GROUPS)
    share = {group: counts["children"] / counts.total() for group, counts in taken.items()}
    assert share["families"] > 2 * share["elders"]
    sizes = sorted(Counter(one.item_id for one in told).values(), reverse=True)
    assert sum(sizes[:24]) > 0.3 * sum(sizes)
    homes = [facts[one.item_id].building_id for one in told]
    near = [
        home == person_of[one.resident_id].resident.building_id for home, one in zip(homes, told, strict=True) if home
    ]
    assert sum(near) > 1.5 * len(near) / 14
    for one in told:
        day = (one.at - interactions.YEAR_START).days
        assert facts[one.item_id].days[0] <= day < facts[one.item_id].days[1]
