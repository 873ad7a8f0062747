"""What a request asks of the form of its answer, in the words of each kind of server, and the check afterwards."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jsonschema

from models.engine import EngineFailed, Request

CHOICE = "choice"
TOP_LOGPROBS = 20
"""What vLLM gives at most unless it is told otherwise."""


class BadAnswer(EngineFailed):
    """The answer does not have the form it was asked for. The engine itself is well, so the breaker stays shut."""


def fields(request: Request, *, vllm: bool) -> dict[str, Any]:
    """The body fields that force the form. A plain server knows no choices; it gets a schema with one enum."""
    if request.json_schema is not None:
        return _response_format(request.json_schema)
    if request.choices is not None:
        if vllm:
            return {
                "structured_outputs": {"choice": list(request.choices)},
                "logprobs": True,
                "top_logprobs": TOP_LOGPROBS,
            }
        return _response_format(_choice_schema(request.choices))
    return {}


def is_wrapped(request: Request, *, vllm: bool) -> bool:
    """Whether the answer's text comes inside an object of ours and so can only be shown whole."""
    return request.choices is not None and not vllm


def unwrap(text: str) -> str:
    """The choice out of the object a plain server was made to write. Raises BadAnswer."""
    answer = parse(text)
    if not isinstance(answer, dict) or not isinstance(answer.get(CHOICE), str):
        raise BadAnswer(f"The model did not choose: {text[:200]!r}")
    return str(answer[CHOICE])


def parse(text: str) -> Any:
    """The JSON value in `text`. Raises BadAnswer."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise BadAnswer(f"The model's answer is no JSON: {text[:200]!r}") from error


def check(request: Request, text: str) -> None:
    """Raises BadAnswer when `text` does not have the form the request asked for."""
    if request.json_schema is not None:
        try:
            jsonschema.validate(parse(text), dict(request.json_schema))
        except jsonschema.ValidationError as error:
            raise BadAnswer(f"The model's answer breaks the schema: {error.message[:200]}") from error
    if request.choices is not None and text not in request.choices:
        raise BadAnswer(f"The model chose {text[:80]!r}, which was not offered.")


def shares(first_token: Mapping[str, float], choices: Sequence[str]) -> dict[str, float]:
    """How likely each choice is, from the log-probabilities of the first token; empty when none of them begins one.

    The choices must begin differently. A token counts for the choice that it begins.
    """
    weights = dict.fromkeys(choices, 0.0)
    for token, logprob in first_token.items():
        begun = token.strip()
        for choice in choices:
            if begun and choice.startswith(begun):
                weights[choice] += math.exp(logprob)
    whole = sum(weights.values())
    return {choice: weight / whole for choice, weight in weights.items()} if whole else {}


def _choice_schema(choices: Sequence[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {CHOICE: {"type": "string", "enum": list(choices)}},
        "required": [CHOICE],
        "additionalProperties": False,
    }


def _response_format(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": dict(schema), "strict": True},
        }
    }
