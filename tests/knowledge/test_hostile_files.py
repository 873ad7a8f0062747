"""Files made to hurt: each is refused by itself, soon, and nobody else's upload notices."""

import asyncio
import io
import random
import resource
import time
import zipfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.knowledge import reading
from app.knowledge.parsers import PARSERS, CannotParse, Parsed
from app.settings import Settings
from tests.knowledge import files
from tests.knowledge.test_reading import HTML, MARKDOWN

SETTINGS = Settings(_env_file=None)
CPU_SECONDS_MAX = 6.0
"""Processor time, since a busy machine says nothing of a parser. Promised are seconds, not the half minute of the limit."""
HOSTILE = {
    "bomb.docx": files.bomb_docx,
    "entities.docx": files.entity_bomb_docx,
    "cells.xlsx": files.million_cells,
    "far.xlsx": files.far_apart,
    "nested.html": lambda: b"<html>" + b"<div>" * 100_000 + b"a",
    "tables.html": lambda: b"<html>" + b"<table><tr><td>" * 20_000 + b"a",
    "lists.html": lambda: b"<html>" + b"<ul><li>" * 30_000 + b"a",
    "paragraphs.html": lambda: b"<html>" + b"<p>a" * 200_000,
    "yaml.md": lambda: b"---\na: " + b"[" * 50_000 + b"\n---\ntext",
    "ticks.md": lambda: b"".join(b"e" + b"`" * n for n in range(3_000)),
    "inflates.pdf": lambda: files.pdf_of(b" " * 150_000_000),
    "noise.pdf": lambda: b"%PDF-1.7\n" + random.Random(1).randbytes(3_000_000),
    "broken.txt": lambda: "停水通知".encode() * 1_000_000 + b"\xff\xfe\xfd" * 1_000,
    "long.txt": lambda: "停".encode() * 6_000_000,
    "page.html": lambda: b"<html>%PDF-1.7 <p>both</p></html>",
    "picture.xlsx": lambda: b"GIF89a" + files.xlsx_file(),
}


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_file_is_refused_within_seconds(name):
    data, before = HOSTILE[name](), cpu_seconds()
    with pytest.raises((reading.DocumentRefused, reading.UploadTooLarge)) as refusal:
        await reading.read(SETTINGS, data, name)
    assert 400 <= refusal.value.status < 500
    assert cpu_seconds() - before < CPU_SECONDS_MAX
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 < SETTINGS.parser_memory_bytes


async def test_a_document_cannot_quote_a_file_of_the_server(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("canary-of-the-server")
    word, sheet = files.reading_a_file_of_ours(str(secret))
    for data, name in ((word, "a.docx"), (sheet, "b.xlsx")):
        try:
            read = await reading.read(SETTINGS, data, name)
        except reading.DocumentRefused:
            continue
        assert "canary" not in repr(read)


async def test_neighbours_upload_and_ask_while_somebody_sends_bombs(client, make):
    manager = await make.staff()
    url = f"{(await make.home()).url}/documents"

    async def upload(name: str, data: bytes) -> int:
        answer = await client.post(url, as_=manager, files={"file": (name, data)}, timeout=120)
        assert answer.status_code == 201 or answer.headers["content-type"] == "application/problem+json"
        return int(answer.status_code)

    bad = ["bomb.docx", "tables.html", "inflates.pdf", "picture.xlsx"]
    sending = [asyncio.create_task(upload(name, HOSTILE[name]())) for name in bad]
    good = [asyncio.create_task(upload(f"{n}.md", f"# 通知 {n}\n\n周六停水。".encode())) for n in range(2)]
    slowest = 0.0
    while not all(task.done() for task in (*sending, *good)):
        started = time.monotonic()
        assert (await client.get("/healthz")).status_code == 200
        slowest = max(slowest, time.monotonic() - started)
        await asyncio.sleep(0.02)
    assert {task.result() for task in good} == {201}
    assert {task.result() for task in sending} <= {413, 422}
    assert slowest < 5, "the event loop was held up by a parser"


SEEDS = {
    "md": MARKDOWN.encode(), "txt": "第一条 停水\n周六停水，请储水。\n\n一、时间\n八点至十二点。".encode(),
    "html": HTML.encode(), "pdf": files.pdf_file(), "docx": files.docx_file(), "xlsx": files.xlsx_file(),
}  # fmt: skip
PIECES = [
    b"",
    b"\x00",
    b"\xff",
    b"<",
    b"]]>",
    b"&x;",
    b"|",
    b"`",
    b"-1",
    b"99999999999",
    b"obj",
    b"stream\n",
    b"\n---\n",
]
mutation = st.tuples(
    st.floats(0, 1, exclude_max=True),
    st.integers(0, 40),
    st.sampled_from(PIECES) | st.binary(max_size=8),
    st.integers(0, 3),
)


def mutated(data: bytes, mutations: list[tuple[float, int, bytes, int]]) -> bytes:
    """Each cuts some bytes at a place and puts others there, so many times."""
    for place, cut, piece, times in mutations:
        at = int(place * len(data))
        data = data[:at] + piece * times + data[at + cut :]
    return data


def member_mutated(data: bytes, which: float, mutations: list[tuple[float, int, bytes, int]]) -> bytes:
    """A zip whose one member is mutated: the zip itself stays whole, so that what lies behind it is reached."""
    output = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(output, "w") as target:
        items = source.infolist()
        chosen = items[int(which * len(items))].filename
        for item in items:
            body = source.read(item.filename)
            target.writestr(item.filename, mutated(body, mutations) if item.filename == chosen else body)
    return output.getvalue()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", PARSERS)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(mutations=st.lists(mutation, min_size=1, max_size=6), which=st.floats(0, 1, exclude_max=True))
def test_a_damaged_file_is_read_or_refused_and_never_crashes_a_parser(kind, mutations, which):
    seed = SEEDS[kind]
    data = member_mutated(seed, which, mutations) if kind in ("docx", "xlsx") else mutated(seed, mutations)
    try:
        parsed = PARSERS[kind](data)
    except CannotParse as refusal:
        code = refusal.code
    else:
        code = "document_empty" if isinstance(parsed, Parsed) else ""
    assert code in reading.REFUSALS


def test_a_pdf_with_a_filter_that_nobody_knows_is_refused():
    damaged = SEEDS["pdf"].replace(b"/FlateDecode", b"/FlateDcode")
    assert damaged != SEEDS["pdf"]
    with pytest.raises(CannotParse) as refusal:
        PARSERS["pdf"](damaged)
    assert refusal.value.code == "document_broken"
