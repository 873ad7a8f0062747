"""What Linli asks of a language model server. Implementations: `vllm_engine`, `scripted_engine`."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the prompt. `role` is system, user, assistant or tool."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Tool:
    """A function the model may propose. `parameters` is a JSON schema of our own, never of a caller's."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A proposed call; `arguments` is JSON text that our code still has to check."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one request; `cached_tokens` of the prompt came from the prefix cache."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Request:
    """One generation. At most one of `json_schema` and `choices` is set.

    `priority`: lower runs first. `salt` keeps prefix caches of communities apart. `model` names a LoRA adapter.
    `session`: requests that begin alike, a conversation's say; of several engines they go to the same one.
    """

    messages: tuple[Message, ...]
    max_tokens: int
    temperature: float = 0.0
    json_schema: Mapping[str, Any] | None = None
    choices: tuple[str, ...] | None = None
    tools: tuple[Tool, ...] = ()
    priority: int = 0
    salt: str | None = None
    model: str | None = None
    session: str | None = None


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of a running answer. `usage` and, where choices were given, `shares` come with the last one."""

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str | None = None
    usage: Usage | None = None
    shares: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Completion:
    """A finished answer. `shares`: how likely each of the request's choices was, summing to 1; empty when the server
    does not say.
    """

    text: str
    tool_calls: tuple[ToolCall, ...]
    finish_reason: str
    usage: Usage
    shares: Mapping[str, float] = field(default_factory=dict)


class State(StrEnum):
    """OFF: nobody listens. WARMING: starting. READY. FAILING: it answers badly, the breaker is open."""

    OFF = "off"
    WARMING = "warming"
    READY = "ready"
    FAILING = "failing"


@dataclass(frozen=True, slots=True)
class EngineState:
    """`slots`: requests it can run at once beyond those running now; `detail` is for people."""

    state: State
    detail: str
    slots: int


@dataclass(frozen=True, slots=True)
class EngineSeen:
    """One engine as it was last seen, for people and meters. None where it does not say or was not asked yet.

    `name` is host:port, never with credentials. `state.slots` and `in_flight` count this process's requests; `running`
    and `waiting` are the engine's own counts over everybody's, `tokens_per_second` what it lately wrote for everybody.
    `breaker`: closed, open or half_open. `canary_seconds`: how long the last test token took.
    """

    name: str
    state: EngineState
    in_flight: int
    running: int | None = None
    waiting: int | None = None
    tokens_per_second: float | None = None
    prefix_cache_hits: int | None = None
    prefix_cache_queries: int | None = None
    breaker: str = "closed"
    canary_seconds: float | None = None
    detail: str = ""

    @property
    def prefix_cache_hit_share(self) -> float | None:
        """Share of prompt tokens that came from the prefix cache, since the engine started."""
        if self.prefix_cache_hits is None or not self.prefix_cache_queries:
            return None
        return self.prefix_cache_hits / self.prefix_cache_queries


class EngineBusy(Exception):
    """The engine refuses for now; the request belongs back in the queue."""

    def __init__(self, detail: str, *, retry_after_seconds: float = 1.0) -> None:
        super().__init__(detail)
        self.retry_after_seconds = retry_after_seconds


class EngineFailed(Exception):
    """The engine is gone, hung or answered nonsense; degraded mode takes over."""


class Engine(Protocol):
    """A language model server. Leaving a stream early (`aclose`) cancels the generation at the server."""

    @property
    def model_name(self) -> str: ...

    def stream(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Pieces of the answer as they come; use it in `contextlib.aclosing`.

        Raises: EngineBusy before the first piece, EngineFailed at any time.
        """
        ...

    async def complete(self, request: Request) -> Completion:
        """The whole answer. Raises EngineBusy, EngineFailed."""
        ...

    async def state(self) -> EngineState:
        """How it stands now; cheap enough for every request."""
        ...

    def engines(self) -> list[EngineSeen]:
        """Each server behind this, as last seen; asks nobody. `state()` looks anew."""
        ...

    async def close(self) -> None: ...
