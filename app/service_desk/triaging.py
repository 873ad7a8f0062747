"""Triage of one order, read top to bottom: look around, think, write. Safe to run twice, killed at any moment.

No session is open while embedder and engine are waited for. What was thought is written only to an order that still
has no triage, under its lock: of two workers that thought, one writes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

import structlog
from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.people import spaces
from app.people.callers import Caller, system_caller, tenant_of_community
from app.people.tables import Household, Space, SpaceKind
from app.queue import Lease
from app.runtime import Runtime
from app.safety import second_voice
from app.safety.emergencies import Emergency
from app.service_desk import categories, effects, places, triage, triage_slots, work_orders
from app.service_desk.errors import WorkOrderNotFound
from app.service_desk.places import Found, Node, Said
from app.service_desk.tables import EventKind, OrderKind, Urgency, WorkOrder, WorkOrderCategory
from app.service_desk.triage import Doubt, Opinion, Triage
from models import intent
from models.embedder import Vectors
from models.engine import EngineBusy, EngineFailed, State
from models.openai_embedder import EmbedderFailed
from models.versions import WeightsDamaged

log = structlog.get_logger(__name__)

GRAVITY = (Urgency.ROUTINE, Urgency.URGENT, Urgency.EMERGENCY)


@dataclass(frozen=True)
class Report:
    """What triage is about to think of, with all it needs from the database. `categories`: those in use, by code."""

    text: str
    community_id: UUID
    said: Said
    home: Node | None
    nodes: tuple[Node, ...]
    categories: Mapping[str, tuple[UUID, OrderKind]]
    confidence_min: float
    emergency: str | None = None


async def triage_order(runtime: Runtime, lease: Lease) -> None:
    """Triage one new order. An order that has its triage, or is gone, is left alone."""
    tenant = await tenant_of_community(runtime, lease.job.community_id)
    caller, order_id = system_caller(tenant), lease.job.row_id
    async with runtime.transaction(tenant) as session:
        try:
            order = await work_orders.get(session, caller, order_id)
        except WorkOrderNotFound:
            return
        if order.triage is not None:
            return
        report = await look_around(
            session, caller, text=order.text, place_text=order.place_text,
            home_id=await _room_of(session, order.household_id), emergency=order.emergency_kind,
        )  # fmt: skip
    thought = await think(runtime, report)
    async with runtime.transaction(tenant) as session:
        order = await work_orders.lock(session, caller, order_id)
        if order.triage is None:
            await write(session, runtime, caller, order, report, thought)


async def look_around(
    session: AsyncSession, caller: Caller, *, text: str, place_text: str = "", home_id: UUID | None = None,
    emergency: str | None = None,
) -> Report:  # fmt: skip
    """Everything from the database that thinking about a text needs."""
    await categories.ensure_defaults(session, caller)
    columns = (WorkOrderCategory.code, WorkOrderCategory.id, WorkOrderCategory.order_kind)
    known = await session.execute(categories.in_use(caller).with_only_columns(*columns))
    said = places.said_in(f"{place_text}\n{text}")
    nodes = await nodes_of(session, caller, said, home_id)
    return Report(
        text=text,
        community_id=caller.community_id,
        said=said,
        home=next((node for node in nodes if node.id == home_id), None),
        nodes=nodes,
        categories={row.code: (row.id, row.order_kind) for row in known},
        confidence_min=await work_orders.setting(session, caller, "triage_confidence_min"),
        emergency=emergency,
    )


async def nodes_of(session: AsyncSession, caller: Caller, said: Said, home_id: UUID | None) -> tuple[Node, ...]:
    """The nodes among which a place that was said can be found (`places.resolve`)."""
    wanted = [Space.kind != SpaceKind.ROOM]
    if said.room:
        wanted.append(Space.name.in_(places.room_names(said.room)))
    if home_id is not None:
        wanted.append(Space.id == home_id)
    columns = (Space.id, Space.parent_id, Space.building_id, Space.kind, Space.name, Space.label)
    rows = await session.execute(spaces.visible_to(caller).where(or_(*wanted)).with_only_columns(*columns))
    return tuple(Node(*row) for row in rows)


async def _room_of(session: AsyncSession, household_id: UUID | None) -> UUID | None:
    if household_id is None:
        return None
    return await session.scalar(select(Household.room_id).where(Household.id == household_id))


async def think(runtime: Runtime, report: Report) -> Triage:
    """The opinion on a report. Embedder and engine may both be away: then it is less sure and asks a person."""
    vector = await _vector(runtime, report.text)
    opinion = triage.hear(report.text, vector)
    found = _emergency(report.text, vector)
    emergency = report.emergency or (found.kind if found else None)
    thought = _classify(report, opinion, report.said, emergency, {})
    if not thought.needs_person:
        return thought
    slots = await _ask_engine(runtime, report)
    said = triage_slots.fill(report.said, slots)
    again = _classify(report, opinion, said, emergency, slots)
    # What the engine adds to an address counts only if that address exists.
    return again if again.place.found is Found.SAID else _classify(report, opinion, report.said, emergency, slots)


def _classify(report: Report, opinion: Opinion, said: Said, emergency: str | None, slots: Mapping[str, str]) -> Triage:
    return triage.classify(
        report.text,
        opinion=opinion,
        said=said,
        place=places.resolve(said, report.nodes, report.home),
        kinds={code: kind for code, (_, kind) in report.categories.items()},
        confidence_min=report.confidence_min,
        emergency=emergency,
        slots=slots,
    )


def _emergency(text: str, vector: Vectors | None) -> Emergency | None:
    """As in chat: the rules and a classifier beside them."""
    return second_voice.hear(text).found if vector is None else second_voice.find_whole(text, vector)


async def _vector(runtime: Runtime, text: str) -> Vectors | None:
    """The query vector of the text, or None where the weights do not understand the embedder or it is away."""
    try:
        if not intent.load_intents().understands(runtime.embedder.name):
            return None
        vector: Vectors = (await runtime.embedder.embed_queries([text]))[0]
    except (EmbedderFailed, WeightsDamaged) as error:
        log.warning("triage_without_meaning", error=str(error))
        return None
    return vector


async def _ask_engine(runtime: Runtime, report: Report) -> dict[str, str]:
    """Slots that the text bears out; none when the engine is away or busy: the order then waits for a person anyway."""
    if not runtime.settings.triage_engine or (await runtime.engine.state()).state is not State.READY:
        return {}
    try:
        answer = await runtime.engine.complete(triage_slots.request(report.text, salt=str(report.community_id)))
    except (EngineBusy, EngineFailed) as error:
        log.info("triage_without_engine", error=str(error))
        return {}
    return triage_slots.check(report.text, answer.text)


async def write(
    session: AsyncSession, runtime: Runtime, caller: Caller, order: WorkOrder, report: Report, thought: Triage
) -> None:
    """Write the opinion into a locked order. What its reporter or the desk chose stays; urgency only ever rises."""
    sure = not {Doubt.CONFIDENCE_LOW, Doubt.CATEGORY_MISSING, Doubt.NOT_AN_ORDER} & set(thought.doubts)
    if order.category_id is None and sure:
        order.category_id, kind = report.categories[thought.category_code]
        order.auto_classified = True
        # A complaint stays one: it is read by fewer people than a repair.
        if order.kind is OrderKind.REPAIR:
            order.kind = kind
    order.urgency = max(order.urgency, thought.urgency, key=GRAVITY.index)
    home_id = report.home.id if report.home else None
    if thought.place.found in (Found.SAID, Found.HOME) and order.space_id in (None, home_id):
        order.space_id, order.building_id = thought.place.space_id, thought.place.building_id
    order.confidence = thought.confidence
    order.needs_person = order.needs_person or thought.needs_person
    order.triage = thought.facts()
    effects.touch(order, runtime.clock())
    await work_orders.record(session, runtime, caller, order, EventKind.TRIAGED, facts=order.triage)
