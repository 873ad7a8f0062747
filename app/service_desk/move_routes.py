"""The moves of a work order over REST: one verb each. A move that cannot be made is 409 with those that can."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Response
from sqlalchemy.ext.asyncio import AsyncSession

from app.people.callers import Caller, SessionDep, require_in_community
from app.people.doors import DoorRoute
from app.rest.idempotency import OnceDep
from app.runtime import Runtime, RuntimeDep
from app.service_desk import doings, showing, work_orders
from app.service_desk.schemas import AssignIn, CompleteIn, NoteIn, OrderOut, QuoteIn, RateIn, ReasonIn
from app.service_desk.tables import Status, WorkOrder

router = APIRouter(prefix="/workorders/{order_id}", route_class=DoorRoute)

Writer = Annotated[Caller, Depends(require_in_community("workorders:write"))]
Dispatcher = Annotated[Caller, Depends(require_in_community("workorders:dispatch"))]


@dataclass(frozen=True)
class Verb:
    """A move that takes a note. With `reason`, the note must say why."""

    to: Status
    says: str
    reason: bool = False


VERBS: dict[str, Verb] = {
    "accept": Verb(Status.ACCEPTED, "Take it on, or grab it: of two at once one gets it, the other is told who."),
    "start": Verb(Status.IN_PROGRESS, "Begin the work."),
    "resume": Verb(Status.IN_PROGRESS, "Go on after a pause."),
    "confirm-quote": Verb(Status.IN_PROGRESS, "Agree to the price on behalf of the resident."),
    "pause": Verb(Status.PAUSED, "Let it wait, and say for what.", reason=True),
    "return": Verb(Status.RETURNED, "Give it back to the desk, and say why.", reason=True),
    "cancel": Verb(Status.CANCELLED, "Take it back on behalf of the resident."),
    "reopen": Verb(Status.SUBMITTED, "It is not done after all. Within the days that the community sets."),
    "close": Verb(Status.CLOSED, "Close what is done, also without a rating."),
    "close-unhandled": Verb(Status.CLOSED_UNHANDLED, "Close what will not be done, and say why.", reason=True),
    "return-visit": Verb(Status.RETURN_VISIT, "Somebody is to ask how it went."),
    "paid": Verb(Status.AWAITING_RATING, "The payment came in."),
    "payment-failed": Verb(Status.PAYMENT_FAILED, "The payment did not go through."),
    "await-payment": Verb(Status.AWAITING_PAYMENT, "Wait for the payment, also once more."),
}
"""The moves that need nothing but words."""


def _add(name: str, verb: Verb) -> None:
    async def with_note(
        order_id: UUID, body: NoteIn, caller: Writer, session: SessionDep, runtime: RuntimeDep, once: OnceDep
    ) -> Response:
        return await _moved(session, runtime, caller, once, order_id, verb.to, body.note)

    async def with_reason(
        order_id: UUID, body: ReasonIn, caller: Writer, session: SessionDep, runtime: RuntimeDep, once: OnceDep
    ) -> Response:
        return await _moved(session, runtime, caller, once, order_id, verb.to, body.note)

    endpoint: Callable[..., Awaitable[Response]] = with_reason if verb.reason else with_note
    # The audit log and OpenAPI know an operation by its function's name.
    endpoint.__name__ = f"post_{name.replace('-', '_')}"
    router.add_api_route(f"/{name}", endpoint, methods=["POST"], response_model=OrderOut, description=verb.says)


for _name, _verb in VERBS.items():
    _add(_name, _verb)


@router.post("/dispatch", response_model=OrderOut)
async def post_dispatch(
    order_id: UUID, body: AssignIn, caller: Writer, session: SessionDep, runtime: RuntimeDep, once: OnceDep
) -> Response:
    """Give it to a member of staff."""
    return await _moved(
        session, runtime, caller, once, order_id, Status.DISPATCHED, body.note, assignee_id=body.assignee_id
    )


@router.post("/transfer", response_model=OrderOut)
async def post_transfer(
    order_id: UUID, body: AssignIn, caller: Writer, session: SessionDep, runtime: RuntimeDep, once: OnceDep
) -> Response:
    """Hand it on to a colleague."""
    return await _moved(
        session, runtime, caller, once, order_id, Status.TRANSFERRED, body.note, assignee_id=body.assignee_id
    )


@router.post("/quote", response_model=OrderOut)
async def post_quote(
    order_id: UUID, body: QuoteIn, caller: Writer, session: SessionDep, runtime: RuntimeDep, once: OnceDep
) -> Response:
    """Say what it will cost, and wait for the resident's yes."""
    return await _moved(
        session, runtime, caller, once, order_id, Status.QUOTED, body.note, quote_cents=body.quote_cents,
        currency=body.currency,
    )  # fmt: skip


@router.post("/complete", response_model=OrderOut)
async def post_complete(
    order_id: UUID, body: CompleteIn, caller: Writer, session: SessionDep, runtime: RuntimeDep, once: OnceDep
) -> Response:
    """The work is done."""
    to = Status.AWAITING_PAYMENT if body.payment_due else Status.AWAITING_RATING
    return await _moved(session, runtime, caller, once, order_id, to, body.note)


@router.post("/urge", response_model=OrderOut)
async def post_urge(
    order_id: UUID, body: NoteIn, caller: Writer, session: SessionDep, runtime: RuntimeDep, once: OnceDep
) -> Response:
    """Pass on that the resident is waiting."""
    if replayed := await once.replay(session, caller.community_id, caller.key):
        return replayed
    order = await doings.urge(session, runtime, caller, order_id, note=body.note)
    return await _kept(session, caller, once, order)


@router.post("/rate", response_model=OrderOut)
async def post_rate(
    order_id: UUID, body: RateIn, caller: Dispatcher, session: SessionDep, runtime: RuntimeDep, once: OnceDep
) -> Response:
    """Write down what the resident says, at the desk or on the telephone."""
    if replayed := await once.replay(session, caller.community_id, caller.key):
        return replayed
    order = await doings.rate(session, runtime, caller, order_id, **body.model_dump())
    return await _kept(session, caller, once, order)


async def _moved(
    session: AsyncSession, runtime: Runtime, caller: Caller, once: OnceDep, order_id: UUID, to: Status, note: str,
    **facts: Any,
) -> Response:  # fmt: skip
    if replayed := await once.replay(session, caller.community_id, caller.key):
        return replayed
    order = await work_orders.move(session, runtime, caller, order_id, to=to, note=note, **facts)
    return await _kept(session, caller, once, order)


async def _kept(session: AsyncSession, caller: Caller, once: OnceDep, order: WorkOrder) -> Response:
    response = await once.keep(session, 200, (await showing.show(session, caller, [order]))[0])
    response.headers["ETag"] = showing.etag_of(order)
    return response
