"""An engine that says what a script tells it. For tests, and for trying the house without a model."""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from models import structured
from models.engine import (
    Completion,
    Delta,
    EngineBusy,
    EngineFailed,
    EngineSeen,
    EngineState,
    Request,
    State,
    ToolCall,
    Usage,
)

CHARS_PER_TOKEN = 2
PIECES = re.compile(r"[\u3000-\u9fff\uff00-\uffef]|[^\s\u3000-\u9fff\uff00-\uffef]+\s*|\s+")


@dataclass(frozen=True, slots=True)
class Scripted:
    """One scripted answer. `fail_at` and `hang_at` name the token (from 0) before which it happens."""

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str = "stop"
    usage: Usage | None = None
    first_token_seconds: float = 0.0
    between_tokens_seconds: float = 0.0
    fail_at: int | None = None
    hang_at: int | None = None
    busy_seconds: float | None = None
    fault: str = ""
    """Only for the scripted server: one of its FAULTS."""

    @property
    def tokens(self) -> list[str]:
        """The pieces it is streamed in: one Chinese character or one word each."""
        return PIECES.findall(self.text)

    def counted(self, request: Request) -> Usage:
        """The scripted usage, else an estimate from the texts."""
        prompt = sum(len(message.content) for message in request.messages) // CHARS_PER_TOKEN + 1
        return self.usage or Usage(prompt, 0, len(self.tokens))


Script = Callable[[Request], Scripted | str]


class ScriptEnded(AssertionError):
    """More was asked of the engine than the test wrote down."""


def from_list(answers: Iterable[Scripted | str]) -> Script:
    """A script that gives the answers in their order and raises ScriptEnded after the last."""
    waiting = iter(list(answers))

    def following(request: Request) -> Scripted | str:
        for answer in waiting:
            return answer
        raise ScriptEnded(f"The script has no answer left for {request.messages[-1].content[:80]!r}.")

    return following


def echo(request: Request) -> Scripted:
    """An obliging answer to anything: the last message said back, or the smallest answer of the asked form."""
    if request.choices is not None:
        return Scripted(request.choices[0])
    if request.json_schema is not None:
        return Scripted(json.dumps(smallest(request.json_schema), ensure_ascii=False))
    return Scripted(f"您说的是：{request.messages[-1].content}")


def smallest(schema: Mapping[str, Any]) -> Any:
    """A small value that the schema accepts (the keywords our own schemas use, no references)."""
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return smallest(schema["anyOf"][0])
    kind = schema.get("type", "string")
    kind = kind if isinstance(kind, str) else kind[0]
    if kind == "object":
        wanted = schema.get("required", schema.get("properties", {}))
        return {name: smallest(schema.get("properties", {}).get(name, {})) for name in wanted}
    if kind == "array":
        return [smallest(schema.get("items", {})) for _ in range(schema.get("minItems", 0))]
    number = schema.get("minimum", 0)
    plain: dict[str, Any] = {"string": "x" * schema.get("minLength", 1), "integer": number, "number": number}
    return {**plain, "boolean": False, "null": None}[kind]


class ScriptedEngine:
    """Implements `Engine` from a list of answers or a function of the request; keeps the requests it was given."""

    def __init__(
        self,
        script: Script | Iterable[Scripted | str] = echo,
        *,
        model_name: str = "scripted",
        slots: int = 16,
        silence_seconds: float = 30.0,
    ) -> None:
        """`silence_seconds`: how long a hanging answer is waited for before it fails, as a real client would."""
        self.model_name = model_name
        self.requests: list[Request] = []
        self.running = 0
        self.now = EngineState(State.READY, "scripted", slots)
        self._script: Script = script if callable(script) else from_list(script)
        self._silence_seconds = silence_seconds

    def follow(self, script: Script | Iterable[Scripted | str]) -> None:
        """Go on with another script."""
        self._script = script if callable(script) else from_list(script)

    def stand(self, state: State, detail: str = "") -> None:
        """Be in another state; unless READY every request fails."""
        self.now = EngineState(state, detail, self.now.slots)

    async def stream(self, request: Request) -> AsyncGenerator[Delta, None]:
        self.requests.append(request)
        if self.now.state is not State.READY:
            raise EngineFailed(f"The engine is {self.now.state}: {self.now.detail}")
        answer = self._script(request)
        answer = Scripted(answer) if isinstance(answer, str) else answer
        if answer.busy_seconds is not None:
            raise EngineBusy("The scripted engine is busy.", retry_after_seconds=answer.busy_seconds)
        self.running += 1
        try:
            tokens = answer.tokens
            for number, token in enumerate(tokens):
                await self._pace(answer, number)
                yield Delta(token)
            await self._pace(answer, len(tokens))
            structured.check(request, answer.text)
            shares = {choice: float(choice == answer.text) for choice in request.choices or ()}
            yield Delta("", answer.tool_calls, answer.finish_reason, answer.counted(request), shares)
        finally:
            self.running -= 1

    async def complete(self, request: Request) -> Completion:
        try:
            return await self._collect(request)
        except structured.BadAnswer:
            return await self._collect(request)

    async def state(self) -> EngineState:
        ready = self.now.state is State.READY
        return replace(self.now, slots=max(0, self.now.slots - self.running) if ready else 0)

    def engines(self) -> list[EngineSeen]:
        slots = max(0, self.now.slots - self.running) if self.now.state is State.READY else 0
        return [EngineSeen(self.model_name, replace(self.now, slots=slots), self.running, detail=self.now.detail)]

    async def close(self) -> None:
        """Nothing is held."""

    async def _pace(self, answer: Scripted, number: int) -> None:
        await asyncio.sleep(answer.first_token_seconds if number == 0 else answer.between_tokens_seconds)
        if number == answer.hang_at:
            await asyncio.sleep(self._silence_seconds)
            raise EngineFailed("The engine is silent.")
        if number == answer.fail_at:
            raise EngineFailed(f"The scripted engine fails before token {number}.")

    async def _collect(self, request: Request) -> Completion:
        text, last = "", Delta()
        async with aclosing(self.stream(request)) as pieces:
            async for delta in pieces:
                text += delta.text
                last = delta
        return Completion(text, last.tool_calls, last.finish_reason or "", last.usage or Usage(), last.shares)
