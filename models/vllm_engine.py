"""The engine client: an OpenAI-compatible server over HTTP, vLLM first.

`httpx` over aiohttp's connections, whose parser is compiled (64 streams at 20 tokens/s: 120 to 130 µs of CPU a token,
against 390 to 820 over httpx's own), and our own event reader rather than the `openai` package: that one builds a
pydantic object for every token and retries where we must not.
"""

import asyncio
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any, Protocol

import httpx
from aiohttp import ClientError, ClientSession, DummyCookieJar, TCPConnector
from httpx_aiohttp import AiohttpTransport
from pydantic import SecretStr

from models import structured
from models.breaker import Breaker, Position
from models.engine import Completion, Delta, EngineBusy, EngineFailed, EngineSeen, EngineState, Request, ToolCall, Usage
from models.engine_pace import Owed
from models.engine_watch import CanaryLate, Dialect, EngineWatch, WatchSettings, refusal
from models.sse import DONE, Answer, Events

RETRY_PAUSE_SECONDS = 0.2
LAST_BYTES_SECONDS = 0.1
KEEP_SECONDS = 5.0
"""How long an idle connection is kept: less than servers keep theirs, or a request would meet one that closes."""
HTTP_ERRORS = (httpx.HTTPError, ClientError)
"""aiohttp's errors become httpx's, all but what it says of malformed answers."""
REFUSALS_APART_SECONDS_MAX = 30.0
"""Refusals further apart than this, beyond the limit on refusing, are two stories; a worker rests for less."""
RETRY_TEMPERATURE = 0.2
"""A structured answer that broke its form is asked for again with a little chance, or it would come out the same."""


class EngineClientSettings(WatchSettings, Protocol):
    """The settings the client needs on top of its watch's; `app.settings.Settings` has them."""

    @property
    def engine_url(self) -> str: ...
    @property
    def engine_api_key(self) -> SecretStr | None: ...
    @property
    def engine_total_seconds(self) -> float: ...
    @property
    def engine_attempts_max(self) -> int: ...
    @property
    def engine_refusing_seconds_max(self) -> float: ...
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


class EngineHung(EngineSilent):
    """It was cut off by the watch: nobody got anything from this engine for too long."""


class EngineRefused(EngineFailed):
    """The engine understood the request and will not do it (4xx): our mistake, so the breaker stays shut."""


