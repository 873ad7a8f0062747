"""Wording as numbers: hashed character n-grams of Chinese and English, typing errors and all."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

BUCKETS = 8_192
TEXT_CHARS_MAX = 600
"""Nobody says what they want only after so much."""
HAN_RUN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0002ffff]+")
WORD = re.compile(r"[a-z]+(?:'[a-z]+)?|0+")


@dataclass(frozen=True, slots=True)
class Rows:
    """Sparse rows: row i has `values[starts[i]:starts[i + 1]]` in the columns `columns[…]`; length 1 or empty.

    Shapes: starts (n + 1,), columns and values (number of values,).
    """

    starts: NDArray[np.int64]
    columns: NDArray[np.int64]
    values: NDArray[np.float32]


def normalise(text: str) -> str:
    """One width, one case, every digit 0: what is said matters, not which room."""
    text = unicodedata.normalize("NFKC", text[:TEXT_CHARS_MAX]).casefold().replace("’", "'")
    return re.sub(r"\d", "0", text)


def pieces(text: str) -> Iterator[str]:
    """Single Han characters, pairs and triples of them; English words, word pairs and the n-grams inside words."""
    text = normalise(text)
    for run in HAN_RUN.findall(text):
        for size in (1, 2, 3):
            yield from (run[at : at + size] for at in range(len(run) - size + 1))
    words = WORD.findall(text)
    for word in words:
        yield f"_{word}_"
        if len(word) > 3:
            edged = f"_{word}_"
            yield from (edged[at : at + 4] for at in range(len(edged) - 3))
    yield from (f"{first} {second}" for first, second in pairwise(words))


def rows_of(texts: Sequence[str], idf: NDArray[np.float32] | None = None) -> Rows:
    """Weighted n-grams of n texts, each row of length 1. Without `idf` every bucket weighs the same."""
    starts, columns, values = [0], [], []
    for text in texts:
        counts = Counter(crc32(piece.encode()) % BUCKETS for piece in pieces(text))
        own = np.fromiter(counts.keys(), np.int64, len(counts))
        weights = 1 + np.log(np.fromiter(counts.values(), np.float32, len(counts)))
        if idf is not None:
            weights = weights * idf[own]
        columns.append(own)
        values.append((weights / max(float(np.linalg.norm(weights)), 1e-12)).astype(np.float32))
        starts.append(starts[-1] + len(own))
    return Rows(
        np.array(starts, np.int64),
        np.concatenate(columns) if columns else np.zeros(0, np.int64),
        np.concatenate(values) if values else np.zeros(0, np.float32),
    )


def product(rows: Rows, weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """rows @ weights. Shapes: n sparse rows, (BUCKETS, k) -> (n, k)."""
    result = np.zeros((len(rows.starts) - 1, weights.shape[1]), np.float32)
    for at in range(len(result)):
        own = slice(rows.starts[at], rows.starts[at + 1])
        result[at] = rows.values[own] @ weights[rows.columns[own]]
    return result
