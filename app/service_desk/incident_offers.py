"""What is known of a report when it is made: before an order is opened, and in chat before anything is searched.

In chat the report's words and its place decide, so that it works with engine, embedder and Redis away.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.people.callers import Caller
from app.people.local_time import zone_of
from app.runtime import Runtime
from app.safety import emergencies
from app.service_desk import incident_views, incident_words, incidents, meaning, places, space_chains, triaging
from app.service_desk.incident_errors import IncidentKnown
from app.service_desk.incident_kinds import IncidentKind, kinds_of
from app.service_desk.incident_schemas import MatchIn
from app.service_desk.incident_tables import LIVE, FollowSource, Incident
from app.service_desk.incident_words import Words
from app.service_desk.likeness import Vector
from app.service_desk.places import Found

REPORT_CHARS_MAX = 120
"""Who writes more in chat has a question of their own."""
ASKS_OF_RULES = re.compile(
    r"多少钱|收费|费用|计费|赔|保修|规定|制度|流程|怎么(?:办理|申请|交|缴)|谁(?:负责|承担|出钱)|几年|合同"
    r"|\b(?:how much|costs?|fees?|charges?|compensat\w*|warranty|rules?|policy|who pays|responsible|liable)\b",
    re.IGNORECASE,
)
"""A question that the documents answer, also where it names what has failed."""
INCIDENTS_MAX = 20


@dataclass(frozen=True)
class Offer:
    """A live incident that a report tells of. `said`: how it stands, and what residents are told of it."""

    incident: Incident
    following: bool
    said: Words


def tells_of(text: str) -> frozenset[IncidentKind]:
    """What a message says has failed, where it is short and no question about rules. Pure."""
    if len(text) > REPORT_CHARS_MAX or ASKS_OF_RULES.search(text):
        return frozenset()
    return kinds_of(text)


async def find(session: AsyncSession, runtime: Runtime, caller: Caller, text: str) -> Offer | None:
    """The live incident of this kind at the place that a resident names, else where they live; the newest."""
    kinds = tells_of(text)
    known = await _live(session, caller, kinds) if kinds else []
    if not known:
        return None
    spots = await _spots(session, caller, text)
    named = await incidents.labels_of(session, known)
    space_ids = {space_id for labels in named.values() for space_id, _ in labels}
    chains = await space_chains.chains(session, caller.community_id, space_ids | set(spots))
    for incident in known:
        spaces = {space_id: chains.get(space_id, ()) for space_id, _ in named[incident.id]}
        if not spaces or any(space_chains.touches(spaces, chains.get(spot, ())) for spot in spots):
            return await _offer(session, runtime, caller, incident)
    return None


async def _live(session: AsyncSession, caller: Caller, kinds: Collection[IncidentKind]) -> list[Incident]:
    statement = select(Incident).where(
        Incident.community_id == caller.community_id, Incident.status.in_(LIVE), Incident.kind.in_(kinds)
    )
    return list(await session.scalars(statement.order_by(Incident.id.desc()).limit(INCIDENTS_MAX)))


async def _spots(session: AsyncSession, caller: Caller, text: str) -> list[UUID]:
    rooms = await space_chains.rooms_of(session, caller.id)
    said = places.said_in(text)
    if not said.is_address:
        return rooms
    nodes = await triaging.nodes_of(session, caller, said, rooms[0] if rooms else None)
    home = next((node for node in nodes if rooms and node.id == rooms[0]), None)
    place = places.resolve(said, nodes, home)
    return [place.space_id] if place.found is Found.SAID and place.space_id is not None else rooms


async def _offer(session: AsyncSession, runtime: Runtime, caller: Caller, incident: Incident) -> Offer:
    following = incident.id in await incident_views.followed_by(session, caller, [incident.id])
    stands = incident_words.how_it_stands(incident, await zone_of(session, caller.community_id), now=runtime.clock())
    texts = {"zh": incident.resident_text, "en": incident.resident_text_en or incident.resident_text}
    dots = {"zh": "。", "en": ". "}
    said = {language: f"{stands[language]}{dots[language]}{texts[language]}".strip() for language in ("zh", "en")}
    return Offer(incident, following, said)


async def follow(session: AsyncSession, runtime: Runtime, caller: Caller, incident_id: UUID) -> Incident:
    """Have a resident follow what was offered to them. Raises: IncidentNotFound, IncidentOver."""
    incident = await incidents.get_offered(session, caller, incident_id)
    await incidents.follow(session, runtime, incident, [caller.id], source=FollowSource.ASKED)
    return incident


@dataclass(frozen=True)
class Look:
    """A report that some live incident may be about, with its meaning where the embedder could be asked."""

    vector: Vector | None


async def look(runtime: Runtime, caller: Caller, text: str) -> Look | None:
    """None where nothing lasts that a report could belong to, or where it is an emergency, which is never held up.

    Asked before a request's first statement, so that no transaction is open while the embedder is waited for.
    """
    if emergencies.find(text) is not None:
        return None
    async with runtime.transaction(caller.tenant) as session:
        lasts = exists().where(Incident.community_id == caller.community_id, Incident.status.in_(LIVE))
        if not await session.scalar(select(lasts)):
            return None
    return Look(await meaning.vector_of(runtime, text))


async def check_unknown(session: AsyncSession, runtime: Runtime, caller: Caller, report: MatchIn, look: Look) -> None:
    """Raises IncidentKnown for a report of a live incident near its place."""
    known = await incident_views.find_matches(session, runtime, caller, report, vector=look.vector)
    if known.incidents:
        offers = [match.offer.model_dump() for match in known.incidents]
        raise IncidentKnown(offers, known.model_dump(mode="json"))
