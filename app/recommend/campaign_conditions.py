"""The tree of a filter as a condition on `Resident`. Values travel as bound parameters and never as text.

Each predicate is a set of residents that is worked out once (`IN`), not a question asked of every resident: with the
latter, what ten thousand residents did took longer than a statement may.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, any_, func, literal, not_, or_, select, true
from sqlalchemy.orm import aliased

from app.people.tables import Household, Residency, Resident, Space
from app.recommend.campaign_filter import Every, Is, Node, Not, Some
from app.recommend.tables import Item, ItemFeedback

Args = Mapping[str, Any]


def condition_of(node: Node, *, community_id: UUID, now: datetime) -> ColumnElement[bool]:
    """Whether a resident is meant, as SQL."""
    match node:
        case Every(()):
            return true()
        case Every(parts):
            return and_(*(condition_of(part, community_id=community_id, now=now) for part in parts))
        case Some(parts):
            return or_(*(condition_of(part, community_id=community_id, now=now) for part in parts))
        case Not(part):
            return not_(condition_of(part, community_id=community_id, now=now))
        case Is(predicate, args):
            return CONDITIONS[predicate](args, community_id, now)


def _lives(args: Args, community_id: UUID, now: datetime) -> ColumnElement[bool]:
    verified = Residency.verified_at.is_not(None) if args.get("verified", True) else Residency.verified_at.is_(None)
    wanted = [Residency.community_id == community_id, verified]
    if "roles" in args:
        wanted.append(Residency.role.in_(args["roles"]))
    if "space_ids" in args:
        rooms = rooms_within(args["space_ids"], community_id)
        wanted.append(Residency.household_id.in_(select(Household.id).where(Household.room_id.in_(rooms))))
    return Resident.id.in_(select(Residency.resident_id).where(*wanted))


def rooms_within(space_ids: tuple[UUID, ...], community_id: UUID) -> Select[tuple[UUID]]:
    """Ids of these spaces and of all that stands below them."""
    start = select(Space.id).where(Space.id.in_(space_ids), Space.community_id == community_id)
    below = start.cte(recursive=True)
    child = aliased(Space)
    return select(below.union(select(child.id).join(below, child.parent_id == below.c.id)).c.id)


def _language(args: Args, community_id: UUID, now: datetime) -> ColumnElement[bool]:
    return Resident.language.in_(args["languages"])


def _moved_in(args: Args, community_id: UUID, now: datetime) -> ColumnElement[bool]:
    since = now - timedelta(days=args["within_days"])
    recent = select(Residency.resident_id).where(Residency.community_id == community_id, Residency.verified_at >= since)
    return Resident.id.in_(recent)


def _did(args: Args, community_id: UUID, now: datetime) -> ColumnElement[bool]:
    done = [
        ItemFeedback.community_id == community_id,
        # What is NOT IN a list with a NULL is unknown.
        ItemFeedback.resident_id.is_not(None),
        ItemFeedback.kind.in_(args["what"]),
        ItemFeedback.at >= now - timedelta(days=args["within_days"]),
        ItemFeedback.at <= now,
    ]
    if "item_id" in args:
        done.append(ItemFeedback.item_id == args["item_id"])
    if "category" in args:
        within = select(Item.id).where(
            Item.community_id == community_id, literal(args["category"]) == any_(Item.categories)
        )
        done.append(ItemFeedback.item_id.in_(within))
    people = select(ItemFeedback.resident_id).where(*done)
    if (least := args.get("at_least", 1)) > 1:
        people = people.group_by(ItemFeedback.resident_id).having(func.count() >= least)
    return Resident.id.in_(people)


CONDITIONS: dict[str, Callable[[Args, UUID, datetime], ColumnElement[bool]]] = {
    "lives": _lives,
    "language": _language,
    "moved_in": _moved_in,
    "did": _did,
}
"""One for each of the grammar's predicates; a test proves it complete."""
