"""Passages for bench_search and bench_growth: real ones, made-up ones around them, and a way in by COPY."""

import csv
import io
import json
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib import import_module
from itertools import cycle
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from uuid_utils.compat import uuid7

from app.db import Tenant
from app.knowledge import ingest, splitting, tokens, wording
from app.knowledge.language import language_of
from app.knowledge.splitting import Block, Piece
from app.runtime import Runtime
from models import provision
from models.embedder import Embedder

ROWS_PER_CHUNK = 500
PASSAGES_PER_DOCUMENT = 100
"""Of the made-up ones; a real paragraph is a document of its own."""
UNTITLED = "-"
MIXED = 16


@dataclass(frozen=True)
class Real:
    """A piece of a real text. `name` is what a question's gold names."""

    name: str
    text: str


@dataclass(frozen=True)
class Rows:
    """Passages ready for COPY: texts, vectors (n, width), and the name of the document each belongs to."""

    texts: list[str]
    vectors: NDArray[np.float32]
    names: list[str]


def pieces_of(corpus: Sequence[tuple[str, str]], *, width_max: int) -> list[Real]:
    """The texts of a corpus, split as documents are."""
    return [
        Real(name, piece.text)
        for name, body in corpus
        for piece in splitting.split([Block((), body)], width_max=width_max)
    ]


async def embedded(embedder: Embedder, texts: Sequence[str], *, questions: bool) -> NDArray[np.float32]:
    """Vectors of texts, kept in the cache folder: on two cores a thousand passages take a minute."""
    told = json.dumps([ingest.embedder_key(embedder), questions, list(texts)])
    path = provision.cache_dir() / f"bench-vectors-{sha256(told.encode()).hexdigest()[:16]}.npy"
    if path.exists():
        kept: NDArray[np.float32] = np.load(path, allow_pickle=False)
        return kept
    if questions:
        vectors = await embedder.embed_queries(texts)
    else:
        whole = [ingest.embedding_text(UNTITLED, Piece((), text, None)) for text in texts]
        vectors = await embedder.embed_passages(whole)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, vectors)
    return vectors


def made_up(texts: Sequence[str], vectors: NDArray[np.float32], count: int, *, seed: int = 0) -> Rows:
    """Synthetic distractors after real passages.

    Texts: a chain of characters, each following the one before as often as in the real texts, so pairs of characters
    are as frequent as there, while no sentence is repeated. Vectors: of sixteen real passages, their differences from
    the mean mixed with random weights. That keeps lengths and spread, and neighbours are as near as between real texts
    (RESULTS, Search): mixed of two they lie on lines, which no text does and no graph of neighbours finds its way on.
    """
    random = np.random.default_rng(seed)
    written = _chains("\n".join(texts), [len(text) for text in texts], count, random)
    mean = vectors.mean(axis=0)
    weights = random.dirichlet(np.ones(MIXED), count)
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    chosen = random.integers(len(vectors), size=(count, MIXED))
    mixed = np.stack([mean + own @ (vectors[ids] - mean) for own, ids in zip(weights, chosen, strict=True)])
    mixed = (mixed / np.linalg.norm(mixed, axis=1, keepdims=True)).astype(np.float32)
    return Rows(written, mixed, [f"made-up-{seed}-{at // PASSAGES_PER_DOCUMENT}" for at in range(count)])


def _chains(text: str, lengths: Sequence[int], count: int, random: np.random.Generator) -> list[str]:
    codes = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    letters, ids = np.unique(codes, return_inverse=True)
    # Where each letter stands: all its places side by side, the last of the text left out, since nothing follows it.
    places = np.argsort(ids[:-1], kind="stable")
    counts = np.bincount(ids[:-1], minlength=len(letters))
    starts = np.cumsum(counts) - counts
    wanted = random.choice(np.asarray(lengths), size=count)
    chains = np.zeros((count, int(wanted.max())), np.uint32)
    now = ids[random.integers(len(ids) - 1, size=count)]
    for step in range(chains.shape[1]):
        chains[:, step] = letters[now]
        at = places[starts[now] + (random.random(count) * np.maximum(counts[now], 1)).astype(np.int64) % len(places)]
        now = ids[at + 1]
    rows = chains.astype("<u4")
    return [row[:length].tobytes().decode("utf-32-le") for row, length in zip(rows, wanted, strict=True)]


