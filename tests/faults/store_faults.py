"""Valkey and Postgres are killed, wiped, slow, frozen or full; a request comes fifty times."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import asyncpg
import httpx

from tests.faults.fault import Fault, Scene
from tests.faults.residents import RETRIED

LAG_FLOOR_MS = 50.0
"""The goal for the 99th percentile of event-loop lag; on a busy machine, three times what it was before the fault."""
OWN_LATE_SECONDS = 0.02
ANSWER_SECONDS_MAX = 10.0
"""A POST is answered or refused within this time, whatever its stores do."""


async def lag_ms(scene: Scene, *, seconds: float) -> float:
    """The 99th percentile of the time a web process takes for a request that touches no store: its loop's lag.

    What our own loop is late meanwhile (it collects garbage of many tests, say) is not the web's.
    """
    times = []
    own = OwnLateness()
    watching = asyncio.create_task(own.watch())
    async with httpx.AsyncClient(timeout=10) as client:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            started, own.seconds = time.monotonic(), 0.0
            await client.get(f"{scene.stack.web_urls[0]}/healthz")
            times.append((time.monotonic() - started - own.seconds) * 1000)
            await asyncio.sleep(0.02)
    watching.cancel()
    return sorted(times)[int(len(times) * 0.99)]


@dataclass
class OwnLateness:
    """By how much this process wakes too late, added up."""

    seconds: float = 0.0

    async def watch(self) -> None:
        while True:
            started = time.monotonic()
            await asyncio.sleep(0.005)
            late = time.monotonic() - started - 0.005
            self.seconds += late if late > OWN_LATE_SECONDS else 0.0


async def watch_lag(scene: Scene) -> None:
    scene.notes["before"] = await lag_ms(scene, seconds=1)
    scene.notes["lag"] = asyncio.create_task(lag_ms(scene, seconds=3.5))


async def read_lag(scene: Scene) -> None:
    watching: Any = scene.notes["lag"]
    before: Any = scene.notes["before"]
    lag = await watching
    scene.record("lag p99 ms", lag)
    scene.record("lag over goal", lag / max(LAG_FLOOR_MS, 3 * before))
    record_waits(scene)


def record_waits(scene: Scene) -> None:
    scene.record("post s", max(scene.crowd.told.seconds, default=0))


async def wipe_valkey(scene: Scene) -> None:
    await scene.until_running()
    scene.stack.valkey.kill(wipe=True)


async def start_valkey(scene: Scene) -> None:
    await scene.stack.valkey.start()


async def slow_valkey(scene: Scene) -> None:
    await watch_lag(scene)
    for link in scene.stack.links_to("redis"):
        link.slow(0.5, jitter_seconds=0.1)


async def quick_valkey(scene: Scene) -> None:
    for link in scene.stack.links_to("redis"):
        link.heal()
    await read_lag(scene)


async def freeze_valkey(scene: Scene) -> None:
    """It takes connections and bytes and says nothing, as in a long DEBUG SLEEP or a stuck disk."""
    await watch_lag(scene)
    scene.stack.valkey.freeze()


async def thaw_valkey(scene: Scene) -> None:
    scene.stack.valkey.thaw()
    await read_lag(scene)


async def crash_postgres(scene: Scene) -> None:
    await scene.until_running()
    await scene.stack.postgres.crash()


async def start_postgres(scene: Scene) -> None:
    await scene.stack.postgres.start()
    record_waits(scene)


async def fill_postgres(scene: Scene) -> None:
    """Strangers take every connection there is; then ours break off and have to be made anew."""
    url = scene.stack.services.database_url.replace("+asyncpg", "")
    held: list[asyncpg.Connection] = []
    scene.notes["held"] = held
    for link in scene.stack.links_to("postgres"):
        link.cut()
    while True:
        try:
            held.append(await asyncpg.connect(url))
        except asyncpg.TooManyConnectionsError:
            break
    scene.record("strangers", len(held))


async def free_postgres(scene: Scene) -> None:
    held: Any = scene.notes["held"]
    for connection in held:
        connection.terminate()
    record_waits(scene)


async def silence_postgres(scene: Scene) -> None:
    """It takes connections and bytes and says nothing, as behind a network that lost it or on a disk that hangs."""
    for link in scene.stack.links_to("postgres"):
        link.stall()
    scene.notes["asked"] = asyncio.create_task(ask_into_silence(scene))


async def ask_into_silence(scene: Scene) -> None:
    """A question, and an emergency at its own door and in chat: all are answered, though not by Postgres."""
    await watch_lag(scene)
    resident = scene.crowd.resident()
    asked = resident.new_question()
    started = time.monotonic()
    status, _ = await resident.post_once(asked)
    scene.record("post s", time.monotonic() - started)
    if status != 503:
        scene.broken.append(f"a question was answered {status}, promised is 503")
    async with httpx.AsyncClient(base_url=scene.stack.web_urls[0], headers=resident.headers(), timeout=30) as client:
        doors = (("card s", "emergencies", 200, "card"), ("card in chat s", "me/turns", 503, "detail"))
        for figure, path, status, card in doors:
            started = time.monotonic()
            body = {"community": asked.community.place.slug, "text": "9栋电梯困人了"}
            told = await client.post(f"/api/v1/{path}", json=body)
            scene.record(figure, time.monotonic() - started)
            if told.status_code != status or "不要扒门" not in told.json().get(card, ""):
                scene.broken.append(f"somebody in a lift was told {told.status_code} {told.text[:200]}")
    await read_lag(scene)


async def hear_postgres(scene: Scene) -> None:
    asking: Any = scene.notes["asked"]
    await asyncio.wait([asking], timeout=60)
    for link in scene.stack.links_to("postgres"):
        link.heal()
    await asking


async def submit_often(scene: Scene) -> None:
    """One question fifty times at once under one key, at both web processes; then the key with other words."""
    resident = scene.crowd.resident()
    asked = resident.new_question()
    scene.crowd.asked.append(asked)
    sending = []
    for _ in range(50):
        sending.append(asyncio.create_task(resident.post_once(asked)))
        await asyncio.sleep(0)
        resident.next_web()
    statuses = [status for status, _ in await asyncio.gather(*sending)]
    scene.record("duplicates", len(set(asked.turn_ids)) - 1)
    scene.record("refused of 50", sum(status != 202 for status in statuses))
    other: int | str = 503
    while other in RETRIED:
        other, _ = await resident.post_once(asked, body={"text": "别的问题：月租车位多少钱？"})
    if other != 422:
        scene.broken.append(f"the key with another body was answered {other}, promised is 422")
    await resident.follow(asked)


FAULTS = (
    Fault(
        "valkey wiped", "accepted work is rebuilt from Postgres; streams go on or restart marked; lost 0",
        wipe_valkey, start_valkey, hold_seconds=1,
    ),
    Fault(
        "valkey slow", "the API works or says 503 with Retry-After; the event loop is never blocked",
        slow_valkey, quick_valkey, hold_seconds=4, limits={"post s": ANSWER_SECONDS_MAX, "lag over goal": 1},
    ),
    Fault(
        "valkey frozen", "the API works or says 503 with Retry-After; the event loop is never blocked",
        freeze_valkey, thaw_valkey, hold_seconds=6, limits={"post s": ANSWER_SECONDS_MAX, "lag over goal": 1},
    ),
    Fault(
        "postgres killed", "no acknowledgement without commit; 5xx honest; running streams finish and are stored",
        crash_postgres, start_postgres, hold_seconds=1.5, limits={"post s": ANSWER_SECONDS_MAX},
    ),
    Fault(
        "postgres full", "waits for a connection are bounded, then 503",
        fill_postgres, free_postgres, hold_seconds=4, limits={"post s": ANSWER_SECONDS_MAX},
    ),
    Fault(
        "postgres silent", "the API says 503 with Retry-After in time; what it hears too late doubles nothing",
        silence_postgres, hear_postgres, hold_seconds=1,
        limits=dict.fromkeys(("post s", "card s", "card in chat s"), ANSWER_SECONDS_MAX) | {"lag over goal": 1},
    ),
    Fault("submitted 50 times", "one answer; another body under the key is 422", submit_often, limits={"duplicates": 0}),
)  # fmt: skip
