"""The engine client: an OpenAI-compatible server over HTTP, vLLM first.

Plain `httpx` and our own event reader rather than the `openai` package: that one builds a pydantic object for every
token (measured: 265 µs of CPU a token against 58 µs here) and retries where we must not.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any, Protocol

import httpx
from pydantic import SecretStr

from models import structured
from models.breaker import Breaker
from models.engine import Completion, Delta, EngineBusy, EngineFailed, EngineSeen, EngineState, Request, ToolCall, Usage
from models.engine_watch import Dialect, EngineWatch, WatchSettings, refusal
from models.sse import DONE, Answer, Events

RETRY_PAUSE_SECONDS = 0.2
LAST_BYTES_SECONDS = 0.1
RETRY_TEMPERATURE = 0.2
"""A structured answer that broke its form is asked for again with a little chance, or it would come out the same."""


class EngineClientSettings(WatchSettings, Protocol):
    """The settings the client needs on top of its watch's; `app.settings.Settings` has them."""

    @property
    def engine_url(self) -> str: ...
    @property
    def engine_api_key(self) -> SecretStr | None: ...
    @property
    def engine_first_token_seconds(self) -> float: ...
    @property
    def engine_between_tokens_seconds(self) -> float: ...
    @property
    def engine_total_seconds(self) -> float: ...
    @property
    def engine_attempts_max(self) -> int: ...
    @property
    def breaker_failures_max(self) -> int: ...
    @property
    def breaker_window_seconds(self) -> float: ...
    @property
    def breaker_open_seconds(self) -> float: ...


class EngineUnreached(EngineFailed):
    """Nothing was answered yet, so trying again cannot show anything twice."""


class EngineSilent(EngineFailed):
    """No token came in time: the engine hangs, or it has more to do than it can."""


class EngineRefused(EngineFailed):
    """The engine understood the request and will not do it (4xx): our mistake, so the breaker stays shut."""


