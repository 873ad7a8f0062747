"""Recommenders measured on any interactions: our sources and blend, and what others would use, on one split."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.ranker import SOURCES, Scores
from models.training import measures, sources, splits, train_ranker, tuning
from models.training.interactions import Events, Interactions, encode
from models.training.measures import Asked, Scorer
from models.training.scoring import Batches
from models.training.sources import Settings
from models.training.splits import Protocol

ROWS_MAX = 5_000
"""So many people's lists are told in the JSON."""
BASELINES = ("popularity", "ItemKNN", "implicit ALS", "EASE")
LABELS = {
    "neighbours": "neighbours (BM25)", "ease": "ease (weighted, tuned)", "factors": "factors (implicit ALS, tuned)",
    "sequence": "sequence", "blend": "blend",
    "popularity": "popularity", "ItemKNN": "ItemKNN (cosine, 100)", "implicit ALS": "implicit ALS (its defaults)",
    "EASE": "EASE (tuned)",
}  # fmt: skip
Say = Callable[[str], None]


@dataclass(frozen=True)
class Line:
    """One recommender: its figures, and the seconds of its last fit; of the blend and EASE with choosing settings."""

    name: str
    figures: dict[str, float]
    fit_seconds: float


@dataclass
class Report:
    """`rows` are what the blend says to people, with what was asked for."""

    lines: list[Line] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def figure(self, name: str, figure: str = "ndcg@10") -> float:
        return next(line.figures[figure] for line in self.lines if line.name == name)

    def ratios(self) -> dict[str, float]:
        """The blend's NDCG@10 against the best source's and each baseline's."""
        blend = self.figure("blend")
        best = max(self.figure(source) for source in SOURCES)
        against = {"best source": best} | {name: self.figure(name) for name in BASELINES}
        return {name: blend / value for name, value in against.items() if value}


def evaluate(train: Events, test: Events, *, protocol: Protocol, seed: int, say: Say) -> Report:
    """Fit everything on `train` and ask for `test`. Settings are chosen within `train`, split as `protocol` says."""
    known = encode(train)
    asked = measures.asked_of(known, test.users, test.items)
    report = Report(facts=_facts(known, test, asked))
    say("choosing settings and learning the blend")
    started = time.perf_counter()
    settings, weights, learnt = train_ranker.choose(
        train, seed=seed, settings=Settings(), held_out=protocol, tuned=True
    )  # fmt: skip
    choosing = time.perf_counter() - started
    say("fitting the sources")
    started = time.perf_counter()
    spent: dict[str, float] = {}
    arrays = train_ranker.refit(train, settings, weights, seed=seed, seconds=spent)
    fitting = time.perf_counter() - started
    report.facts |= {"settings": vars(settings), "blend_weights": weights.tolist(), "held_out": learnt,
                     "choosing_seconds": choosing, "fit_seconds": fitting}  # fmt: skip
    batches = Batches(arrays, known)
    for source in SOURCES:
        say(f"asking {source}")
        figures = measures.measure(known, asked, partial(batches.scores, source))
        report.lines.append(Line(source, figures, spent[source]))
    say("asking the blend")
    report.lines.append(Line("blend", measures.measure(known, asked, batches.blended), choosing + fitting))
    report.rows = list(_rows(known, asked, batches.blended))
    for name in BASELINES:
        say(f"fitting and asking {LABELS[name]}")
        started = time.perf_counter()
        scorer = _baseline(name, train, known, protocol, seed=seed)
        seconds = time.perf_counter() - started
        report.lines.append(Line(name, measures.measure(known, asked, scorer), seconds))
    return report


def _facts(known: Interactions, test: Events, asked: Asked) -> dict[str, Any]:
    return {
        "users": known.shape[0], "items": known.shape[1], "train_events": len(known.items), "test_events": len(test),
        "asked_users": len(asked.users), "asked_items": int(asked.sizes.sum()),
        "asked_items_unknown": int((asked.items < 0).sum()),
        "users_without_history": len(np.unique(test.users)) - len(asked.users),
    }  # fmt: skip


def _rows(known: Interactions, asked: Asked, scorer: Scorer) -> Iterator[dict[str, Any]]:
    """What the blend's first ten are for each person, and what was asked for."""
    count = min(len(asked.users), ROWS_MAX)
    for part in measures.batches(count, max(known.shape[1], 1)):
        users = asked.users[part]
        scores = scorer(users)
        for row, user in enumerate(users):
            scores[row, known.history(user)[0]] = -np.inf
        first = measures.top(scores, 10)
        for row, (user, place) in enumerate(zip(users, range(part.start, part.stop), strict=True)):
            wanted = asked.items[asked.starts[place] : asked.starts[place + 1]]
            yield {
                "user": str(known.user_ids[user]),
                "asked": [str(known.item_ids[code]) for code in wanted if code >= 0],
                "asked_unknown": int((wanted < 0).sum()),
                "first": [str(known.item_ids[code]) for code in first[row]],
                "hits": int(np.isin(first[row], wanted).sum()),
            }


def _baseline(name: str, train: Events, known: Interactions, protocol: Protocol, *, seed: int) -> Scorer:
    """A recommender as its users would have it."""
    matrix = known.matrix(binary=True)
    if name == "popularity":
        counts = known.counts().astype(np.float32)
        return lambda users: np.tile(counts, (len(users), 1))
    if name == "ItemKNN":
        nearest: Any = import_module("implicit.nearest_neighbours")
        weighed = nearest.normalize(matrix.T).T.tocsr()
        similar = nearest.all_pairs_knn(weighed, 101, show_progress=False, num_threads=0).tocsr()
        similar.setdiag(0)
        return lambda users: np.asarray((matrix[users] @ similar).todense(), np.float32)
    if name == "implicit ALS":
        return _implicit_als(matrix, seed)
    # EASE as published: binary, everybody weighs the same; its one number is chosen as our settings are.
    inner, held = splits.divide(train, protocol, seed=seed, share=train_ranker.HELD_OUT_SHARE, least=1)
    part = encode(inner)
    plain = replace(Settings(), ease_user_power=0.0, ease_kept=Settings().ease_items_max)
    held_out = measures.asked_of(part, held.users, held.items)
    settings = tuning.tune(part, held_out, plain, seed=seed, only=("ease",))
    chosen = np.sort(np.argsort(-known.counts(), kind="stable")[: settings.ease_items_max])
    weights = sources.ease_weights(matrix[:, chosen], settings.ease_regularization)

    def scores(users: NDArray[np.int64]) -> Scores:
        told = np.zeros((len(users), known.shape[1]), np.float32)
        told[:, chosen] = matrix[users][:, chosen] @ weights
        return told

    return scores


def _implicit_als(matrix: Any, seed: int) -> Scorer:
    threads: Any = import_module("threadpoolctl")
    with threads.threadpool_limits(1, "blas"):
        als: Any = import_module("implicit.cpu.als")
        model = als.AlternatingLeastSquares(random_state=seed)
        model.fit(matrix, show_progress=False)
    return lambda users: np.asarray(model.user_factors[users] @ model.item_factors.T, np.float32)
