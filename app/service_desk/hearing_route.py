"""Where residents write: whoever cries for help is told what to do, also while nothing can be stored."""

from collections.abc import Callable, Coroutine
from typing import Any

import structlog
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException

from app.db import is_away
from app.errors import AppError, Unavailable
from app.people.doors import DoorRoute
from app.safety import second_voice
from app.safety.emergencies import EmergencyKind
from app.service_desk import cards

log = structlog.get_logger(__name__)

CALL = {
    "zh": "系统暂时不可用，没能通知到物业，请马上打上面的电话。",
    "en": "Linli is not available now and the property could not be told. Please call the numbers above now.",
}


class EmergencyNotReported(Unavailable):
    """The words of the problem are the emergency card, so that a client that only shows errors shows it."""

    code = "emergency_not_reported"

    def __init__(self, kind: EmergencyKind) -> None:
        texts = {language: f"{cards.standard(kind, language)}\n\n{call}" for language, call in CALL.items()}
        super().__init__(texts["en"], texts["zh"], retry_after_seconds=2, kind=kind)


class HearingRoute(DoorRoute):
    """A route with the words of a person in its body's `text`.

    Whatever fails here (without Postgres nobody can even be signed in), an emergency in them is answered with its card.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        body = self.body_field.field_info.annotation if self.body_field else None
        if not (isinstance(body, type) and issubclass(body, BaseModel)):
            return handle

        async def handle_heard(request: Request) -> Response:
            try:
                return await handle(request)
            except (AppError, HTTPException, RequestValidationError):
                raise
            except Exception as error:
                if (kind := await _hear(request, body)) is None:
                    raise
                log.error("emergency_not_reported", error=type(error).__name__, kind=kind, exc_info=not is_away(error))
                raise EmergencyNotReported(kind) from error

        return handle_heard


async def _hear(request: Request, body: type[BaseModel]) -> EmergencyKind | None:
    """The kind of the emergency that rules or wording hear."""
    try:
        said = body.model_validate_json(await request.body())
    except ValidationError:
        return None
    found = second_voice.hear(str(getattr(said, "text", ""))).found
    return found.kind if found else None
