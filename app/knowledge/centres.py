"""What the vectors of a language have in common, so that it can be taken away.

The embedder places texts by language first: raw cosine finds the passages of the question's own language, whatever
they say. With the mean question and the mean passage of each language subtracted, meaning is left (ENGINE.md: 16 of 22
cross-language questions found, 5 without).
"""

import asyncio
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from app.knowledge.generic_questions import QUESTIONS
from app.knowledge.language import Language
from models import provision
from models.embedder import Embedder

Mean = NDArray[np.float32]

PRIOR_PASSAGES = 20
"""A community's own mean counts as so many passages against the generic one: the mean of two passages says little."""


@dataclass(frozen=True)
class Centres:
    """Mean of generic questions, embedded as questions and as passages, per language."""

    questions: Mapping[Language, NDArray[np.float32]]
    passages: Mapping[Language, NDArray[np.float32]]

    def of_passages(self, language: Language, own: NDArray[np.float32] | None, count: int) -> NDArray[np.float32]:
        """The centre of a community's passages: its own mean, drawn to the generic one while there are few."""
        prior, share = self.passages[language], own_share(own, count)
        return prior if own is None else (own * share + prior * (1 - share)).astype(np.float32)


def own_share(own: NDArray[np.float32] | None, count: int) -> float:
    """Weight of a community's own mean beside the generic one."""
    return 0.0 if own is None else count / (count + PRIOR_PASSAGES)


_known: dict[str, Centres] = {}
_lock = asyncio.Lock()


async def generic_centres(embedder: Embedder) -> Centres:
    """Embedded once per embedder (about two seconds in process) and kept in the user's cache folder."""
    told = repr((embedder.name, embedder.width, sorted(QUESTIONS.items())))
    key = sha256(told.encode()).hexdigest()[:16]
    if key not in _known:
        async with _lock:
            path = provision.cache_dir() / f"centres-{key}.npz"
            _known[key] = _known.get(key) or await asyncio.to_thread(_load, path) or await _embed(embedder, path)
    return _known[key]


async def _embed(embedder: Embedder, path: Path) -> Centres:
    questions = {language: (await embedder.embed_queries(texts)).mean(axis=0) for language, texts in QUESTIONS.items()}
    passages = {language: (await embedder.embed_passages(texts)).mean(axis=0) for language, texts in QUESTIONS.items()}
    await asyncio.to_thread(_save, path, questions, passages)
    return Centres(questions, passages)


def _save(path: Path, questions: Mapping[Language, Mean], passages: Mapping[Language, Mean]) -> None:
    named = {f"questions_{language}": mean for language, mean in questions.items()}
    named |= {f"passages_{language}": mean for language, mean in passages.items()}
    own = path.with_suffix(f".{os.getpid()}.npz")
    # A cache that cannot be written costs the next process two seconds, nothing else.
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(own, allow_pickle=False, **named)
        own.replace(path)


def _load(path: Path) -> Centres | None:
    try:
        with np.load(path, allow_pickle=False) as kept:
            return Centres(
                {language: kept[f"questions_{language}"] for language in Language},
                {language: kept[f"passages_{language}"] for language in Language},
            )
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None
