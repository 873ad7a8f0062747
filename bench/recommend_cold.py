"""Somebody new in the practice community, who has done nothing yet: their list beside what is popular.

What they would take is their own year (app/practice/interactions.py), of which nothing is stored. Their profile names
the three things that they like best, as the made-up year has them, and who lives with them. Nothing here was tuned.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select

from app.db import Tenant
from app.people.callers import Caller, CallerKind
from app.practice import interactions, offers, seed
from app.practice.interactions import Person
from app.practice.world import build
from app.recommend import embedding, profiles, recommendations
from app.recommend.tables import ItemFeedback
from app.runtime import Runtime
from bench import pairs

NEWCOMERS, CUT = 200, 10
HOMES = {"elders": "老两口住在这里。", "families": "和孩子一起住。", "renters": "在这里租房。", "couples": "两个人住。"}
RATIO_MIN = 1.5


@dataclass(frozen=True)
class Newcomer:
    person: Person
    takes: frozenset[UUID]


async def compare(runtime: Runtime) -> bool:
    """Print NDCG@10 of both; False when the goal is missed for certain."""
    await seed.seed(runtime)
    world = build()
    community = world.communities[0]
    tenant = Tenant(world.organisation.id, community.id)
    await embedding.embed_waiting(runtime, community.id)
    async with runtime.transaction(tenant) as session:
        counts = select(ItemFeedback.item_id, func.count()).group_by(ItemFeedback.item_id)
        taken = Counter({item: int(many) for item, many in (await session.execute(counts)).tuples()})
        known = set(await session.scalars(select(ItemFeedback.resident_id).distinct()))
    newcomers = [one for one in _newcomers() if one.person.resident.id not in known][:NEWCOMERS]
    popular = [item_id for item_id, _ in taken.most_common(CUT)]
    ours, theirs = [], []
    for one in newcomers:
        ours.append(ndcg(await _listed(runtime, tenant, one.person), one.takes))
        theirs.append(ndcg(popular, one.takes))
    ratio = _ratio_of_means(np.array(ours), np.array(theirs))
    best = float(np.mean([ndcg(_at_best(taken, one), one.takes) for one in newcomers]))
    print(f"knowing which item is of which taste: {best:.3f}, {best / np.mean(theirs):.2f} of popularity")
    print(f"\n{len(newcomers)} newcomers: NDCG@10 {np.mean(ours):.3f}, popularity {np.mean(theirs):.3f}")
    return pairs.goal("P12 cold start against popularity", ratio, at_least=RATIO_MIN)


def _newcomers() -> list[Newcomer]:
    """Those of the made-up year of everybody, drawn."""
    world = build()
    people = interactions.people_of(world, world.communities[0].id)
    takes: dict[UUID, set[UUID]] = {}
    for told in interactions.happenings(people, offers.facts(world)):
        takes.setdefault(told.resident_id, set()).add(offers.id_of(told.item_id))
    drawn = np.random.default_rng(0).permutation(len(people))
    return [
        Newcomer(people[place], frozenset(takes[people[place].resident.id]))
        for place in drawn.tolist()
        if people[place].resident.id in takes and people[place].resident.verified
    ]


async def _listed(runtime: Runtime, tenant: Tenant, person: Person) -> list[UUID]:
    resident = person.resident
    likes = _words_of(interactions.interests(person))
    changes = {"interests": likes, "about": f"{HOMES[person.group]}喜欢{'、'.join(likes)}。"}
    caller = Caller(
        tenant, CallerKind.RESIDENT, resident.id, verified=True, building_ids=frozenset({resident.building_id})
    )  # fmt: skip
    async with runtime.transaction(tenant) as session:
        profile = await profiles.get(session, caller, now=runtime.clock())
        vector = await profiles.embed_words(runtime, profile, changes)
        await profiles.change(session, runtime, profile, changes, vector=vector)
    async with runtime.transaction(tenant) as session:
        made = await recommendations.recommend_for(session, runtime, caller, CUT)
    return [one.facts.id for one in made.items]


def _words_of(tastes: Sequence[str]) -> list[str]:
    """What somebody would tick among the categories on offer: of each taste the word that most of its items carry."""
    found = []
    for taste in tastes:
        words = Counter(word for one in offers.said() if one["taste"] == taste for word in one["cats"])
        found.append(words.most_common(1)[0][0])
    return found


def _at_best(taken: Counter[UUID], one: Newcomer) -> list[UUID]:
    """What is popular, with all items of the three tastes first: what one could do who knew which item is of which."""
    named = set(interactions.interests(one.person))
    taste = {offers.id_of(item["id"]): item["taste"] for item in offers.said()}
    return sorted(taken, key=lambda item: (-taken[item] * (5 if taste[item] in named else 1), item))[:CUT]


def ndcg(listed: Sequence[UUID], wanted: frozenset[UUID]) -> float:
    gains = sum(1 / np.log2(place + 2) for place, item in enumerate(listed[:CUT]) if item in wanted)
    return float(gains / sum(1 / np.log2(place + 2) for place in range(min(len(wanted), CUT))))


def _ratio_of_means(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> pairs.Ratio:
    """With its bootstrap 95 % interval over people."""
    drawn = np.random.default_rng(0).integers(0, len(ours), (pairs.RESAMPLES, len(ours)))
    low, high = np.percentile(ours[drawn].mean(axis=1) / theirs[drawn].mean(axis=1), (2.5, 97.5))
    middle = float(ours.mean() / theirs.mean())
    return pairs.Ratio(median=middle, low=float(low), high=float(high), cpu_ratio=0.0, value=middle)
