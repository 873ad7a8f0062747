"""Every error leaves as an RFC 9457 problem with a stable code and words in both languages."""

from http import HTTPStatus
from typing import Any

import structlog
from asyncpg.exceptions import InterfaceError as DriverInterfaceError
from asyncpg.exceptions import PostgresError
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client import Counter
from pydantic import BaseModel, Field
from redis.exceptions import RedisError
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm.exc import StaleDataError
from starlette.exceptions import HTTPException

from app.db import is_away, is_full
from app.errors import AppError, RetryLater
from models.openai_embedder import EmbedderFailed

log = structlog.get_logger(__name__)

PROBLEMS_TOLD = Counter(
    "linli_problems_total", "Requests refused or failed, by the code they were told.", ["status", "code"]
)


class Problem(BaseModel):
    """RFC 9457, with `code` to program against and `messages` to show."""

    type: str = Field(examples=["urn:linli:problem:not_found"])
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(description="In the language of Accept-Language.", examples=["没有这个会话。"])
    code: str = Field(examples=["conversation_not_found"])
    messages: dict[str, str] = Field(description="The same in zh and en.")
    facts: dict[str, Any] = Field(default_factory=dict)
    request_id: str | None = None


def wants_english(request: Request) -> bool:
    """Whether the caller's first language is English; Chinese otherwise."""
    return request.headers.get("accept-language", "").strip().lower().startswith("en")


def render(
    request: Request, *, status: int, code: str, en: str, zh: str, facts: dict[str, Any] | None = None,
    headers: dict[str, str] | None = None,
) -> JSONResponse:  # fmt: skip
    PROBLEMS_TOLD.labels(status, code).inc()
    problem = Problem(
        type=f"urn:linli:problem:{code}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=en if wants_english(request) else zh,
        code=code,
        messages={"zh": zh, "en": en},
        facts=facts or {},
        request_id=getattr(request.state, "request_id", None),
    )
    return JSONResponse(
        problem.model_dump(mode="json"), status_code=status, headers=headers, media_type="application/problem+json"
    )


async def on_app_error(request: Request, error: AppError) -> JSONResponse:
    headers = {}
    if isinstance(error, RetryLater):
        headers["Retry-After"] = str(max(1, round(error.retry_after_seconds)))
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.warning("request_refused", code=error.code, facts=error.facts)
    return render(
        request, status=error.status, code=error.code, en=error.message_en, zh=error.message_zh, facts=error.facts,
        headers=headers,
    )  # fmt: skip


async def on_invalid(request: Request, error: RequestValidationError) -> JSONResponse:
    # The input itself is left out: it may be large or hold what should not be echoed.
    places = [
        {"at": ".".join(str(part) for part in item["loc"]), "why": item["msg"], "kind": item["type"]}
        for item in error.errors()[:20]
    ]
    return render(
        request, status=422, code="request_invalid", en="The request is not valid.", zh="请求内容有误。",
        facts={"errors": places},
    )  # fmt: skip


def too_large(request: Request) -> JSONResponse:
    """For a body over the limit."""
    return render(request, status=413, code="body_too_large", en="The request is too large.", zh="请求内容过大。")


HTTP_CODES = {
    404: ("route_not_found", "There is nothing here.", "这里什么都没有。"),
    405: ("method_not_allowed", "This method is not allowed here.", "不支持这种请求方式。"),
    400: ("bad_request", "The request could not be read.", "无法读取请求。"),
}


async def on_http(request: Request, error: HTTPException) -> JSONResponse:
    if error.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return too_large(request)
    code, en, zh = HTTP_CODES.get(error.status_code, ("http_error", str(error.detail), "请求未能完成。"))
    return render(
        request, status=error.status_code, code=code, en=en, zh=zh,
        headers=dict(error.headers) if error.headers else None,
    )  # fmt: skip


def storage_full(request: Request, error: Exception) -> JSONResponse:
    """Reads go on, nothing new is kept, and an operator has to make room: worth its own code."""
    log.error("storage_full", error=repr(error))
    return render(
        request, status=503, code="storage_full", en="There is no room left to store anything new. Try again later.",
        zh="存储空间已满，暂时无法保存新内容，请稍后再试。", headers={"Retry-After": "10"},
    )  # fmt: skip


