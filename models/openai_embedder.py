"""Vectors from any OpenAI-compatible `/v1/embeddings` server, vLLM first."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np

from models.embedder import Vectors

if TYPE_CHECKING:
    from app.settings import Settings

TEXT_CHARS_MAX = 8_000


class EmbedderFailed(Exception):
    """The server is not there, refused, or answered with another shape."""


class OpenAiEmbedder:
    """`width` is asked of the server at the start, unless the settings give it."""

    def __init__(
        self, base_url: str, *, model: str, width: int, api_key: str, timeout_seconds: float, texts_per_call: int,
        query_prefix: str, passage_prefix: str,
    ) -> None:  # fmt: skip
        self._url = f"{base_url.rstrip('/')}/embeddings"
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._timeout_seconds = timeout_seconds
        self._texts_per_call = texts_per_call
        self._query_prefix, self._passage_prefix = query_prefix, passage_prefix
        self._client: httpx.AsyncClient | None = None
        self.name = model
        self.width = width or self._read_width()

    @classmethod
    def from_settings(cls, settings: "Settings") -> "OpenAiEmbedder":
        key = settings.embedder_key.get_secret_value() if settings.embedder_key else ""
        return cls(
            settings.embedder_url, model=settings.embedder_model, width=settings.embedder_width, api_key=key,
            timeout_seconds=settings.embedder_seconds, texts_per_call=settings.embedder_texts_per_call,
            query_prefix=settings.embedder_query_prefix, passage_prefix=settings.embedder_passage_prefix,
        )  # fmt: skip

    async def embed_passages(self, texts: Sequence[str]) -> Vectors:
        return await self._embed([f"{self._passage_prefix}{text}" for text in texts])

    async def embed_queries(self, texts: Sequence[str]) -> Vectors:
        return await self._embed([f"{self._query_prefix}{text}" for text in texts])

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def _embed(self, texts: list[str]) -> Vectors:
        if not texts:
            return np.zeros((0, self.width), np.float32)
        if self._client is None:
            self._client = httpx.AsyncClient(headers=self._headers, timeout=self._timeout_seconds)
        parts = [texts[at : at + self._texts_per_call] for at in range(0, len(texts), self._texts_per_call)]
        answers = [await self._ask(self._client, part) for part in parts]
        return np.concatenate(answers)

    async def _ask(self, client: httpx.AsyncClient, texts: list[str]) -> Vectors:
        body = self._body(texts)
        for attempt in (1, 2):
            try:
                reply = await client.post(self._url, json=body)
                reply.raise_for_status()
                return self._vectors(reply.json(), len(texts))
            except httpx.HTTPError as error:
                refused = isinstance(error, httpx.HTTPStatusError) and error.response.status_code < 500
                if attempt == 2 or refused:
                    raise EmbedderFailed(f"{self._url}: {error!r}") from error
                await asyncio.sleep(0.2)
        raise AssertionError("the loop returns or raises")

    def _body(self, texts: list[str]) -> dict[str, Any]:
        return {"model": self.name, "input": [text[:TEXT_CHARS_MAX] for text in texts], "encoding_format": "float"}

    def _vectors(self, answer: dict[str, Any], wanted: int) -> Vectors:
        try:
            rows = sorted(answer["data"], key=lambda row: row["index"])
            vectors = np.array([row["embedding"] for row in rows], np.float32)
        except (KeyError, TypeError, ValueError) as error:
            raise EmbedderFailed(f"{self._url} answered in another shape") from error
        if vectors.ndim != 2 or len(vectors) != wanted or (self.width and vectors.shape[1] != self.width):
            raise EmbedderFailed(f"{self._url} answered {vectors.shape}, wanted ({wanted}, {self.width})")
        unit: Vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return unit

    def _read_width(self) -> int:
        self.width = 0
        try:
            with httpx.Client(headers=self._headers, timeout=self._timeout_seconds) as client:
                reply = client.post(self._url, json=self._body(["width"]))
                reply.raise_for_status()
                return int(self._vectors(reply.json(), 1).shape[1])
        except httpx.HTTPError as error:
            raise EmbedderFailed(f"{self._url}: {error!r}") from error
