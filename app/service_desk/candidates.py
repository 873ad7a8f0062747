"""The staff of a community as `staffing.choose` wants them: skills, shifts, load, places and the week."""

from collections import defaultdict
from collections.abc import Collection
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.people import rota, shifts, staff
from app.people.tables import Space
from app.service_desk import transitions
from app.service_desk.duty_tables import AssignmentRule, StaffArea, StaffTurn
from app.service_desk.staffing import Candidate, OrderFacts
from app.service_desk.tables import Urgency, WorkOrder, WorkOrderCategory

WEEK = timedelta(days=7)
DEPTH_MAX = 10
Path = tuple[UUID, ...]


async def facts_of(
    session: AsyncSession, order: WorkOrder, category: WorkOrderCategory, rule: AssignmentRule | None
) -> OrderFacts:
    place = order.space_id or order.building_id
    paths = await paths_of(session, [place] if place else [])
    return OrderFacts(
        skill=(rule and rule.skill) or category.skill,
        place=paths.get(place, ()) if place else (),
        urgent=order.urgency is not Urgency.ROUTINE,
        not_for=order.about_staff_id,
        rule=rule.id if rule else None,
        named=rule.staff_id if rule else None,
    )


async def find(session: AsyncSession, community_id: UUID, *, now: datetime) -> list[Candidate]:
    """Everybody who works in the community, in no particular order. A fixed number of statements, however many."""
    people = (await session.scalars(staff.working_in(community_id))).all()
    ids = [one.id for one in people]
    at_work = await shifts.on_shift(session, community_id, now)
    if not await shifts.are_kept(session, community_id):
        # Where no shifts are written down, nobody can be told to be away.
        at_work = frozenset(ids)
    on_call = frozenset(await rota.on_call(session, community_id, now))
    open_orders, last_spaces = await _open_orders(session, community_id, ids)
    week = await _week_orders(session, community_id, ids, since=now - WEEK)
    turns = await session.execute(
        select(StaffTurn.staff_id, StaffTurn.last_assigned_at).where(StaffTurn.community_id == community_id)
    )
    last_turn = {row.staff_id: row.last_assigned_at for row in turns}
    areas = await areas_of(session, community_id, ids)
    paths = await paths_of(session, [*last_spaces.values(), *(one for some in areas.values() for one in some)])
    return [
        Candidate(
            staff_id=one.id, name=one.name, skills=frozenset(one.skills), on_shift=one.id in at_work,
            on_call=one.id in on_call, open_orders=open_orders.get(one.id, 0), week_orders=week.get(one.id, 0),
            areas=tuple(paths[area] for area in areas[one.id] if area in paths),
            last_place=paths.get(last_spaces.get(one.id, one.id), ()), last_assigned_at=last_turn.get(one.id),
        )
        for one in people
    ]  # fmt: skip


async def areas_of(
    session: AsyncSession, community_id: UUID, staff_ids: Collection[UUID]
) -> defaultdict[UUID, list[UUID]]:
    """The spaces to which the work of each is limited."""
    rows = await session.execute(
        select(StaffArea.staff_id, StaffArea.space_id)
        .where(StaffArea.community_id == community_id, StaffArea.staff_id.in_(staff_ids))
        .order_by(StaffArea.space_id)
    )
    areas: defaultdict[UUID, list[UUID]] = defaultdict(list)
    for row in rows:
        areas[row.staff_id].append(row.space_id)
    return areas


async def _open_orders(
    session: AsyncSession, community_id: UUID, ids: Collection[UUID]
) -> tuple[dict[UUID, int], dict[UUID, UUID]]:
    """How many each has to do, and the place of the newest."""
    busy = select(
        WorkOrder.assignee_id, WorkOrder.id, func.coalesce(WorkOrder.space_id, WorkOrder.building_id).label("place")
    ).where(
        WorkOrder.community_id == community_id,
        WorkOrder.assignee_id.in_(ids),
        WorkOrder.closed_at.is_(None),
        WorkOrder.status.not_in(transitions.HANDLED),
    )
    counts: dict[UUID, int] = defaultdict(int)
    places: dict[UUID, UUID] = {}
    for row in await session.execute(busy.order_by(WorkOrder.id)):
        counts[row.assignee_id] += 1
        if row.place is not None:
            places[row.assignee_id] = row.place
    return counts, places


async def _week_orders(
    session: AsyncSession, community_id: UUID, ids: Collection[UUID], *, since: datetime
) -> dict[UUID, int]:
    """How many of the orders that came in since then each has or had last."""
    statement = (
        select(WorkOrder.assignee_id, func.count())
        .where(WorkOrder.community_id == community_id, WorkOrder.assignee_id.in_(ids), WorkOrder.created_at >= since)
        .group_by(WorkOrder.assignee_id)
    )
    return {row[0]: row[1] for row in await session.execute(statement) if row[0] is not None}


async def paths_of(session: AsyncSession, space_ids: Collection[UUID]) -> dict[UUID, Path]:
    """The path of each space from the top down to itself."""
    if not space_ids:
        return {}
    chain = (
        select(Space.id.label("of"), Space.id, Space.parent_id)
        .where(Space.id.in_(set(space_ids)))
        .cte("chain", recursive=True)
    )
    chain = chain.union_all(select(chain.c.of, Space.id, Space.parent_id).join(chain, Space.id == chain.c.parent_id))
    parents: dict[UUID, dict[UUID, UUID | None]] = defaultdict(dict)
    for row in await session.execute(select(chain)):
        parents[row.of][row.id] = row.parent_id
    return {of: _walk(of, above) for of, above in parents.items()}


def _walk(space_id: UUID, parents: dict[UUID, UUID | None]) -> Path:
    path: list[UUID] = []
    at: UUID | None = space_id
    while at is not None and at in parents and len(path) < DEPTH_MAX:
        path.append(at)
        at = parents[at]
    return tuple(reversed(path))
