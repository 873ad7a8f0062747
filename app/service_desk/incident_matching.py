"""Whether a report tells of something known: matched by place and meaning with open incidents and recent orders.

Before an order is opened, what matches is offered. After it was opened a job links it to the incident it belongs to,
or, when enough homes near one place report alike, opens a suspected one for staff to confirm.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import numpy as np
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.people.callers import Caller, CallerKind
from app.people.tables import SpaceKind
from app.service_desk import space_chains
from app.service_desk.incident_kinds import IncidentKind, kinds_of
from app.service_desk.incident_tables import LIVE, Incident, IncidentSpace, WorkOrderMatch
from app.service_desk.likeness import Telling, Vector, likeness
from app.service_desk.space_chains import Chain
from app.service_desk.tables import OrderKind, Status, Urgency, WorkOrder
from app.service_desk.transitions import ENDED

RECENT_ORDERS_MAX = 300
"""Newest orders of a community that a report is compared with."""
INCIDENTS_MAX = 100
TELLINGS_PER_INCIDENT = 5
KINDS_MATCHED = frozenset({OrderKind.REPAIR, OrderKind.COMPLAINT})
OVER = frozenset({Status.CANCELLED, Status.CLOSED_UNHANDLED})


@dataclass(frozen=True, slots=True)
class Report:
    """An order or an intended one, as far as matching needs it. `home` tells reporters apart."""

    telling: Telling
    chain: Chain
    id: UUID | None = None
    home: UUID | None = None
    incident_id: UUID | None = None
    order: WorkOrder | None = None

    @property
    def ended(self) -> bool:
        return self.order is not None and self.order.status in ENDED


@dataclass(frozen=True, slots=True)
class KnownIncident:
    """A live incident with the spaces it covers and what was reported of it."""

    incident: Incident
    spaces: Mapping[UUID, Chain]
    tellings: Sequence[Telling]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is going on in a community."""

    incidents: Sequence[KnownIncident]
    reports: Sequence[Report]


def telling_of(text: str, *, category_id: UUID | None = None, vector: Vector | None = None) -> Telling:
    return Telling(text, kinds_of(text), category_id, vector)


async def look_around(session: AsyncSession, caller: Caller, *, since: datetime, embedder: str) -> Surroundings:
    """Live incidents and the orders opened since then, with their places."""
    incidents = list(
        await session.scalars(
            select(Incident)
            .where(Incident.community_id == caller.community_id, Incident.status.in_(LIVE))
            .order_by(Incident.id.desc())
            .limit(INCIDENTS_MAX)
        )
    )
    named = await session.execute(
        select(IncidentSpace.incident_id, IncidentSpace.space_id).where(
            IncidentSpace.incident_id.in_([incident.id for incident in incidents])
        )
    )
    pairs: list[tuple[UUID, UUID]] = [(row.incident_id, row.space_id) for row in named]
    rows = (
        await session.execute(
            select(WorkOrder, WorkOrderMatch.embedder, WorkOrderMatch.vector)
            .outerjoin(WorkOrderMatch, WorkOrderMatch.work_order_id == WorkOrder.id)
            .where(
                WorkOrder.community_id == caller.community_id, WorkOrder.kind.in_(KINDS_MATCHED),
                WorkOrder.created_at >= since, WorkOrder.status.not_in(OVER),
                WorkOrder.urgency != Urgency.EMERGENCY,
            )
            .order_by(WorkOrder.id.desc())
            .limit(RECENT_ORDERS_MAX)
        )
    ).all()  # fmt: skip
    wanted = {place_of(row.WorkOrder) for row in rows} | {space_id for _, space_id in pairs}
    chains = await space_chains.chains(session, caller.community_id, wanted)
    reports = [
        report_of(row.WorkOrder, chains, vector=_vector(row.vector) if row.embedder == embedder else None)
        for row in rows
    ]
    return Surroundings([_known(incident, pairs, chains, reports) for incident in incidents], reports)


def place_of(order: WorkOrder) -> UUID | None:
    return order.space_id or order.building_id


