"""Another embedder is set: search says what to do, and after that it finds everything again."""

import asyncio
import dataclasses
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from app import worker
from app.knowledge import ingest
from app.knowledge.reembedding import WorkersDiffer, reembed_community, start
from app.runtime import Runtime
from models.openai_embedder import OpenAiEmbedder

ROOT = Path(__file__).parents[2]


class Renamed:
    """The same vectors under another name: for Linli, another model."""

    def __init__(self, embedder):
        self.name, self.width = "another-model", embedder.width
        self.embed_passages, self.embed_queries = embedder.embed_passages, embedder.embed_queries


@asynccontextmanager
async def working(runtime: Runtime) -> AsyncIterator[None]:
    stop = asyncio.Event()
    task = asyncio.create_task(worker.run(runtime, stop=stop))
    yield
    stop.set()
    await task


@pytest.fixture
async def known(client, make):
    """Two versions of the parking rules and an approved answer."""
    await make.document("停车规定", "# 停车\n\n外来车辆每小时4元。", source_key="old")
    await make.document("停车规定2026", "# 停车\n\n外来车辆每小时5元。", replaces="old")
    body = {"questions": ["前台几点上班", "物业几点开门"], "answer_zh": "前台每天8:30上班。"}
    home = await make.home()
    made = await client.post(f"{home.url}/answers", json=body, as_=await make.staff())
    assert made.status_code == 201, made.text
    return home


@pytest.fixture
def switch(runtime, web):
    """Start Linli again with another embedder."""

    def to(embedder) -> Runtime:
        now: Runtime = dataclasses.replace(runtime, embedder=embedder)
        web[1].state.runtime = now
        return now

    return to


async def test_search_names_the_command_and_works_after_it(client, make, runtime, switch, known):
    resident, question = await make.resident(), {"question": "外来车停车多少钱"}
    other = switch(Renamed(runtime.embedder))
    refused = await client.post(f"{known.url}/search", json=question, as_=resident)
    assert (refused.status_code, refused.json()["code"]) == (409, "embedder_mismatch")
    assert f"linli knowledge reembed --community {known.slug}" in refused.json()["detail"]
    shown: list[tuple[int, int]] = []
    async with working(other):
        failed = await reembed_community(other, slug=known.slug, show=lambda *step: shown.append(step))
    assert (failed, shown[-1]) == ([], (2, 2))
    found = (await client.post(f"{known.url}/search", json=question, as_=resident)).json()
    assert [item["title"] for item in found["items"]] == ["停车规定2026"]


async def test_an_embedder_that_is_away_is_said_and_not_our_error(client, make, runtime, switch, known):
    gone = runtime.settings.model_copy(update={"embedder_url": "http://127.0.0.1:1/v1", "embedder_width": 384})
    switch(OpenAiEmbedder.from_settings(gone))
    refused = await client.post(f"{known.url}/search", json={"question": "停车"}, as_=await make.resident())
    assert (refused.status_code, refused.json()["code"]) == (503, "store_unavailable")


async def test_an_outdated_notice_is_not_cited_while_everything_is_embedded_again(client, make, runtime, known):
    old, _ = await _document_ids(client, make, known)
    assert await start(runtime, known.tenant) == 2
    await ingest.ingest(runtime, known.tenant, old)
    asked = await client.post(f"{known.url}/search", json={"question": "停车多少钱"}, as_=await make.resident())
    assert asked.json()["items"] == []


async def test_a_worker_that_was_not_started_again_is_found_out(client, make, runtime, known):
    other = dataclasses.replace(runtime, embedder=Renamed(runtime.embedder))
    async with working(runtime):
        with pytest.raises(WorkersDiffer, match="Start Linli again"):
            await reembed_community(other, slug=known.slug, show=lambda *_: None)


async def test_what_an_old_worker_still_has_in_hand_is_not_stored(client, make, runtime, known):
    old, newer = await _document_ids(client, make, known)
    other = dataclasses.replace(runtime, embedder=Renamed(runtime.embedder))
    await start(other, known.tenant)

    class Late:
        """Embeds for the old worker while the new one stores another document."""

        name, width = runtime.embedder.name, runtime.embedder.width
        embed_queries = runtime.embedder.embed_queries

        async def embed_passages(self, texts):
            await ingest.ingest(other, known.tenant, newer)
            return await runtime.embedder.embed_passages(texts)

    late = dataclasses.replace(runtime, embedder=Late())
    with pytest.raises(ingest.EmbedderMismatch):
        await ingest.ingest(late, known.tenant, old)
    url = f"{known.url}/documents/{old}"
    assert (await client.get(url, as_=await make.staff())).json()["status"] == "waiting"


async def test_the_command_shows_its_progress_and_ends_well(make, runtime, known):
    async with working(runtime):
        done = await _linli(runtime, "knowledge", "reembed", "--community", known.slug)
    assert (done.returncode, "2/2" in done.stdout) == (0, True), done.stdout + done.stderr
    unknown = await _linli(runtime, "knowledge", "reembed", "--community", "nowhere")
    assert (unknown.returncode, "no such community" in unknown.stderr) == (1, True), unknown.stderr


async def _document_ids(client, make, place):
    """The older one first."""
    listed = (await client.get(f"{place.url}/documents", as_=await make.staff())).json()["items"]
    return [row["id"] for row in reversed(listed)]


async def _linli(runtime, *words):
    settings = runtime.settings
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LINLI_")}
    environment |= {
        "LINLI_DATABASE_URL": settings.database_url,
        "LINLI_REDIS_URL": settings.redis_url,
        "LINLI_SECRET_KEY": settings.secret_key.get_secret_value(),
        "LINLI_DATA_DIR": str(settings.data_dir),
        "LINLI_ENGINE_MODE": "off",
    }
    return await asyncio.to_thread(
        subprocess.run, [sys.executable, "-m", "app.cli", *words], cwd=ROOT, env=environment, capture_output=True,
        text=True, timeout=120, check=False,
    )  # fmt: skip
