"""Many who follow answers at once on one web process: memory, delay, and all of them coming back at the same moment.

`linli web` over real Postgres and Valkey; this process publishes as a worker does and is all the clients too. The peer
is a FastAPI StreamingResponse with a queue per client, in a process of its own, measured in the same run. Idle ones
are woken every 30 s here, not every 5: each look reads the stream and the row, which is no part of what is measured.

Run: .venv/bin/python -m bench.bench_feed [--followers 2000] [--quick] [--profile FOLDER]
"""

import argparse
import asyncio
import os
import resource
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from uuid import UUID

import uvloop
from uuid_utils.compat import uuid7

from app.chat.tables import Conversation, Turn
from app.children import Child
from app.people.callers import CallerKind
from app.runtime import Runtime
from bench.followers import Follower, drop, follow, until
from bench.house import ROOT, House, answers, free_port, house, load, resident_kib, running
from bench.load import quantile
from bench.pairs import MISSED, exit_status

AWAY_EVENTS = 2
"""Published to each turn while its follower is away."""


def row(name: str, figure: str, goal: str = "", met: bool | None = None) -> None:
    verdict = "" if met is None else "met" if met else "not met"
    if met is False:
        MISSED.append(name)
    print(f"{name:62} {figure:26} {goal:12} {verdict}", flush=True)


async def make_turns(runtime: Runtime, built: House, count: int) -> list[UUID]:
    """Waiting turns of the house's key, each with the first event of its feed."""
    community, key = built.tenant.community_id, UUID(hex=built.key.split("_")[1])
    talks = [uuid7() for _ in range(count)]
    turns = [uuid7() for _ in range(count)]
    now = runtime.clock()
    async with runtime.transaction(built.tenant) as session:
        session.add_all(
            Conversation(
                id=one, community_id=community, caller_kind=CallerKind.API_KEY, caller_id=key, account_id=None,
                title="", created_at=now,
            )
            for one in talks
        )  # fmt: skip
        await session.flush()
        session.add_all(
            Turn(
                id=turn, community_id=community, conversation_id=talk, number=1, messages=["?"], history=None,
                language="zh", created_at=now,
            )
            for turn, talk in zip(turns, talks, strict=True)
        )  # fmt: skip
    for turn in turns:
        await runtime.feed.publish(turn, "accepted", {"turn_id": str(turn)})
    return turns


def path(turn: UUID) -> str:
    return f"/api/v1/turns/{turn}/events"


async def settled(pid: int) -> int:
    """KiB of a process once its memory has come to rest."""
    last = resident_kib(pid)
    for _ in range(20):
        await asyncio.sleep(0.5)
        now = resident_kib(pid)
        if abs(now - last) < 64:
            return now
        last = now
    return last


async def memory_of_peer(folder: Path, count: int) -> float:
    """KiB of one idle stream of the peer."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "bench.bare_fanout:app", "--port", str(port), "--no-access-log"]
    child = Child("peer", command, folder / "peer.log", environment={**os.environ, "PYTHONPATH": str(ROOT)})
    url = f"http://127.0.0.1:{port}"
    child.is_ready = answers(f"{url}/healthz")
    with running(child):
        # What the first streams load and compile stays; it is not the price of one more.
        warm = await follow(url, ["/events"] * 50, [""] * 50)
        before = await settled(child.pid or 0)
        open_now = await follow(url, ["/events"] * count, [""] * count)
        after = await settled(child.pid or 0)
        drop([*warm, *open_now])
    return (after - before) / count


async def delays(
    runtime: Runtime, turns: list[UUID], followers: list[Follower], *, rate: float, seconds: float
) -> list[float]:
    """Milliseconds from publishing to each follower, at so many events a second over all the turns."""
    sent: dict[tuple[UUID, bytes], float] = {}
    heard: list[tuple[UUID, bytes, float]] = []

    def hear(turn: UUID, ids: list[bytes]) -> None:
        heard.extend((turn, event_id, time.perf_counter()) for event_id in ids)

    for number, one in enumerate(followers):
        turn = turns[number % len(turns)]
        one.on_ids = partial(hear, turn)
    loop = asyncio.get_running_loop()
    due, publishing = loop.time(), set[asyncio.Task[None]]()

    async def publish(turn: UUID) -> None:
        started = time.perf_counter()
        event_id = await runtime.feed.publish(turn, "token", {"text": "好" * 8, "at": 0})
        sent[turn, event_id.encode()] = started

    for number in range(round(rate * seconds)):
        await asyncio.sleep(max(0.0, due - loop.time()))
        task = asyncio.create_task(publish(turns[number * 7919 % len(turns)]))
        publishing.add(task)
        task.add_done_callback(publishing.discard)
        due += 1 / rate
    await asyncio.gather(*publishing)
    await asyncio.sleep(1.0)
    for one in followers:
        one.on_ids = None
    return [(at - sent[turn, event_id]) * 1000 for turn, event_id, at in heard if (turn, event_id) in sent]


async def miss(runtime: Runtime, turn: UUID) -> list[bytes]:
    """The ids of what a turn's follower does not see."""
    return [(await runtime.feed.publish(turn, "token", {"text": "好", "at": 8})).encode() for _ in range(AWAY_EVENTS)]


