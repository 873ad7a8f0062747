"""Clients that vanish, stall, come back in crowds with ids of all kinds, or stop an answer."""

import asyncio
import os
import socket
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import httpx

from tests.faults.fault import Fault, Scene
from tests.faults.proxy import proxied
from tests.faults.residents import Asked, Resident

CROWD = 200
SLOW_READERS = 25
LEAK_SECONDS_MAX = 20.0
"""An answer and the comment after it: then nothing is left to be sent to those who are gone."""


async def _begin(scene: Scene, *, pace_seconds: float) -> tuple[Resident, Asked]:
    """A question whose answer has just begun to be shown."""
    scene.stack.script.pace_seconds = pace_seconds
    resident = scene.crowd.resident()
    asked = resident.new_question()
    scene.crowd.asked.append(asked)
    assert await resident.post(asked)
    for _ in range(10):
        if not asked.text and asked.end is None:
            await resident.follow(asked, events_max=5)
    return resident, asked


def _generations(scene: Scene, asked: Asked) -> int:
    """How often the engine was asked for the answer to a question."""
    return sum(
        asked.question in str(body["messages"][-1]) for body in scene.stack.engine.stage.bodies if body.get("stream")
    )


def _files(scene: Scene) -> int:
    """Open files, connections among them, of all web processes."""
    return sum(len(os.listdir(f"/proc/{web.pid}/fd")) for web in scene.stack.webs)


async def reconnect_storm(scene: Scene) -> None:
    """Hundreds at once: from the start, from where they were, with an id nobody gave out, for somebody else's answer."""
    resident, asked = await _begin(scene, pace_seconds=0.05)
    stranger = next(c for c in scene.crowd.town if c is not asked.community).people[0]
    other = Resident(
        scene.stack,
        scene.crowd.client,
        scene.crowd.town[0],
        stranger,
        chance=scene.chance,
        told=scene.crowd.told,
        canaries=(),
    )
    seen: Counter[str] = Counter()
    wrong: list[str] = []

    async def come(number: int, client: httpx.AsyncClient) -> None:
        kind = ("fresh", "stale", "forged", "foreign", "invented")[number % 5]
        headers = (other if kind == "foreign" else resident).headers()
        if kind in ("stale", "forged"):
            headers["Last-Event-ID"] = asked.last_id if kind == "stale" else f"9{scene.chance.randrange(10**11)}-7"
        turn = uuid4() if kind == "invented" else asked.turn_id
        url = f"{scene.stack.web_urls[number % len(scene.stack.webs)]}/api/v1/turns/{turn}/events"
        for _ in range(20):
            async with client.stream("GET", url, headers=headers) as answer:
                body = (await answer.aread()).decode()
            if answer.status_code != 503:
                break
            # Shed, since all connections to the database are waited for: said honestly, and come back.
            scene.record("shed", scene.figures.get("shed", 0) + 1)
            await asyncio.sleep(float(answer.headers["Retry-After"]) * scene.chance.uniform(0.5, 1))
        seen[f"{kind} {answer.status_code}"] += 1
        if (answer.status_code == 404) != (kind in ("foreign", "invented")) or answer.status_code not in (
            200,
            404,
            422,
        ):
            wrong.append(f"{kind} was answered with {answer.status_code}: {body[:100]}")
        if kind in ("fresh", "stale") and "event: done" not in body:
            wrong.append(f"{kind}: a stream without its end: {body[-200:]}")

    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(limits=limits, timeout=60) as client:
        await asyncio.gather(*(come(number, client) for number in range(CROWD)))
    scene.broken += wrong[:5]
    await resident.follow(asked)
    scene.record("storm", CROWD)
    scene.record("generations", _generations(scene, asked) - asked.restarts)


async def disconnect(scene: Scene) -> None:
    """The client closes mid-answer and does not come back until all is said. The answer is finished and kept."""
    resident, asked = await _begin(scene, pace_seconds=0.03)
    await asyncio.sleep(4)
    async with scene.crowd.client.stream(
        "GET", f"{scene.stack.web_urls[0]}/api/v1/turns/{asked.turn_id}", headers=resident.headers()
    ) as answer:
        turn = (await answer.aread()).decode()
    if '"status":"answered"' not in turn.replace(" ", ""):
        scene.broken.append(f"the answer was not finished without its reader: {turn[:200]}")
    await resident.follow(asked)
    scene.record("generations", _generations(scene, asked) - asked.restarts)


