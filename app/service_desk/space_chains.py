"""Where things are in the space tree: what stands above a node, and whether two places have to do with each other."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app.people.tables import Household, Residency, Space, SpaceKind


@dataclass(frozen=True, slots=True)
class Node:
    """A space as far as matching needs it."""

    id: UUID
    kind: SpaceKind
    label: str
    building_id: UUID | None


Chain = tuple[Node, ...]
"""A space, what it stands in, what that stands in, up to the top."""


async def chains(session: AsyncSession, community_id: UUID, space_ids: Iterable[UUID | None]) -> dict[UUID, Chain]:
    """The chain of each of these spaces that exist in the community."""
    wanted = {space_id for space_id in space_ids if space_id is not None}
    if not wanted:
        return {}
    start = select(Space.id, Space.parent_id).where(Space.id.in_(wanted), Space.community_id == community_id)
    above = start.cte("above", recursive=True)
    parent = aliased(Space)
    above = above.union(select(parent.id, parent.parent_id).join(above, parent.id == above.c.parent_id))
    columns = (Space.id, Space.parent_id, Space.kind, Space.label, Space.building_id)
    rows = (await session.execute(select(*columns).where(Space.id.in_(select(above.c.id))))).all()
    nodes = {row.id: Node(row.id, row.kind, row.label, row.building_id) for row in rows}
    parents: dict[UUID, UUID | None] = {row.id: row.parent_id for row in rows}
    return {space_id: _climb(space_id, nodes, parents) for space_id in wanted if space_id in nodes}


def _climb(space_id: UUID, nodes: Mapping[UUID, Node], parents: Mapping[UUID, UUID | None]) -> Chain:
    found = []
    at: UUID | None = space_id
    while at is not None:
        found.append(nodes[at])
        at = parents[at]
    return tuple(found)


def covers(spaces: Collection[UUID], chain: Chain) -> bool:
    """Whether a place lies in one of these spaces, or is one; no spaces are the whole community."""
    return not spaces or any(node.id in spaces for node in chain)


def touches(spaces: Mapping[UUID, Chain], chain: Chain) -> bool:
    """As `covers`, or a place with one of these spaces below it: who says "the whole building" means its units too."""
    return covers(spaces, chain) or any(chain[:1] and chain[0] in above for above in spaces.values())


async def rooms_of(session: AsyncSession, resident_id: UUID) -> list[UUID]:
    """The rooms in which a resident verifiably lives."""
    found = await session.scalars(
        select(Household.room_id)
        .join(Residency, Residency.household_id == Household.id)
        .where(Residency.resident_id == resident_id, Residency.verified_at.is_not(None))
        .order_by(Residency.id)
    )
    return list(found)
