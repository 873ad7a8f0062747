"""`linli eval emergencies`: how many emergencies the rules find, how often they cry wolf, and how long they take."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from app.knowledge.language import language_of
from app.safety import emergencies, second_voice
from app.safety.emergencies import EmergencyKind
from app.safety.second_voice import Voice
from models.embedder import Vectors

NONE = "none"
KINDS = frozenset(EmergencyKind) | {NONE}
RULES, WORDING, WHOLE = "rules", "rules + wording", "rules + classifier"
"""Who is heard: the classifier by the wording alone, as when the embedder is away, or whole."""


@dataclass(frozen=True)
class Told:
    """A sentence and whether it tells of an emergency."""

    text: str
    emergency: bool
    kind: str
    language: str


@dataclass(frozen=True)
class Heard:
    """What was made of it: the kind by each voice, None for no emergency, and the seconds that the rules took."""

    told: Told
    kinds: dict[str, str | None]
    seconds: float

    def row(self) -> dict[str, Any]:
        told = self.told
        verdicts = {voice: (kind is not None) == told.emergency for voice, kind in self.kinds.items()}
        return {
            "text": told.text, "emergency": told.emergency, "kind": told.kind, "language": told.language,
            "found": self.kinds, "right": verdicts, "microseconds": round(self.seconds * 1e6, 1),
        }  # fmt: skip


@dataclass(frozen=True)
class Figures:
    """`recall` and `false_alarms` are shares, None where there is nothing to measure them on."""

    texts: int
    positives: int
    missed: int
    alarmed: int
    right_kind: int

    @property
    def recall(self) -> float | None:
        return 1 - self.missed / self.positives if self.positives else None

    @property
    def false_alarms(self) -> float | None:
        negatives = self.texts - self.positives
        return self.alarmed / negatives if negatives else None

    def told(self) -> dict[str, Any]:
        return {
            "texts": self.texts, "positives": self.positives, "missed": self.missed, "recall": self.recall,
            "false_alarms": self.false_alarms, "alarmed": self.alarmed, "right_kind": self.right_kind,
        }  # fmt: skip


def parse_told(told: dict[str, Any], number: int) -> Told:
    """A line {text, emergency, kind}. Without a language, the text's own counts."""
    text, emergency, kind = str(told["text"]), told["emergency"], str(told["kind"])
    if not isinstance(emergency, bool):
        raise ValueError("emergency is neither true nor false")
    if kind not in KINDS:
        raise ValueError(f"kind {kind} is none of {', '.join(sorted(KINDS))}")
    if emergency == (kind == NONE):
        raise ValueError("emergency and kind contradict each other")
    return Told(text, emergency, kind, str(told.get("language") or language_of(text)))


def evaluate(rows: Sequence[Told], voice: Voice | None, vectors: Vectors | None = None) -> list[Heard]:
    """Every row's result. Without a classifier, only the rules are heard.

    Shapes: vectors (n, width), the texts' query vectors; without them the classifier hears the wording alone.
    """
    emergencies.rules()
    heard = []
    for at, told in enumerate(rows):
        started = time.perf_counter()
        alone = emergencies.find(told.text)
        seconds = time.perf_counter() - started
        kinds: dict[str, str | None] = {RULES: alone.kind if alone else None}
        if voice is not None:
            worded = second_voice.find(told.text, voice)
            kinds[WORDING] = worded.kind if worded else None
        if vectors is not None:
            whole = second_voice.find_whole(told.text, vectors[at])
            kinds[WHOLE] = whole.kind if whole else None
        heard.append(Heard(told, kinds, seconds))
    return heard


def figures(heard: Sequence[Heard], voice: str) -> Figures:
    positives = [one for one in heard if one.told.emergency]
    return Figures(
        texts=len(heard),
        positives=len(positives),
        missed=sum(one.kinds[voice] is None for one in positives),
        alarmed=sum(one.kinds[voice] is not None for one in heard if not one.told.emergency),
        right_kind=sum(one.kinds[voice] == one.told.kind for one in positives),
    )


def groups(heard: Sequence[Heard]) -> dict[str, list[Heard]]:
    """All, by language, by kind."""
    made: dict[str, list[Heard]] = {"all": list(heard)}
    for language in sorted({one.told.language for one in heard}):
        made[language] = [one for one in heard if one.told.language == language]
    for kind in (*EmergencyKind, NONE):
        if of_kind := [one for one in heard if one.told.kind == kind]:
            made[kind] = of_kind
    return made


def microseconds(heard: Sequence[Heard]) -> dict[str, float]:
    """Of the rules, per text."""
    times = sorted(one.seconds * 1e6 for one in heard)
    return {"median": median(times), "p99": times[int(len(times) * 0.99)], "max": times[-1]}


def summary(heard: Sequence[Heard]) -> dict[str, Any]:
    told = {
        voice: {name: figures(group, voice).told() for name, group in groups(heard).items()}
        for voice in heard[0].kinds
    }  # fmt: skip
    return {**told, "microseconds": microseconds(heard)}
