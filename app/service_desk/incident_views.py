"""Incidents as they are shown: to staff, to residents, and as an offer before an order is opened."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.people import communities, residents, spaces
from app.people.callers import Caller, CallerKind
from app.people.local_time import zone_of
from app.people.tables import Resident
from app.runtime import Runtime
from app.service_desk import (
    categories,
    incident_matching,
    incident_words,
    incidents,
    meaning,
    space_chains,
    work_orders,
)
from app.service_desk.incident_matching import KnownIncident, Report
from app.service_desk.incident_schemas import (
    FollowerOut,
    IncidentDetail,
    IncidentMatch,
    IncidentOut,
    MatchesOut,
    MatchIn,
    MyIncidentOut,
    NewsOut,
    OrderMatch,
    PlaceOut,
    Words,
)
from app.service_desk.incident_tables import Incident, IncidentFollower, IncidentNews
from app.service_desk.likeness import Telling, Vector, likeness
from app.service_desk.tables import WorkOrder

MATCHES_MAX = 5


async def show(session: AsyncSession, caller: Caller, found: Sequence[Incident]) -> list[IncidentOut]:
    ids = [incident.id for incident in found]
    labels, followers = await incidents.labels_of(session, found), await incidents.follower_counts(session, ids)
    rows = await session.execute(
        select(WorkOrder.incident_id, func.count())
        .where(WorkOrder.community_id == caller.community_id, WorkOrder.incident_id.in_(ids))
        .group_by(WorkOrder.incident_id)
    )
    orders = {row[0]: row[1] for row in rows}
    columns = set(IncidentOut.model_fields) - {"spaces", "followers_count", "workorders_count"}
    return [
        IncidentOut(
            **{name: getattr(incident, name) for name in columns},
            spaces=[PlaceOut(id=space_id, label=label) for space_id, label in labels[incident.id]],
            followers_count=followers.get(incident.id, 0),
            workorders_count=orders.get(incident.id, 0),
        )
        for incident in found
    ]


async def show_one(session: AsyncSession, caller: Caller, incident: Incident) -> IncidentDetail:
    [shown] = await show(session, caller, [incident])
    return IncidentDetail(**shown.model_dump(), news=(await news_of(session, [incident.id])).get(incident.id, []))


async def news_of(session: AsyncSession, incident_ids: Sequence[UUID]) -> dict[UUID, list[NewsOut]]:
    rows = await session.scalars(
        select(IncidentNews).where(IncidentNews.incident_id.in_(incident_ids)).order_by(IncidentNews.number)
    )
    found: dict[UUID, list[NewsOut]] = {}
    for row in rows:
        found.setdefault(row.incident_id, []).append(NewsOut.model_validate(row))
    return found


async def show_followers(session: AsyncSession, followers: Sequence[IncidentFollower]) -> list[FollowerOut]:
    ids = [follower.resident_id for follower in followers]
    rooms = await residents.rooms_of(session, ids)
    rows = await session.execute(select(Resident.id, Resident.name).where(Resident.id.in_(ids)))
    names = {row[0]: row[1] for row in rows}
    return [
        FollowerOut(
            id=one.id, resident_id=one.resident_id, name=names[one.resident_id],
            rooms=[room.label for room in rooms.get(one.resident_id, [])], source=one.source,
            told_number=one.told_number, created_at=one.created_at,
        )
        for one in followers
    ]  # fmt: skip


async def show_mine(session: AsyncSession, caller: Caller, found: Sequence[Incident]) -> list[MyIncidentOut]:
    ids = [incident.id for incident in found]
    labels, followers = await incidents.labels_of(session, found), await incidents.follower_counts(session, ids)
    news, mine = await news_of(session, ids), await followed_by(session, caller, ids)
    return [
        MyIncidentOut(
            id=one.id, kind=one.kind, status=one.status, title=one.title,
            text=Words(zh=one.resident_text, en=one.resident_text_en),
            places=[label for _, label in labels[one.id]], began_at=one.began_at,
            expected_end_at=one.expected_end_at, is_late=one.is_late, ended_at=one.ended_at,
            following=one.id in mine,
            followers_count=followers.get(one.id, 0), news=news.get(one.id, []),
        )
        for one in found
    ]  # fmt: skip


async def followed_by(session: AsyncSession, caller: Caller, incident_ids: Sequence[UUID]) -> set[UUID]:
    if caller.kind is not CallerKind.RESIDENT:
        return set()
    rows = await session.scalars(
        select(IncidentFollower.incident_id).where(
            IncidentFollower.resident_id == caller.id, IncidentFollower.incident_id.in_(incident_ids)
        )
    )
    return set(rows)


async def find_matches(
    session: AsyncSession, runtime: Runtime, caller: Caller, asked: MatchIn, *, vector: Vector | None
) -> MatchesOut:
    """What is known of an intended report. Other residents' orders are counted, never shown to residents.

    Raises: SpaceNotFound, CategoryNotFound.
    """
    if asked.category_id is not None:
        await categories.get(session, caller, asked.category_id)
    settings = await communities.read_settings(session, caller.community_id)
    since = incident_matching.window_start(runtime.clock(), settings.incident_match_hours)
    around = await incident_matching.look_around(session, caller, since=since, embedder=meaning.name_of(runtime))
    resident = caller.kind is CallerKind.RESIDENT
    spots = [(await spaces.get(session, caller, asked.space_id)).id] if asked.space_id else []
    if not spots and resident:
        spots = await space_chains.rooms_of(session, caller.id)
    chains = await space_chains.chains(session, caller.community_id, spots)
    telling = incident_matching.telling_of(asked.text, category_id=asked.category_id, vector=vector)
    reports = [Report(telling, chains.get(spot, ())) for spot in spots] or [Report(telling, ())]
    alike = settings.incident_match_meaning_min
    known = {
        one.incident.id: (one, score)
        for report in reports
        for one, score in incident_matching.matching_incidents(report, around, alike=alike, anywhere=not resident)
    }
    near = {
        other.id: other
        for report in reports
        for other in _near(report, incident_matching.like_reports(report, around, alike=alike), resident=resident)
    }
    return MatchesOut(
        incidents=await _offers(session, caller, list(known.values())[:MATCHES_MAX], now=runtime.clock()),
        workorders=await _orders(session, caller, telling, {one.id: one.telling for one in near.values() if one.id}),
        others_count=len({other.home for other in near.values() if not _is_own(caller, other)}),
    )


def _near(report: Report, like: list[Report], *, resident: bool) -> list[Report]:
    if report.chain or resident:
        return incident_matching.near_reports(report, like)
    return like


def _is_own(caller: Caller, report: Report) -> bool:
    return report.order is not None and work_orders.is_own(caller, report.order)


async def _offers(
    session: AsyncSession, caller: Caller, known: Sequence[tuple[KnownIncident, float]], *, now: datetime
) -> list[IncidentMatch]:
    zone = await zone_of(session, caller.community_id)
    found = [one.incident for one, _ in known]
    labels = await incidents.labels_of(session, found)
    mine = await followed_by(session, caller, [incident.id for incident in found])
    return [
        IncidentMatch(
            incident_id=one.incident.id, kind=one.incident.kind, status=one.incident.status, title=one.incident.title,
            places=[label for _, label in labels[one.incident.id]], began_at=one.incident.began_at,
            expected_end_at=one.incident.expected_end_at, likeness=round(score, 3), following=one.incident.id in mine,
            offer=Words(
                **incident_words.known_since(one.incident, zone, now=now, following=one.incident.id in mine)
            ),
        )
        for one, score in known
    ]  # fmt: skip


async def _orders(
    session: AsyncSession, caller: Caller, telling: Telling, scored: Mapping[UUID, Telling]
) -> list[OrderMatch]:
    visible = work_orders.visible_to(caller).where(WorkOrder.id.in_(scored)).order_by(WorkOrder.id.desc())
    return [
        OrderMatch(
            order_id=order.id, number=order.number, status=order.status, title=order.title,
            created_at=order.created_at,
            likeness=round(likeness(telling, scored[order.id]), 3),
        )
        for order in await session.scalars(visible.limit(MATCHES_MAX))
    ]  # fmt: skip
