"""The door before every route: who asks is counted, known and allowed before a byte of the body is read.

The framework reads a body first and asks who sends it afterwards: a stranger could fill memory and disk with uploads.
"""

from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from uuid import UUID

from fastapi import Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.types import Message

from app.people import audit, callers
from app.people.callers import KEY_PREFIX, Caller, CommunityNotFound, ScopeMissing
from app.people.personal import tells_personal_data
from app.rest.rate_limits import RateLimits, address_of
from app.runtime import Runtime

FORM_BYTES = 1_000_000
"""Of an upload beside its file: the other fields and what stands between them."""


@dataclass(frozen=True)
class Wants:
    """What a route asks of its caller."""

    caller: bool
    in_community: bool
    scopes: frozenset[str]

    @classmethod
    def of(cls, dependant: Dependant) -> "Wants":
        calls = list(_calls(dependant))
        return cls(
            caller=callers.caller_of in calls,
            in_community=callers.community_caller in calls,
            scopes=frozenset(call.scope for call in calls if hasattr(call, "scope")),
        )


def _calls(dependant: Dependant) -> Iterator[Any]:
    for below in dependant.dependencies:
        yield below.call
        yield from _calls(below)


class DoorRoute(APIRoute):
    """`route_class=` of every router whose callers are counted; a test finds the one that lacks it.

    It also names the operation, and notes for the audit log what a request did and showed.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        self.action = audit.action_of(endpoint)
        if options.get("operation_id") is None:
            options["operation_id"] = self.action
        super().__init__(path, audit.noting(endpoint), **options)
        if tells_personal_data(self.response_model):
            self.openapi_extra = {**(self.openapi_extra or {}), "x-personal-data": True}

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        wants = Wants.of(self.dependant)
        upload = self.max_body_size is not None

        async def handle_admitted(request: Request) -> Response:
            await _admit(request, wants)
            with audit.watching(request, self.action):
                return await handle(_limit_upload(request) if upload else request)

        return handle_admitted


async def _admit(request: Request, wants: Wants) -> None:
    """Raises TooManyRequests, BadToken, CommunityNotFound, ScopeMissing."""
    runtime: Runtime = request.app.state.runtime
    limits: RateLimits = request.app.state.rate_limits
    secret = callers.secret_of(request)
    claims = callers.claims_of(runtime, secret)
    key = sha256(secret.encode()).hexdigest()[:32] if secret.startswith(KEY_PREFIX) else None
    # Who can invent tokens must not get an allowance for each: only what we signed, or have seen to be good, counts by
    # itself, and all else by its address.
    if claims is not None:
        who = str(claims["sub"])
    else:
        who = key if key is not None and limits.knows(key) else address_of(request)
    await limits.check("request", who, per_minute_max=runtime.settings.requests_per_minute_max)
    if not wants.caller:
        return
    caller = await callers.find_caller(runtime, secret, claims)
    if key is not None:
        limits.remember(key)
    request.state.caller = caller
    _check(caller, wants, request.path_params.get("cid"))


def _check(caller: Caller, wants: Wants, community_id: str | None) -> None:
    # What is no id at all is told as such later, with the other mistakes of the request.
    if wants.in_community and (wanted := _uuid(community_id)) and wanted != caller.tenant.community_id:
        raise CommunityNotFound
    for scope in wants.scopes - caller.scopes:
        raise ScopeMissing(scope)


def _uuid(text: str | None) -> UUID | None:
    try:
        return UUID(text)
    except (ValueError, TypeError):
        return None


def _limit_upload(request: Request) -> Request:
    """The request, which ends with 413 as soon as more was sent than the largest file takes."""
    bytes_max = request.app.state.runtime.settings.upload_bytes_max + FORM_BYTES
    stated = request.headers.get("content-length", "")
    if stated.isdecimal() and int(stated) > bytes_max:
        raise HTTPException(413)
    received = 0

    async def receive() -> Message:
        nonlocal received
        message = await request.receive()
        received += len(message.get("body", b""))
        if received > bytes_max:
            raise HTTPException(413)
        return message

    return Request(request.scope, receive, request._send)
