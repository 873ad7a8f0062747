"""A year of what the people of the practice community did with its items: made up, but built as a real one is.

Households have tastes that go with who lives there (elders, families with children, people who rent, couples). What
they take depends on taste, popularity (few items are much taken), place (near home), season and hour of the year, who
an item is for, what they took last (one thing leads to the next of its kind), what their own household and neighbours
took lately, and chance. The same seed, people and items give the same events. Touches no database and no clock.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from app.people.tables import ResidentRole
from app.practice import names
from app.practice.world import Resident, World

YEAR_START = datetime(2025, 11, 1, tzinfo=UTC)
DAYS = 365
CATEGORIES = (
    "sport", "health", "children", "craft", "music", "reading", "food", "pets", "repair", "cleaning", "green", "cars",
    "learning", "volunteering", "market", "screen",
)  # fmt: skip
GROUPS: Mapping[str, tuple[float, ...]] = {
    "elders":   (2, 9, 1, 4, 7, 4, 3, 1, 4, 3, 5, 0, 2, 5, 4, 2),
    "families": (4, 2, 9, 4, 2, 5, 4, 2, 3, 5, 2, 3, 6, 2, 4, 2),
    "renters":  (7, 1, 0, 2, 4, 2, 6, 4, 2, 5, 1, 2, 4, 1, 5, 7),
    "couples":  (5, 3, 1, 3, 3, 4, 5, 4, 5, 3, 4, 5, 2, 3, 3, 3),
}  # fmt: skip
"""How much each kind of household cares for each of CATEGORIES."""
SEASONS: Mapping[str, tuple[int, ...]] = {"green": (3, 4, 5, 9), "screen": (12, 1, 2, 7), "sport": (4, 5, 6, 9, 10)}
"""Months in which a category is taken more."""
EVENTS_A_YEAR = 14.0
TASTE_SHARPNESS, FOLLOWS, NEARNESS, IN_SEASON, HOUSEHOLD, NEIGHBOURS = 6.0, 6.0, 4.0, 2.0, 4.0, 1.8
"""How strongly each thing speaks, as a factor on the odds of an item; taste is a concentration."""
FORGOTTEN_AFTER_DAYS = 30.0
CHANCE = 0.12
"""Share of events that follow nothing but popularity."""


@dataclass(frozen=True, slots=True)
class ItemFacts:
    """What the year depends on. `group` is whom of GROUPS it is for, "" for all; `days` when it can be taken."""

    id: str
    category: str
    building_id: UUID | None = None
    group: str = ""
    days: tuple[int, int] = (0, DAYS)
    series: str = ""
    """Items of one series follow each other, in their order."""


@dataclass(frozen=True, slots=True)
class Happening:
    """`kind` is clicked, liked or joined."""

    resident_id: UUID
    item_id: str
    kind: str
    at: datetime


KINDS = (("clicked", 0.55), ("joined", 0.3), ("liked", 0.15))


@dataclass(frozen=True)
class Person:
    resident: Resident
    group: str
    taste: NDArray[np.float64]
    """Shapes: (len(CATEGORIES),), adds up to 1."""


def people_of(world: World, community_id: UUID, *, seed: int = 7) -> list[Person]:
    """Everybody of a community with the taste of their household, and a little of their own."""
    random = np.random.default_rng(seed)
    homes: dict[UUID, list[Resident]] = {}
    for resident in world.residents:
        if resident.community_id == community_id:
            homes.setdefault(resident.household_id, []).append(resident)
    people = []
    for residents in homes.values():
        group = group_of(residents)
        prior = np.array(GROUPS[group], np.float64) + 0.1
        shared = random.dirichlet(prior / prior.sum() * TASTE_SHARPNESS)
        for resident in residents:
            own = random.dirichlet(prior / prior.sum() * TASTE_SHARPNESS)
            people.append(Person(resident, group, 0.65 * shared + 0.35 * own))
    return people


def group_of(residents: Sequence[Resident]) -> str:
    """Which of GROUPS a household is, by roles and by the generation that names tell."""
    given = [one.name[1:] for one in residents]
    if any(one.role is ResidentRole.TENANT for one in residents):
        return "renters"
    if any(name in names.CHILD_NAMES for name in given):
        return "families"
    return "elders" if any(name in names.ELDER_NAMES for name in given) else "couples"


def interests(person: Person, *, count: int = 3) -> tuple[str, ...]:
    """What somebody would write into a profile: their strongest categories."""
    return tuple(CATEGORIES[place] for place in np.argsort(-person.taste, kind="stable")[:count])


class _Town:
    """Arrays over people and items, and who took what lately."""

    def __init__(self, people: Sequence[Person], items: Sequence[ItemFacts], random: np.random.Generator) -> None:
        codes = np.array([CATEGORIES.index(one.category) for one in items])
        self.codes = codes
        # A few are much taken: a lognormal is near enough to what communities see.
        self.popularity = random.lognormal(0, 0.8, len(items))
        self.days = np.array([one.days for one in items])
        self.next_of = _next_in_series(items)
        self.season = np.ones((13, len(items)))
        for category, months in SEASONS.items():
            for month in months:
                self.season[month, codes == CATEGORIES.index(category)] = IN_SEASON
        self.fit = np.array([one.taste[codes] for one in people])
        for place, person in enumerate(people):
            near = np.array([one.building_id == person.resident.building_id for one in items])
            meant = np.array([one.group in ("", person.group) for one in items])
            self.fit[place] *= np.where(near, NEARNESS, 1.0) * np.where(meant, 1.0, 0.1)
        self.free = np.ones((len(people), len(items)), bool)
        self.last = np.full(len(people), -1)
        homes = {one: at for at, one in enumerate(dict.fromkeys(p.resident.household_id for p in people))}
        blocks = {one: at for at, one in enumerate(dict.fromkeys(p.resident.building_id for p in people))}
        self.home = np.array([homes[one.resident.household_id] for one in people], dtype=int)
        self.block = np.array([blocks[one.resident.building_id] for one in people], dtype=int)
        self.at_home = np.full((len(homes), len(items)), -1e9)
        self.in_block = np.full((len(blocks), len(items)), -1e9)

    def odds(self, person: int, day: int, month: int) -> NDArray[np.float64]:
        odds = self.popularity * self.fit[person] * self.season[month]
        odds = odds * np.where(day - self.at_home[self.home[person]] < FORGOTTEN_AFTER_DAYS, HOUSEHOLD, 1.0)
        odds *= np.where(day - self.in_block[self.block[person]] < FORGOTTEN_AFTER_DAYS, NEIGHBOURS, 1.0)
        if (last := self.last[person]) >= 0:
            odds *= np.where(self.codes == self.codes[last], FOLLOWS / 3, 1.0)
            if self.next_of[last] >= 0:
                odds[self.next_of[last]] *= FOLLOWS * 5
        told: NDArray[np.float64] = odds
        return told

    def take(self, person: int, item: int, day: int) -> None:
        self.free[person, item] = False
        self.last[person] = item
        self.at_home[self.home[person], item] = self.in_block[self.block[person], item] = day


def _next_in_series(items: Sequence[ItemFacts]) -> NDArray[np.int64]:
    following = np.full(len(items), -1)
    last: dict[str, int] = {}
    for place, item in enumerate(items):
        if item.series:
            if item.series in last:
                following[last[item.series]] = place
            last[item.series] = place
    return following


def happenings(people: Sequence[Person], items: Sequence[ItemFacts], *, seed: int = 7) -> list[Happening]:
    """The year, oldest first. Nobody takes an item twice. Of nobody or nothing, nothing."""
    if not people or not items:
        return []
    random = np.random.default_rng(seed)
    town = _Town(people, items, random)
    # Most do little, a few very much.
    busy = random.lognormal(0, 0.8, len(people))
    counts = random.poisson(EVENTS_A_YEAR * busy / np.exp(0.32))
    who = np.repeat(np.arange(len(people)), counts)
    minutes = np.sort(random.integers(0, DAYS * 24 * 60, len(who)))
    told = []
    for person, minute in zip(random.permutation(who), minutes, strict=True):
        at = YEAR_START + timedelta(minutes=int(minute))
        day = int(minute) // (24 * 60)
        open_now = town.free[person] & (town.days[:, 0] <= day) & (day < town.days[:, 1])
        odds = town.popularity if random.random() < CHANCE else town.odds(person, day, at.month)
        odds = np.where(open_now, odds, 0)
        if not (total := odds.sum()):
            continue
        item = min(int(np.searchsorted(np.cumsum(odds), random.random() * total, side="right")), len(items) - 1)
        town.take(person, item, day)
        told.append(Happening(people[person].resident.id, items[item].id, _kind(random.random()), at))
    return told


def _kind(drawn: float) -> str:
    for kind, share in KINDS:
        if drawn < share:
            return kind
        drawn -= share
    return KINDS[-1][0]


def columns(told: Iterable[Happening]) -> tuple[list[str], list[str], list[float]]:
    """Users, items and times, as training takes them."""
    rows = [(str(one.resident_id), one.item_id, one.at.timestamp()) for one in told]
    return [row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows]
