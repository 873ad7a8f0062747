"""What the vectors of a language have in common, so that it can be taken away.

The embedder places texts by language first: raw cosine finds the passages of the question's own language, whatever
they say. With the mean question and the mean passage of each language subtracted, meaning is left (ENGINE.md: 16 of 22
cross-language questions found, 5 without).
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.knowledge.generic_questions import QUESTIONS
from app.knowledge.language import Language
from models.embedder import Embedder

PRIOR_PASSAGES = 20
"""A community's own mean counts as so many passages against the generic one: the mean of two passages says little."""


@dataclass(frozen=True)
class Centres:
    """Mean of generic questions, embedded as questions and as passages, per language."""

    questions: Mapping[Language, NDArray[np.float32]]
    passages: Mapping[Language, NDArray[np.float32]]

    def of_passages(self, language: Language, own: NDArray[np.float32] | None, count: int) -> NDArray[np.float32]:
        """The centre of a community's passages: its own mean, drawn to the generic one while there are few."""
        prior = self.passages[language]
        if own is None or count == 0:
            return prior
        return ((own * count + prior * PRIOR_PASSAGES) / (count + PRIOR_PASSAGES)).astype(np.float32)


_known: dict[str, Centres] = {}
_lock = asyncio.Lock()


async def generic_centres(embedder: Embedder) -> Centres:
    """Embedded once per process and embedder, about two seconds in process."""
    key = f"{embedder.name}/{embedder.width}"
    if key not in _known:
        async with _lock:
            if key not in _known:
                _known[key] = Centres(
                    {
                        language: (await embedder.embed_queries(texts)).mean(axis=0)
                        for language, texts in QUESTIONS.items()
                    },
                    {
                        language: (await embedder.embed_passages(texts)).mean(axis=0)
                        for language, texts in QUESTIONS.items()
                    },
                )
    return _known[key]
