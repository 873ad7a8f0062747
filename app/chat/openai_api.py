"""The OpenAI-compatible door: any OpenAI client talks to the community, over the same road as every question.

The client keeps the history and sends it along. Answers carry their sources as text, so that nothing gets lost in
clients that know no citations; `linli` in the body has them as data.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from app.chat import asking, relay
from app.chat.tables import AT_ONCE, Turn
from app.errors import Invalid, Unavailable
from app.feed import IDLE, Event
from app.feed_followers import to_json
from app.people.callers import Caller, require
from app.rest.rate_limits import RateLimits
from app.runtime import RuntimeDep
from app.service_desk.hearing_route import HearingRoute

router = APIRouter(prefix="/v1", tags=["openai"], route_class=HearingRoute)

MODEL = "linli"
MESSAGES_MAX = 100
STREAM: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {}}, "description": "A completion, or with `stream` its chunks"}
}
ChatCaller = Annotated[Caller, Depends(require("chat:write"))]


class TextPart(BaseModel):
    type: Literal["text"]
    text: str


class ChatMessage(BaseModel):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = None

    @property
    def text(self) -> str:
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content)
        return self.content or ""


class StreamOptions(BaseModel):
    include_usage: bool = False


class ChatCompletionIn(BaseModel):
    """The part of OpenAI's request that has a meaning here; sampling options are ignored, answers are grounded."""

    model_config = ConfigDict(extra="ignore")
    model: str = Field(MODEL, examples=[MODEL])
    messages: list[ChatMessage] = Field(min_length=1, max_length=MESSAGES_MAX)
    stream: bool = False
    stream_options: StreamOptions | None = None

    @property
    def text(self) -> str:
        """The last message, which is the question where it is the user's."""
        return self.messages[-1].text


class NoQuestion(Invalid):
    code = "no_user_message"

    def __init__(self) -> None:
        super().__init__("The last message must be the user's.", "最后一条消息必须是用户的提问。")


class AnswerFailed(Unavailable):
    code = "answer_failed"

    def __init__(self) -> None:
        super().__init__("No answer could be made. Try again.", "未能生成回答，请重试。", retry_after_seconds=2)


@router.get("/models")
async def get_models(caller: ChatCaller) -> dict[str, Any]:
    """The one model there is: the community's assistant."""
    return {"object": "list", "data": [{"id": MODEL, "object": "model", "created": 0, "owned_by": "linli"}]}


@router.post("/chat/completions", response_model=None, responses=STREAM)
async def post_chat_completion(
    body: ChatCompletionIn, request: Request, caller: ChatCaller, runtime: RuntimeDep
) -> Response:
    """Ask as with OpenAI's API. System messages are not followed: the community's rules are its own."""
    *earlier, last = body.messages
    limits: RateLimits = request.app.state.rate_limits
    if last.role != "user":
        await limits.check("turn", caller.key, per_minute_max=runtime.settings.turns_per_minute_max)
        raise NoQuestion
    emergency = await asking.hear_emergency(runtime, limits, caller, last.text)
    history = [{"role": m.role, "content": m.text} for m in earlier if m.role in ("user", "assistant") and m.text]
    async with runtime.transaction(caller.tenant) as session:
        turn = await asking.ask(session, runtime, caller, text=last.text, emergency=emergency, history=history)
        await relay.tell_accepted(runtime, turn)
    # A client that reads nothing blocks its socket: only ending its task frees what it holds.
    me = asyncio.current_task()
    if turn.route in AT_ONCE:
        events = relay.events_at_once(turn)
    else:
        events = relay.events_of_turn(runtime, caller, turn.id, after=None, on_cut=me.cancel if me else None)
    if body.stream:
        with_usage = body.stream_options is not None and body.stream_options.include_usage
        return relay.EventStream(_chunks(_head(turn, "chat.completion.chunk"), events, with_usage=with_usage))
    async for event in events:
        if event.name == "done":
            return JSONResponse(_whole(turn, event.data))
        if event.name == "failed":
            break
    raise AnswerFailed


def _head(turn: Turn, kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{turn.id}", "object": kind, "created": int(turn.created_at.timestamp()), "model": MODEL}


def _whole(turn: Turn, done: dict[str, Any]) -> dict[str, Any]:
    message = {"role": "assistant", "content": done["answer"] + sources_text(done)}
    return {
        **_head(turn, "chat.completion"),
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": _usage(done),
        "linli": _extra(done),
    }


async def _chunks(
    head: dict[str, Any], events: AsyncGenerator[Event, None], *, with_usage: bool
) -> AsyncGenerator[bytes, None]:
    """Chunks in OpenAI's form. A text already sent cannot be taken back: a replacement follows after a blank line."""

    def chunk(delta: dict[str, Any], finish: str | None = None, **extra: Any) -> bytes:
        choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
        return _sse({**head, "choices": choices, **extra})

    yield chunk({"role": "assistant", "content": ""})
    sent = text = ""
    async with aclosing(events):
        async for event in events:
            if event.name == "restart":
                text = ""
            elif event.name == "token":
                text = text[: event.data["at"]] + event.data["text"]
            elif event.name == "replaced":
                text = event.data["text"]
            elif event.name == "done":
                text = event.data["answer"] + sources_text(event.data)
            elif event.name == IDLE:
                yield b": waiting\n\n"
            elif event.name == "failed":
                yield _sse(
                    {"error": {"message": AnswerFailed().message_en, "type": "server_error", "code": "answer_failed"}}
                )
                return
            if news := _news(sent, text, whole=event.name in ("replaced", "done")):
                yield chunk({"content": news})
                sent = text
            if event.name == "done":
                yield chunk({}, "stop", linli=_extra(event.data))
                if with_usage:
                    yield _sse({**head, "choices": [], "usage": _usage(event.data)})
    yield b"data: [DONE]\n\n"


def _news(sent: str, text: str, *, whole: bool) -> str:
    """What is to be sent to a client so that it holds `text`.

    Other words than it was sent, from a restarted answer, are kept until they are whole.
    """
    if text.startswith(sent):
        return text[len(sent) :]
    return f"\n\n{text}" if whole else ""


def _sse(body: dict[str, Any]) -> bytes:
    return f"data: {to_json(body)}\n\n".encode()


def sources_text(done: dict[str, Any]) -> str:
    """The sources as a last paragraph; empty when the answer cites nothing or holds its quotes itself."""
    if done["mode"] == "quotes" or not done["citations"]:
        return ""
    label = "来源" if done["language"] == "zh" else "Sources"
    names = dict.fromkeys(f"《{c['document']}》{c['section']}" for c in done["citations"])
    return f"\n\n{label}：{'；'.join(names)}" if done["language"] == "zh" else f"\n\n{label}: {'; '.join(names)}"


def _usage(done: dict[str, Any]) -> dict[str, Any]:
    usage = done.get("usage") or {"prompt_tokens": 0, "cached_tokens": 0, "completion_tokens": 0}
    return {
        "prompt_tokens": usage["prompt_tokens"],
        "completion_tokens": usage["completion_tokens"],
        "total_tokens": usage["prompt_tokens"] + usage["completion_tokens"],
        "prompt_tokens_details": {"cached_tokens": usage["cached_tokens"]},
    }


def _extra(done: dict[str, Any]) -> dict[str, Any]:
    return {key: done[key] for key in ("id", "route", "mode", "quotes", "citations")}
