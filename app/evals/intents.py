"""`linli eval intents`: what a file's texts are about, by the released classifier or by one trained for the purpose.

Scores as the house does: the embedder's vector of the text as a question, and its wording. No database, no engine.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from app.evals.labelled import Labelled
from app.service_desk import places, triage
from models.embedder import Embedder, Vectors
from models.intent import EMERGENCIES, IntentClassifier, Scores

OUT_OF_SCOPE = frozenset({"out_of_scope", "oos"})
BATCH_TEXTS = 32
UNSURE_BELOW = (0.3, 0.5)
"""Shares below which a text may be taken for out of scope, whatever it was heard as."""
EMERGENCY_SHARES = (0.1, 0.3, 0.5)
"""Where the summed share of emergencies may be cut when it speaks beside the rules."""
SLOTS_HEARD = frozenset({"phase", "building", "unit", "room", "floor", "category"})
"""Slots that triage reads without an engine; others of a file are counted as missed."""
Say = Callable[[str], None]


@dataclass
class Heard:
    """One text with what was made of it. `runner_up` is the second likeliest."""

    row: Labelled
    heard: str
    share: float
    runner_up: str
    emergency_share: float
    slots: dict[str, str] = field(default_factory=dict)

    @property
    def right(self) -> bool:
        return self.heard == self.row.label

    def told(self) -> dict[str, Any]:
        """Everything about it, for the JSON file."""
        return {
            "input": {"text": self.row.text, "intent": self.row.label, "language": self.row.language},
            "heard": self.heard, "right": self.right, "share": round(self.share, 4), "runner_up": self.runner_up,
            "emergency_share": round(self.emergency_share, 4), "slots_wanted": self.row.slots, "slots": self.slots,
        }  # fmt: skip


@dataclass
class Report:
    """`texts_per_second`: of the classifier alone, and with the embedder."""

    heard: list[Heard]
    voice: str
    classify_seconds: float = 0.0
    embed_seconds: float = 0.0
    trained: dict[str, float] = field(default_factory=dict)


async def embed(embedder: Embedder, texts: Sequence[str], *, step: Callable[[int], None] = lambda _: None) -> Vectors:
    """Query vectors. Shapes: n texts -> (n, width)."""
    parts = []
    for at in range(0, len(texts), BATCH_TEXTS):
        part = texts[at : at + BATCH_TEXTS]
        parts.append(await embedder.embed_queries(part))
        step(len(part))
    return np.concatenate(parts)


def evaluate(model: IntentClassifier, rows: Sequence[Labelled], vectors: Vectors | None, *, slots: bool) -> Report:
    """Score every row. `vectors` None: by wording alone. `slots`: also what triage reads of place and category."""
    texts = [row.text for row in rows]
    started = time.perf_counter()
    scores = model.scores(vectors, texts)
    seconds = time.perf_counter() - started
    heard = [_heard(model, row, scores[at]) for at, row in enumerate(rows)]
    if slots:
        for at, one in enumerate(heard):
            one.slots = slots_of(one.row.text, vectors[at] if vectors is not None else None)
    voice = triage.Voice.WORDING if vectors is None else triage.Voice.FULL
    return Report(heard, voice, classify_seconds=seconds)


def _heard(model: IntentClassifier, row: Labelled, shares: Scores) -> Heard:
    best, second = (int(at) for at in np.argsort(-shares)[:2])
    emergency = float(model.emergency_share(shares[None])[0])
    return Heard(row, model.labels[best], float(shares[best]), model.labels[second], emergency)


def slots_of(text: str, vector: Vectors | None) -> dict[str, str]:
    """What triage reads without the engine: the address and the category."""
    opinion = triage.hear(text, vector)
    said = {name: value for name, value in places.said_in(text).facts().items() if name in SLOTS_HEARD}
    return said | {"category": opinion.categories[0][0]}


def figures(heard: Sequence[Heard]) -> dict[str, float]:
    """Accuracy, macro-F1 over the labels that occur, and how well the stated shares hold."""
    right = np.array([one.right for one in heard])
    shares = np.array([one.share for one in heard])
    found: dict[str, float] = {"texts": len(heard), "accuracy": float(right.mean()), "macro_f1": macro_f1(heard)}
    found["mean_share"] = float(shares.mean())
    sure = shares >= 0.6
    found["sure_share"] = float(sure.mean())
    found["right_when_sure"] = float(right[sure].mean()) if sure.any() else 0.0
    outside = [one for one in heard if one.row.label in OUT_OF_SCOPE]
    if outside:
        inside = [one for one in heard if one.row.label not in OUT_OF_SCOPE]
        found["out_of_scope_recall"] = _share(one.right for one in outside)
        named = [one for one in heard if one.heard in OUT_OF_SCOPE]
        found["out_of_scope_precision"] = _share(one.right for one in named)
        found["in_scope_accuracy"] = _share(one.right for one in inside)
        for cut in UNSURE_BELOW:
            found[f"out_of_scope_recall_or_below_{cut}"] = _share(one.right or one.share < cut for one in outside)
            found[f"in_scope_accuracy_from_{cut}"] = _share(one.right and one.share >= cut for one in inside)
    return found


def macro_f1(heard: Sequence[Heard]) -> float:
    """Mean F1 of the labels that rows have."""
    return float(np.mean([one["f1"] for one in by_label(heard).values()]))


def by_label(heard: Sequence[Heard]) -> dict[str, dict[str, float]]:
    """Precision, recall, F1 and number of texts of every label that rows have."""
    wanted, named = Counter(one.row.label for one in heard), Counter(one.heard for one in heard)
    right = Counter(one.heard for one in heard if one.right)
    return {
        label: {
            "texts": count,
            "precision": right[label] / named[label] if named[label] else 0.0,
            "recall": right[label] / count,
            "f1": 2 * right[label] / (count + named[label]),
        }
        for label, count in sorted(wanted.items())
    }


def confusion(heard: Sequence[Heard]) -> dict[str, dict[str, int]]:
    """How often each label was heard as each, right ones too."""
    table: dict[str, Counter[str]] = defaultdict(Counter)
    for one in heard:
        table[one.row.label][one.heard] += 1
    return {label: dict(row.most_common()) for label, row in sorted(table.items())}


def costliest(heard: Sequence[Heard]) -> dict[str, Any]:
    """Emergencies (DOMAIN 9 to 13) heard as something else, by themselves and cut at shares; empty without any."""
    wanted = [one for one in heard if one.row.label in EMERGENCIES]
    if not wanted:
        return {}
    others = [one for one in heard if one.row.label not in EMERGENCIES]
    return {
        "emergencies": len(wanted),
        "heard_as_some_emergency": _share(one.heard in EMERGENCIES for one in wanted),
        "heard_as_the_right_one": _share(one.right for one in wanted),
        "others_heard_as_emergency": _share(one.heard in EMERGENCIES for one in others),
        "share_at_least": {
            str(cut): {
                "recall": _share(one.emergency_share >= cut for one in wanted),
                "false_alarms": _share(one.emergency_share >= cut for one in others),
            }
            for cut in EMERGENCY_SHARES
        },
        "missed": [
            {"text": one.row.text, "intent": one.row.label, "heard": one.heard, "share": round(one.share, 3)}
            for one in wanted
            if one.heard not in EMERGENCIES
        ],
    }


def slot_figures(heard: Sequence[Heard]) -> dict[str, dict[str, float]]:
    """Precision and recall of each slot that triage reads or the file names, over rows that name any slot."""
    named = [one for one in heard if one.row.slots]
    found: dict[str, dict[str, float]] = {}
    for slot in sorted(SLOTS_HEARD | {slot for one in named for slot in one.row.slots}):
        # A category belongs to orders only: a row without one says nothing about it.
        over = [one for one in named if slot in one.row.slots] if slot == "category" else named
        wanted = sum(slot in one.row.slots for one in over)
        given = sum(slot in one.slots for one in over)
        right = sum(slot in one.slots and plain(one.slots[slot]) == plain(one.row.slots.get(slot, "")) for one in over)
        if wanted or given:
            found[slot] = {
                "wanted": wanted, "given": given, "right": right,
                "precision": right / given if given else 0.0, "recall": right / wanted if wanted else 0.0,
            }  # fmt: skip
    return found


def plain(value: str) -> str:
    """A slot's value as it is compared: 3, 三 and 3栋 are the same building."""
    return places.key_of(value).casefold()


def _share(values: Any) -> float:
    told = list(values)
    return sum(told) / len(told) if told else 0.0
