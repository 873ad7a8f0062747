"""Rows of the ledger of promises, written and looked up, for `promises.py` and for what listens to orders."""

from collections.abc import Collection
from datetime import datetime, timedelta
from functools import cache
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import Select, bindparam, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.clock import CLOCK
from app.errors import Invalid
from app.people.callers import CallerKind
from app.runtime import Runtime
from app.service_desk import promise_rule
from app.service_desk.promise_tables import Promise, PromiseSource, PromiseStatus
from app.service_desk.tables import WorkOrder

CHASE_MINUTES = 30
"""So long before a promise runs out, whoever made it is reminded; of a short one, after half of its time."""


class PromisePast(Invalid):
    code = "promise_due_past"

    def __init__(self) -> None:
        super().__init__("A promise is for a time that is still to come.", "承诺时间必须晚于现在。")


async def promise(
    session: AsyncSession, runtime: Runtime, *, community_id: UUID, by_kind: CallerKind, by_id: UUID | None,
    to_resident_id: UUID | None, text: str, due_at: datetime, work_order_id: UUID | None = None,
    conversation_id: UUID | None = None, source: PromiseSource = PromiseSource.STATED, source_id: UUID | None = None,
    status: PromiseStatus = PromiseStatus.OPEN,
) -> Promise:  # fmt: skip
    """Write down a promise. With a `source_id`, a second call for the same source gives the first's row.

    Raises PromisePast.
    """
    now = runtime.clock()
    if due_at <= now:
        raise PromisePast
    written = (
        insert(Promise)
        .values(
            id=CLOCK.new_id(), community_id=community_id, status=status, source=source, source_id=source_id,
            by_kind=by_kind, by_id=by_id, to_resident_id=to_resident_id, text=text, due_at=due_at,
            chase_at=chase_at(now, due_at), work_order_id=work_order_id, conversation_id=conversation_id, reason="",
            version=1, created_at=now,
        )
        .on_conflict_do_nothing(index_elements=["community_id", "source", "source_id"])
        .returning(Promise)
    )  # fmt: skip
    made = (await session.scalars(written)).one_or_none()
    if made is not None:
        return made
    same = select(Promise).where(
        Promise.community_id == community_id, Promise.source == source, Promise.source_id == source_id
    )
    return (await session.scalars(same)).one()


def chase_at(now: datetime, due_at: datetime) -> datetime:
    """When whoever promised is reminded."""
    return due_at - min(timedelta(minutes=CHASE_MINUTES), (due_at - now) / 2)


async def propose(
    session: AsyncSession, runtime: Runtime, *, community_id: UUID, zone: ZoneInfo, by_kind: CallerKind,
    by_id: UUID | None, to_resident_id: UUID | None, text: str, source_id: UUID, work_order_id: UUID | None = None,
    conversation_id: UUID | None = None,
) -> Promise | None:  # fmt: skip
    """What a text for a resident promises, as a proposal for its author; None when it promises nothing."""
    found = promise_rule.find_promise(text, now=runtime.clock(), zone=zone)
    if found is None:
        return None
    return await promise(
        session, runtime, community_id=community_id, by_kind=by_kind, by_id=by_id, to_resident_id=to_resident_id,
        text=found.text, due_at=found.due_at, work_order_id=work_order_id, conversation_id=conversation_id,
        source=PromiseSource.COMMENT, source_id=source_id, status=PromiseStatus.PROPOSED,
    )  # fmt: skip


async def open_of_order(
    session: AsyncSession, order: WorkOrder, *, sources: Collection[PromiseSource] = tuple(PromiseSource)
) -> list[Promise]:
    """The promises about an order that are still open, locked."""
    values = {"of_community": order.community_id, "of_order": order.id, "from_sources": list(sources)}
    return list(await session.scalars(_open_of_order(), values))


@cache
def _open_of_order() -> Select[Promise]:
    return (
        select(Promise)
        .where(
            Promise.community_id == bindparam("of_community"),
            Promise.work_order_id == bindparam("of_order"),
            Promise.status == PromiseStatus.OPEN,
            Promise.source.in_(bindparam("from_sources", expanding=True)),
        )
        .order_by(Promise.id)
        .with_for_update(key_share=True)
    )
