"""Around every request: its id, its log line and its metrics."""

import re
import time
from typing import Any
from uuid import uuid4

import structlog
from prometheus_client import Counter, Histogram
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.rest.problems import too_large

log = structlog.get_logger(__name__)

REQUESTS = Counter("linli_http_requests_total", "Requests answered", ["method", "route", "status"])
SECONDS = Histogram(
    "linli_http_request_seconds", "Seconds until the response started", ["method", "route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)  # fmt: skip
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
LATER = "linli.later"
"""Key of the scope: streams to run once the handler and all around it have ended, and what they held is free. Of the
memory of an open stream most was theirs."""
QUIET_PATHS = ("/healthz", "/readyz", "/metrics")


class RequestContext:
    """Plain ASGI, so that a stream of tokens passes through untouched."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
        request_id = given if REQUEST_ID.fullmatch(given) else uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        started = time.perf_counter()
        answered = {"status": 0, "seconds": 0.0, "refused": False}

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                answered["status"], answered["seconds"] = message["status"], time.perf_counter() - started
                message = {**message, "headers": [*message["headers"], (b"x-request-id", request_id.encode())]}
            await send(message)

        async def send_problems(message: Message) -> None:
            # The framework refuses an oversized body in plain text, before any handler of ours is asked.
            if (
                message.get("status") == 413
                and (b"content-type", b"application/problem+json") not in message["headers"]
            ):
                answered["refused"] = True
                await too_large(Request(scope))(scope, receive, send_with_id)
            elif not answered["refused"]:
                await send_with_id(message)

        later = scope[LATER] = []
        try:
            await self._app(scope, receive, send_problems)
            for stream in later:
                for name in [name for name in scope if name.startswith("fastapi")]:
                    del scope[name]  # the framework's stacks, closed by now
                await stream(receive, send_with_id)
        finally:
            self._record(scope, answered)

    @staticmethod
    def _record(scope: Scope, answered: dict[str, Any]) -> None:
        route = _pattern(scope)
        REQUESTS.labels(scope["method"], route, answered["status"]).inc()
        SECONDS.labels(scope["method"], route).observe(answered["seconds"])
        if scope["path"] in QUIET_PATHS:
            return
        caller = scope.get("state", {}).get("caller")
        log.info(
            "request", method=scope["method"], route=route, status=answered["status"],
            ms=round(answered["seconds"] * 1000, 1), caller=getattr(caller, "key", None),
            community_id=str(caller.tenant.community_id) if caller else None,
        )  # fmt: skip


def _pattern(scope: Scope) -> str:
    """The path with names in place of its parameters: ids would make a metric per row."""
    if "route" not in scope:
        return "unknown"
    path = str(scope["path"])
    for name, value in scope.get("path_params", {}).items():
        path = path.replace(f"/{value}", f"/{{{name}}}", 1)
    return path