async def stop(scene: Scene) -> None:
    """A resident stops an answer. The engine's slot must be free at once: seconds from the request to that."""
    resident, asked = await _begin(scene, pace_seconds=0.3)
    stage, before = scene.stack.engine.stage, scene.stack.engine.stage.running
    started = asyncio.get_running_loop().time()
    answer = await scene.crowd.client.post(
        f"{scene.stack.web_urls[0]}/api/v1/turns/{asked.turn_id}/stop", headers=resident.headers(), timeout=20
    )
    await resident.follow(asked)
    scene.record("stopped in s", asyncio.get_running_loop().time() - started)
    if answer.status_code != 200 or (asked.end or {}).get("status") not in ("stopped", "answered"):
        scene.broken.append(f"stop was answered with {answer.status_code}, the turn ended as {asked.end}")
    if before and stage.running > before + len(scene.crowd.asked):
        scene.broken.append("the engine goes on with a stopped answer")


async def half_open(scene: Scene) -> None:
    """Twenty followers whose network goes silent: no byte, no FIN. What they hold in the web process must end."""
    resident, asked = await _begin(scene, pace_seconds=0.03)
    await asyncio.sleep(1)
    before, url = _files(scene), urlsplit(scene.stack.web_urls[0])
    assert url.port
    with proxied(("127.0.0.1", url.port)) as (link,):
        clients = [httpx.AsyncClient(timeout=60) for _ in range(20)]
        streams = [
            client.stream("GET", f"http://127.0.0.1:{link.port}{asked.events_url}", headers=resident.headers())
            for client in clients
        ]
        for stream in streams:
            await stream.__aenter__()
        link.up.stalled = link.down.stalled = True
        await resident.follow(asked)
        waited = 0.0
        while (leaked := _files(scene) - before) > 10 and waited < LEAK_SECONDS_MAX:
            await asyncio.sleep(0.5)
            waited += 0.5
        scene.record("leaked streams", max(0, leaked - 10))
        scene.record("freed after s", waited)
        link.cut()
        for client in clients:
            await client.aclose()


def _resident_bytes(scene: Scene) -> int:
    """Memory of the first web process."""
    fields = Path(f"/proc/{scene.stack.webs[0].pid}/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


async def slow_readers(scene: Scene) -> None:
    """Clients with a buffer of 4 KiB that ask for the stream and read nothing of it. The answer is kept all the same."""
    resident, asked = await _begin(scene, pace_seconds=0.05)
    before, url = _resident_bytes(scene), urlsplit(scene.stack.web_urls[0])
    headers = "".join(f"{name}: {value}\r\n" for name, value in resident.headers().items())
    sockets = []
    for _ in range(SLOW_READERS):
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.setblocking(False)
        await asyncio.get_running_loop().sock_connect(one, ("127.0.0.1", url.port))
        request = f"GET {asked.events_url} HTTP/1.1\r\nHost: linli\r\n{headers}\r\n"
        await asyncio.get_running_loop().sock_sendall(one, request.encode())
        sockets.append(one)
    await resident.follow(asked)
    scene.record("MiB per 100", (_resident_bytes(scene) - before) / 2**20 * 100 / SLOW_READERS)
    for one in sockets:
        one.close()


FAULTS = (
    Fault(
        "reconnect storm", "each gets the rest of the one answer; forged 422, foreign and invented 404; no second generation",
        reconnect_storm, recovery_seconds_max=60, limits={"generations": 1},
    ),
    Fault("client leaves", "the answer is finished and kept", disconnect, recovery_seconds_max=20, limits={"generations": 1}),
    Fault("client stops it", "the engine's slot is free at once", stop, recovery_seconds_max=20, limits={"stopped in s": 3}),
    Fault("half-open clients", "leaked streams 0", half_open, recovery_seconds_max=60, limits={"leaked streams": 0}),
    Fault("slow readers", "bounded memory; the answer is kept", slow_readers, recovery_seconds_max=30),
)  # fmt: skip
