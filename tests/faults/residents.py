"""Residents who ask over HTTP, follow their answers across drops, and write down all they were told.

`Resident.ask` sends one question under an Idempotency-Key until it is acknowledged, then follows the events with
`Last-Event-ID` on whichever web process answers. What it saw is in the `Asked` it returns, nothing left out: `reader.py`
holds that against the database. `Crowd` is a steady load of residents.
"""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx

from tests.faults.stack import Stack
from tests.faults.town import CODES, Community, code_of, question_of
from tests.make import Person

REQUEST_SECONDS = 20.0
"""A request that is not answered within this time counts as hanging (I5)."""
QUIET_SECONDS = 15.0
"""A stream without even a comment for so long is given up and followed again."""
BACK_OFF_SECONDS = 0.2
RETRIED = frozenset({429, 502, 503, 500})


@dataclass(eq=False)
class Asked:
    """One question and everything its client was told about it. Times are of `time.monotonic`."""

    community: Community
    person: Person
    code: str
    key: str
    deadline: float
    asked_at: float
    turn_ids: list[str] = field(default_factory=list)
    """From every 202, so one id, however often it was sent."""
    acknowledged_at: float = 0
    text: str = ""
    """What the client has on its screen."""
    taken_back: list[str] = field(default_factory=list)
    """Texts that a `restart` or `replaced` took off the screen again."""
    last_id: str = ""
    restarts: int = 0
    drops: int = 0
    """Times the stream broke off before its end."""
    resumed_seconds: list[float] = field(default_factory=list)
    """From each break to the first byte of the next stream."""
    end: dict[str, Any] | None = None
    """The data of `done` or `failed`; else, the problem of a request that was refused for good."""
    ended_at: float = 0
    violations: list[str] = field(default_factory=list)
    """What a client can see by itself: gaps, repeats, another community's canary, requests that hang."""

    @property
    def question(self) -> str:
        return question_of(self.code)

    @property
    def turn_id(self) -> str | None:
        return self.turn_ids[0] if self.turn_ids else None

    @property
    def events_url(self) -> str:
        return f"/api/v1/turns/{self.turn_id}/events"

    def see(self, name: str, data: dict[str, Any]) -> None:
        """One event, put together as a client does it."""
        if name == "restart":
            self.restarts += 1
            self._take_back("")
        elif name == "replaced":
            self._take_back(data["text"])
        elif name == "token":
            if data["at"] != len(self.text):
                what = "gap" if data["at"] > len(self.text) else "repeat"
                self.violations.append(f"{what}: a token at {data['at']} after {len(self.text)} characters")
            self.text = self.text[: data["at"]] + data["text"]
        elif name in ("done", "failed"):
            self.end, self.ended_at = {"name": name, **data}, time.monotonic()

    def _take_back(self, text: str) -> None:
        if self.text:
            self.taken_back.append(self.text)
        self.text = text


@dataclass
class Told:
    """Counts of what the web processes answered, for figures."""

    statuses: Counter[int | str] = field(default_factory=Counter)
    bad_problems: list[str] = field(default_factory=list)
    """5xx answers that were not an honest problem body, or 503 without Retry-After."""
    seconds: list[float] = field(default_factory=list)
    """Of every answered POST."""


