"""Reads an OpenAI-protocol answer stream: bytes to events, events to one growing answer. Pure; no network here."""

import json
from collections.abc import Iterator
from typing import Any

from models.engine import EngineFailed, ToolCall, Usage

DONE = "[DONE]"
EVENT_BYTES_MAX = 1 << 20
WHITESPACE_RUN_CHARS_MAX = 256
"""Small models under a JSON grammar can write white space until their tokens end; no honest answer has so much."""


class Events:
    """Splits a byte stream into the payloads of its `data:` lines, whatever the chunk borders.

    Comments, other fields and empty lines are dropped. Raises EngineFailed on a line that never ends or is no UTF-8.
    """

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> Iterator[str]:
        """The payloads completed by this chunk, in order."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > EVENT_BYTES_MAX:
            raise EngineFailed("The engine sent an event without end.")
        for line in lines:
            if not line.startswith(b"data:"):
                continue
            try:
                yield line[5:].strip().decode()
            except UnicodeDecodeError as error:
                raise EngineFailed("The engine sent bytes that are not UTF-8.") from error


class Answer:
    """One answer as its events come in: `take` returns the new text; the rest is known when `finished`.

    `first_token` has the log-probabilities of what the first token might have been, where they were asked for.
    """

    def __init__(self) -> None:
        self.finish_reason: str | None = None
        self.usage = Usage()
        self.first_token: dict[str, float] = {}
        self._calls: dict[int, dict[str, str]] = {}
        self._blank_chars = 0

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The proposed calls, whole, in their order."""
        return tuple(ToolCall(call["id"], call["name"], call["arguments"]) for _, call in sorted(self._calls.items()))

    def take(self, payload: str) -> tuple[str, bool]:
        """The new text of one event, and whether the event is a sign of progress.

        Raises EngineFailed on nonsense: no JSON, an error event, white space without end.
        """
        if payload == DONE:
            return "", True
        event = _object(payload)
        if error := event.get("error"):
            raise EngineFailed(f"The engine failed while answering: {_message(error)}")
        try:
            if usage := event.get("usage"):
                self.usage = _usage(usage)
            choices = event.get("choices") or []
            if not choices:
                return "", False
            choice = choices[0]
            delta = choice.get("delta") or {}
            text = delta.get("content") or ""
            calls = delta.get("tool_calls") or []
            for call in calls:
                self._add_call(call)
            self.finish_reason = choice.get("finish_reason") or self.finish_reason
            if not self.first_token and (logprobs := choice.get("logprobs")):
                self.first_token = {top["token"]: top["logprob"] for top in logprobs["content"][0]["top_logprobs"]}
            if text:
                self._check_blank(text)
        except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
            raise EngineFailed(f"The engine sent an event of another shape: {payload[:200]}") from error
        return text, bool(text or calls or self.finish_reason)

    def _add_call(self, piece: dict[str, Any]) -> None:
        call = self._calls.setdefault(int(piece.get("index", 0)), {"id": "", "name": "", "arguments": ""})
        function = piece.get("function") or {}
        call["id"] = piece.get("id") or call["id"]
        call["name"] += function.get("name") or ""
        call["arguments"] += function.get("arguments") or ""

    def _check_blank(self, text: str) -> None:
        if not isinstance(text, str):
            raise TypeError("content")
        if text.isspace():
            self._blank_chars += len(text)
        else:
            self._blank_chars = len(text) - len(text.rstrip())
        if self._blank_chars > WHITESPACE_RUN_CHARS_MAX:
            raise EngineFailed("The engine writes white space without end.")


def _object(payload: str) -> dict[str, Any]:
    try:
        event = json.loads(payload)
    except ValueError as error:
        raise EngineFailed(f"The engine sent an event that is no JSON: {payload[:200]}") from error
    if not isinstance(event, dict):
        raise EngineFailed(f"The engine sent an event of another shape: {payload[:200]}")
    return event


def _usage(usage: dict[str, Any]) -> Usage:
    details = usage.get("prompt_tokens_details") or {}
    return Usage(
        prompt_tokens=int(usage.get("prompt_tokens") or 0),
        cached_tokens=int(details.get("cached_tokens") or 0),
        completion_tokens=int(usage.get("completion_tokens") or 0),
    )


def _message(error: Any) -> str:
    return str(error.get("message", error) if isinstance(error, dict) else error)[:300]