async def on_store_down(request: Request, error: Exception) -> JSONResponse:
    if is_full(error):
        return storage_full(request, error)
    log.error("store_unavailable", error=repr(error))
    return render(
        request, status=503, code="store_unavailable", en="A part of Linli is not reachable. Try again shortly.",
        zh="系统的一部分暂时不可用，请稍后再试。", headers={"Retry-After": "2"},
    )  # fmt: skip


async def on_driver_error(request: Request, error: PostgresError) -> JSONResponse:
    """What the driver raises while a connection is made, before SQLAlchemy has it."""
    return await (on_store_down if is_away(error) else on_unexpected)(request, error)


async def on_database_error(request: Request, error: DBAPIError) -> JSONResponse:
    """Text Postgres cannot hold (a NUL, a lone surrogate) is the caller's; all else is ours."""
    # A statement that took too long (57014) says that Postgres is overloaded, not that the request was wrong.
    if is_away(error) or getattr(error.orig, "sqlstate", None) == "57014":
        return await on_store_down(request, error)
    if "CharacterNotInRepertoire" in repr(error.orig) or "invalid byte sequence" in str(error.orig):
        return render(
            request, status=422, code="text_invalid", en="The text holds characters that cannot be stored.",
            zh="文本包含无法保存的字符。",
        )  # fmt: skip
    if isinstance(error, IntegrityError) and any(name in repr(error.orig) for name in ("UniqueViol", "ForeignKeyViol")):
        return await on_meeting(request, error)
    return await on_unexpected(request, error)


async def on_meeting(request: Request, error: Exception) -> JSONResponse:
    """Two requests met: what one of them read, the other had changed or deleted before it could write."""
    log.info("request_met_another", error=type(getattr(error, "orig", error)).__name__)
    return render(
        request, status=409, code="changed_meanwhile", en="Somebody else changed this just now. Try again.",
        zh="他人同时进行了修改，请重试。",
    )  # fmt: skip


async def on_unexpected(request: Request, error: Exception) -> JSONResponse:
    if is_full(error):
        return storage_full(request, error)
    log.exception("request_failed", path=request.url.path, exc_info=error)
    return render(
        request, status=500, code="internal_error", en="Something went wrong on our side. It was recorded.",
        zh="系统出错，已记录。",
    )  # fmt: skip


def install(app: FastAPI) -> None:
    app.add_exception_handler(AppError, on_app_error)  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, on_invalid)  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, on_http)  # type: ignore[arg-type]
    down = (RedisError, OperationalError, InterfaceError, DriverInterfaceError, PoolTimeout)
    for kind in (*down, ConnectionError, TimeoutError):
        app.add_exception_handler(kind, on_store_down)
    # A server of embeddings, where one is set; quotes and answers are not found without it.
    app.add_exception_handler(EmbedderFailed, on_store_down)
    app.add_exception_handler(PostgresError, on_driver_error)  # type: ignore[arg-type]
    app.add_exception_handler(DBAPIError, on_database_error)  # type: ignore[arg-type]
    app.add_exception_handler(StaleDataError, on_meeting)
    app.add_exception_handler(Exception, on_unexpected)


def document(app: FastAPI) -> None:
    """Makes OpenAPI tell every problem that an operation may answer with, so that no route has to list them."""
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            _add_problems(describe())
        return describe()

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way


def _add_problems(openapi: dict[str, Any]) -> None:
    schemas = openapi["components"]["schemas"]
    schemas["Problem"] = Problem.model_json_schema()
    # The framework's own answer to an invalid request, in whose place ours is given.
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for path, methods in openapi["paths"].items():
        if path.startswith(("/api/", "/v1/")):
            for method, operation in methods.items():
                responses = operation["responses"]
                responses |= {str(status): _described(status) for status in sorted(statuses_of(method, operation))}


def statuses_of(method: str, operation: dict[str, Any]) -> set[int]:
    """The problems that an operation of OpenAPI may answer with, by what it takes."""
    statuses = {401, 403, 404, 422, 429, 503}
    if method != "get":
        statuses |= {409}
    if "requestBody" in operation:
        statuses |= {400, 413}
    if any(parameter["name"].lower() == "if-match" for parameter in operation.get("parameters", ())):
        statuses |= {412, 428}
    return statuses


def _described(status: int) -> dict[str, Any]:
    shape = {"$ref": "#/components/schemas/Problem"}
    described: dict[str, Any] = {
        "description": HTTPStatus(status).phrase, "content": {"application/problem+json": {"schema": shape}}
    }  # fmt: skip
    if status in (429, 503):
        described["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}
    return described