class VllmEngine:
    """One engine URL. `model_name` is the setting, or the first model the server lists once it has been asked."""

    def __init__(self, settings: EngineClientSettings, *, url: str = "", attempts_max: int = 0) -> None:
        """`url` (ending in /v1) and `attempts_max` stand in for the settings of that name."""
        self._settings = settings
        self._attempts_max = attempts_max or max(1, settings.engine_attempts_max)
        self._url = (url or settings.engine_url).rstrip("/")
        key = settings.engine_api_key
        headers = {"Authorization": f"Bearer {key.get_secret_value()}"} if key is not None else {}
        self._http = httpx.AsyncClient(
            headers=headers,
            # Reads are timed by us: first token, between tokens and total are three limits, httpx knows one.
            timeout=httpx.Timeout(10, connect=settings.engine_connect_seconds, read=None),
            transport=AiohttpTransport(client=_open_session),
            trust_env=False,
        )
        self._breaker = Breaker(
            failures_max=settings.breaker_failures_max,
            window_seconds=settings.breaker_window_seconds,
            rest_seconds=settings.breaker_open_seconds,
        )
        self.model_name = settings.engine_model
        self._in_flight = 0
        self._refusing_since = self._refused_at = -math.inf
        self._watch = EngineWatch(
            self._http, self._url, settings, self._breaker, canary=self._canary, in_flight=lambda: self._in_flight
        )

    async def state(self) -> EngineState:
        """How it stands now, at most `engine_state_seconds` old. Free slots count this process's own requests."""
        seen = await self._watch.look()
        self.model_name = self._watch.model_name
        return seen

    def engines(self) -> list[EngineSeen]:
        """This one, as it was last seen."""
        return [self._watch.seen()]

    def glance(self) -> EngineSeen:
        """The engine as it was last seen; a look that is due begins, and nobody waits for it."""
        return self._watch.glance()

    @property
    def load(self) -> int:
        """Requests at the engine: ours now, other processes' as of its last figures."""
        return self._in_flight + self._watch.others

    async def close(self) -> None:
        await self._watch.close()
        await self._http.aclose()

    async def complete(self, request: Request) -> Completion:
        """The whole answer; one that breaks its form is asked for once more. Raises EngineBusy, EngineFailed."""
        return await complete_by(self.stream, request)

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
                    self._refused_at = -math.inf
                    yield delta
            self._breaker.succeeded()
        except EngineBusy as busy:
            self._refused_once_more(busy)
            raise
        except (EngineRefused, structured.BadAnswer):
            # It answered, so it is alive: a half-open breaker may close on that.
            self._breaker.succeeded()
            raise
        except EngineHung:
            # The watch has opened the breaker already.
            raise
        except EngineFailed as error:
            # Less than the limit: timers may fire a moment early, and this answer's own last token is no sign of life.
            if isinstance(error, EngineSilent) and self._watch.alive_within(
                self._settings.engine_between_tokens_seconds * 0.9
            ):
                # Others get their tokens: it is slow for this one, and sending nobody would help nobody.
                raise
            # Silence to the limit of an answer, for everybody, is as sure a sign as the watch's own.
            self._breaker.failed(str(error), certain=isinstance(error, EngineSilent))
            self._watch.forget()
            raise
        finally:
            self._in_flight -= 1
            self._breaker.leave()

    def _refused_once_more(self, busy: EngineBusy) -> None:
        """Raises EngineFailed when the next try would come after `engine_refusing_seconds_max` of nothing but refusals.

        Being put back is for an engine that is full for a moment. Of one that refuses for good nobody would ever hear.
        """
        now, limit = time.monotonic(), self._settings.engine_refusing_seconds_max
        if now - self._refused_at > limit + REFUSALS_APART_SECONDS_MAX:
            self._refusing_since = now
        self._refused_at = now
        if self._breaker.position is not Position.CLOSED:
            # Nobody waits again for one that is on trial. Its rest does not grow either: the next request tries it.
            raise EngineFailed(f"The engine still refuses: {busy}") from busy
        if now - self._refusing_since + busy.retry_after_seconds > limit:
            detail = f"It has refused all for {now - self._refusing_since:.0f} s: {busy}"
            self._breaker.failed(detail, certain=True)
            raise EngineFailed(detail) from busy

    async def _with_retries(self, request: Request) -> AsyncGenerator[Delta, None]:
        ends_at = time.monotonic() + self._settings.engine_total_seconds
        for attempt in range(1, self._attempts_max + 1):
            try:
                dialect = await self._watch.dialect()
                self.model_name = dialect.model
                async with aclosing(self._attempt(request, dialect, ends_at)) as pieces:
                    async for delta in pieces:
                        yield delta
                return
            except EngineUnreached:
                if attempt == self._attempts_max:
                    raise
                await asyncio.sleep(RETRY_PAUSE_SECONDS)

    async def _attempt(self, request: Request, dialect: Dialect, ends_at: float) -> AsyncGenerator[Delta, None]:
        answer, text = Answer(), ""
        wrapped = structured.is_wrapped(request, vllm=dialect.vllm)
        formed = request.json_schema is not None or request.choices is not None
        chars = sum(len(message.content) for message in request.messages)
        with self._watch.owing(chars) as owed:
            async with aclosing(self._payloads(self._body(request, dialect), owed, ends_at)) as payloads:
                async for payload in payloads:
                    piece, progress = answer.take(payload)
                    if progress:
                        owed.token()
                    if piece:
                        text += piece if formed else ""
                        if not wrapped:
                            yield Delta(piece)
            if answer.finish_reason is None:
                raise EngineFailed("The engine's answer was cut off.")
            usage = answer.usage
            owed.was_read(cached_share=usage.cached_tokens / max(1, usage.prompt_tokens))
        last = ""
        if wrapped:
            text = last = structured.unwrap(text)
        if formed:
            structured.check(request, text)
        shares = structured.shares(answer.first_token, request.choices) if request.choices else {}
        yield Delta(last, answer.tool_calls, answer.finish_reason, answer.usage, shares)

    async def _payloads(self, body: dict[str, Any], owed: Owed, ends_at: float) -> AsyncGenerator[str, None]:
        """Payloads as they come. The consumer tells `owed` of each sign of progress; silence between them is timed."""
        settings, events, payload = self._settings, Events(), ""
        limit = settings.engine_first_token_seconds
        async with self._response(body, owed, time.monotonic() + limit, ends_at) as response:
            chunks = response.aiter_raw()
            heard_at = time.monotonic()
            while True:
                try:
                    async with waiting(owed, min(heard_at + limit, ends_at)):
                        chunk = await anext(chunks)
                except StopAsyncIteration:
                    return
                except (TimeoutError, *HTTP_ERRORS) as error:
                    if payload == DONE:
                        return
                    raise _broken(error, owed) from error
                for payload in events.feed(chunk):
                    yield payload
                if payload == DONE:
                    # Only the end of the body is left; once it is read the connection serves the next request.
                    limit = LAST_BYTES_SECONDS
                elif owed.is_running:
                    limit = settings.engine_between_tokens_seconds
                if owed.listens_at is None:
                    # Progress. Measured from when we listen again: a slow reader of ours is not the engine's silence.
                    heard_at = time.monotonic()
                    owed.listen()

    @asynccontextmanager
    async def _response(
        self, body: dict[str, Any], owed: Owed, first_by: float, ends_at: float
    ) -> AsyncIterator[httpx.Response]:
        """An accepted answer stream. Leaving closes its connection unless it was read to the end."""
        request = self._http.build_request("POST", f"{self._url}/chat/completions", json=body)
        try:
            async with waiting(owed, min(first_by, ends_at)):
                response = await self._http.send(request, stream=True)
        except TimeoutError as error:
            raise _broken(error, owed) from error
        except HTTP_ERRORS as error:
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

    async def _canary(self, dialect: Dialect, owed: Owed) -> None:
        """One token, ahead of all others. Raises what a request would."""
        body = {
            "model": dialect.model,
            "messages": [{"role": "user", "content": "1"}],
            "max_tokens": 1,
            "temperature": 0,
            **({"priority": -1_000} if dialect.priority else {}),
        }
        try:
            async with waiting(owed, time.monotonic() + self._settings.engine_first_token_seconds):
                response = await self._http.post(f"{self._url}/chat/completions", json=body)
        except TimeoutError as error:
            kind = EngineHung if owed.is_cut else CanaryLate
            raise kind("No test token came.") from error
        except HTTP_ERRORS as error:
            raise EngineFailed(f"No test token: {error!r}") from error
        if response.status_code != httpx.codes.OK:
            raise await self._refused(response)


