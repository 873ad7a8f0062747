"""Who sees which orders, as conditions for SQL. `work_orders.py` is the door to them."""

from dataclasses import dataclass, replace
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import BindParameter, Select, Uuid, and_, bindparam, exists, false, or_, select
from sqlalchemy.orm import aliased

from app.people.callers import Caller, CallerKind
from app.people.tables import Residency
from app.safety.emergencies import EmergencyKind
from app.service_desk import webhooks
from app.service_desk.tables import OrderKind, WorkOrder, WorkOrderCategory

ALWAYS_CONFIDENTIAL = "staff_conduct"
"""Code of the category whose complaints only those who dispatch see, unless they are given one."""


@dataclass(frozen=True)
class Eyes:
    """What of a caller tells which orders they see. The ids may be parameters, so that a statement is built once."""

    kind: CallerKind
    reads: bool
    dispatches: bool
    community_id: UUID | BindParameter[UUID]
    id: UUID | BindParameter[UUID]


def eyes_of(caller: Caller) -> Eyes:
    scopes = caller.scopes
    return Eyes(
        caller.kind, "workorders:read" in scopes, "workorders:dispatch" in scopes, caller.community_id, caller.id
    )


COMMUNITY, OWN_ID, ORDER_ID = "seen_in", "seen_by", "seen_order"
NOBODY = UUID(int=0)


@cache
def of_one(shape: Eyes, *, own: bool, locked: bool) -> Select[Any]:
    """One order and, as `listens`, whether its community has webhooks; for callers of this shape (`shape_of`), built
    once: that takes longer than to run it.

    `own`: to read, of `shared_with`; locked, of the caller's own alone.
    """
    eyes = replace(shape, community_id=bindparam(COMMUNITY, type_=Uuid), id=bindparam(OWN_ID, type_=Uuid))
    statement = visible(eyes)
    if own:
        statement = own_of(eyes) if locked else shared_with(eyes)
    statement = statement.where(WorkOrder.id == bindparam(ORDER_ID, type_=Uuid))
    statement = statement.add_columns(webhooks.are_there(eyes.community_id).label("listens"))
    if locked:
        statement = statement.with_for_update(key_share=True, of=WorkOrder)
    # What this session read before may be older than the lock.
    return statement.execution_options(populate_existing=True)


def shape_of(caller: Caller) -> Eyes:
    """The eyes of a caller without whose they are."""
    return replace(eyes_of(caller), community_id=NOBODY, id=NOBODY)


def visible(eyes: Eyes) -> Select[WorkOrder]:
    """Residents: those of `shared_with`; staff those of the community, but never a complaint about themselves, and one
    about colleagues only if they dispatch or were given it.
    """
    if eyes.kind is CallerKind.RESIDENT or not eyes.reads:
        return shared_with(eyes)
    ours = select(WorkOrder).where(WorkOrder.community_id == eyes.community_id)
    if eyes.kind is CallerKind.STAFF:
        ours = ours.where(or_(WorkOrder.about_staff_id.is_(None), WorkOrder.about_staff_id != eyes.id))
    if eyes.dispatches:
        return ours
    # A complaint that triage has not read may be about anybody.
    harmless = select(WorkOrderCategory.id).where(
        WorkOrderCategory.community_id == eyes.community_id, WorkOrderCategory.code != ALWAYS_CONFIDENTIAL
    )
    return ours.where(
        or_(
            WorkOrder.kind != OrderKind.COMPLAINT,
            WorkOrder.assignee_id == eyes.id if eyes.kind is CallerKind.STAFF else false(),
            and_(WorkOrder.about_staff_id.is_(None), WorkOrder.category_id.in_(harmless)),
        )
    )


def own_of(eyes: Eyes) -> Select[WorkOrder]:
    """Orders that the caller reported, or that were reported in their name."""
    return select(WorkOrder).where(
        WorkOrder.community_id == eyes.community_id,
        WorkOrder.reporter_kind == eyes.kind,
        WorkOrder.reporter_id == eyes.id,
    )


def shared_with(eyes: Eyes) -> Select[WorkOrder]:
    """Orders that the caller may read: their own, and those of the households in which they verifiably live, reported
    by somebody who verifiably lives there, too; not those of who lived there before.

    What concerns the home is everybody's there. A complaint, and a cry for help against somebody at home, stay with
    who made them.
    """
    if eyes.kind is not CallerKind.RESIDENT:
        return own_of(eyes)
    mine, theirs = aliased(Residency), aliased(Residency)
    at_home = exists().where(
        mine.resident_id == eyes.id, mine.verified_at.is_not(None), mine.household_id == WorkOrder.household_id,
        theirs.resident_id == WorkOrder.reporter_id, theirs.verified_at.is_not(None),
        theirs.household_id == mine.household_id,
    )  # fmt: skip
    house_mates = (
        select(theirs.resident_id)
        .join(mine, mine.household_id == theirs.household_id)
        .where(mine.resident_id == eyes.id, mine.verified_at.is_not(None))
    )
    shared = and_(
        # Along the index of reporters first: a home's people are few, a community's orders are not.
        WorkOrder.reporter_id.in_(house_mates),
        at_home,
        WorkOrder.kind != OrderKind.COMPLAINT,
        WorkOrder.about_staff_id.is_(None),
        or_(WorkOrder.emergency_kind.is_(None), WorkOrder.emergency_kind != EmergencyKind.VIOLENCE),
    )
    return select(WorkOrder).where(
        WorkOrder.community_id == eyes.community_id,
        WorkOrder.reporter_kind == CallerKind.RESIDENT,
        or_(WorkOrder.reporter_id == eyes.id, shared),
    )
