"""What every endpoint shares."""

import asyncio
import dataclasses
import re

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.main import create_app
from models.engine import State


async def test_a_problem_speaks_both_languages_and_names_its_request(client, make):
    resident = await make.resident()
    for language, detail in (("zh-CN", "没有这条提问。"), ("en-GB,zh;q=0.5", "There is no such question.")):
        headers = {"Accept-Language": language, "X-Request-Id": "abc-123"}
        refused = await client.get(f"/api/v1/turns/{resident.id}", as_=resident, headers=headers)
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.headers["x-request-id"] == "abc-123"
        problem = refused.json()
        assert problem["detail"] == detail
        assert problem["code"] == "turn_not_found"
        assert set(problem["messages"]) == {"zh", "en"}
        assert problem["request_id"] == "abc-123"


async def test_a_request_id_of_strange_make_is_replaced(client):
    answered = await client.get("/healthz", headers={"X-Request-Id": "a b\tc" * 50})
    assert len(answered.headers["x-request-id"]) == 32


async def test_a_body_beyond_the_limit_is_refused_with_and_without_a_length(client, make):
    resident = await make.resident()
    large = b'{"text": "' + b"x" * 1_100_000 + b'"}'
    headers = {"content-type": "application/json"}
    told = await client.post("/api/v1/me/turns", as_=resident, content=large, headers=headers)
    assert (told.status_code, told.json()["code"]) == (413, "body_too_large")

    async def pieces():
        for start in range(0, len(large), 100_000):
            yield large[start : start + 100_000]

    untold = await client.post("/api/v1/me/turns", as_=resident, content=pieces(), headers=headers)
    assert (untold.status_code, untold.json()["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"\xff\xfe",
        b'{"title": "\xff"}',
        b"[]",
        b'{"title": null}',
        b'{"title": "a\\ud800"}',
        b'{"title": "\\u0000"}',
    ],
)
async def test_a_broken_body_is_a_problem_and_never_an_error_of_ours(client, make, body):
    resident = await make.resident()
    refused = await client.post(
        "/api/v1/me/conversations", as_=resident, content=body, headers={"content-type": "application/json"}
    )
    assert refused.status_code in (400, 422), refused.text
    assert refused.json()["code"] in ("request_invalid", "text_invalid", "bad_request")


@pytest.mark.parametrize(
    ("path", "params", "code"),
    [
        ("on-call", {"at": "43"}, "request_invalid"),
        ("promises", {"filter[due_before]": "-291"}, "request_invalid"),
        ("audit-events", {"filter[since]": "0.0"}, "request_invalid"),
        ("workorders", {"filter[created_to]": "1e3"}, "request_invalid"),
        ("analytics/opened", {"to": "0.0"}, "request_invalid"),
        ("analytics/opened", {"from": "0001-01-01", "to": "0001-01-01"}, "period_invalid"),
        ("analytics/opened", {"from": "9999-12-31", "to": "9999-12-31"}, "period_invalid"),
    ],
)
async def test_times_of_a_query_are_text_and_within_the_calendar(client, make, path, params, code):
    manager = await make.staff()
    refused = await client.get(f"{manager.place.url}/{path}", params=params, as_=manager)
    assert (refused.status_code, refused.json()["code"]) == (422, code)


@pytest.mark.parametrize("blank", [" ", "\x85", "\u3000\x85\t"])
async def test_a_name_of_blanks_is_none_and_openapi_says_so(client, web, make, blank):
    manager = await make.staff()
    refused = await client.post(f"{manager.place.url}/residents", json={"name": blank}, as_=manager)
    assert refused.status_code == 422
    described = web[1].openapi()["components"]["schemas"]["ResidentIn"]["properties"]["name"]
    assert re.search(described["pattern"], blank) is None


async def test_what_is_not_there(client):
    assert (await client.get("/api/v1/nowhere")).json()["code"] == "route_not_found"
    assert (await client.delete("/healthz")).json()["code"] == "method_not_allowed"


async def test_ready_says_which_part_is_missing(client, engine):
    ready = (await client.get("/readyz")).json()
    assert ready["ready"]
    assert ready["parts"]["database"] == ready["parts"]["redis"] == "ok"
    engine.stand(State.WARMING, "loading the model, 40 %")
    degraded = (await client.get("/readyz")).json()
    assert degraded["ready"]
    assert degraded["mode"] == "degraded"
    assert "40 %" in degraded["parts"]["engine"]


async def test_metrics_count_by_route_and_not_by_id(client, make):
    resident = await make.resident()
    await client.get(f"/api/v1/turns/{resident.id}", as_=resident)
    metrics = (await client.get("/metrics")).text
    assert 'route="/api/v1/turns/{turn_id}"' in metrics
    assert str(resident.id) not in metrics


async def test_too_many_requests_are_told_when_to_come_back(client, web, make, runtime, settings):
    resident = await make.resident()
    _, app = web
    app.state.runtime = dataclasses.replace(
        runtime, settings=settings.model_copy(update={"requests_per_minute_max": 5})
    )
    answers = await asyncio.gather(*(client.get("/api/v1/me", as_=resident) for _ in range(12)))
    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(refused) == 7
    assert refused[0].json()["code"] == "too_many_requests"
    assert 1 <= int(refused[0].headers["retry-after"]) <= 60


async def test_openapi_tells_every_error_and_names_a_scope_for_every_route(client):
    openapi = (await client.get("/openapi.json")).json()
    open_to_all = {"/healthz", "/readyz", "/api/v1/emergencies", "/api/v1/unsubscribe"}
    for path, methods in openapi["paths"].items():
        for method, operation in methods.items():
            if path in open_to_all or path.startswith(("/api/v1/auth/", "/api/v1/ring")):
                continue
            assert operation.get("security"), f"{method} {path} asks for no token"
            assert {"401", "404", "422", "429"} <= set(operation["responses"]), f"{method} {path}"


async def test_without_a_token_nothing_is_told(web):
    address, _ = web
    async with httpx.AsyncClient(base_url=address) as stranger:
        refused = await stranger.get("/api/v1/me/conversations")
        assert refused.status_code == 401
        assert refused.json()["code"] == "token_invalid"
        assert refused.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(("trusted", "statuses"), [("10.0.0.1", [401, 401, 401]), ("", [401, 429, 429])])
async def test_people_behind_ones_own_proxy_are_told_apart(runtime, trusted, statuses):
    changes = {"trusted_proxies": trusted, "sign_ins_per_minute_max": 1}
    app = create_app(dataclasses.replace(runtime, settings=runtime.settings.model_copy(update=changes)))
    proxy = httpx.ASGITransport(app, client=("10.0.0.1", 1))
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=proxy, base_url="http://linli") as client:
        answers = [
            await client.post(
                "/api/v1/auth/sign-in",
                json={"community": "nowhere", "login": f"resident-{number}", "password": "wrong"},
                headers={"X-Forwarded-For": f"203.0.113.{number}"},
            )
            for number in range(3)
        ]
    assert [answer.status_code for answer in answers] == statuses


async def test_an_error_of_the_database_tells_the_log_no_values(runtime):
    with pytest.raises(DBAPIError) as failed:
        async with runtime.transaction(None) as session:
            await session.execute(text("SELECT 1 / 0 WHERE CAST(:secret AS text) <> ''"), {"secret": "hunter2"})
    assert "division by zero" in str(failed.value)
    assert "hunter2" not in str(failed.value)
