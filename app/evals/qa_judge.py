"""Questions with what their answers must and must not hold, and the verdict on one answer. Pure."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from statistics import median
from typing import Any

from app.safety.grounding import check_grounded

ROLES = ("resident", "owner", "tenant", "staff")


@dataclass(frozen=True)
class Question:
    """One line of a question file. `must_contain` is a list of facts, each with the ways in which it may be said."""

    id: str
    text: str
    answerable: bool
    kind: str = ""
    language: str = ""
    role: str = "resident"
    building: str = ""
    as_of: datetime | None = None
    history: tuple[dict[str, str], ...] = ()
    files: tuple[str, ...] = ()
    must_contain: tuple[tuple[str, ...], ...] = ()
    must_not_contain: tuple[str, ...] = ()


@dataclass(frozen=True)
class Shown:
    """What came out for one question. `words` is the answer, `quotes` what stood beside it.

    `refused`: a fixed text of ours in place of an answer. `passages`: the texts the answer may take numbers from.
    """

    words: str
    quotes: tuple[str, ...] = ()
    refused: bool = False
    failed: str = ""
    cited: frozenset[str] = frozenset()
    quoted: frozenset[str] = frozenset()
    passages: tuple[str, ...] = ()
    numbers_matter: bool = True
    mode: str = ""
    quote_ms: float | None = None
    total_ms: float | None = None


@dataclass(frozen=True)
class Verdict:
    """`right` counts answer and quotes together, as the resident sees them; `words_right` the answer alone."""

    right: bool
    words_right: bool
    missing: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()
    refusal: str = ""
    cited_right: bool | None = None
    quoted_right: bool | None = None
    invented: tuple[str, ...] = ()


def parse_question(told: Mapping[str, Any], number: int) -> Question:
    """A question from a line's object. Raises KeyError for what is missing, ValueError for what is wrong."""
    text, answerable = told["question"], told["answerable"]
    if not isinstance(text, str) or not text.strip():
        raise ValueError("question is empty")
    if not isinstance(answerable, bool):
        raise ValueError("answerable is neither true nor false")
    role = told.get("role") or "resident"
    if role not in ROLES:
        raise ValueError(f"role {role!r} is none of {', '.join(ROLES)}")
    return Question(
        id=str(told.get("id", number)),
        text=text,
        answerable=answerable,
        kind=str(told.get("kind") or ""),
        language=str(told.get("language") or ""),
        role=role,
        building=str(told.get("building") or ""),
        as_of=_moment(told.get("as_of")),
        history=tuple(_message(one) for one in told.get("history") or ()),
        files=_strings(told.get("doc"), "doc"),
        must_contain=tuple(_strings(group, "must_contain") for group in told.get("must_contain") or ()),
        must_not_contain=_strings(told.get("must_not_contain"), "must_not_contain"),
    )


def _moment(told: object) -> datetime | None:
    if told in (None, ""):
        return None
    moment = datetime.fromisoformat(str(told))
    if moment.tzinfo is None:
        raise ValueError(f"as_of {told} has no time zone")
    return moment


def _message(told: object) -> dict[str, str]:
    """An earlier message: the resident's words, or an object with role and content."""
    if isinstance(told, str):
        return {"role": "user", "content": told}
    if isinstance(told, dict) and told.get("role") in ("user", "assistant") and isinstance(told.get("content"), str):
        return {"role": told["role"], "content": told["content"]}
    raise ValueError("history has a message that is neither text nor {role, content}")


def _strings(told: object, name: str) -> tuple[str, ...]:
    if told is None:
        return ()
    if isinstance(told, str):
        return (told,)
    if isinstance(told, Sequence) and all(isinstance(one, str) and one for one in told):
        return tuple(told)
    raise ValueError(f"{name} holds something that is not text")


def says(text: str, wanted: str) -> bool:
    """Whether the text holds the wanted words, in any width, case and spacing; a number only as a whole.

    "6次" is not in "16次", "5元" not in "1.5元", and "1200元" is in "1,200 元".
    """
    return _pattern(wanted).search(_plain(text)) is not None


def _plain(text: str) -> str:
    plain = unicodedata.normalize("NFKC", text).casefold()
    return re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", plain)


@lru_cache(maxsize=4096)
def _pattern(wanted: str) -> re.Pattern[str]:
    parts = re.findall(r"\d+|[a-z]+|[^\s]", _plain(wanted))
    pattern = r"\s*".join(re.escape(part) for part in parts)
    before = r"(?<!\d)(?<!\d\.)" if parts and parts[0].isdigit() else ""
    after = r"(?!\.?\d)" if parts and parts[-1].isdigit() else ""
    return re.compile(before + pattern + after)


