"""Chooses the sources' settings on part of the events: fitted on the rest of it, the better NDCG@10 stays."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.ranker import SOURCES, Source
from models.training import measures, sources
from models.training.interactions import Interactions
from models.training.measures import Asked
from models.training.scoring import Batches
from models.training.sources import Settings

CHOICES: Mapping[Source, tuple[Mapping[str, float], ...]] = {
    "neighbours": tuple({"neighbours_k1": k1, "neighbours_b": b} for k1, b in ((100.0, 0.3), (1.2, 0.75))),
    "ease": tuple({"ease_regularization": value} for value in (400.0, 700.0, 1_000.0, 100.0, 10.0)),
    "factors": tuple(
        {"factors_alpha": alpha, "factors_regularization": prior, "factors": width}
        for alpha, prior, width in ((10.0, 100.0, 64), (40.0, 100.0, 128), (10.0, 10.0, 64), (5.0, 3.0, 32))
    ),
    "sequence": tuple({"sequence_decay": value} for value in (0.7, 0.9)),
}  # fmt: skip
"""A few of each that were good on public sets and on the practice community, small ones and large ones."""
USERS_MAX = 2_000
EASE_ITEMS_MAX = 2_000
"""While settings are compared; the choice holds for more items as well."""


def tune(
    known: Interactions, asked: Asked, settings: Settings, *, seed: int, only: Sequence[Source] = SOURCES
) -> Settings:
    """The better settings by NDCG@10. `asked` is no part of `known`."""
    drawn = np.sort(np.random.default_rng(seed).permutation(len(asked.users))[:USERS_MAX])
    some = measures.part_of(asked, drawn)
    chosen = settings
    for source in only:
        choices = CHOICES[source]
        best: tuple[float, Settings] = (-1.0, settings)
        for choice in choices:
            tried = replace(settings, **choice)  # type: ignore[arg-type]  # names of Settings' numbers
            value = _ndcg(source, known, some, tried, seed=seed)
            if value > best[0]:
                best = (value, tried)
        chosen = replace(chosen, **{name: getattr(best[1], name) for name in choices[0]})
    return chosen


def _ndcg(source: Source, known: Interactions, asked: Asked, settings: Settings, *, seed: int) -> float:
    smaller = replace(settings, ease_items_max=min(settings.ease_items_max, EASE_ITEMS_MAX))
    batches = Batches(_only(source, known, smaller, seed), known)
    return measures.measure(known, asked, lambda users: batches.scores(source, users))["ndcg@10"]


def _only(source: Source, known: Interactions, settings: Settings, seed: int) -> dict[str, NDArray[Any]]:
    """The arrays of one source, the others empty."""
    nothing = sources.Rows(np.zeros(0, np.int32), np.zeros((0, 1), np.int32), np.zeros((0, 1), np.float32))
    fit = {"neighbours": sources.fit_neighbours, "ease": sources.fit_ease, "sequence": sources.fit_sequence}
    arrays: dict[str, NDArray[Any]] = {}
    for name, fitting in fit.items():
        rows = fitting(known, settings) if name == source else nothing
        arrays |= {f"{name}_codes": rows.codes, f"{name}_items": rows.items, f"{name}_values": rows.values}
    wanted = source == "factors"
    return arrays | {
        "factors": sources.fit_factors(known, settings, seed=seed) if wanted else np.zeros((known.shape[1], 1)),
        "factors_alpha": np.array(settings.factors_alpha),
        "factors_regularization": np.array(settings.factors_regularization),
        "sequence_decay": np.array(settings.sequence_decay),
    }
