"""Text to vectors. Arrays out are float32, one unit row per text."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


class Embedder(Protocol):
    """`name` and `width` are recorded with every stored vector; a mismatch is refused, not mixed."""

    name: str
    width: int

    async def embed_passages(self, texts: Sequence[str]) -> Vectors:
        """Shapes: n texts -> (n, width), unit rows; n = 0 returns an empty array."""
        ...

    async def embed_queries(self, texts: Sequence[str]) -> Vectors:
        """As `embed_passages`, for questions (the model wants another prefix)."""
        ...
