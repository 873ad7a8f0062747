"""The door for whoever is in need and not signed in: it asks for nothing but words, and answers with a card."""

from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, Request, Response

from app.db import Tenant, is_away
from app.errors import AppError
from app.knowledge.language import language_of
from app.people import sign_in
from app.people.callers import CommunityNotFound, system_caller
from app.people.doors import DoorRoute
from app.rest.idempotency import Once, OnceDep
from app.rest.rate_limits import RateLimits, address_of
from app.runtime import Runtime, RuntimeDep
from app.safety import emergencies, second_voice
from app.safety.emergencies import EmergencyKind
from app.service_desk import cards, emergency_reports
from app.service_desk.emergency_schemas import EmergencyIn, EmergencyOut
from app.service_desk.tables import Channel

log = structlog.get_logger(__name__)
router = APIRouter(tags=["emergencies"], route_class=DoorRoute)


async def limited(request: Request, runtime: RuntimeDep) -> str:
    """The address that asks. Raises TooManyRequests; without Redis nobody is refused."""
    limits: RateLimits = request.app.state.rate_limits
    address = address_of(request)
    await limits.check("emergency", address, per_minute_max=runtime.settings.emergencies_per_minute_max)
    return address


@router.post("/emergencies", response_model=EmergencyOut)
async def post_emergency(
    body: EmergencyIn, address: Annotated[str, Depends(limited)], runtime: RuntimeDep, once: OnceDep
) -> Response:
    """Say what is wrong, signed in or not: what to do and whom to call comes at once, and the staff on duty are told.

    The order is marked as an unverified caller's. Nothing is asked back, and nothing but the database is needed.
    """
    language = str(language_of(body.text))
    # Whoever comes here means it: the rules' word is enough, and the classifier may only add to it.
    found = emergencies.find(body.text) or await second_voice.listen(body.text, runtime.embedder)
    kind = body.kind or (found.kind if found else None)
    try:
        tenant = await sign_in.find_tenant(runtime, body.community)
        if tenant is None:
            raise CommunityNotFound
        return await _report(runtime, tenant, body, once, kind=kind, language=language, address=address)
    except AppError:
        raise
    except Exception as error:
        # Nobody can be told here, mostly for want of the database, but what to do and 119, 120 and 110 are known.
        log.error("emergency_not_reported", error=type(error).__name__, kind=kind, exc_info=not is_away(error))
        code = str(kind or cards.OTHER)
        card = cards.standard(code, language)
        out = EmergencyOut(kind=code, card=card, language=language, reported=False, number=None)
        return Response(out.model_dump_json(), media_type="application/json")


async def _report(
    runtime: Runtime, tenant: Tenant, body: EmergencyIn, once: Once, *, kind: EmergencyKind | None,
    language: str, address: str,
) -> Response:  # fmt: skip
    caller = system_caller(tenant)
    assert tenant.community_id is not None
    async with runtime.transaction(tenant) as session:
        if replayed := await once.replay(session, tenant.community_id, f"address:{address}"):
            return replayed
        code = str(kind or cards.OTHER)
        number = None
        # Words in which nobody finds an emergency are answered, and nobody is woken for them.
        if kind is not None or emergencies.read(body.text).unsure is not None:
            reported = await emergency_reports.report(
                session, runtime, caller, kind, text=body.text, channel=Channel.SELF, place=body.place,
                contact_name=body.contact_name, contact_phone=body.contact_phone,
            )  # fmt: skip
            number = reported.order.number
        card = await cards.read(session, caller, code, language)
        out = EmergencyOut(kind=code, card=card, language=language, reported=number is not None, number=number)
        return await once.keep(session, 200, out)