class Resident:
    """A person with an HTTP client. `home` is the web process it prefers; it goes to the next one when that fails."""

    def __init__(
        self, stack: Stack, client: httpx.AsyncClient, community: Community, person: Person,
        *, chance: random.Random, told: Told, canaries: tuple[str, ...],
    ) -> None:  # fmt: skip
        self._stack, self._client = stack, client
        self.community, self.person = community, person
        self._chance, self._told = chance, told
        self._foreign = tuple(canary for canary in canaries if canary != community.canary)
        self._web = chance.randrange(max(1, len(stack.webs)))

    def headers(self) -> dict[str, str]:
        return self._stack.headers_of(self.person)

    def new_question(self, *, deadline_seconds: float = 60) -> Asked:
        now = time.monotonic()
        return Asked(
            self.community,
            self.person,
            code_of(next(CODES)),
            uuid4().hex,
            deadline=now + deadline_seconds,
            asked_at=now,
        )

    async def ask(
        self, *, deadline_seconds: float = 60, drop_chance: float = 0, log: list[Asked] | None = None
    ) -> Asked:
        """Asks one question and follows it to its end, or until the deadline.

        `drop_chance`: how likely the client itself breaks off after an event, to come back on another web process.
        """
        asked = self.new_question(deadline_seconds=deadline_seconds)
        if log is not None:
            log.append(asked)
        if await self.post(asked):
            await self.follow(asked, drop_chance=drop_chance)
        return asked

    async def post(self, asked: Asked) -> bool:
        """Sends the question until it is acknowledged (True), refused for good, or the deadline has passed."""
        while time.monotonic() < asked.deadline:
            status, wait = await self.post_once(asked)
            if status == 202:
                return True
            if isinstance(status, int) and status not in RETRIED:
                asked.end, asked.ended_at = {"name": "refused", "status": status}, time.monotonic()
                return False
            await asyncio.sleep(wait)
        return False

    async def post_once(self, asked: Asked, *, body: dict[str, Any] | None = None) -> tuple[int | str, float]:
        """One attempt: the status or the name of the error, and how long to wait before the next."""
        started = time.monotonic()
        try:
            response = await self._client.post(
                f"{self._url()}/api/v1/me/turns", json=body or {"text": asked.question},
                headers=self.headers() | {"Idempotency-Key": asked.key}, timeout=httpx.Timeout(REQUEST_SECONDS, connect=2),
            )  # fmt: skip
        except httpx.HTTPError as error:
            self._told.statuses[type(error).__name__] += 1
            if isinstance(error, httpx.ReadTimeout):
                asked.violations.append(f"hang: no answer to a POST within {REQUEST_SECONDS:.0f} s")
            self.next_web()
            return type(error).__name__, BACK_OFF_SECONDS
        self._told.statuses[response.status_code] += 1
        self._told.seconds.append(time.monotonic() - started)
        self._look_for_canaries(asked, response.text)
        if response.status_code == 202:
            asked.turn_ids.append(response.json()["id"])
            asked.acknowledged_at = asked.acknowledged_at or time.monotonic()
        elif response.status_code >= 500:
            self._check_problem(response)
            self.next_web()
        return response.status_code, min(2.0, float(response.headers.get("Retry-After", BACK_OFF_SECONDS)))

    async def stop(self, asked: Asked) -> None:
        """Asks for the answer to end; what comes of it is in its events."""
        url = f"{self._url()}/api/v1/turns/{asked.turn_id}/stop"
        try:
            response = await self._client.post(url, headers=self.headers(), timeout=httpx.Timeout(REQUEST_SECONDS))
            self._look_for_canaries(asked, response.text)
        except httpx.HTTPError as error:
            self._told.statuses[f"stop {type(error).__name__}"] += 1
            self.next_web()

    async def follow(self, asked: Asked, *, drop_chance: float = 0, events_max: int | None = None) -> None:
        """Follows the events to the end, coming back after each break, on the next web process after an error.

        With `events_max` it leaves after so many events, to be followed on later.
        """
        broken_at: float | None = None
        while asked.end is None and time.monotonic() < asked.deadline:
            try:
                left = max(0.0, asked.deadline - time.monotonic())
                async with asyncio.timeout(left), aclosing(self.events(asked)) as events:
                    async for name, data in events:
                        if broken_at is not None:
                            asked.resumed_seconds.append(time.monotonic() - broken_at)
                            broken_at = None
                        asked.see(name, data)
                        if events_max is not None and (events_max := events_max - 1) <= 0:
                            return
                        if drop_chance and self._chance.random() < drop_chance and asked.end is None:
                            break
            except TimeoutError:
                return  # its deadline, also for a stream that goes on living without an end
            except (httpx.HTTPError, Refused) as error:
                self._told.statuses[f"stream {error if isinstance(error, Refused) else type(error).__name__}"] += 1
                await asyncio.sleep(BACK_OFF_SECONDS)
            if asked.end is None:
                asked.drops += 1
                broken_at = broken_at or time.monotonic()
                self.next_web()

    async def events(self, asked: Asked) -> AsyncGenerator[tuple[str, dict[str, Any]], None]:
        """One stream, from where the client stands: (name, data). Comments are yielded as "" to show life."""
        headers = self.headers() | ({"Last-Event-ID": asked.last_id} if asked.last_id else {})
        timeout = httpx.Timeout(QUIET_SECONDS, connect=2)
        url = f"{self._url()}{asked.events_url}"
        async with self._client.stream("GET", url, headers=headers, timeout=timeout) as response:
            if response.status_code != 200:
                await response.aread()
                if response.status_code >= 500:
                    self._check_problem(response)
                elif response.status_code not in RETRIED:
                    asked.violations.append(f"stream refused: {response.status_code} {response.text[:200]}")
                raise Refused(response.status_code)
            name, event_id = "", ""
            async for line in response.aiter_lines():
                self._look_for_canaries(asked, line)
                if line.startswith("event: "):
                    name = line[7:]
                elif line.startswith("id: "):
                    event_id = line[4:]
                elif line.startswith("data: "):
                    asked.last_id = event_id or asked.last_id
                    yield name, json.loads(line[6:])
                    event_id = ""
                elif line.startswith(":"):
                    yield "", {}

    def _url(self) -> str:
        return self._stack.web_urls[self._web % len(self._stack.webs)]

    def next_web(self) -> None:
        self._web += 1

    def _look_for_canaries(self, asked: Asked, text: str) -> None:
        asked.violations += [f"foreign canary {canary}" for canary in self._foreign if canary in text]

    def _check_problem(self, response: httpx.Response) -> None:
        honest = response.headers.get("content-type", "").startswith("application/problem+json")
        if not honest or (response.status_code == 503 and "Retry-After" not in response.headers):
            self._told.bad_problems.append(f"{response.status_code} {response.text[:120]}")
        elif response.status_code != 503:
            self._told.bad_problems.append(f"{response.status_code} {response.json().get('code')}")


