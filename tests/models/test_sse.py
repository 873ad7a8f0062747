"""The event reader, fed in every awkward way."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.engine import EngineFailed
from models.sse import EVENT_BYTES_MAX, WHITESPACE_RUN_CHARS_MAX, Answer, Events


@given(st.lists(st.text(min_size=1, max_size=20), max_size=8), st.integers(1, 9))
def test_chunk_borders_do_not_matter(texts, step):
    payloads = [json.dumps({"choices": [{"delta": {"content": text}}]}, ensure_ascii=False) for text in texts]
    stream = b"".join(b": comment\r\ndata: " + payload.encode() + b"\r\n\r\n" for payload in payloads)
    events = Events()
    got = [payload for at in range(0, len(stream), step) for payload in events.feed(stream[at : at + step])]
    assert got == payloads


def test_an_endless_event_is_refused():
    events = Events()
    for _ in range(EVENT_BYTES_MAX // 65_536):
        assert not list(events.feed(b"x" * 65_536))
    with pytest.raises(EngineFailed, match="without end"):
        list(events.feed(b"x"))


@pytest.mark.parametrize(
    "payload",
    [
        "",
        "[]",
        "null",
        '"text"',
        '{"choices": 7}',
        '{"choices": [7]}',
        '{"choices": [{"delta": {"content": 5}}]}',
        '{"choices": [{"delta": {"tool_calls": [{"index": "x"}]}}]}',
        '{"choices": [], "usage": "many"}',
        '{"choices": [], "usage": {"prompt_tokens": "many"}}',
    ],
)
def test_nonsense_is_an_engine_failure_and_nothing_else(payload):
    with pytest.raises(EngineFailed):
        Answer().take(payload)


KEYS = st.sampled_from(["choices", "delta", "content", "usage", "tool_calls", "index", "finish_reason", "error"])
JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
)


@given(JSON)
def test_any_json_is_taken_or_refused(value):
    try:
        text, _ = Answer().take(json.dumps(value))
    except EngineFailed:
        return
    assert isinstance(text, str)


def test_white_space_without_end_is_refused_but_layout_is_not():
    answer = Answer()
    for _ in range(100):
        answer.take('{"choices": [{"delta": {"content": "\\n    - item"}}]}')
    for _ in range(WHITESPACE_RUN_CHARS_MAX):
        answer.take('{"choices": [{"delta": {"content": " "}}]}')
    with pytest.raises(EngineFailed, match="white space"):
        answer.take('{"choices": [{"delta": {"content": " "}}]}')