class VllmEngine:
    """One engine URL. `model_name` is the setting, or the first model the server lists once it has been asked."""

    def __init__(self, settings: EngineClientSettings, *, url: str = "") -> None:
        """`url` (ending in /v1) stands in for the setting `engine_url`."""
        self._settings = settings
        self._url = (url or settings.engine_url).rstrip("/")
        key = settings.engine_api_key
        headers = {"Authorization": f"Bearer {key.get_secret_value()}"} if key is not None else {}
        self._http = httpx.AsyncClient(
            headers=headers,
            # Reads are timed by us: first token, between tokens and total are three limits, httpx knows one.
            timeout=httpx.Timeout(10, connect=settings.engine_connect_seconds, read=None),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=settings.engine_slots_max),
            trust_env=False,
        )
        self._breaker = Breaker(
            failures_max=settings.breaker_failures_max,
            window_seconds=settings.breaker_window_seconds,
            rest_seconds=settings.breaker_open_seconds,
        )
        self.model_name = settings.engine_model
        self._in_flight = 0
        self._watch = EngineWatch(self._http, self._url, settings, self._breaker, canary=self._canary)

    async def state(self) -> EngineState:
        """How it stands now, at most `engine_state_seconds` old. Free slots count this process's own requests."""
        seen = await self._watch.look(busy=self._in_flight > 0)
        self.model_name = self._watch.model_name
        return replace(seen, slots=max(0, seen.slots - self._in_flight))

    def engines(self) -> list[EngineSeen]:
        """This one, as it was last seen."""
        return [self._watch.seen(in_flight=self._in_flight)]

    async def close(self) -> None:
        await self._watch.close()
        await self._http.aclose()

    async def complete(self, request: Request) -> Completion:
        """The whole answer; one that breaks its form is asked for once more. Raises EngineBusy, EngineFailed."""
        try:
            return await self._collect(request)
        except structured.BadAnswer:
            return await self._collect(replace(request, temperature=max(request.temperature, RETRY_TEMPERATURE)))

    async def stream(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Pieces of the answer as they come; the last has finish_reason, usage and whole tool calls.

        Use it in `contextlib.aclosing`: closing it closes the connection, and vLLM stops generating.
        Raises: EngineBusy before the first piece, EngineFailed at any time.
        """
        if not self._breaker.enter():
            raise EngineFailed(f"The engine rests after failures: {self._breaker.detail}")
        self._in_flight += 1
        try:
            async with aclosing(self._with_retries(request)) as pieces:
                async for delta in pieces:
                    yield delta
            self._breaker.succeeded()
        except EngineBusy:
            raise
        except (EngineRefused, structured.BadAnswer):
            # It answered, so it is alive: a half-open breaker may close on that.
            self._breaker.succeeded()
            raise
        except EngineFailed as error:
            if isinstance(error, EngineSilent) and self._watch.alive_within(
                self._settings.engine_between_tokens_seconds
            ):
                # Others get their tokens: it is slow for this one, and sending nobody would help nobody.
                raise
            self._breaker.failed(str(error))
            self._watch.forget()
            raise
        finally:
            self._in_flight -= 1
            self._breaker.leave()

    async def _collect(self, request: Request) -> Completion:
        text: list[str] = []
        calls: tuple[ToolCall, ...] = ()
        reason, usage, shares = "", Usage(), dict[str, float]()
        async with aclosing(self.stream(request)) as pieces:
            async for delta in pieces:
                text.append(delta.text)
                calls += delta.tool_calls
                reason, usage = delta.finish_reason or reason, delta.usage or usage
                shares |= delta.shares
        return Completion("".join(text), calls, reason, usage, shares)

    async def _with_retries(self, request: Request) -> AsyncGenerator[Delta, None]:
        attempts = max(1, self._settings.engine_attempts_max)
        ends_at = time.monotonic() + self._settings.engine_total_seconds
        for attempt in range(1, attempts + 1):
            try:
                dialect = await self._watch.dialect()
                self.model_name = dialect.model
                async with aclosing(self._attempt(request, dialect, ends_at)) as pieces:
                    async for delta in pieces:
                        yield delta
                return
            except EngineUnreached:
                if attempt == attempts:
                    raise
                await asyncio.sleep(RETRY_PAUSE_SECONDS)

    async def _attempt(self, request: Request, dialect: Dialect, ends_at: float) -> AsyncGenerator[Delta, None]:
        answer, text = Answer(), ""
        wrapped = structured.is_wrapped(request, vllm=dialect.vllm)
        formed = request.json_schema is not None or request.choices is not None
        async with aclosing(self._events(self._body(request, dialect), ends_at)) as events:
            async for piece in _texts(answer, events):
                self._watch.saw_life()
                text += piece if formed else ""
                if not wrapped:
                    yield Delta(piece)
        if answer.finish_reason is None:
            raise EngineFailed("The engine's answer was cut off.")
        last = ""
        if wrapped:
            text = last = structured.unwrap(text)
        if formed:
            structured.check(request, text)
        shares = structured.shares(answer.first_token, request.choices) if request.choices else {}
        yield Delta(last, answer.tool_calls, answer.finish_reason, answer.usage, shares)

    async def _events(self, body: dict[str, Any], ends_at: float) -> AsyncGenerator["Pulse", None]:
        """Payloads as they come. The consumer marks each that is a sign of progress; silence between marks is timed."""
        settings, events, pulse = self._settings, Events(), Pulse()
        limit = settings.engine_first_token_seconds
        async with self._response(body, time.monotonic() + limit, ends_at) as response:
            chunks = response.aiter_raw()
            heard_at = time.monotonic()
            while True:
                try:
                    async with asyncio.timeout(_left(min(heard_at + limit, ends_at))):
                        chunk = await anext(chunks)
                except StopAsyncIteration:
                    return
                except (TimeoutError, httpx.HTTPError) as error:
                    if pulse.payload == DONE:
                        return
                    raise _broken(error, pulse.tokens) from error
                before = pulse.tokens
                for payload in events.feed(chunk):
                    pulse.payload = payload
                    yield pulse
                if pulse.payload == DONE:
                    # Only the end of the body is left; once it is read the connection serves the next request.
                    limit = LAST_BYTES_SECONDS
                elif pulse.tokens > before:
                    limit = settings.engine_between_tokens_seconds
                if pulse.tokens > before:
                    # Measured from when we listen again: a slow reader of ours is not the engine's silence.
                    heard_at = time.monotonic()

    @asynccontextmanager
    async def _response(self, body: dict[str, Any], first_by: float, ends_at: float) -> AsyncIterator[httpx.Response]:
        """An accepted answer stream. Leaving closes its connection unless it was read to the end."""
        request = self._http.build_request("POST", f"{self._url}/chat/completions", json=body)
        try:
            async with asyncio.timeout(_left(min(first_by, ends_at))):
                response = await self._http.send(request, stream=True)
        except TimeoutError as error:
            raise EngineSilent("The engine is silent: no first token in time.") from error
        except httpx.HTTPError as error:
            raise EngineUnreached(f"The engine cannot be reached: {error!r}") from error
        try:
            if response.status_code != httpx.codes.OK:
                raise await self._refused(response)
            yield response
        finally:
            await response.aclose()

    async def _refused(self, response: httpx.Response) -> Exception:
        detail = await refusal(response)
        status = response.status_code
        if status in (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE):
            return EngineBusy(detail, retry_after_seconds=retry_after(response.headers.get("retry-after")))
        if status >= httpx.codes.INTERNAL_SERVER_ERROR:
            return EngineUnreached(f"The engine failed with HTTP {status}: {detail}")
        if "priority" in detail and "scheduling" in detail:
            # A vLLM started without priority scheduling refuses the field; without it the request is good.
            self._watch.drop_priority()
            return EngineUnreached(detail)
        return EngineRefused(f"The engine refused with HTTP {status}: {detail}")

    def _body(self, request: Request, dialect: Dialect) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": request.model or dialect.model,
            "messages": [{"role": message.role, "content": message.content} for message in request.messages],
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "stream": True,
            "stream_options": {"include_usage": True},
            **structured.fields(request, vllm=dialect.vllm),
        }
        if request.tools:
            body["tools"] = [
                {
                    "type": "function",
                    "function": {
                        "name": tool.name,
                        "description": tool.description,
                        "parameters": dict(tool.parameters),
                    },
                }
                for tool in request.tools
            ]
        if dialect.priority and request.priority:
            body["priority"] = request.priority
        if dialect.vllm and request.salt:
            body["cache_salt"] = request.salt
        return body

    async def _canary(self, dialect: Dialect, seconds: float) -> None:
        """One token, ahead of all others. Raises what a request would."""
        body = {
            "model": dialect.model,
            "messages": [{"role": "user", "content": "1"}],
            "max_tokens": 1,
            "temperature": 0,
            **({"priority": -1_000} if dialect.priority else {}),
        }
        try:
            async with asyncio.timeout(seconds):
                response = await self._http.post(f"{self._url}/chat/completions", json=body)
        except (TimeoutError, httpx.HTTPError) as error:
            raise EngineFailed(f"No test token within {seconds:g} s: {error!r}") from error
        if response.status_code != httpx.codes.OK:
            raise await self._refused(response)


class Pulse:
    """One event on its way to the consumer, who counts it in `tokens` when it is a sign of progress."""

    __slots__ = ("payload", "tokens")

    def __init__(self) -> None:
        self.payload = ""
        self.tokens = 0


async def _texts(answer: Answer, events: AsyncGenerator[Pulse, None]) -> AsyncGenerator[str, None]:
    """The text pieces; everything else gathers in `answer`."""
    async for pulse in events:
        text, progress = answer.take(pulse.payload)
        pulse.tokens += progress
        if text:
            yield text


def _broken(error: Exception, tokens: int) -> EngineFailed:
    """What a failed read means: silence, or a broken connection that may be tried again while nothing was shown."""
    if isinstance(error, TimeoutError):
        return EngineSilent(f"The engine is silent: no {'next' if tokens else 'first'} token in time.")
    kind = EngineFailed if tokens else EngineUnreached
    return kind(f"The connection to the engine broke: {error!r}")


def _left(until: float) -> float:
    return max(0.001, until - time.monotonic())


def retry_after(header: str | None) -> float:
    """Seconds a busy server asks for, between 0.1 and 60; 1 when it does not say in seconds."""
    try:
        return min(60.0, max(0.1, float(header or 1)))
    except ValueError:
        return 1.0
