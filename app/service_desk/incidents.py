"""Incidents 突发/停供: one for many reports, opened by staff or suspected by Linli, followed by who is concerned."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, delete, exists, func, or_, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app.clock import CLOCK
from app.people import spaces
from app.people.callers import Caller, CallerKind
from app.people.tables import Household, Residency, Space
from app.queue import Job, Lane, send_after_commit
from app.runtime import Runtime
from app.service_desk import webhooks
from app.service_desk.errors import CategoryNotFound
from app.service_desk.incident_errors import (
    EndBeforeBeginning,
    IncidentFollowed,
    IncidentMoveNotAllowed,
    IncidentNotFound,
    IncidentOver,
)
from app.service_desk.incident_kinds import IncidentKind
from app.service_desk.incident_tables import (
    INCIDENT_MOVES,
    LIVE,
    FollowSource,
    Incident,
    IncidentFollower,
    IncidentNews,
    IncidentSpace,
    IncidentStatus,
)
from app.service_desk.tables import WorkOrderCategory

TELL_INCIDENT = "service_desk.tell_incident"
SPACES_MAX = 200


def visible_to(caller: Caller) -> Select[Incident]:
    """Staff and keys: all of the community. Residents: those of `own_of`."""
    if caller.kind is CallerKind.RESIDENT:
        return own_of(caller)
    return select(Incident).where(Incident.community_id == caller.community_id)


def own_of(caller: Caller) -> Select[Incident]:
    """What the caller follows, and confirmed incidents where they live."""
    confirmed = Incident.status.in_((IncidentStatus.OPEN, IncidentStatus.CLOSED))
    return select(Incident).where(
        Incident.community_id == caller.community_id,
        Incident.status != IncidentStatus.DISMISSED,
        or_(follows(caller.id), confirmed & _concerns(caller.id)),
    )


def follows(resident_id: UUID) -> ColumnElement[bool]:
    return exists().where(IncidentFollower.incident_id == Incident.id, IncidentFollower.resident_id == resident_id)


def _concerns(resident_id: UUID) -> ColumnElement[bool]:
    """Whether an incident covers a room of the resident: names no space, or one that the room lies in."""
    rooms = (
        select(Space.id, Space.parent_id)
        .join(Household, Household.room_id == Space.id)
        .join(Residency, Residency.household_id == Household.id)
        .where(Residency.resident_id == resident_id, Residency.verified_at.is_not(None))
    )
    above = rooms.cte("lived_in", recursive=True)
    parent = aliased(Space)
    above = above.union(select(parent.id, parent.parent_id).join(above, parent.id == above.c.parent_id))
    named = exists().where(IncidentSpace.incident_id == Incident.id)
    here = exists().where(IncidentSpace.incident_id == Incident.id, IncidentSpace.space_id.in_(select(above.c.id)))
    return or_(~named, here)


def list_statement(
    caller: Caller, *, status: IncidentStatus | None = None, kind: IncidentKind | None = None,
    space_id: UUID | None = None,
) -> Select[Incident]:  # fmt: skip
    statement = visible_to(caller)
    if status is not None:
        statement = statement.where(Incident.status == status)
    if kind is not None:
        statement = statement.where(Incident.kind == kind)
    if space_id is not None:
        named = exists().where(IncidentSpace.incident_id == Incident.id, IncidentSpace.space_id == space_id)
        statement = statement.where(named)
    return statement


def list_mine(caller: Caller, *, status: IncidentStatus | None = None) -> Select[Incident]:
    return own_of(caller) if status is None else own_of(caller).where(Incident.status == status)


async def get(
    session: AsyncSession, caller: Caller, incident_id: UUID, *, locked: bool = False, own: bool = False
) -> Incident:
    """With `own`, of what concerns or is followed by the caller. Raises IncidentNotFound."""
    statement = (own_of(caller) if own else visible_to(caller)).where(Incident.id == incident_id)
    if locked:
        statement = statement.with_for_update(key_share=True)
    incident = (await session.scalars(statement)).one_or_none()
    if incident is None:
        raise IncidentNotFound
    return incident


async def get_offered(session: AsyncSession, caller: Caller, incident_id: UUID) -> Incident:
    """Also one that lasts still and was offered to a resident before they reported. Raises IncidentNotFound."""
    if caller.kind is not CallerKind.RESIDENT:
        raise IncidentNotFound
    lasts = select(Incident).where(
        Incident.community_id == caller.community_id, Incident.id == incident_id, Incident.status.in_(LIVE)
    )
    incident = (await session.scalars(lasts)).one_or_none()
    return incident if incident is not None else await get(session, caller, incident_id)


async def lock_places(session: AsyncSession, community_id: UUID) -> None:
    """Reports of a community are matched one after the other, so that two at once never make two incidents."""
    await session.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"), {"key": f"incidents:{community_id}"}
    )


async def open_incident(
    session: AsyncSession, runtime: Runtime, caller: Caller, *, kind: IncidentKind, title: str,
    space_ids: Collection[UUID] = (), began_at: datetime | None = None, status: IncidentStatus = IncidentStatus.OPEN,
    **stated: Any,
) -> Incident:  # fmt: skip
    """A new incident. `stated`: resident_text, resident_text_en, category_id, expected_end_at.

    Raises: SpaceNotFound, CategoryNotFound, EndBeforeBeginning.
    """
    now = runtime.clock()
    incident = Incident(
        id=CLOCK.new_id(), community_id=caller.community_id, kind=kind, status=status, title=title,
        resident_text=stated.get("resident_text", ""), resident_text_en=stated.get("resident_text_en", ""),
        category_id=stated.get("category_id"), began_at=began_at or now, opened_by_kind=caller.kind,
        opened_by_id=caller.id, confirmed_at=now if status is IncidentStatus.OPEN else None, close_note="",
        news_number=0, told_number=0, version=1, created_at=now, updated_at=now,
    )  # fmt: skip
    incident.expect_end(stated.get("expected_end_at"))
    await _check(session, caller, incident)
    session.add(incident)
    await session.flush()
    await _set_spaces(session, caller, incident, space_ids)
    if status is IncidentStatus.OPEN:
        await _tell_outside(session, runtime, incident, "incident.opened")
    return incident


async def _check(session: AsyncSession, caller: Caller, incident: Incident) -> None:
    if incident.expected_end_at is not None and incident.expected_end_at < incident.began_at:
        raise EndBeforeBeginning
    if incident.category_id is not None:
        known = select(WorkOrderCategory.id).where(
            WorkOrderCategory.id == incident.category_id, WorkOrderCategory.community_id == caller.community_id
        )
        if await session.scalar(known) is None:
            raise CategoryNotFound


async def _set_spaces(session: AsyncSession, caller: Caller, incident: Incident, space_ids: Collection[UUID]) -> None:
    for space_id in sorted(set(space_ids)):
        await spaces.get(session, caller, space_id)
    await session.execute(delete(IncidentSpace).where(IncidentSpace.incident_id == incident.id))
    session.add_all(
        IncidentSpace(incident_id=incident.id, space_id=space_id, community_id=caller.community_id)
        for space_id in sorted(set(space_ids))
    )
    await session.flush()


async def _tell_outside(session: AsyncSession, runtime: Runtime, incident: Incident, event: str) -> None:
    """Tell the webhooks, whose data names nobody."""
    named = (await labels_of(session, [incident]))[incident.id]
    data = {
        "incident_id": str(incident.id), "kind": incident.kind, "status": incident.status,
        "space_ids": [str(space_id) for space_id, _ in named],
        "began_at": incident.began_at.isoformat(),
        "expected_end_at": incident.expected_end_at.isoformat() if incident.expected_end_at else None,
        "ended_at": incident.ended_at.isoformat() if incident.ended_at else None,
    }  # fmt: skip
    await webhooks.tell(session, runtime, incident.community_id, event, data)


async def change(
    session: AsyncSession, runtime: Runtime, caller: Caller, incident: Incident, changes: Mapping[str, Any]
) -> Incident:
    """Change a locked incident. A new expected end or text is news to its followers. Raises as `open_incident`."""
    given = dict(changes)
    space_ids = given.pop("space_ids", None)
    news = {"expected_end_at", "resident_text"} & {
        name for name, value in given.items() if value != getattr(incident, name)
    }
    _set(incident, given)
    await _check(session, caller, incident)
    if space_ids is not None:
        await _set_spaces(session, caller, incident, space_ids)
    if news and incident.status is IncidentStatus.OPEN:
        await add_news(
            session, runtime, caller, incident, text=incident.resident_text, text_en=incident.resident_text_en
        )
    return await touch(session, runtime, incident)


def _set(incident: Incident, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        if name != "expected_end_at":
            setattr(incident, name, value)
        elif value != incident.expected_end_at:
            incident.expect_end(value)
            if incident.status not in LIVE:
                incident.chase_at = None


async def touch(session: AsyncSession, runtime: Runtime, incident: Incident) -> Incident:
    incident.version += 1
    incident.updated_at = runtime.clock()
    await session.flush()
    return incident


async def add_news(
    session: AsyncSession, runtime: Runtime, caller: Caller, incident: Incident, *, text: str, text_en: str = "",
    ends: bool = False,
) -> IncidentNews:  # fmt: skip
    """Append what is told of a locked incident; its followers hear of it from a job."""
    incident.news_number += 1
    incident.updated_at = runtime.clock()
    news = IncidentNews(
        community_id=incident.community_id, incident_id=incident.id, number=incident.news_number, text=text,
        text_en=text_en, expected_end_at=None if incident.is_late else incident.expected_end_at, ends=ends,
        by_kind=caller.kind, by_id=caller.id, created_at=runtime.clock(),
    )  # fmt: skip
    session.add(news)
    await session.flush()
    send_after_commit(session, job_of(incident.id, incident.community_id))
    return news


async def tell(
    session: AsyncSession, runtime: Runtime, caller: Caller, incident: Incident, *, text: str, text_en: str,
    changes: Mapping[str, Any],
) -> Incident:  # fmt: skip
    """News about a locked incident that lasts, with a new expected end or as before. Raises IncidentOver."""
    if incident.status not in LIVE:
        raise IncidentOver
    _set(incident, changes)
    await _check(session, caller, incident)
    await add_news(session, runtime, caller, incident, text=text, text_en=text_en)
    return await touch(session, runtime, incident)


def job_of(incident_id: UUID, community_id: UUID) -> Job:
    return Job(TELL_INCIDENT, incident_id, community_id, lane=Lane.SERVICE)


def _move(incident: Incident, wanted: IncidentStatus) -> None:
    if wanted not in INCIDENT_MOVES[incident.status]:
        raise IncidentMoveNotAllowed(incident.status, wanted)
    incident.status = wanted
    if wanted not in LIVE:
        incident.chase_at, incident.chased_count = None, 0


async def confirm(session: AsyncSession, runtime: Runtime, caller: Caller, incident: Incident) -> Incident:
    """Staff say that a suspected incident is real; who follows is told. Raises IncidentMoveNotAllowed."""
    _move(incident, IncidentStatus.OPEN)
    incident.confirmed_at = runtime.clock()
    await _tell_outside(session, runtime, incident, "incident.opened")
    await add_news(session, runtime, caller, incident, text=incident.resident_text, text_en=incident.resident_text_en)
    return await touch(session, runtime, incident)


async def close(
    session: AsyncSession, runtime: Runtime, caller: Caller, incident: Incident, *, note: str, note_en: str = "",
    ended_at: datetime | None = None,
) -> Incident:  # fmt: skip
    """It is over: followers are told once, linked orders that nobody took are closed. Raises IncidentMoveNotAllowed."""
    _move(incident, IncidentStatus.CLOSED)
    incident.closed_at = runtime.clock()
    incident.ended_at = ended_at or incident.closed_at
    if incident.ended_at < incident.began_at:
        raise EndBeforeBeginning
    incident.close_note = note
    await add_news(session, runtime, caller, incident, text=note, text_en=note_en, ends=True)
    await _tell_outside(session, runtime, incident, "incident.closed")
    return await touch(session, runtime, incident)


async def dismiss(
    session: AsyncSession, runtime: Runtime, caller: Caller, incident: Incident, *, note: str
) -> Incident:
    """A suspicion was wrong: each order goes on by itself, as its reporter is told. Raises IncidentMoveNotAllowed."""
    _move(incident, IncidentStatus.DISMISSED)
    incident.closed_at = incident.ended_at = runtime.clock()
    incident.close_note = note
    await add_news(session, runtime, caller, incident, text=note, ends=True)
    return await touch(session, runtime, incident)


async def remove(session: AsyncSession, incident: Incident) -> None:
    """Delete one that was opened by mistake and that nobody follows. Raises IncidentFollowed."""
    followed = select(IncidentFollower.id).where(IncidentFollower.incident_id == incident.id).limit(1)
    if await session.scalar(followed) is not None:
        raise IncidentFollowed
    await session.delete(incident)
    await session.flush()


async def follow(
    session: AsyncSession, runtime: Runtime, incident: Incident, resident_ids: Collection[UUID], *, source: FollowSource
) -> list[UUID]:
    """Make these residents followers; those who were none yet. Safe to repeat. Raises IncidentOver."""
    if not INCIDENT_MOVES[incident.status]:
        raise IncidentOver
    if not resident_ids:
        return []
    rows = [
        {
            "id": CLOCK.new_id(), "community_id": incident.community_id, "incident_id": incident.id,
            "resident_id": resident_id, "source": source, "told_number": incident.news_number,
            "created_at": runtime.clock(),
        }
        for resident_id in sorted(set(resident_ids))
    ]  # fmt: skip
    written = insert(IncidentFollower).values(rows).on_conflict_do_nothing().returning(IncidentFollower.resident_id)
    return list(await session.scalars(written))


async def unfollow(session: AsyncSession, incident: Incident, resident_id: UUID) -> None:
    await session.execute(
        delete(IncidentFollower).where(
            IncidentFollower.incident_id == incident.id, IncidentFollower.resident_id == resident_id
        )
    )


def followers_of(incident: Incident) -> Select[IncidentFollower]:
    return select(IncidentFollower).where(IncidentFollower.incident_id == incident.id)


async def labels_of(session: AsyncSession, incidents: Sequence[Incident]) -> dict[UUID, list[tuple[UUID, str]]]:
    """The spaces of each incident, (id, address), in the order of their addresses."""
    rows = await session.execute(
        select(IncidentSpace.incident_id, Space.id, Space.label)
        .join(Space, Space.id == IncidentSpace.space_id)
        .where(IncidentSpace.incident_id.in_([incident.id for incident in incidents]))
        .order_by(Space.label)
    )
    found: dict[UUID, list[tuple[UUID, str]]] = {incident.id: [] for incident in incidents}
    for incident_id, space_id, label in rows:
        found[incident_id].append((space_id, label))
    return found


async def follower_counts(session: AsyncSession, incident_ids: Collection[UUID]) -> dict[UUID, int]:
    rows = await session.execute(
        select(IncidentFollower.incident_id, func.count())
        .where(IncidentFollower.incident_id.in_(incident_ids))
        .group_by(IncidentFollower.incident_id)
    )
    return {row[0]: row[1] for row in rows}