def report_of(order: WorkOrder, chains: Mapping[UUID, Chain], *, vector: Vector | None) -> Report:
    place = place_of(order)
    return Report(
        telling_of(order.text, category_id=order.category_id, vector=vector),
        chains.get(place, ()) if place else (),
        id=order.id,
        home=order.household_id or order.reporter_id or order.id,
        incident_id=order.incident_id,
        order=order,
    )


def _vector(stored: Sequence[float] | None) -> Vector | None:
    return None if stored is None else np.asarray(stored, dtype=np.float32)


def _known(
    incident: Incident, pairs: Iterable[tuple[UUID, UUID]], chains: Mapping[UUID, Chain], reports: Iterable[Report]
) -> KnownIncident:
    own = Telling(
        f"{incident.title} {incident.resident_text}",
        frozenset() if incident.kind is IncidentKind.OTHER else frozenset({incident.kind}),
        incident.category_id,
    )
    linked = [report.telling for report in reports if report.incident_id == incident.id]
    spaces = {space_id: chains.get(space_id, ()) for incident_id, space_id in pairs if incident_id == incident.id}
    return KnownIncident(incident, spaces, [own, *linked[:TELLINGS_PER_INCIDENT]])


def matching_incidents(
    report: Report, around: Surroundings, *, alike: float, anywhere: bool = False
) -> list[tuple[KnownIncident, float]]:
    """Live incidents at the report's place that are of the same matter, the likeliest first.

    A report without a place matches none, or, `anywhere`, those of every place.
    """
    found = []
    for known in around.incidents:
        near = space_chains.touches(known.spaces, report.chain) if report.chain else anywhere or not known.spaces
        score = max(likeness(report.telling, telling) for telling in known.tellings)
        if near and score >= alike:
            found.append((known, score))
    return sorted(found, key=lambda pair: (-pair[1], pair[0].incident.id))


def like_reports(report: Report, around: Surroundings, *, alike: float) -> list[Report]:
    """Other orders that tell of the same matter, wherever they are, newest first."""
    return [
        other for other in around.reports if other.id != report.id and likeness(report.telling, other.telling) >= alike
    ]


def near_reports(report: Report, reports: Iterable[Report]) -> list[Report]:
    """Those in the same stairwell or house: one place lies in the other, or both lie in one unit or building."""
    wanted = {node.id for node in report.chain if node.kind is not SpaceKind.PHASE}
    return [other for other in reports if any(node.id in wanted for node in other.chain)]


@dataclass(frozen=True, slots=True)
class Cluster:
    """Like reports from enough homes at one place; `space_id` None is the whole community."""

    space_id: UUID | None
    label: str
    kind: IncidentKind
    reports: Sequence[Report]
    homes_count: int


def find_cluster(report: Report, like: Sequence[Report], *, homes_min: int) -> Cluster | None:
    """The smallest place from which enough homes report alike: unit, building, then phase and community.

    Above a building the reports must come from as many buildings: two failures in two houses are two incidents.
    """
    free = [report, *(other for other in like if other.incident_id is None and not other.ended)]
    levels: list[tuple[UUID | None, str, bool]] = [
        (node.id, node.label, node.kind is SpaceKind.PHASE) for node in report.chain if node.kind is not SpaceKind.ROOM
    ]
    if not levels:
        return None
    for space_id, label, wide in (*levels, (None, "", True)):
        here = [one for one in free if space_id is None or any(node.id == space_id for node in one.chain)]
        homes = {one.home for one in here}
        buildings = {one.chain[0].building_id for one in here if one.chain and one.chain[0].building_id}
        if len(homes) >= homes_min and (not wide or len(buildings) >= homes_min):
            return Cluster(space_id, label, _kind(here), here, len(homes))
    return None


def _kind(reports: Iterable[Report]) -> IncidentKind:
    said = Counter(kind for report in reports for kind in report.telling.kinds)
    return max(said, key=lambda kind: (said[kind], kind), default=IncidentKind.OTHER)


def reporter_of(order: WorkOrder) -> UUID | None:
    """The resident who follows on account of this order."""
    return order.reporter_id if order.reporter_kind is CallerKind.RESIDENT else None


def window_start(now: datetime, hours: float) -> datetime:
    return now - timedelta(hours=hours)
