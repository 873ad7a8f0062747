"""The API does what its OpenAPI says, whatever is sent: made-up requests of every kind, by everybody, and stories.

In a story each request takes what earlier answers gave (an id, a cursor); schemathesis infers from OpenAPI which may.
LINLI_SCHEMA_EXAMPLES=1000 asks so often per operation and kind and tells as many stories; from 100 on the seed is new
each time and printed.
"""

import asyncio
import copy
import dataclasses
import os
import random
import re
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from uuid import uuid4
from zoneinfo import available_timezones

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, strategies
from hypothesis import settings as hypothesis_settings
from hypothesis.errors import FlakyFailure, FlakyStrategyDefinition
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi import checks

from app.people.scopes import ALL_SCOPES
from tests.conftest import Client
from tests.isolation.operations import OBJECTS
from tests.isolation.worlds import World
from tests.make import Make, Person

# The app runs in the same process and draws its pauses from the same random numbers, which Hypothesis takes for ours.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")

EXAMPLES = int(os.environ.get("LINLI_SCHEMA_EXAMPLES", "3"))
CHECKS = [
    not_a_server_error, checks.status_code_conformance, checks.content_type_conformance,
    checks.response_schema_conformance, checks.response_headers_conformance, checks.negative_data_rejection,
    checks.missing_required_header, checks.unsupported_method,
]  # fmt: skip
STORY_CHECKS = [*CHECKS, checks.use_after_free, checks.ensure_resource_availability]
STORY_STEPS = 8
STORIES_AT_ONCE = 3

schemathesis.openapi.format("iana-timezone", strategies.sampled_from(sorted(available_timezones())))


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
            # Who asks is the role's matter: an Authorization that was made up, or left out, would be replaced.
            operation.pop("security", None)
    return openapi


class Fuzz:
    """Sends made-up requests from a thread and gathers what is wrong."""

    def __init__(self, address: str, tokens: dict[str, Callable[[], str]]) -> None:
        self.address = address
        self.tokens = tokens
        self.session = requests.Session()
        self.statuses: Counter[int] = Counter()
        self.signed_in: Counter[bool] = Counter()
        """Of the answers to who is signed in, whether they were known: who takes their own rights away asks in vain."""
        self.linked = 0
        self.wrong: dict[str, str] = {}

    def call_with(self, role: str) -> dict[str, Any]:
        """Keywords of a call by this role."""
        token = self.tokens[role]()
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return {"base_url": self.address, "session": self.session, "headers": headers, "timeout": 30}

    def send(self, case: Any, role: str) -> None:
        self.judge(case, role, case.call(**self.call_with(role)), checks=CHECKS)

    def judge(self, case: Any, role: str, answer: Any, **how: Any) -> None:
        self.statuses[answer.status_code] += 1
        if role != "nobody" and "/auth/" not in case.operation.path:
            self.signed_in[answer.status_code != 401] += 1
        found = {"RejectedPositiveData": answer.text} if _refused_as_invalid(case, answer) else {}
        try:
            case.validate_response(answer, headers=self.call_with(role)["headers"], **how)
        except FailureGroup as failures:
            found |= {type(failure).__name__: str(failure) for failure in failures.exceptions}
        if _is_good_as_a_form(case, found.get("AcceptedNegativeData", "")):
            del found["AcceptedNegativeData"]
        sent = f"{case.path_parameters} {case.query} {case.headers} {case.body!r}"
        for name, why in found.items():
            place = f"{case.method} {case.operation.path} by {role}: {name}"
            self.wrong.setdefault(place, f"{answer.status_code} {why[:400]} | {sent[:600]}")

    def check(self) -> None:
        self.session.close()
        assert not self.wrong, "\n".join(f"{place}: {why}" for place, why in sorted(self.wrong.items()))
        assert self.signed_in[False] <= self.signed_in.total() / 20, f"callers that nobody knows: {self.signed_in}"

    def tell(self, schema: Any, role: str, number: int) -> None:
        """Has this role go through a few stories."""
        fuzz = self

        class Story(schema.as_state_machine()):  # type: ignore[misc]
            def get_call_kwargs(self, case: Any) -> dict[str, Any]:
                return fuzz.call_with(role)

            def step(self, step: Any) -> Any:
                fuzz.linked += step.transition is not None and step.is_applied
                return super().step(step)

            def validate_response(self, response: Any, case: Any, *_: Any, **__: Any) -> None:
                fuzz.judge(case, role, response, checks=STORY_CHECKS, recorder=self.recorder)

        few = hypothesis_settings(
            max_examples=STORIES_AT_ONCE, stateful_step_count=STORY_STEPS, deadline=None, database=None,
            suppress_health_check=list(HealthCheck), phases=[Phase.generate],
        )  # fmt: skip
        # What the house answers depends on the stories before, so no long series can be told twice the same.
        with suppress(FlakyStrategyDefinition):
            seed(number if EXAMPLES < 100 else random.randrange(2**32))(Story).run(settings=few)

    def run(self, operation: Any, mode: GenerationMode, examples: int) -> None:
        @hypothesis_settings(
            max_examples=examples, deadline=None, database=None, derandomize=EXAMPLES < 100,
            suppress_health_check=list(HealthCheck), phases=[Phase.generate], print_blob=True,
        )  # fmt: skip
        @given(case=operation.as_strategy(generation_mode=mode), role=strategies.sampled_from(sorted(self.tokens)))
        def ask(case: Any, role: str) -> None:
            self.send(case, role)

        if mode is GenerationMode.POSITIVE or _can_be_wrong(operation):
            try:
                ask()
            except FlakyFailure as failure:
                # Hypothesis reads the source of a strategy, which Python 3.11 may fail to parse far down the stack.
                if failure.subgroup(SystemError) is None:
                    raise
                ask()


