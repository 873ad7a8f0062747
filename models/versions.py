"""Which trained weights are live: file, sha256 and shapes, checked when they are loaded."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

WEIGHTS = Path(__file__).parent / "weights"


class WeightsDamaged(Exception):
    """The file is not the one that was released, or not of the form that the code expects."""


@dataclass(frozen=True, slots=True)
class Version:
    """Released weights. In `shapes` a letter stands for a size that all arrays with that letter share."""

    name: str
    file: str
    sha256: str
    shapes: Mapping[str, tuple[int | str, ...]]

    @property
    def path(self) -> Path:
        return WEIGHTS / self.file


CLASSIFIER_SHAPES: Mapping[str, tuple[int | str, ...]] = {
    "labels": ("k",), "mean": ("d",), "hidden": ("d", "h"), "hidden_bias": ("h",),
    "meaning": ("h", "k"), "meaning_bias": ("k",),
    "idf": ("f",), "words": ("f", "k"), "words_bias": ("k",), "words_share": (), "temperatures": (3,), "embedder": (),
}  # fmt: skip
"""k classes, d wide vectors, h hidden units, f n-gram features."""

INTENTS = Version(
    "intents", "intents.npz", "25eb9fd50d681242d94194112d02155ed0ea8c9f293d910669cf19e5e3114d76", CLASSIFIER_SHAPES
)
CATEGORIES = Version(
    "categories",
    "categories.npz",
    "ef64b6d3bff0c70c3aab3052c847a2e681685728f3773bfdf270e0913f8e0eb2",
    CLASSIFIER_SHAPES,
)
EMERGENCIES = Version(
    "emergencies",
    "emergencies.npz",
    "aad9b04a19dc5415e90eb60f8d70096a80591142fe2ec49c627631d31b69422a",
    CLASSIFIER_SHAPES,
)
LIVE = (INTENTS, CATEGORIES, EMERGENCIES)


def load(version: Version) -> dict[str, NDArray[Any]]:
    """The arrays of a release. Raises WeightsDamaged."""
    try:
        data = version.path.read_bytes()
    except OSError as error:
        raise WeightsDamaged(f"{version.path}: {error}") from error
    if (found := sha256(data).hexdigest()) != version.sha256:
        raise WeightsDamaged(f"{version.path} has sha256 {found}, released was {version.sha256}")
    with np.load(BytesIO(data), allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    check_shapes(arrays, version.shapes, name=version.name)
    return arrays


def check_shapes(arrays: Mapping[str, NDArray[Any]], shapes: Mapping[str, tuple[int | str, ...]], *, name: str) -> None:
    """Raises WeightsDamaged unless there are exactly these arrays, of these shapes."""
    if set(arrays) != set(shapes):
        raise WeightsDamaged(f"{name}: arrays {sorted(arrays)}, expected {sorted(shapes)}")
    sizes: dict[str, int] = {}
    for key, shape in shapes.items():
        found = arrays[key].shape
        wanted = tuple(sizes.setdefault(size, found[at]) if isinstance(size, str) else size
                       for at, size in enumerate(shape[: len(found)]))  # fmt: skip
        if len(found) != len(shape) or found != wanted:
            raise WeightsDamaged(f"{name}: {key} is {found}, expected {shape} with {sizes}")
