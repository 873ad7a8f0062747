"""Emergencies told in words, found by rules before any model: under a millisecond, with nothing else running.

A text is normalised (`phrases.normal`, typos, idioms struck out), the concepts of `emergency_words.yaml` are found in
it, and `SIGNS` say which of them together make an emergency. `TAKE_BACKS` say what makes it none after all: a drill, a
question about the rules, last year's fire, a lift that is stuck with nobody inside.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from app.safety.emergency_signs import (
    GRAVITY,
    HAN_REACH,
    LATIN_REACH,
    SIGNS,
    TAKE_BACKS,
    EmergencyKind,
    Sign,
    TakeBack,
)
from app.safety.phrases import STOPS, Phrases, Replacing, Span, Spelling, normal

__all__ = ["Emergency", "EmergencyKind", "Reading", "find", "read", "rules"]


@dataclass(frozen=True)
class Emergency:
    """What a text tells of; `words` are those that told it."""

    kind: EmergencyKind
    words: str


@dataclass(frozen=True)
class Reading:
    """`sure` is an emergency. `unsure` is what the words could mean, for a second voice to decide.

    `doubted` when something in the text speaks against it: a take-back, a figure of speech, an everyday matter.
    `pressing` when somebody cries for help or says that it is now.
    `firm` when a sign told it that is seldom wrong.
    """

    sure: Emergency | None = None
    unsure: Emergency | None = None
    doubted: bool = False
    pressing: bool = False
    firm: bool = False


NEGATED = re.compile(
    r"(?:没|没有|没人|没有人|无|无人|未|并未|不是|并不是|不像|不会|别|勿是|不存在|未见|差点|差一点|差啲|险些|恨不得|几乎要?|快要被|防)"
    r"(?:发生|出现|什么|任何|再|闻到|闻见|看到|看见|听说|听见|听到|有人|有|被|是|就|要|家里|真的|大|啥|因为|怕)*$"
    r"|(?:\b(?:no|not|isnt|wasnt|arent|never|without|dont|doesnt|didnt|nobody|noone|nearly|almost|nothing)"
    r"(?: (?:a|an|any|one|is|was|are|on|the|really|actually|longer|more|there|have|see|sign of|signs of|smell of|smell"
    r"|had|has|been|getting|get|got|caused by))* ?)$"
)
NEGATED_CHARS = 24
ALL_IS_WELL = ("resolved", "fire_out", "found_again")
EVERYDAY = (
    "everyday",
    "resolved",
    "fire_out",
    "found_again",
    "past",
    "exaggeration",
    "minor",
    "minor_harm",
    "near_miss",
)
"""Concepts that cast doubt wherever they stand."""
PRESSING = ("cry", "now")
STRUCK_OUT = "□"
"""Stands for each character of an idiom."""
SPANS_MAX = 6
"""Places of one concept that are looked at: a text that says a thing more often says it again, not otherwise."""


@dataclass(frozen=True)
class Rules:
    """The words, made ready once."""

    simplified: dict[int, int]
    meant: Replacing
    spelled: Spelling
    struck_out: Replacing
    phrases: Phrases


@cache
def rules() -> Rules:
    told: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "emergency_words.yaml").read_text(encoding="utf-8"))
    simplified = str.maketrans(told["traditional"]["from"], told["traditional"]["to"])
    typos = {typo.replace("_", " "): meant for meant, all_typos in told["typos"].items() for typo in all_typos.split()}
    idioms = {idiom: STRUCK_OUT * len(idiom) for idiom in (one.replace("_", " ") for one in told["blanks"].split())}
    concepts = {name: words.split() for name, words in told["concepts"].items()}
    known = {token for words in concepts.values() for word in words for token in word.replace("~", "_").split("_")}
    spelled = Spelling(told["spelled"].split(), known | set(told["real_words"].split()))
    return Rules(simplified, Replacing(typos), spelled, Replacing(idioms), Phrases(concepts))


def find(text: str) -> Emergency | None:
    """The gravest emergency that the text surely tells of."""
    return read(text).sure


def read(text: str) -> Reading:
    """What the text tells of, surely or perhaps."""
    plain, found = _concepts(text)
    doubted = STRUCK_OUT in plain or _is_said(plain, found, EVERYDAY)
    if not found:
        return Reading(doubted=doubted)
    sure: list[Emergency] = []
    unsure: list[Emergency] = []
    firm, present = False, found.keys()
    for sign in SIGNS:
        if not sign.needed <= present:
            continue
        place = _find_sign(plain, found, sign)
        if place is None:
            continue
        verdict = _judge(plain, found, sign, place)
        doubted = doubted or (verdict is not True and not sign.weak)
        if verdict is not None:
            firm = firm or (verdict and not sign.broad)
            (sure if verdict else unsure).append(Emergency(sign.kind, plain[place[0] : place[1]]))
    pressing = _is_said(plain, found, PRESSING)
    return Reading(_gravest(sure), None if sure else _gravest(unsure), doubted, pressing, firm)


def _concepts(text: str) -> tuple[str, dict[str, list[Span]]]:
    """The normalised text and where each concept stands in it."""
    ready = rules()
    plain = ready.struck_out(ready.spelled(ready.meant(normal(text, ready.simplified))))
    return plain, ready.phrases.spans(plain)


def says_all_is_well(text: str) -> bool:
    """Whether somebody takes an alarm back: 误报, 没事了, false alarm."""
    plain, found = _concepts(text)
    return _is_said(plain, found, ALL_IS_WELL) and find(text) is None


def cries_for_help(text: str) -> bool:
    """Whether a text asks for help or haste and says nothing else that is known."""
    return "cry" in _concepts(text)[1]


def _is_said(plain: str, found: dict[str, list[Span]], concepts: Sequence[str]) -> bool:
    return any(name in found and not _all_denied(plain, found[name]) for name in concepts)


def _gravest(found: Sequence[Emergency]) -> Emergency | None:
    return min(found, key=lambda one: GRAVITY[one.kind], default=None)


def _find_sign(plain: str, found: dict[str, list[Span]], sign: Sign) -> Span | None:
    """Where the sign's concepts stand together, none of them denied; None when they do not."""
    for spans in product(*(found[name][:SPANS_MAX] for name in sign.concepts)):
        start, end = min(one[0] for one in spans), max(one[1] for one in spans)
        if end - start > _reach(plain, sign, start, end):
            continue
        if any(_denied(plain, one) for one in spans) or _is_owner(plain, sign, spans):
            continue
        if sign.without and _stands_in(plain, found, sign.without, _around(plain, (start, end), STOPS + ",")):
            continue
        if sign.not_between and _stands_in(plain, found, sign.not_between, _with_object(plain, (start, end))):
            continue
        return start, end
    return None


