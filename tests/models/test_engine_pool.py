"""Several engines behind one: who gets a request, and what a person notices when one of them fails."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, aclosing
from dataclasses import dataclass, field
from typing import Any

import pytest

from models.engine import Engine, EngineBusy, EngineFailed, Message, Request, State
from models.engine_pool import EnginePool, open_engine
from models.scripted_engine import Script, Scripted, echo
from tests.models.conftest import settings_for
from tests.scripted_server import Served, serving

QUICK = {"engine_state_seconds": 0.05, "breaker_open_seconds": 0.2, "engine_stall_seconds_min": 0.5}
BROKEN = "这是一"
"""What a broken answer of the scripted server says before it breaks."""


def ask(text: str = "你好", **changes: Any) -> Request:
    return Request(messages=(Message("user", text),), max_tokens=50, **changes)


@dataclass
class Servers:
    """Running engines by name; each can be killed and started again at its port."""

    running: dict[str, Served] = field(default_factory=dict)
    stacks: dict[str, ExitStack] = field(default_factory=dict)

    def start(self, script: Script = echo, *, port: int = 0) -> Served:
        stack = ExitStack()
        served = stack.enter_context(serving(script, port=port))
        self.running[served.url], self.stacks[served.url] = served, stack
        return served

    def kill(self, served: Served) -> None:
        del self.running[served.url]
        self.stacks.pop(served.url).close()

    def asked(self) -> Counter[str]:
        """Requests that each engine got, tests not counted."""
        return Counter({url: len(bodies_of(served)) for url, served in self.running.items()})


def bodies_of(served: Served) -> list[dict[str, Any]]:
    return [body for body in served.stage.bodies if body.get("stream")]


@pytest.fixture
def servers() -> Iterator[Servers]:
    found = Servers()
    yield found
    for served in list(found.running.values()):
        found.kill(served)


async def wait_for(engine: Engine, good: Callable[[], bool], *, seconds: float = 20) -> None:
    """Looks at the engine, as a worker does, until `good`."""
    until = time.monotonic() + seconds
    while True:
        await engine.state()
        if good():
            return
        assert time.monotonic() < until, engine.engines()
        await asyncio.sleep(0.02)


def states(engine: Engine) -> list[State]:
    return [seen.state.state for seen in engine.engines()]


async def own_engine(engine: Engine, servers: Servers, session: str) -> Served:
    """The engine that this session goes to, found by asking."""
    before = servers.asked()
    await engine.complete(ask(session=session))
    [(url, _)] = (servers.asked() - before).items()
    return servers.running[url]


async def read_into(texts: list[str], engine: Engine, request: Request) -> None:
    async with aclosing(engine.stream(request)) as pieces:
        async for delta in pieces:
            texts.append(delta.text)  # noqa: PERF401 (what came before a failure counts)


async def test_one_address_needs_no_pool_and_a_list_makes_one(tmp_path):
    for url in ("", "http://127.0.0.1:1/v1", "http://127.0.0.1:1/v1,", "http://127.0.0.1:1/v1,http://127.0.0.1:1/v1/"):
        engine = open_engine(settings_for(url, tmp_path))
        assert not isinstance(engine, EnginePool)
        assert len(engine.engines()) == 1
        await engine.close()
    both = open_engine(settings_for("http://someone:secret@127.0.0.1:1/v1, https://gpu.example/v1", tmp_path))
    assert [seen.name for seen in both.engines()] == ["127.0.0.1:1", "gpu.example:443"], "no password in a name"
    await both.close()


async def test_both_engines_are_ready_and_their_slots_add_up(servers, connect):
    engine = connect(servers.start().url, servers.start().url, engine_slots_max=3)
    seen = await engine.state()
    assert (seen.state, seen.slots) == (State.READY, 6)
    assert engine.model_name == "scripted"


async def test_a_conversation_stays_with_its_engine_and_conversations_spread(servers, connect):
    first, second = servers.start(), servers.start()
    engine = connect(first.url, second.url)
    sessions = [f"conversation-{number}" for number in range(12)]
    own = {session: (await own_engine(engine, servers, session)).url for session in sessions}
    assert set(own.values()) == {first.url, second.url}
    for session in sessions:
        assert (await own_engine(engine, servers, session)).url == own[session]


async def test_without_a_conversation_the_least_loaded_engine_is_asked(servers, connect):
    def slowly(request: Request) -> Scripted:
        return Scripted("字" * 400, between_tokens_seconds=0.05)

    first, second = servers.start(slowly), servers.start(slowly)
    engine = connect(first.url, second.url)
    await engine.state()
    streams = [engine.stream(ask()) for _ in range(6)]
    for stream in streams:
        await anext(stream)
    assert servers.asked() == {first.url: 3, second.url: 3}
    for stream in streams:
        await stream.aclose()


async def test_requests_of_other_processes_count_as_load(servers, connect):
    first, second = servers.start(), servers.start()
    first.stage.waiting = 20
    engine = connect(first.url, second.url)
    await wait_for(engine, lambda: all(seen.waiting is not None for seen in engine.engines()))
    for _ in range(4):
        await engine.complete(ask())
    assert servers.asked() == {first.url: 0, second.url: 4}


async def test_a_full_engine_hands_its_conversation_to_another(servers, connect):
    def slowly(request: Request) -> Scripted:
        return Scripted("字" * 400, between_tokens_seconds=0.05)

    engine = connect(servers.start(slowly).url, servers.start(slowly).url, engine_slots_max=1)
    await engine.state()
    streams = [engine.stream(ask(session="one")) for _ in range(2)]
    for stream in streams:
        await anext(stream)
    assert set(servers.asked().values()) == {1}
    assert (await engine.state()).slots == 0
    for stream in streams:
        await stream.aclose()


async def test_what_one_engine_refuses_another_takes(servers, connect):
    engine = connect(servers.start().url, servers.start().url)
    own = await own_engine(engine, servers, "one")
    own.stage.fault = "503"
    assert (await engine.complete(ask("水管漏水", session="one"))).text == "您说的是：水管漏水"
    assert len(bodies_of(own)) == 2, "asked once, refused once"


@pytest.mark.parametrize("status", ["503", "429"])
async def test_when_all_engines_are_full_the_request_goes_back_once(servers, connect, status):
    both = servers.start(), servers.start()
    engine = connect(*(served.url for served in both))
    for served in both:
        served.stage.fault = status
    with pytest.raises(EngineBusy) as caught:
        await engine.complete(ask())
    assert caught.value.retry_after_seconds == 2
    assert set(servers.asked().values()) == {1}
    assert (await engine.state()).state is State.READY


async def test_a_failure_before_the_first_word_is_not_seen_by_anybody(servers, connect):
    engine = connect(servers.start().url, servers.start().url, breaker_failures_max=100)
    own = await own_engine(engine, servers, "one")
    own.stage.fault = "500"
    for _ in range(3):
        assert (await engine.complete(ask("水管漏水", session="one"))).text == "您说的是：水管漏水"


async def test_the_tries_of_a_request_have_an_end(servers, connect):
    three = [servers.start(lambda request: Scripted("", fault="500")) for _ in range(3)]
    engine = connect(*(served.url for served in three), engine_attempts_max=2, breaker_failures_max=100)
    with pytest.raises(EngineFailed, match="HTTP 500"):
        await engine.complete(ask())
    assert sum(servers.asked().values()) == 2


async def test_a_bad_moment_of_the_only_one_left_is_forgiven(servers, connect):
    moments = iter([Scripted("", fault="500"), Scripted("好的")])
    alone, dead = servers.start(lambda request: next(moments)), servers.start()
    engine = connect(alone.url, dead.url, **QUICK)
    servers.kill(dead)
    await wait_for(engine, lambda: states(engine) == [State.READY, State.OFF])
    assert (await engine.complete(ask())).text == "好的"


@pytest.mark.parametrize("fault", ["cut", "truncated", "malformed", "no_utf8", "error_event", "whitespace", "spaces"])
async def test_an_answer_that_breaks_after_a_word_is_never_begun_again(servers, connect, fault):
    both = servers.start(), servers.start()
    for served in both:
        served.stage.fault = fault
    texts: list[str] = []
    with pytest.raises(EngineFailed):
        await read_into(texts, connect(*(served.url for served in both)), ask())
    assert "".join(texts).startswith(BROKEN)
    assert len("".join(texts)) < 1_000, "endless white space is not passed on"
    assert sum(servers.asked().values()) == 1


async def test_an_engine_killed_mid_answer_fails_that_answer_and_no_other(servers, connect):
    def slowly(request: Request) -> Scripted:
        return Scripted("字" * 50, between_tokens_seconds=0.02)

    engine = connect(servers.start(slowly).url, servers.start(slowly).url, **QUICK)
    own = await own_engine(engine, servers, "one")
    texts: list[str] = []
    reading = asyncio.create_task(read_into(texts, engine, ask(session="one")))
    await wait_for(engine, lambda: bool(texts))
    servers.kill(own)
    with pytest.raises(EngineFailed):
        await reading
    assert 0 < len(texts) < 50
    for _ in range(3):
        assert (await engine.complete(ask(session="one"))).finish_reason == "stop"
    await wait_for(engine, lambda: sorted(states(engine)) == [State.OFF, State.READY])
    assert (await engine.state()).state is State.READY


async def test_an_engine_that_hangs_mid_answer_is_left_and_taken_back(servers, connect):
    engine = connect(servers.start().url, servers.start().url, **QUICK)
    own = await own_engine(engine, servers, "one")
    own.stage.fault = "stall"
    texts: list[str] = []
    with pytest.raises(EngineFailed, match="silent"):
        await read_into(texts, engine, ask(session="one"))
    assert "".join(texts) == BROKEN
    assert State.FAILING in states(engine), "its health says 200, but it hangs"
    asked = len(bodies_of(own))
    for _ in range(3):
        assert (await engine.complete(ask("水管漏水", session="one"))).text == "您说的是：水管漏水"
    assert len(bodies_of(own)) == asked, "a hanging engine gets nothing"
    own.stage.fault = ""
    await wait_for(engine, lambda: states(engine) == [State.READY, State.READY])
    assert (await own_engine(engine, servers, "one")).url == own.url, "the conversation comes back"


async def test_a_request_that_waits_at_a_hung_engine_is_answered_by_another(servers, connect):
    engine = connect(servers.start().url, servers.start().url, **QUICK)
    own = await own_engine(engine, servers, "one")
    own.stage.fault = "hang"
    waiting = [engine.complete(ask("水管漏水", session="one")) for _ in range(3)]
    assert {one.text for one in await asyncio.gather(*waiting)} == {"您说的是：水管漏水"}


async def test_conversations_of_a_dead_engine_go_elsewhere_and_come_back(servers, connect):
    engine = connect(servers.start().url, servers.start().url, **QUICK)
    own = await own_engine(engine, servers, "one")
    servers.kill(own)
    other = await own_engine(engine, servers, "one")
    assert other.url != own.url
    again = servers.start(port=own.port)
    await wait_for(engine, lambda: states(engine) == [State.READY, State.READY])
    assert (await own_engine(engine, servers, "one")).url == again.url


async def test_an_engine_that_starts_slowly_joins_when_it_is_ready(servers, connect):
    ready, late = servers.start(), servers.start()
    servers.kill(late)
    engine = connect(ready.url, late.url, **QUICK)
    assert (await engine.state()).state is State.READY
    await wait_for(engine, lambda: states(engine) == [State.READY, State.OFF])
    late = servers.start(port=late.port)
    late.stage.healthy = False
    await wait_for(engine, lambda: states(engine) == [State.READY, State.FAILING])
    for number in range(8):
        await engine.complete(ask(session=f"conversation-{number}"))
    assert servers.asked()[late.url] == 0
    late.stage.healthy = True
    await wait_for(engine, lambda: states(engine) == [State.READY, State.READY])
    for number in range(8):
        await engine.complete(ask(session=f"conversation-{number}"))
    assert servers.asked()[late.url] > 0


async def test_with_all_engines_away_the_pool_says_so(servers, connect):
    both = servers.start(), servers.start()
    engine = connect(*(served.url for served in both), **QUICK)
    for served in both:
        servers.kill(served)
    seen = await engine.state()
    assert (seen.state, seen.slots) == (State.OFF, 0)
    with pytest.raises(EngineFailed):
        await engine.complete(ask())


async def test_meters_of_each_engine_can_be_read(servers, connect):
    first, second = servers.start(), servers.start()
    first.stage.prompt_tokens, first.stage.cached_tokens, first.stage.waiting = 200, 150, 4
    engine = connect(first.url, second.url, **QUICK)
    await wait_for(engine, lambda: all(seen.canary_seconds is not None for seen in engine.engines()))
    one, two = engine.engines()
    assert one.name == f"127.0.0.1:{first.port}"
    assert (one.waiting, one.running, one.in_flight, one.breaker) == (4, 0, 0, "closed")
    assert one.prefix_cache_hit_share == pytest.approx(0.75)
    assert two.prefix_cache_hit_share is None, "nothing was asked there yet"
