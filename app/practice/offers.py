"""Things to recommend in the practice community, and a made-up year of what its people did with them, as rows.

Times count from the moment of loading, so that there is always a weekend ahead. What recurs was taken in earlier
editions, too: the year goes back behind the day on which an item was put up.
"""

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from functools import cache
from typing import Any
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

import yaml

from app.practice import interactions
from app.practice.interactions import DAYS, YEAR_START, ItemFacts
from app.practice.world import HERE, World, stable_id
from app.recommend.feedback import occasion_of
from app.recommend.tables import FeedbackKind

FILE = HERE / "items.yaml"
ZONE = ZoneInfo("Asia/Shanghai")
WEEKS_OLD = 5
"""Of items that do not say how long ago they were put up."""
ONE_IN = 3
"""So many people tell of one who uses it: enough to learn from, and loaded within seconds."""
PLACES_TAKEN = 0.4
"""Share of the places of an activity that others have."""


@cache
def said() -> tuple[Mapping[str, Any], ...]:
    """The items as the file says them."""
    return tuple(yaml.safe_load(FILE.read_text(encoding="utf-8")))


def id_of(name: str) -> UUID:
    return stable_id("offer", name)


def item_rows(world: World, *, now: datetime) -> list[dict[str, Any]]:
    """Rows of the items of the first community, without vectors and without a catalogue number yet."""
    community = world.communities[0]
    buildings = _buildings(world)
    rows = []
    for one in said():
        starts = _starts(one["starts"], now) if "starts" in one else None
        ends = starts + timedelta(hours=one["hours"]) if starts else None
        building_id = buildings[one["building"]] if "building" in one else None
        rows.append(
            {
                "id": id_of(one["id"]), "community_id": community.id, "external_id": one["id"], "kind": one["kind"],
                "title": one["title"], "title_en": one["title_en"], "text": one["text"], "text_en": one["text_en"],
                "categories": one["cats"], "provider": one.get("provider", ""), "space_id": building_id,
                "building_id": building_id, "place": one.get("place", ""), "audience": one.get("audience", "all"),
                "building_ids": [building_id] if building_id else [],
                "price_cents": round(one.get("price", 0) * 100), "capacity": one.get("capacity"),
                "joined_count": int(one.get("capacity", 0) * PLACES_TAKEN), "starts_at": starts, "ends_at": ends,
                "expires_at": now + timedelta(days=one["lasts"]) if "lasts" in one else None, "enabled": True,
                "catalogue_number": 0, "version": 1, "updated_at": now,
                "created_at": now - timedelta(weeks=one.get("weeks_old", WEEKS_OLD)),
            }
        )  # fmt: skip
    return rows


def facts(world: World) -> list[ItemFacts]:
    """What the made-up year depends on, of every item."""
    buildings = _buildings(world)
    return [
        ItemFacts(
            id=one["id"], category=one["taste"], building_id=buildings.get(one.get("building", "")),
            group=one.get("group", ""), series=one.get("series", ""),
        )
        for one in said()
    ]  # fmt: skip


def feedback_rows(world: World, *, now: datetime) -> list[dict[str, Any]]:
    """Rows of what the people of the first community did within the year before. Who is new there has done nothing."""
    community_id = world.communities[0].id
    items = facts(world)
    later = now - (YEAR_START + timedelta(days=DAYS))
    rows = []
    people = [one for one in interactions.people_of(world, community_id)[::ONE_IN] if one.resident.verified]
    for told in interactions.happenings(people, items):
        kind, at = FeedbackKind(told.kind), told.at + later
        rows.append(
            {
                "id": uuid5(id_of(told.item_id), str(told.resident_id)), "community_id": community_id,
                "item_id": id_of(told.item_id), "resident_id": told.resident_id, "kind": kind,
                "occasion": occasion_of(kind, None, at), "at": at, "created_at": at,
            }
        )  # fmt: skip
    return rows


def _buildings(world: World) -> dict[str, UUID]:
    return {
        one.name: one.id
        for one in world.spaces
        if one.community_id == world.communities[0].id and one.id == one.building_id
    }


def _starts(written: str, now: datetime) -> datetime:
    """5 18:30: five days on, by the clock of the community."""
    days, _, clock = written.partition(" ")
    day: date = now.astimezone(ZONE).date() + timedelta(days=int(days))
    return datetime.combine(day, time.fromisoformat(clock), ZONE)
