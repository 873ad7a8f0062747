"""The disk under Postgres, Valkey, uploads and logs is full: nothing new is kept, and everybody is told so."""

import asyncio
import json
import os
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from asyncpg.exceptions import InterfaceError, PostgresError

from tests.faults.fault import Fault, Scene
from tests.faults.reader import connect
from tests.faults.stack import Stack, linli

BALLAST = "ballast"
UPLOAD_CHARS = 60_000
UPLOADS_MAX = 40
"""Uploads until one is refused: what is free within files that are there already takes a few."""
SEGMENTS_MAX = 60
TOLD_SECONDS = 20.0
FULL = "down: its disk is full"


def fill_up(folder: Path) -> None:
    """Takes all room there is."""
    with (folder / BALLAST).open("ab") as ballast:
        for size in (2**24, 2**20, 2**16, 2**12):
            with suppress(OSError):
                while True:
                    os.posix_fallocate(ballast.fileno(), ballast.tell(), size)
                    ballast.seek(0, os.SEEK_END)


async def _keep_full(folder: Path) -> None:
    while True:
        await asyncio.to_thread(fill_up, folder)
        await asyncio.sleep(0.1)


class Manager:
    """Uploads documents over HTTP and remembers which were acknowledged."""

    def __init__(self, scene: Scene) -> None:
        self.stack, self.client = scene.stack, scene.crowd.client
        self.person = scene.crowd.town[0].manager
        self.kept: list[str] = []

    async def upload(self) -> httpx.Response:
        """The answer to a new document of text that cannot be packed small, and that no resident may find."""
        text = "".join(chr(0x4E00 + byte) for byte in os.urandom(UPLOAD_CHARS))
        title = f"文件{uuid4().hex}"
        answer = await self._ask(
            "POST",
            "documents",
            files={"file": (f"{title}.md", f"---\naudience: staff\n---\n# {title}\n\n{text}".encode())},
        )
        if answer.status_code == 201:
            self.kept.append(answer.json()["id"])
        return answer

    async def lost(self) -> list[str]:
        """The acknowledged documents that are not there."""
        return [one for one in self.kept if (await self._ask("GET", f"documents/{one}")).status_code != 200]

    async def _ask(self, method: str, path: str, **sent: Any) -> httpx.Response:
        return await self.client.request(
            method, f"{self.stack.web_urls[0]}/api/v1/communities/{self.person.tenant.community_id}/{path}",
            headers=self.stack.headers_of(self.person), timeout=20, **sent,
        )  # fmt: skip


async def fill_disks(scene: Scene) -> None:
    """First that of Postgres and of all logs, until it refuses rows; then Valkey's; then Postgres finds no room for its
    log of writes, at which it ends in panic.
    """
    await scene.until_running()
    manager, folder = Manager(scene), scene.stack.folder
    scene.notes["manager"] = manager
    filling = [asyncio.create_task(_keep_full(folder))]
    scene.notes["filling"] = filling
    await asyncio.sleep(0.5)
    await _upload_in_vain(scene, manager)
    await _is_told(scene, "database")
    await _status_tells(scene)
    filling.append(asyncio.create_task(_keep_full(folder / "valkey")))
    await _is_told(scene, "redis")
    await _use_up_wal(scene)


async def _upload_in_vain(scene: Scene, manager: Manager) -> None:
    """Uploads until one is refused, and reads the refusal."""
    for _ in range(UPLOADS_MAX):
        answer = await manager.upload()
        if answer.status_code != 201:
            break
    scene.record("uploads until refused", len(manager.kept) + 1)
    problem = answer.json()
    if answer.status_code != 503 or problem["code"] != "storage_full":
        scene.broken.append(f"an upload to a full disk was answered {answer.status_code} {answer.text[:200]}")
    elif not all(problem["messages"].get(language) for language in ("zh", "en")):
        scene.broken.append(f"a refusal without words in both languages: {problem}")


async def _is_told(scene: Scene, part: str) -> None:
    """Whether /readyz says of the part that its disk is full, and how soon."""
    begun, found = time.monotonic(), {}
    while time.monotonic() - begun < TOLD_SECONDS:
        answer = await scene.crowd.client.get(f"{scene.stack.web_urls[0]}/readyz", timeout=20)
        found = answer.json()["parts"]
        if answer.status_code == 503 and found[part] == FULL:
            scene.record(f"{part} told s", time.monotonic() - begun)
            return
        await asyncio.sleep(0.1)
    scene.broken.append(f"/readyz said of a full disk under the {part}: {found}")


