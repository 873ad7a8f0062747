"""The API does what its OpenAPI says, whatever is sent: made-up requests of every kind, by everybody.

LINLI_SCHEMA_EXAMPLES=1000 asks so often per operation and kind; then the seed is new each time and printed.
"""

import asyncio
import copy
import os
from collections import Counter
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, strategies
from hypothesis import settings as hypothesis_settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi import checks

from app.people.scopes import ALL_SCOPES
from tests.conftest import Client
from tests.isolation.operations import OBJECTS
from tests.isolation.worlds import World, build_world
from tests.make import Make

EXAMPLES = int(os.environ.get("LINLI_SCHEMA_EXAMPLES", "3"))
CHECKS = [
    not_a_server_error, checks.status_code_conformance, checks.content_type_conformance,
    checks.response_schema_conformance, checks.response_headers_conformance, checks.negative_data_rejection,
    checks.missing_required_header, checks.unsupported_method,
]  # fmt: skip


@pytest.fixture
async def home(client: Client, make: Make) -> World:
    return await build_world(client, make, await make.home())


def described(openapi: dict[str, Any], home: World) -> dict[str, Any]:
    """The OpenAPI in which paths lead to what there is, so that requests come further than to a 404."""
    openapi = copy.deepcopy(openapi)
    openapi["paths"] = {path.replace("{cid}", str(home.place.id)): spec for path, spec in openapi["paths"].items()}
    for methods in openapi["paths"].values():
        for operation in methods.values():
            parameters = [one for one in operation.get("parameters", ()) if one["name"] != "cid"]
            for one in parameters:
                if one["in"] == "path":
                    one["schema"] = {"enum": [home.objects[OBJECTS[one["name"]]], str(uuid4())], "type": "string"}
            operation["parameters"] = parameters
    return openapi


class Fuzz:
    """Sends made-up requests from a thread and gathers what is wrong."""

    def __init__(self, address: str, tokens: dict[str, str | None]) -> None:
        self.address = address
        self.tokens = tokens
        self.session = requests.Session()
        self.statuses: Counter[int] = Counter()
        self.wrong: dict[str, str] = {}

    def send(self, case: Any, role: str) -> None:
        token = self.tokens[role]
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = case.call(base_url=self.address, session=self.session, headers=headers, timeout=30)
        self.statuses[answer.status_code] += 1
        try:
            case.validate_response(answer, checks=CHECKS, headers=headers)
        except FailureGroup as failures:
            for failure in failures.exceptions:
                place = f"{case.method} {case.operation.path} by {role}: {type(failure).__name__}"
                sent = f"{case.path_parameters} {case.query} {case.headers} {case.body!r}"
                self.wrong.setdefault(place, f"{answer.status_code} {str(failure)[:300]} | {sent[:600]}")

    def run(self, operation: Any, mode: GenerationMode, examples: int) -> None:
        @hypothesis_settings(
            max_examples=examples, deadline=None, database=None, derandomize=EXAMPLES < 100,
            suppress_health_check=list(HealthCheck), phases=[Phase.generate], print_blob=True,
        )  # fmt: skip
        @given(case=operation.as_strategy(generation_mode=mode), role=strategies.sampled_from(sorted(self.tokens)))
        def ask(case: Any, role: str) -> None:
            self.send(case, role)

        if mode is GenerationMode.POSITIVE or _can_be_wrong(operation):
            ask()


def _can_be_wrong(operation: Any) -> bool:
    """Whether the operation takes anything at all that could be invalid."""
    return bool(operation.body) or any(True for _ in operation.iter_parameters())


async def test_made_up_requests_of_every_kind_get_what_openapi_says(
    web: tuple[str, Any], client: Client, make: Make, home: World, working: None,
    record_property: Callable[[str, object], None],
):  # fmt: skip
    schema = schemathesis.openapi.from_dict(described(web[1].openapi(), home))
    tokens = {
        "manager": client.token(home.manager), "resident": client.token(home.resident), "nobody": None,
        "key": await make.api_key(*ALL_SCOPES, place=home.place),
    }  # fmt: skip
    fuzz = Fuzz(web[0], tokens)
    found: list[Any] = list(schema.get_all_operations())
    operations = sorted((one.ok() for one in found), key=lambda one: one.method == "delete")
    for operation in operations:
        # A password check takes long on purpose, and a known right to nothing is soon told.
        examples = EXAMPLES if "/auth/" not in operation.path else max(3, EXAMPLES // 10)
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            await asyncio.to_thread(fuzz.run, operation, mode, examples)
    fuzz.session.close()
    assert not fuzz.wrong, "\n".join(f"{place}: {why}" for place, why in sorted(fuzz.wrong.items()))
    record_property(
        "report",
        f"schema: {len(operations)} operations x {len(tokens)} roles, {sum(fuzz.statuses.values())} made-up requests, "
        f"0 wrong; {dict(sorted(fuzz.statuses.items()))}",
    )
