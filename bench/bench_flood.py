"""One community floods while another asks ten questions, on a whole Linli with real vLLM (the 0.5B starter).

Prints what `linli status` shows in the middle of it, who was served while the ten waited, and how long they waited
beside the flood. Fair is half of the places for the ten while they wait. Run: .venv/bin/python -m bench.bench_flood
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from app import db
from app.practice.seed import DEMO_SIGN_INS, PASSWORD_FILE
from tests.platform.test_up import Up, linli_up

FLOODER, ASKER = "wanglan", "guiyin"
ASKED = (
    "装修什么时间可以施工？", "临时停车怎么收费？", "垃圾什么时候收？", "电动车可以推进楼里吗？", "快递柜在哪里？",
    "物业费什么时候交？", "宠物可以带去花园吗？", "前台几点上班？", "水管爆了找谁？", "访客怎么进小区？",
)  # fmt: skip
ENGINE_SECONDS = 900


@dataclass(frozen=True)
class Served:
    """A turn as its row tells it, in seconds."""

    community: str
    created: float
    started: float
    ended: float

    @property
    def waited(self) -> float:
        return self.started - self.created


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flood", type=int, default=100, help="questions of the flood")
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        linli_up(
            Path(folder) / "var", LINLI_ENGINE_MODE="embedded", LINLI_STARTER_MODEL="starter-0.5b",
            LINLI_SEED_PRACTICE="true", LINLI_TURNS_PER_MINUTE_MAX="10000",
        ) as up,
    ):  # fmt: skip
        async with httpx.AsyncClient(base_url=up.address(), timeout=60, trust_env=False) as client:
            await ready(client)
            report(await flood(client, up, questions=given.flood))


async def ready(client: httpx.AsyncClient) -> None:
    deadline = time.monotonic() + ENGINE_SECONDS
    while (await client.get("/readyz")).json().get("mode") != "full":
        assert time.monotonic() < deadline, "the engine does not get ready"
        await asyncio.sleep(2)


async def flood(client: httpx.AsyncClient, up: Up, *, questions: int) -> list[Served]:
    tokens = {slug: await sign_in(client, up, slug) for slug in (FLOODER, ASKER)}
    await asyncio.gather(*(ask(client, tokens[FLOODER], f"{ASKED[n % 10]}（{n}）") for n in range(questions)))
    await asyncio.sleep(10)
    await asyncio.gather(*(ask(client, tokens[ASKER], question) for question in ASKED))
    await asyncio.sleep(3)
    print(status(up), flush=True)
    database = create_async_engine(db.async_url(running(up)["LINLI_DATABASE_OWNER_URL"]))
    try:
        while True:
            rows = await read(database)
            if sum(row.community == ASKER and row.ended > 0 for row in rows) == len(ASKED):
                return rows
            await asyncio.sleep(2)
    finally:
        await database.dispose()


async def sign_in(client: httpx.AsyncClient, up: Up, community: str) -> str:
    who = next(one for one in DEMO_SIGN_INS if one.community == community and one.kind == "resident")
    body = {"community": community, "login": who.login, "password": (up.data_dir / PASSWORD_FILE).read_text().strip()}
    answer = await client.post("/api/v1/auth/sign-in", json=body)
    answer.raise_for_status()
    return str(answer.json()["access_token"])


async def ask(client: httpx.AsyncClient, token: str, question: str) -> None:
    answer = await client.post(
        "/api/v1/me/turns", json={"text": question}, headers={"Authorization": f"Bearer {token}"}
    )
    assert answer.status_code == httpx.codes.ACCEPTED, answer.text


def status(up: Up) -> str:
    command = [sys.executable, "-m", "app.cli", "status"]
    environment = os.environ | {"LINLI_DATA_DIR": str(up.data_dir), "COLUMNS": "110"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout


def running(up: Up) -> dict[str, str]:
    """The addresses of this stack, as other commands find them."""
    found: dict[str, str] = json.loads((up.data_dir / "running.json").read_text())
    return found


async def read(database: AsyncEngine) -> list[Served]:
    seconds = "coalesce(extract(epoch FROM {}), 0)::float8"
    columns = ", ".join(seconds.format(f"t.{name}_at") for name in ("created", "started", "finished"))
    async with database.connect() as connection:
        rows = await connection.execute(
            text(f"SELECT c.slug, {columns} FROM turns t JOIN communities c ON c.id = t.community_id")
        )
        return [Served(*row) for row in rows]


def report(rows: list[Served]) -> None:
    """While the ten wait, one of two communities is due half of the places."""
    asked = [row for row in rows if row.community == ASKER]
    since, until = min(row.created for row in asked), max(row.started for row in asked)
    flooded = [row for row in rows if row.community == FLOODER and since <= row.started <= until]
    share = len(asked) / (len(asked) + len(flooded))
    waits = [row.waited for row in asked]
    before = [row.waited for row in rows if row.community == FLOODER and row.started > 0]
    fifo = sum(row.community == FLOODER and (row.started > since or not row.started) for row in rows)
    print(f"{len(rows) - len(asked)} questions of the flood, {fifo} of them not begun when the ten were asked")
    print(f"the ten: all answered; waited p50 {statistics.median(waits):.1f} s, max {max(waits):.1f} s")
    print(f"the flood, as far as begun: waited p50 {statistics.median(before):.1f} s, max {max(before):.1f} s")
    print(
        f"begun while the ten waited: {len(asked)} of theirs, {len(flooded)} of the flood: share {share:.2f} (fair .50)"
    )
    worst = max(share, 1 - share) / min(share, 1 - share)
    print(f"served shares max/min {worst:.2f}; first come first served would have let all {fifo} go first")


if __name__ == "__main__":
    asyncio.run(main())