def _refused_as_invalid(case: Any, answer: Any) -> bool:
    """Whether a request that OpenAPI calls valid was told that it is not: by its form, not for what it asks."""
    positive = case.meta is not None and case.meta.generation.mode.is_positive
    # A story may take an id from where an earlier answer said null.
    positive = positive and None not in (case.path_parameters or {}).values()
    return positive and answer.status_code == 422 and '"request_invalid"' in answer.text


def _is_good_as_a_form(case: Any, why: str) -> bool:
    """Whether all that is said to be wrong is nothing in a form: it knows no types, and an empty field was left out."""
    wrong = re.findall(r"violates `(\w+)` at /properties/(\w+)", why)
    harmless = all(rule == "type" or case.body.get(name) == "" for rule, name in wrong)
    return case.media_type == "multipart/form-data" and bool(wrong) and why.count("violates") == len(wrong) and harmless


def _can_be_wrong(operation: Any) -> bool:
    """Whether the operation takes anything at all that could be invalid."""
    return bool(operation.body) or any(True for _ in operation.iter_parameters())


@pytest.fixture
async def home(make: Make, home: World) -> World:
    """In which no path leads to who asks: they would take their own rights away and be strangers from then on."""
    others = {"staff": await make.staff(place=home.place), "resident": await make.resident(place=home.place)}
    return dataclasses.replace(home, objects=home.objects | {kind: str(one.id) for kind, one in others.items()})


async def tokens_of(client: Client, make: Make, manager: Person, resident: Person) -> dict[str, Callable[[], str]]:
    """Made anew for each request: a long run outlives a token."""
    key = await make.api_key(*ALL_SCOPES, place=manager.place)
    return {
        "manager": lambda: client.token(manager), "resident": lambda: client.token(resident), "nobody": lambda: "",
        "key": lambda: key,
    }  # fmt: skip


@pytest.fixture
async def fuzz(web: tuple[str, Any], client: Client, make: Make, home: World, working: None) -> Fuzz:
    return Fuzz(web[0], await tokens_of(client, make, home.manager, home.resident))


async def test_made_up_requests_of_every_kind_get_what_openapi_says(
    web: tuple[str, Any], home: World, fuzz: Fuzz, record_property: Callable[[str, object], None]
):
    schema = schemathesis.openapi.from_dict(described(web[1].openapi(), home))
    found: list[Any] = list(schema.get_all_operations())
    operations = sorted((one.ok() for one in found), key=lambda one: one.method == "delete")
    for operation in operations:
        # A password check takes long on purpose, and a known right to nothing is soon told.
        examples = EXAMPLES if "/auth/" not in operation.path else max(3, EXAMPLES // 10)
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            await asyncio.to_thread(fuzz.run, operation, mode, examples)
    fuzz.check()
    record_property(
        "report",
        f"schema: {len(operations)} operations x {len(fuzz.tokens)} roles, {sum(fuzz.statuses.values())} made-up "
        f"requests, 0 wrong; {dict(sorted(fuzz.statuses.items()))}",
    )


async def test_stories_of_made_up_requests_get_what_openapi_says(
    web: tuple[str, Any], client: Client, make: Make, home: World, fuzz: Fuzz,
    record_property: Callable[[str, object], None],
):  # fmt: skip
    schema = schemathesis.openapi.from_dict(described(web[1].openapi(), home))
    for number in range(-(-EXAMPLES // STORIES_AT_ONCE)):
        # A story may find its own teller in a list.
        people = await make.staff(place=home.place), await make.resident(place=home.place)
        fuzz.tokens = await tokens_of(client, make, *people)
        for role in fuzz.tokens:
            await asyncio.to_thread(fuzz.tell, schema, role, number)
    fuzz.check()
    links = schema.statistic.transitions.total
    assert links > 100, "OpenAPI tells no more which answer leads to which request"
    assert fuzz.linked > 0
    record_property(
        "report",
        f"stories: {EXAMPLES} x {len(fuzz.tokens)} roles over {links} links, {sum(fuzz.statuses.values())} requests, "
        f"{fuzz.linked} of them with what an earlier answer gave, 0 wrong; {dict(sorted(fuzz.statuses.items()))}",
    )
