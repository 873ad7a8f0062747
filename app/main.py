"""The web process: create_app() opens the runtime, mounts every router and the one error handler."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from app import logs, settings, telemetry
from app.chat import openai_api
from app.chat.copilot_routes import router as copilot
from app.chat.inbox_routes import router as inbox
from app.chat.person_routes import router as people_in_chat
from app.chat.routes import router as chat
from app.knowledge.routes import router as knowledge
from app.notices.routes import router as notices
from app.people.routes import router as people
from app.recommend.campaign_routes import router as campaigns
from app.recommend.routes import router as recommend
from app.rest import health, problems
from app.rest.middleware import RequestContext
from app.rest.rate_limits import RateLimits
from app.runtime import Runtime, open_runtime
from app.service_desk import webhook_events
from app.service_desk.routes import router as service_desk
from app.service_desk.webhook_routes import router as webhooks
from app.settings import Settings
from app.vitals import living

DESCRIPTION = """
Linli 邻里: a smart-community assistant that property companies run themselves.

Sign in at `/api/v1/auth/sign-in` or use an API key; send it as `Authorization: Bearer …`.
Errors are RFC 9457 problems with a stable `code`. Creating requests take an `Idempotency-Key`.
Lists are pages by cursor.
"""


def create_app(runtime: Runtime | None = None) -> FastAPI:
    """The app. Tests hand in their runtime; a process opens its own from the settings."""
    config: Settings = runtime.settings if runtime else settings.load()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.rate_limits = RateLimits(config.redis_url)
        try:
            if runtime is not None:
                app.state.runtime = runtime
                yield
                return
            logs.set_up(config)
            async with open_runtime(config) as opened, living(opened, "web"):
                app.state.runtime = opened
                yield
        finally:
            await app.state.rate_limits.close()
            await telemetry.flush(traces)

    app = FastAPI(
        title="Linli 邻里", version="0.1.0", description=DESCRIPTION, lifespan=lifespan,
        webhooks=webhook_events.described(),
    )  # fmt: skip
    problems.install(app)
    # The one added last is outermost.
    app.add_middleware(RequestBodyLimitMiddleware, max_body_size=config.request_bytes_max)
    app.add_middleware(RequestContext)
    if config.trusted_proxies:
        # Limits count by address: behind a proxy all residents would share its one.
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=config.trusted_proxies)
    # Routes are tried in order, once for each router they are in, and nearly all requests are questions.
    app.include_router(openai_api.router)
    app.include_router(health.router)
    api = APIRouter(prefix="/api/v1")
    asked_often = (chat, people_in_chat, people, knowledge, service_desk, webhooks, notices, inbox, copilot)
    for router in (*asked_often, recommend, campaigns):
        api.include_router(router)
    app.include_router(api)
    problems.document(app)
    traces = telemetry.instrument(app, config)
    return app