async def _status_tells(scene: Scene) -> None:
    """Whether `linli status` says it too, and how soon: it hears it with the next pulse of the web that was refused."""
    begun, told = time.monotonic(), {}
    while time.monotonic() - begun < TOLD_SECONDS:
        told = (await asyncio.to_thread(_status, scene.stack))["parts"]
        if told["database"] == FULL:
            scene.record("status told s", time.monotonic() - begun)
            return
    scene.broken.append(f"`linli status` said of a full disk: {told}")


async def _use_up_wal(scene: Scene) -> None:
    """Writes until Postgres has no segment left."""
    try:
        connection = await connect(scene.stack)
        for _ in range(SEGMENTS_MAX):
            await connection.execute("SELECT pg_logical_emit_message(false, 'faults', 'x'); SELECT pg_switch_wal()")
        scene.broken.append("Postgres found room for its log on a full disk")
    except (PostgresError, InterfaceError, OSError) as error:
        scene.notes["panic"] = repr(error)


def _status(stack: Stack) -> dict[str, Any]:
    """What `linli status` tells a program."""
    environment = stack.webs[0].child.environment
    done = subprocess.run(
        [*linli("status"), "--json"], env=dict(environment or {}), capture_output=True, check=False, timeout=60
    )
    told: dict[str, Any] = json.loads(done.stdout)
    return told


async def make_room(scene: Scene) -> None:
    """Space is back; whatever died of the want of it is started, as the supervisor does. Then all is read."""
    filling: Any = scene.notes["filling"]
    for one in filling:
        one.cancel()
    await asyncio.gather(*filling, return_exceptions=True)
    for folder in (scene.stack.folder, scene.stack.folder / "valkey"):
        (folder / BALLAST).unlink(missing_ok=True)
    scene.record("postgres restarts", not scene.stack.postgres.is_running)
    scene.record("other restarts", sum(not one.is_running for one in scene.stack.processes[1:]))
    await scene.stack.heal()
    manager: Any = scene.notes["manager"]
    begun = time.monotonic()
    while (answer := await manager.upload()).status_code != 201:
        if time.monotonic() - begun > TOLD_SECONDS:
            scene.broken.append(f"with room again an upload is answered {answer.status_code} {answer.text[:200]}")
            return
        await asyncio.sleep(0.2)
    scene.record("uploads again s", time.monotonic() - begun)
    if lost := await manager.lost():
        scene.broken.append(f"acknowledged uploads are lost: {lost}")
    logs = [(scene.stack.folder / "logs" / f"{web.name}.log").read_bytes() for web in scene.stack.webs]
    # The logs lie on the full disk too, so whether a line found room is chance: it is told, not judged.
    scene.record("told in a log", float(any(b"storage_full" in log for log in logs)))
    await read_all_of_postgres(scene)


async def read_all_of_postgres(scene: Scene) -> None:
    """Every row of every table, and every B-tree against its table (amcheck). What is corrupt is told."""
    connection = await connect(scene.stack)
    try:
        tables = await connection.fetch(
            "SELECT c.oid::regclass::text AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE c.relkind = 'r' AND n.nspname IN ('public', 'pg_catalog') AND c.relpersistence = 'p'"
        )
        await connection.execute("CREATE EXTENSION IF NOT EXISTS amcheck")
        indexes = await connection.fetch(
            "SELECT i.indexrelid::regclass::text AS name FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
            "JOIN pg_am a ON a.oid = c.relam WHERE a.amname = 'btree' AND c.relkind = 'i' AND i.indisvalid"
        )
        for statement, names in (
            ("SELECT sum(length(t::text)) FROM {} t", tables),
            ("SELECT bt_index_check('{}'::regclass, true)", indexes),
        ):
            for row in names:
                try:
                    await connection.execute(statement.format(row["name"]))
                except Exception as error:
                    scene.broken.append(f"corrupt: {row['name']}: {error!r}")
        await connection.execute("DROP EXTENSION amcheck")
        scene.record("tables and indexes read", len(tables) + len(indexes))
    finally:
        await connection.close()


FAULTS = (
    Fault(
        "disk full", "writes are refused in words; nothing acknowledged is lost, nothing corrupt; service comes back",
        fill_disks, make_room, hold_seconds=4, recovery_seconds_max=20, limits={"other restarts": 0},
        needs_disk=True,
    ),
)  # fmt: skip
