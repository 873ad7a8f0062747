"""Train a ranker: events in, the bytes of a file and what was measured of it out. `models.ranker.load` reads it."""

from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import ranker
from models.training import sources
from models.training.interactions import Events, encode

__all__ = ["Events", "train", "write"]


def train(events: Events, *, seed: int, settings: sources.Settings | None = None) -> tuple[bytes, dict[str, float]]:
    """A ranker of these events, and figures of it. No event, one user or one item give a valid ranker all the same."""
    settings = settings or sources.Settings()
    known = encode(events)
    arrays = sources.fit_all(known, settings, seed=seed)
    scale = np.ones(len(ranker.FEATURE_NAMES), np.float32)
    weights = np.array([0.1, 1, 0.5, 0.1, 0.01, 0], np.float32)
    arrays |= {"form": np.array(ranker.FORM), "blend_scale": scale, "blend_weights": weights}
    return write(arrays), {"users": known.shape[0], "items": known.shape[1], "events": len(known.items)}


def write(arrays: dict[str, NDArray[Any]]) -> bytes:
    """The file: compressed npz without pickles."""
    file = BytesIO()
    np.savez_compressed(file, allow_pickle=False, **{name: arrays[name] for name in sorted(arrays)})
    return file.getvalue()