def judge(question: Question, shown: Shown) -> Verdict:
    """The verdict on what a resident saw."""
    seen = "\n".join((shown.words, *shown.quotes))
    forbidden = tuple(one for one in question.must_not_contain if says(seen, one))
    invented: tuple[str, ...] = ()
    if shown.numbers_matter and not shown.refused:
        invented = tuple(found.text for found in check_grounded(shown.words, shown.passages))
    if not question.answerable:
        refused = shown.refused and not shown.failed
        right = refused and not forbidden
        return Verdict(right, right, (), forbidden, "right" if refused else "missing", invented=invented)
    missing = _missing(question, seen)
    answered = not shown.refused and not shown.failed
    return Verdict(
        right=answered and not missing and not forbidden,
        words_right=answered and not _missing(question, shown.words) and not _says_any(question, shown.words),
        missing=missing if answered else (),
        forbidden=forbidden,
        refusal="wrong" if shown.refused else "",
        cited_right=_any_of(question.files, shown.cited) if answered else None,
        quoted_right=_any_of(question.files, shown.quoted) if answered else None,
        invented=invented,
    )


def _missing(question: Question, text: str) -> tuple[str, ...]:
    return tuple(group[0] for group in question.must_contain if group and not any(says(text, one) for one in group))


def _says_any(question: Question, text: str) -> bool:
    return any(says(text, one) for one in question.must_not_contain)


def _any_of(files: tuple[str, ...], found: frozenset[str]) -> bool | None:
    return not found.isdisjoint(files) if files else None


@dataclass
class Tally:
    """Counts over some questions; shares are of `asked`, citation shares of the questions that were answered."""

    asked: int = 0
    right: int = 0
    words_right: int = 0
    missing: int = 0
    forbidden: int = 0
    refused_wrongly: int = 0
    refused_rightly: int = 0
    answered_wrongly: int = 0
    failed: int = 0
    cited_right: int = 0
    quoted_right: int = 0
    with_files: int = 0
    invented: int = 0
    invented_numbers: int = 0
    modes: dict[str, int] = field(default_factory=dict)
    quote_ms: list[float] = field(default_factory=list)
    total_ms: list[float] = field(default_factory=list)

    def add(self, question: Question, shown: Shown, verdict: Verdict) -> None:
        self.asked += 1
        self.right += verdict.right
        self.words_right += verdict.words_right
        self.missing += bool(verdict.missing)
        self.forbidden += bool(verdict.forbidden)
        self.refused_wrongly += verdict.refusal == "wrong"
        self.refused_rightly += verdict.refusal == "right"
        self.answered_wrongly += verdict.refusal == "missing"
        self.failed += bool(shown.failed)
        self.with_files += verdict.cited_right is not None
        self.cited_right += verdict.cited_right is True
        self.quoted_right += verdict.quoted_right is True
        self.invented += bool(verdict.invented)
        self.invented_numbers += len(verdict.invented)
        self.modes[shown.mode] = self.modes.get(shown.mode, 0) + 1
        self.quote_ms += [] if shown.quote_ms is None else [shown.quote_ms]
        self.total_ms += [] if shown.total_ms is None else [shown.total_ms]

    def figures(self) -> dict[str, Any]:
        """The counts, and the median and 90th percentile of the times, for a JSON file."""
        counts = {name: value for name, value in vars(self).items() if name not in ("quote_ms", "total_ms")}
        times = {
            f"{name}_{label}": share(values)
            for name, values in (("quote_ms", self.quote_ms), ("total_ms", self.total_ms))
            for label, share in (("p50", _p50), ("p90", _p90))
        }
        return counts | times


def _p50(values: list[float]) -> float | None:
    return round(median(values), 1) if values else None


def _p90(values: list[float]) -> float | None:
    return round(sorted(values)[max(0, -(-len(values) * 9 // 10) - 1)], 1) if values else None


def tally(judged: Sequence[tuple[Question, Shown, Verdict]]) -> dict[str, Tally]:
    """One tally a kind, in order of first appearance, then one over "all"."""
    tallies: dict[str, Tally] = {}
    for question, shown, verdict in judged:
        tallies.setdefault(question.kind or "-", Tally()).add(question, shown, verdict)
    whole = Tally()
    for question, shown, verdict in judged:
        whole.add(question, shown, verdict)
    return tallies | {"all": whole}