async def storm(runtime: Runtime, built: House, turns: list[UUID], followers: list[Follower]) -> None:
    """All are cut off, miss some events and come back at the same moment with the id they had last."""
    last = [one.ids[-1] for one in followers]
    drop(followers)
    await asyncio.sleep(1.0)
    missed = [await miss(runtime, turn) for turn in turns]
    authorization = f"authorization: Bearer {built.key}\r\n"
    headers = [f"{authorization}last-event-id: {event_id.decode()}\r\n" for event_id in last]
    cpu, started = built.cpu_seconds("web"), time.perf_counter()
    back = await follow(built.url, list(map(path, turns)), headers, at_once=len(turns))
    await until(lambda: all(len(one.ids) >= AWAY_EVENTS for one in back), seconds=120)
    took = time.perf_counter() - started
    await asyncio.sleep(0.5)
    wrong = sum(one.ids != expected for one, expected in zip(back, missed, strict=True))
    row(f"reconnect storm of {len(turns)}: all have what they missed, seconds", f"{took:.2f}")
    row("   told to come back later (503), in all", str(sum(one.refusals for one in back)))
    row("   CPU ms of web for each that comes back", f"{(built.cpu_seconds('web') - cpu) / len(turns) * 1000:.2f}")
    row("   followers with an event lost, doubled or out of order", str(wrong), "0", wrong == 0)
    drop(back)


async def fan_out(runtime: Runtime, built: House, turn: UUID, count: int) -> None:
    """Everybody follows the same answer."""
    headers = [f"authorization: Bearer {built.key}\r\n"] * count
    everyone = await follow(built.url, [path(turn)] * count, headers)
    await asyncio.sleep(1.0)
    cpu = built.cpu_seconds("web")
    seen = await delays(runtime, [turn], everyone, rate=2, seconds=5)
    events = len(seen)
    row(f"one answer to all {count}: delay p50 / p99 ms", f"{quantile(seen, 0.5):.1f} / {quantile(seen, 0.99):.1f}")
    row("   CPU µs of web for each event and follower", f"{(built.cpu_seconds('web') - cpu) / events * 1e6:.1f}")
    drop(everyone)


async def main(options: argparse.Namespace) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    count = min(options.followers, hard - 500)
    print(f"bench_feed, {count} followers, {load()}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        peer = await memory_of_peer(folder, count)
        async with house(folder, engine_url="", worker=False, profile=options.profile, feed_idle_seconds=30) as (
            built,
            runtime,
        ):
            turns = await make_turns(runtime, built, count + 50)
            web, headers = built.parts["web"].pid or 0, [f"authorization: Bearer {built.key}\r\n"]
            warm = await follow(built.url, list(map(path, turns[count:])), headers * 50)
            before = await settled(web)
            cpu, started = built.cpu_seconds("web"), time.perf_counter()
            turns = turns[:count]
            everyone = await follow(built.url, list(map(path, turns)), headers * count)
            await until(lambda: all(one.ids for one in everyone), seconds=60)
            took, cpu = time.perf_counter() - started, built.cpu_seconds("web") - cpu
            each = (await settled(web) - before) / count
            row("KiB per idle stream", f"{each:.1f}", "<= 16", each <= 16)
            row("   of a FastAPI StreamingResponse", f"{each / peer:.2f} ({peer:.1f} KiB)", "<= .5", each / peer <= 0.5)
            row("opening them, streams a second / CPU ms of web each", f"{count / took:.0f} / {cpu / count * 1000:.2f}")
            seen = await delays(runtime, turns, everyone, rate=400, seconds=2 if options.quick else 5)
            figure = f"{quantile(seen, 0.5):.1f} / {quantile(seen, 0.99):.1f}"
            row("400 events/s over all of them: delay p50 / p99 ms", figure)
            drop(warm)
            await storm(runtime, built, turns, everyone)
            await fan_out(runtime, built, turns[0], count)
    print(f"done, {load()}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--followers", type=int, default=2_000)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--profile", type=Path, help="folder for the findings of cProfile in web")
    uvloop.run(main(parser.parse_args()))
    sys.exit(exit_status())