def _open_session() -> ClientSession:
    # We send no more than the engine has slots; another limit here would only hide who waits.
    return ClientSession(connector=TCPConnector(limit=0, keepalive_timeout=KEEP_SECONDS), cookie_jar=DummyCookieJar())


Stream = Callable[[Request], AsyncGenerator[Delta, None]]


async def complete_by(stream: Stream, request: Request) -> Completion:
    """The whole answer of a streaming engine; one that breaks its form is asked for once more."""
    try:
        return await _collect(stream, request)
    except structured.BadAnswer:
        return await _collect(stream, replace(request, temperature=max(request.temperature, RETRY_TEMPERATURE)))


async def _collect(stream: Stream, request: Request) -> Completion:
    text: list[str] = []
    calls: tuple[ToolCall, ...] = ()
    reason, usage, shares = "", Usage(), dict[str, float]()
    async with aclosing(stream(request)) as pieces:
        async for delta in pieces:
            text.append(delta.text)
            calls += delta.tool_calls
            reason, usage = delta.finish_reason or reason, delta.usage or usage
            shares |= delta.shares
    return Completion("".join(text), calls, reason, usage, shares)


def waiting(owed: Owed, until: float) -> asyncio.Timeout:
    """Limits a wait for the engine: until then, or until the watch cuts it off. Raises TimeoutError."""
    owed.timer = asyncio.timeout(0.0 if owed.is_cut else max(0.001, until - time.monotonic()))
    return owed.timer


def _broken(error: Exception, owed: Owed) -> EngineFailed:
    """What a failed read means: silence, or a broken connection that may be tried again while nothing was shown."""
    if isinstance(error, TimeoutError):
        text = f"The engine is silent: no {'next' if owed.is_running else 'first'} token in time."
        return EngineHung(text) if owed.is_cut else EngineSilent(text)
    kind = EngineFailed if owed.is_running else EngineUnreached
    return kind(f"The connection to the engine broke: {error!r}")


def retry_after(header: str | None) -> float:
    """Seconds a busy server asks for, between 0.1 and 60; 1 when it does not say in seconds."""
    try:
        return min(60.0, max(0.1, float(header or 1)))
    except ValueError:
        return 1.0