def _reach(plain: str, sign: Sign, start: int, end: int) -> int:
    """English takes about two and a half characters where Chinese takes one."""
    latin = sum(char.isascii() for char in plain[start:end]) * 2 > end - start
    longest = max(LATIN_REACH * sign.reach_chars // HAN_REACH, 24) if latin else sign.reach_chars
    return longest + 4


def _is_owner(plain: str, sign: Sign, spans: Sequence[Span]) -> bool:
    """Whether it is not the person but something of theirs: 我女儿的…不见了."""
    return sign.kind is EmergencyKind.MISSING_PERSON and any(
        name == "kin" and plain[one[1] : one[1] + 1] == "的" for name, one in zip(sign.concepts, spans, strict=True)
    )


def _denied(plain: str, span: Span) -> bool:
    return NEGATED.search(plain[max(0, span[0] - NEGATED_CHARS) : span[0]]) is not None


def _stands_in(plain: str, found: dict[str, list[Span]], concepts: Sequence[str], place: Span) -> bool:
    start, end = place
    spans = (one for name in concepts for one in found.get(name, ()))
    return any(start <= one[0] and one[1] <= end and not _denied(plain, one) for one in spans)


OBJECT_CHARS = 6


def _with_object(plain: str, place: Span) -> Span:
    """The place with what follows it at once: "lost | his bag"."""
    chars = OBJECT_CHARS if ord(plain[place[1] - 1]) > 0x2E80 else OBJECT_CHARS * 3
    return place[0], min(_around(plain, place, STOPS + ",")[1], place[1] + chars)


def _around(plain: str, place: Span, stops: str) -> Span:
    start = max((plain.rfind(stop, 0, place[0]) for stop in stops), default=-1) + 1
    ends = [at for at in (plain.find(stop, place[1]) for stop in stops) if at >= 0]
    return start, min(ends, default=len(plain))


def _judge(plain: str, found: dict[str, list[Span]], sign: Sign, place: Span) -> bool | None:
    """True for a sure sign, False for an unsure one, None for one that is taken back for good."""
    verdict = not sign.weak
    for back in TAKE_BACKS:
        if back.concept not in found or sign.kind not in back.kinds:
            continue
        if any(_speaks_against(plain, found[name], found[back.concept]) for name in back.but if name in found):
            continue
        if back.also and back.also not in found:
            continue
        if not _applies(plain, found[back.concept], back, place):
            continue
        if back.final:
            return None
        verdict = False
    return verdict


def _speaks_against(plain: str, spans: Sequence[Span], taken_back: Sequence[Span]) -> bool:
    """Whether a concept stands somewhere by itself: the 现在 of 现在没事了 says nothing against it."""
    within = {at for start, end in taken_back for at in range(start, end)}
    alone = [one for one in spans if one[0] not in within]
    return bool(alone) and not _all_denied(plain, alone)


def _all_denied(plain: str, spans: Sequence[Span]) -> bool:
    return all(_denied(plain, one) for one in spans)


def _applies(plain: str, spans: Sequence[Span], back: TakeBack, place: Span) -> bool:
    if back.within == "text":
        return not _all_denied(plain, spans)
    start, end = _around(plain, place, STOPS if back.within == "sentence" else STOPS + ",")
    if back.within == "before":
        end = place[0]
    return any(start <= one[0] and one[1] <= end and not _denied(plain, one) for one in spans)
