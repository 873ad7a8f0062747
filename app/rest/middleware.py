"""Around every request: its id, its size limit, its log line and its metrics."""

import re
import time
from typing import Any
from uuid import uuid4

import structlog
from prometheus_client import Counter, Histogram
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import AppError, TooLarge
from app.rest.problems import on_app_error
from app.settings import Settings

log = structlog.get_logger(__name__)

REQUESTS = Counter("linli_http_requests_total", "Requests answered", ["method", "route", "status"])
SECONDS = Histogram(
    "linli_http_request_seconds", "Seconds until the response started", ["method", "route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)  # fmt: skip
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
QUIET_PATHS = ("/healthz", "/readyz", "/metrics")


class BodyTooLarge(TooLarge):
    code = "body_too_large"

    def __init__(self, bytes_max: int) -> None:
        super().__init__(
            f"The request is larger than {bytes_max} bytes.", f"请求超过 {bytes_max} 字节。", bytes_max=bytes_max
        )


class RequestContext:
    """Plain ASGI, so that a stream of tokens passes through untouched."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"").decode("latin-1")
        request_id = given if REQUEST_ID.fullmatch(given) else uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        started = time.perf_counter()
        answered = {"status": 0, "seconds": 0.0}

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                answered["status"], answered["seconds"] = message["status"], time.perf_counter() - started
                message = {**message, "headers": [*message["headers"], (b"x-request-id", request_id.encode())]}
            await send(message)

        bytes_max = self._bytes_max(scope["path"])
        try:
            if int(headers.get(b"content-length", b"0") or 0) > bytes_max:
                raise BodyTooLarge(bytes_max)
            await self._app(scope, limited(receive, bytes_max), send_with_id)
        except (BodyTooLarge, ValueError) as error:
            if answered["status"]:
                raise
            known = error if isinstance(error, AppError) else BodyTooLarge(bytes_max)
            await (await on_app_error(Request(scope), known))(scope, receive, send_with_id)
        finally:
            self._record(scope, answered)

    def _bytes_max(self, path: str) -> int:
        if path.endswith("/documents"):
            return self._settings.upload_bytes_max + 100_000
        return self._settings.request_bytes_max

    @staticmethod
    def _record(scope: Scope, answered: dict[str, Any]) -> None:
        # The route's pattern, never the path: ids would make a metric per row.
        route = getattr(scope.get("route"), "path", "unknown")
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


def limited(receive: Receive, bytes_max: int) -> Receive:
    """`receive` that stops a body without a length, or with a false one, at the limit."""
    seen = 0

    async def receive_limited() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > bytes_max:
            raise BodyTooLarge(bytes_max)
        return message

    return receive_limited
