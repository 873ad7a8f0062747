"""The parts of `bench_overhead` that need a real engine: its own pace, its own cache."""

import re
import statistics
from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import takewhile
from typing import Any

import httpx

from app.chat import prompt
from bench.load import Side, one_by_one, quantile, questions, streams
from bench.overhead_setup import COMMUNITY, Bench
from bench.pairs import Ratio, Sample, compare, exactly, goal, interval, table
from bench.raw_client import Heard

BUSY_STREAMS = 6
TALKS, TURNS = 3, 4


async def real_first_token(bench: Bench) -> None:
    """P2 on a real engine, one question at a time."""
    heard = await one_by_one([bench.direct, bench.linli], 5 * bench.pairs)
    both = [(a, b) for a, b in zip(heard["engine"], heard["linli"], strict=True) if b.first > 0]
    added = [(ours.first - alone.first) * 1000 for alone, ours in both]
    alone = statistics.median(one.first for one, _ in both) * 1000
    print(f"P2 first token of vLLM alone, idle: p50 {alone:.1f} ms")
    middle = statistics.median(added)
    goal("P2 added first-token ms, idle, p50", Ratio(middle, *interval(added), cpu_ratio=0.0), at_most=3)
    goal(f"P2 the same, p99 of {len(added)} turns", exactly(quantile(added, 0.99)), at_most=10)


async def real_throughput(bench: Bench) -> None:
    """P1 and P2 under load: as many streams as are four fifths of what a worker gives one engine."""

    def asking(side: Side, firsts: list[float]) -> Callable[[], Awaitable[Sample]]:
        async def run() -> Sample:
            heard = [one for one in await streams(side, BUSY_STREAMS, spread_seconds=0.5) if one.tokens]
            firsts.append(statistics.median(one.first for one in heard))
            return Sample(sum(one.tokens for one in heard), sum(one.tokens / one.end for one in heard))

        return run

    firsts: dict[str, list[float]] = {"vllm alone": [], "linli": []}
    sides = {"vllm alone": bench.direct, "linli": bench.linli}
    seen = await compare(
        {name: asking(side, firsts[name]) for name, side in sides.items()}, pairs=min(5, bench.pairs), warm_ups=0
    )
    table(seen, unit="tokens/s", title=f"P1 {BUSY_STREAMS} streams on vLLM")
    goal("P1 throughput on vLLM, linli / engine alone", seen["linli"], at_least=0.97)
    ratios = [ours / alone for ours, alone in zip(firsts["linli"], firsts["vllm alone"], strict=True)]
    first = Ratio(statistics.median(ratios), *interval(ratios), cpu_ratio=0.0)
    goal(f"P2 first token with {BUSY_STREAMS} streams on vLLM, linli / engine alone", first, at_most=1.05)


async def cache_hits(bench: Bench) -> None:
    """P9: what came from vLLM's prefix cache, of what could have: whole blocks that an earlier prompt begins with.

    Talks of several turns go on side by side, so that the cache has to serve more than the last prompt.
    """
    connection, block = await bench.linli.connect(), await block_tokens(bench)
    asked = [f"In this building, {text[0].lower()}{text[1:]}" for text in questions(TALKS * TURNS)]
    histories: list[list[dict[str, str]]] = [[] for _ in range(TALKS)]
    earlier: list[list[int]] = []
    attainable = reached = prompts = 0
    for turn in range(TURNS):
        for talk, history in enumerate(histories):
            question = asked[turn * TALKS + talk]
            prompt_tokens = await tokenised(bench, history, question)
            heard: Heard = await connection.send(with_history(bench.linli, history).request(question))
            shared = max((common(before, prompt_tokens) for before in earlier), default=0)
            attainable += shared // block * block if turn or talk else 0
            # The first prompt of all has nothing before it; what it hits was left by another part of the bench.
            reached += heard.cached_tokens if turn or talk else 0
            prompts += len(prompt_tokens)
            earlier.append(prompt_tokens)
            history += [{"role": "user", "content": question}, {"role": "assistant", "content": heard.text or "-"}]
    connection.close()
    print(
        f"P9 {TALKS * TURNS} prompts of {prompts} tokens in blocks of {block}: {attainable} attainable from the cache, "
        f"{reached} reached"
    )
    goal("P9 prefix-cache hits / attainable", exactly(reached / max(1, attainable)), at_least=0.95)


async def block_tokens(bench: Bench) -> int:
    """How many tokens the engine keeps or forgets together: it reuses whole blocks of a prompt."""
    async with httpx.AsyncClient(trust_env=False) as client:
        told = (await client.get(f"{bench.engine_url.removesuffix('/v1')}/metrics")).raise_for_status().text
    found = re.search(r'vllm:cache_config_info{.*block_size="(\d+)"', told)
    assert found is not None, "vLLM tells its block size"
    return int(found[1])


def with_history(side: Side, history: list[dict[str, str]]) -> Side:
    """The side, asked as by a client that keeps its talk itself."""
    before = list(history)

    def ask(question: str, stream: bool) -> dict[str, Any]:
        body = side.ask(question, stream)
        return {**body, "messages": [*before, *body["messages"]]}

    return replace(side, ask=ask)


async def tokenised(bench: Bench, history: list[dict[str, str]], question: str) -> list[int]:
    """The prompt that Linli makes of this, in the engine's own tokens."""
    settings = bench.built.settings
    fitted = prompt.fit_history(history, tokens_max=settings.history_tokens_max, turns_max=settings.history_turns_max)
    messages = prompt.build(community=COMMUNITY, language="en", history=fitted, sources=[], question=question)
    body = {
        "model": bench.direct.ask("", True)["model"],
        "messages": [{"role": m.role, "content": m.content} for m in messages],
    }
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(f"{bench.engine_url.removesuffix('/v1')}/tokenize", json=body)
    return [int(token) for token in answer.raise_for_status().json()["tokens"]]


def common(one: list[int], other: list[int]) -> int:
    """How many tokens two prompts begin with alike."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
