"""What a process tells the outside: its meters, and OpenTelemetry traces where an endpoint is set.

Traces need the `telemetry` extra.
"""

import asyncio
import hmac
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import structlog
from fastapi import FastAPI
from prometheus_client import make_wsgi_app
from pydantic import SecretStr

from app.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

log = structlog.get_logger(__name__)

FLUSH_SECONDS = 3.0
"""A process that ends does not wait longer for a collector to take its last traces."""
PLACES = ("http.url", "http.target", "url.full", "url.query")
"""Attributes of a span that may hold a query."""


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """Scrapes are not worth a line."""


def is_metrics_token(wanted: SecretStr, authorization: str) -> bool:
    """Whether an Authorization header holds the token that the meters ask for."""
    given = authorization.removeprefix("Bearer ")
    return hmac.compare_digest(given.encode(), wanted.get_secret_value().encode())


def serve_metrics(settings: Settings) -> WSGIServer | None:
    """Serve /metrics of a process that is no web server, from a thread; None where no port is set or it is taken."""
    if not settings.worker_metrics_port:
        return None
    answer: Callable[..., Iterable[bytes]] = make_wsgi_app()

    def guarded(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if settings.metrics_token and not is_metrics_token(
            settings.metrics_token, environ.get("HTTP_AUTHORIZATION", "")
        ):
            start_response("403 Forbidden", [("Content-Type", "text/plain")])
            return [b"metrics_closed\n"]
        return answer(environ, start_response)

    host, port = settings.worker_metrics_host, settings.worker_metrics_port
    try:
        server = make_server(host, port, guarded, handler_class=_Quiet)
    except OSError as error:
        # A second worker of one machine, say: it answers questions all the same.
        log.error("metrics_not_served", host=host, port=port, error=str(error))
        return None
    threading.Thread(target=server.serve_forever, daemon=True, name="metrics").start()
    return server


def instrument(app: FastAPI, settings: Settings) -> "TracerProvider | None":
    """Trace requests to `telemetry_url` over OTLP/HTTP; nothing is imported when it is empty.

    What it returns is to be given to `flush` before the process ends.
    """
    if not settings.telemetry_url:
        return None
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": "linli"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=settings.telemetry_url)))
    trace.set_tracer_provider(provider)
    FastAPIInstrumentor.instrument_app(app, tracer_provider=provider, server_request_hook=_drop_query)
    return provider


async def flush(provider: "TracerProvider | None") -> None:
    """Sends the traces of the last seconds, which wait to be sent together."""
    if provider is None:
        return
    # The provider would do it at exit, but a server told to stop ends by that signal, and nothing runs at exit.
    sending = threading.Thread(target=provider.shutdown, daemon=True, name="last-traces")
    sending.start()
    await asyncio.to_thread(sending.join, FLUSH_SECONDS)


def _drop_query(span: Any, scope: dict[str, Any]) -> None:
    """A query may hold a sign-in code or a resident's name: neither leaves for a collector of traces."""
    for name in PLACES:
        if value := (span.attributes or {}).get(name):
            span.set_attribute(name, "" if name == "url.query" else str(value).partition("?")[0])