async def connect(url: str) -> Any:
    """The bare driver's connection, which knows COPY."""
    driver: Any = import_module("asyncpg")
    return await driver.connect(url.replace("+asyncpg", ""))


async def copy_in(superuser: Any, community_id: UUID, rows: Rows, *, audiences: Sequence[str] = ("all",)) -> list[UUID]:
    """Rows as ready documents of a community, audiences in turn; their ids. COPY does not go through row-level
    security, so it takes a superuser.
    """
    documents = {name: uuid7() for name in dict.fromkeys(rows.names)}
    audience = dict(zip(documents, cycle(audiences), strict=False))
    await superuser.copy_to_table(
        "documents", source=encoded(_document_lines(community_id, documents, audience)), format="csv",
        columns=[
            "id", "community_id", "source_key", "version", "file_name", "title", "kind", "language", "sha256",
            "bytes_count", "audience", "status", "passages_count", "passages_done", "created_at", "file", "blocks",
        ],
    )  # fmt: skip
    await superuser.copy_to_table(
        "passages", source=encoded(_passage_lines(community_id, documents, audience, rows)), format="csv",
        columns=[
            "community_id", "id", "document_id", "ordinal", "headings", "text", "language", "embedding", "words",
            "words_count", "audience",
        ],
    )  # fmt: skip
    return list(documents.values())


def _document_lines(
    community_id: UUID, documents: Mapping[str, UUID], audience: Mapping[str, str]
) -> Iterator[list[object]]:
    for name, document_id in documents.items():
        yield [
            document_id, community_id, name, 1, name, UNTITLED, "txt", "zh", "-", 1, audience[name], "ready", 1, 1,
            "2026-01-01T00:00:00Z", "\\x", "[]",
        ]  # fmt: skip


def _passage_lines(
    community_id: UUID, documents: Mapping[str, UUID], audience: Mapping[str, str], rows: Rows
) -> Iterator[list[object]]:
    for ordinal, (text, vector, name) in enumerate(zip(rows.texts, rows.vectors, rows.names, strict=True)):
        found = tokens.counts(f"{UNTITLED}\n{text}")
        yield [
            community_id, uuid7(), documents[name], ordinal, "{}", text, language_of(text).value,
            f"[{','.join(map(str, vector.astype(np.float16).tolist()))}]", wording.tsvector(found),
            sum(found.values()), audience[name],
        ]  # fmt: skip


async def encoded(lines: Iterable[Sequence[object]]) -> AsyncIterator[bytes]:
    """Lines as CSV, in pieces, for COPY."""
    held = io.StringIO()
    writer = csv.writer(held)
    for number, line in enumerate(lines, start=1):
        writer.writerow(line)
        if number % ROWS_PER_CHUNK == 0:
            yield held.getvalue().encode()
            held.seek(0)
            held.truncate()
    yield held.getvalue().encode()


async def finish(runtime: Runtime, tenant: Tenant) -> None:
    """Centres, indexes and the planner's statistics, as after the last document of an import."""
    assert tenant.community_id is not None
    async with runtime.transaction(tenant) as session:
        await ingest.update_centres(session, tenant.community_id, runtime.embedder)
        await ingest.index_passages(session, tenant.community_id, runtime.embedder)


def load_pairs(path: Path) -> tuple[list[tuple[str, str]], list[tuple[str, str, str]]]:
    """Of a reading set in SQuAD's form: (name, text) of its paragraphs and (id, question, name) of its questions."""
    paragraphs, asked = {}, []
    for article in json.loads(path.read_text(encoding="utf-8"))["data"]:
        for number, paragraph in enumerate(article["paragraphs"]):
            name = str(paragraph.get("id") or f"{article.get('id', article.get('title', ''))}-{number}")
            paragraphs[name] = paragraph["context"]
            asked += [(str(one["id"]), one["question"], name) for one in paragraph["qas"]]
    return list(paragraphs.items()), asked
