"""What becomes of an order that was just opened: linked to the incident it belongs to, or the one too many that makes
a suspected incident of like reports.
"""

from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from app.db import Tenant
from app.notices import deliveries
from app.people import communities
from app.people.callers import Caller, system_caller
from app.people.community_settings import CommunitySettings
from app.runtime import Runtime
from app.service_desk import (
    desk,
    incident_matching,
    incident_notices,
    incident_orders,
    incident_words,
    incidents,
    meaning,
    space_chains,
)
from app.service_desk.incident_matching import Cluster, KnownIncident, Surroundings
from app.service_desk.incident_tables import Incident, IncidentSpace, IncidentStatus, WorkOrderMatch
from app.service_desk.likeness import Vector
from app.service_desk.tables import WorkOrder
from app.service_desk.transitions import ENDED

log = structlog.get_logger(__name__)


async def match_order(runtime: Runtime, tenant: Tenant, order_id: UUID) -> None:
    """Match one new order. Safe to run twice, and beside others: those of a community go one after the other."""
    caller = system_caller(tenant)
    async with runtime.transaction(tenant) as session:
        waiting = await session.get(WorkOrderMatch, order_id)
        order = await session.get(WorkOrder, order_id)
        if waiting is None or waiting.matched_at is not None or order is None:
            return
        said = order.text
    vector = await meaning.vector_of(runtime, said)
    async with runtime.transaction(tenant) as session:
        await incidents.lock_places(session, caller.community_id)
        row = await session.get_one(WorkOrderMatch, order_id, populate_existing=True)
        if row.matched_at is not None:
            return
        row.matched_at = runtime.clock()
        if vector is not None:
            row.embedder, row.vector = meaning.name_of(runtime), vector.tolist()
        await session.flush()
        await _match(session, runtime, caller, order_id, vector)


async def _match(
    session: AsyncSession, runtime: Runtime, caller: Caller, order_id: UUID, vector: Vector | None
) -> None:
    # Not locked yet: an incident's row is always locked before those of its orders.
    order = await session.get_one(WorkOrder, order_id, populate_existing=True)
    if order.incident_id is not None or order.status in ENDED:
        return
    settings = await communities.read_settings(session, caller.community_id)
    since = incident_matching.window_start(runtime.clock(), settings.incident_match_hours)
    around = await incident_matching.look_around(session, caller, since=since, embedder=meaning.name_of(runtime))
    place = incident_matching.place_of(order)
    chains = await space_chains.chains(session, caller.community_id, [place])
    report = incident_matching.report_of(order, chains, vector=vector)
    alike = settings.incident_match_meaning_min
    if known := incident_matching.matching_incidents(report, around, alike=alike):
        await _link(session, runtime, caller, known[0][0].incident.id, [order_id])
        return
    like = incident_matching.like_reports(report, around, alike=alike)
    if cluster := incident_matching.find_cluster(report, like, homes_min=settings.incident_reports_min):
        await _propose(session, runtime, caller, settings, cluster, around)


async def _link(
    session: AsyncSession, runtime: Runtime, caller: Caller, incident_id: UUID, order_ids: list[UUID]
) -> None:
    incident = await incidents.get(session, caller, incident_id, locked=True)
    orders = await incident_orders.lock_orders(session, caller, order_ids)
    # Staff may have linked or ended some of them since they were compared.
    free = [order for order in orders if order.incident_id is None and order.status not in ENDED]
    if incident.status in (IncidentStatus.OPEN, IncidentStatus.SUSPECTED):
        await incident_orders.link(session, runtime, caller, incident, free)


async def _propose(
    session: AsyncSession, runtime: Runtime, caller: Caller, settings: CommunitySettings, cluster: Cluster,
    around: Surroundings,
) -> None:  # fmt: skip
    order_ids = [report.id for report in cluster.reports if report.id is not None]
    if wider := _next_door(cluster, around):
        # The same failure next door, still a suspicion: it reaches further than it seemed.
        assert cluster.space_id is not None
        session.add(
            IncidentSpace(incident_id=wider.incident.id, space_id=cluster.space_id, community_id=caller.community_id)
        )
        await session.flush()
        await _link(session, runtime, caller, wider.incident.id, order_ids)
        return
    incident = await incidents.open_incident(
        session, runtime, caller, kind=cluster.kind, title=incident_words.heading(cluster.kind, cluster.label),
        space_ids=[cluster.space_id] if cluster.space_id else [], status=IncidentStatus.SUSPECTED,
        began_at=min(report.order.created_at for report in cluster.reports if report.order is not None),
    )  # fmt: skip
    await _link(session, runtime, caller, incident.id, order_ids)
    await incident_notices.draft(session, runtime, caller, incident)
    await _tell_desk(session, runtime, incident, cluster)
    log.info("incident_suspected", incident_id=str(incident.id), reports=len(order_ids), homes=cluster.homes_count)


def _next_door(cluster: Cluster, around: Surroundings) -> KnownIncident | None:
    """A suspected incident of the same kind elsewhere in the building."""
    building_id = cluster.reports[0].chain[0].building_id
    if cluster.space_id is None or building_id is None:
        return None
    for known in around.incidents:
        buildings = {chain[0].building_id for chain in known.spaces.values() if chain}
        suspected = known.incident.status is IncidentStatus.SUSPECTED
        if suspected and known.incident.kind is cluster.kind and building_id in buildings:
            return known
    return None


async def _tell_desk(session: AsyncSession, runtime: Runtime, incident: Incident, cluster: Cluster) -> None:
    for staff_id in await desk.people(session, incident.community_id):
        await deliveries.tell(
            session, runtime, community_id=incident.community_id, staff_id=staff_id, kind="incident.suspected",
            title=incident_words.title(incident), body=incident_words.suspected(incident, cluster.homes_count),
            link=f"/incidents/{incident.id}", key=f"incident:{incident.id}:suspected",
        )  # fmt: skip
