"""Train a ranker: events in, the bytes of a file and what was measured of it out. `models.ranker.load` reads it."""

from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import ranker
from models.ranker import Scores
from models.training import blend, measures, sources, splits, tuning
from models.training.interactions import Events, Interactions, encode
from models.training.scoring import Batches
from models.training.sources import Settings
from models.training.splits import Protocol

__all__ = ["Compared", "Events", "train", "train_and_compare", "write"]

HELD_OUT_SHARE = 0.1
"""What settings and blend are chosen on, before everything is fitted again with it."""


@dataclass(frozen=True)
class Compared:
    """A trained ranker beside the live one on the newest events, which neither the new one nor its settings saw.

    `data` was then trained on all events with the settings chosen without the newest.
    """

    data: bytes
    metrics: dict[str, float]
    live_metrics: dict[str, float] | None
    better: bool


def train(
    events: Events,
    *,
    seed: int,
    settings: Settings | None = None,
    held_out: Protocol | None = None,
    tuned: bool = True,
) -> tuple[bytes, dict[str, float]]:
    """A ranker of these events, and figures of it: the held-out NDCG@10 of sources and blend, and sizes.

    `held_out` is how the part is chosen that settings and blend are learnt on: by time where there are times. No event,
    one user or one item give a valid ranker all the same. The same events and seed give the same settings and order.
    """
    arrays, metrics = fit(events, seed=seed, settings=settings, held_out=held_out, tuned=tuned)
    return write(arrays), metrics


def fit(
    events: Events, *, seed: int, settings: Settings | None = None, held_out: Protocol | None = None, tuned: bool = True
) -> tuple[dict[str, NDArray[Any]], dict[str, float]]:
    """`train`, giving the arrays of `ranker.SHAPES`."""
    chosen, weights, metrics = choose(
        events, seed=seed, settings=settings or Settings(), held_out=held_out, tuned=tuned
    )  # fmt: skip
    return refit(events, chosen, weights, seed=seed), metrics


def choose(
    events: Events, *, seed: int, settings: Settings, held_out: Protocol | None, tuned: bool
) -> tuple[Settings, Scores, dict[str, float]]:
    """Settings, the blend's weights and their figures, from one part of the events asked about the other."""
    protocol = held_out or ("random" if events.times is None else "leave-one-out")
    before, after = splits.divide(events, protocol, seed=seed, share=HELD_OUT_SHARE, least=1)
    known = encode(before)
    asked = measures.asked_of(known, after.users, after.items)
    if tuned and len(asked.users) >= blend.LEARNERS_MIN:
        settings = tuning.tune(known, asked, settings, seed=seed)
    batches = Batches(sources.fit_all(known, settings, seed=seed), known)
    learnt = blend.learn(batches, asked, seed=seed)
    figures = {f"held_out_ndcg@10_{name}": value for name, value in learnt.figures.items()}
    figures |= {"users": len(known.user_ids), "items": len(known.item_ids), "events": len(events)}
    return settings, learnt.weights, figures


def refit(
    events: Events, settings: Settings, weights: Scores, *, seed: int, seconds: dict[str, float] | None = None
) -> dict[str, NDArray[Any]]:
    """The arrays of a ranker of all these events, with settings and weights that were chosen before."""
    arrays = sources.fit_all(encode(events), settings, seed=seed, seconds=seconds)
    return arrays | {"form": np.array(ranker.FORM), "blend_weights": weights.astype(np.float32)}


def train_and_compare(
    events: Events, live: bytes | None, *, seed: int, seen_until: float | None = None
) -> Compared:  # fmt: skip
    """Train, and say whether the result is better than the live ranker on the newest events (NDCG@10 of the blend).

    The same people are asked about; one of whom the live ranker knows no item counts 0 for it. Events need times.
    Where the live ranker has seen some of the newest events it is favoured, unless `seen_until` says how far it was
    trained: then only what came later counts. Raises: WeightsDamaged when `live` is no ranker.
    """
    before, after = splits.divide(events, "temporal", seed=seed, share=HELD_OUT_SHARE)
    if seen_until is not None and after.times is not None and before.times is not None:
        first = splits.distinct(events)
        assert first.times is not None
        cut = max(seen_until, float(before.times.max(initial=-np.inf)))
        before, after = first.only(first.times <= cut), first.only(first.times > cut)
    settings, weights, metrics = choose(before, seed=seed, settings=Settings(), held_out=None, tuned=True)
    candidate = refit(before, settings, weights, seed=seed)
    mine = _newest(candidate, before, after)
    metrics |= {f"newest_{name}": value for name, value in mine.items()}
    popular = _newest(candidate, before, after, popular=True)
    metrics |= {"newest_popular_ndcg@10": popular["ndcg@10"]}
    theirs = None if live is None else _newest(ranker.arrays_of(live), before, after)
    if theirs is not None and mine["users"]:
        share = theirs["users"] / mine["users"]
        theirs = {name: value * share for name, value in theirs.items() if name not in ("coverage", "novelty")}
    better = theirs is None or mine["ndcg@10"] > theirs["ndcg@10"]
    return Compared(write(refit(events, settings, weights, seed=seed)), metrics, theirs, better)


def _newest(
    arrays: dict[str, NDArray[Any]], before: Events, after: Events, *, popular: bool = False
) -> dict[str, float]:  # fmt: skip
    known: Interactions = encode(before, item_ids=arrays["item_ids"].tolist())
    batches = Batches(arrays, known)
    scorer = batches.popularity if popular else batches.blended
    return measures.measure(known, measures.asked_of(known, after.users, after.items), scorer)


def write(arrays: dict[str, NDArray[Any]]) -> bytes:
    """The file: compressed npz without pickles."""
    file = BytesIO()
    np.savez_compressed(file, allow_pickle=False, **{name: arrays[name] for name in sorted(arrays)})
    return file.getvalue()
