"""Is it alive, is it ready, and what do the meters say."""

import asyncio
from contextlib import suppress
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, Gauge, generate_latest
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from app.queue import QueueStats
from app.runtime import Runtime, RuntimeDep
from models.engine import State

router = APIRouter(tags=["health"])
ENGINE_STATE = Gauge("linli_engine_ready", "1 when the engine answers")
QUEUE_JOBS = Gauge("linli_queue_jobs", "Jobs in the queue by state", ["state"])
OLDEST_WAIT = Gauge("linli_queue_oldest_wait_seconds", "Longest wait of a ready job", ["lane"])


@router.get("/healthz")
async def get_health() -> dict[str, str]:
    """The process is alive."""
    return {"status": "ok"}


@router.get("/readyz", responses={503: {"description": "A part is missing; the body says which."}})
async def get_readiness(runtime: RuntimeDep) -> JSONResponse:
    """Ready when Postgres and Redis answer. The engine is told beside them: without it Linli quotes passages."""
    database, redis = await asyncio.gather(_database(runtime), _redis(runtime))
    engine = await runtime.engine.state()
    ready = database == "ok" and redis == "ok"
    body: dict[str, Any] = {
        "ready": ready,
        "parts": {
            "database": database,
            "redis": redis,
            "engine": engine.state if engine.state is State.READY else f"{engine.state}: {engine.detail}",
        },
        "mode": "full" if engine.state is State.READY else "degraded",
        "model": runtime.engine.model_name,
    }
    return JSONResponse(body, status_code=200 if ready else 503)


async def _database(runtime: Runtime) -> str:
    try:
        async with asyncio.timeout(2), runtime.transaction(None) as session:
            await session.execute(text("SELECT 1"))
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        return f"down: {type(error).__name__}"
    return "ok"


async def _redis(runtime: Runtime) -> str:
    try:
        async with asyncio.timeout(2):
            await runtime.redis.ping()
    except (RedisError, OSError, TimeoutError) as error:
        return f"down: {type(error).__name__}"
    return "ok"


@router.get("/metrics", include_in_schema=False)
async def get_metrics(request: Request, runtime: RuntimeDep) -> Response:
    engine = await runtime.engine.state()
    ENGINE_STATE.set(engine.state is State.READY)
    with suppress(RedisError, OSError):
        _count(await runtime.queue.stats())
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


def _count(stats: QueueStats) -> None:
    for state in ("waiting", "delayed", "parked", "leased", "dead"):
        QUEUE_JOBS.labels(state).set(getattr(stats, state))
    for lane, found in stats.lanes.items():
        OLDEST_WAIT.labels(lane).set(found.oldest_wait_seconds)
