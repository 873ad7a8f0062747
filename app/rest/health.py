"""Is it alive, is it ready, and what do the meters say."""

import asyncio
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from app import vitals
from app.errors import Forbidden
from app.runtime import RuntimeDep
from app.settings import Settings
from app.telemetry import is_metrics_token
from models.engine import State

router = APIRouter(tags=["health"])
FORWARDED = ("x-forwarded-for", "forwarded", "x-real-ip")


class MetricsClosed(Forbidden):
    """The meters are not for the world."""

    code = "metrics_closed"

    def __init__(self) -> None:
        super().__init__(
            "The meters are read from the private network without a proxy, or with the token LINLI_METRICS_TOKEN.",
            "监控指标只能从内网直接读取，或携带 LINLI_METRICS_TOKEN 令牌读取。",
        )


@router.get("/healthz")
async def get_health() -> dict[str, str]:
    """The process is alive."""
    return {"status": "ok"}


@router.get("/readyz", responses={503: {"description": "A part is missing; the body says which."}})
async def get_readiness(runtime: RuntimeDep) -> JSONResponse:
    """Ready when Postgres and Redis answer. The engine is told beside them: without it Linli quotes passages."""
    parts, engine = await asyncio.gather(vitals.parts(runtime), runtime.engine.state())
    ready = all(found == "ok" for found in parts.values())
    body: dict[str, Any] = {
        "ready": ready,
        "parts": {
            **parts,
            "engine": engine.state if engine.state is State.READY else f"{engine.state}: {engine.detail}",
        },
        "mode": "full" if engine.state is State.READY else "degraded",
        "model": runtime.engine.model_name,
    }
    return JSONResponse(body, status_code=200 if ready else 503)


@router.get("/metrics", include_in_schema=False)
async def get_metrics(request: Request, runtime: RuntimeDep) -> Response:
    """What Prometheus reads. Raises MetricsClosed."""
    check_reader(request, runtime.settings)
    parts = await vitals.parts(runtime)
    # A part that is down must not make the others silent.
    if parts["redis"] == "ok":
        with suppress(RedisError, OSError, TimeoutError):
            await vitals.show_house(runtime)
    if parts["database"] == "ok":
        with suppress(SQLAlchemyError, OSError, TimeoutError):
            vitals.DOCUMENTS_WAITING.set(await vitals.documents_waiting(runtime))
    vitals.show(runtime)
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


def check_reader(request: Request, settings: Settings) -> None:
    """With a token set, it decides; without one only the private network is answered, and nobody behind a proxy."""
    if settings.metrics_token is not None:
        if not is_metrics_token(settings.metrics_token, request.headers.get("authorization", "")):
            raise MetricsClosed
        return
    if not _is_near(request.client.host if request.client else "") or any(
        name in request.headers for name in FORWARDED
    ):
        raise MetricsClosed


def _is_near(host: str) -> bool:
    try:
        return ip_address(host).is_private
    except ValueError:
        return False
