"""OpenTelemetry traces, only when an endpoint is set and the `telemetry` extra is installed."""

from fastapi import FastAPI

from app.settings import Settings


def instrument(app: FastAPI, settings: Settings) -> None:
    """Trace requests to `telemetry_url` over OTLP/HTTP; nothing is imported when it is empty."""
    if not settings.telemetry_url:
        return
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": "linli"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=settings.telemetry_url)))
    trace.set_tracer_provider(provider)
    FastAPIInstrumentor.instrument_app(app, tracer_provider=provider)