class Refused(Exception):
    """A stream was answered with another status."""


@dataclass(eq=False)
class Crowd:
    """A steady load: each resident asks, follows, waits a moment, and asks again. `asked` is the log of all."""

    stack: Stack
    town: list[Community]
    chance: random.Random
    client: httpx.AsyncClient
    pause_seconds: float = 0.5
    drop_chance: float = 0.02
    told: Told = field(default_factory=Told)
    asked: list[Asked] = field(default_factory=list)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _enough: asyncio.Event = field(default_factory=asyncio.Event)

    def resident(self, number: int | None = None) -> Resident:
        """Somebody of the town, at random when no number is given."""
        people = [(community, person) for community in self.town for person in community.people]
        community, person = self.chance.choice(people) if number is None else people[number % len(people)]
        canaries = tuple(community.canary for community in self.town)
        return Resident(
            self.stack, self.client, community, person, chance=self.chance, told=self.told, canaries=canaries
        )

    def start(self, residents: int) -> None:
        self._enough.clear()
        self._tasks += [asyncio.create_task(self._live(self.resident(number))) for number in range(residents)]

    async def stop(self) -> None:
        """No new questions; returns when those under way have ended or reached their deadline."""
        self._enough.set()
        tasks, self._tasks = self._tasks, []
        await asyncio.gather(*tasks)

    async def _live(self, resident: Resident) -> None:
        while not self._enough.is_set():
            await resident.ask(log=self.asked, drop_chance=self.drop_chance)
            await asyncio.sleep(self.chance.uniform(0, 2) * self.pause_seconds)


@asynccontextmanager
async def crowd(stack: Stack, town: list[Community], *, seed: int) -> AsyncIterator[Crowd]:
    """A crowd that nobody has told to start yet."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
    async with httpx.AsyncClient(limits=limits) as client:
        found = Crowd(stack, town, random.Random(seed), client)
        try:
            yield found
        finally:
            for task in found._tasks:
                task.cancel()
            await asyncio.gather(*found._tasks, return_exceptions=True)
