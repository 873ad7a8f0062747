"""What a campaign may say: checked by code, whoever wrote it. Pure.

Every number, time, price and phone stands in the facts of its items; nothing is claimed that advertising may not claim
(forbidden_claims.yaml); each language is written in that language; the plain version has short sentences.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from app.safety import phrases
from app.safety.grounding import check_grounded, wrong_language

PLACEHOLDER = "{item}"
"""Stands for the title of the item that a message is about. Titles are checked where they are put in."""

TITLE_CHARS_MAX, BODY_CHARS_MAX, PLAIN_CHARS_MAX = 60, 600, 200
PLAIN_HAN_MAX, PLAIN_WORDS_MAX = 24, 16
"""Of one sentence of the plain version, for whoever reads large letters or with effort."""

TEXTS: dict[str, tuple[str, int]] = {
    "title_zh": ("zh", TITLE_CHARS_MAX),
    "title_en": ("en", 2 * TITLE_CHARS_MAX),
    "body_zh": ("zh", BODY_CHARS_MAX),
    "body_en": ("en", 2 * BODY_CHARS_MAX),
    "plain_zh": ("zh", PLAIN_CHARS_MAX),
    "plain_en": ("en", 2 * PLAIN_CHARS_MAX),
}
"""Every text of a variant: its language and its longest length."""
FREE = re.compile(r"免费|不收费|不要钱|零元|\bfree(?:\sof\scharge)?\b|\bno\s(?:fee|charge)\b", re.IGNORECASE)
NOT_IN_FACTS = (
    "项目资料中没有这个数字、时间、价格或电话。",
    "The facts of the items do not have this number, time, price or phone.",
)
SENTENCE = re.compile(r"[。！？!?；;\n]+|\.(?=\s|$)")


@dataclass(frozen=True, slots=True)
class CopyProblem:
    """What is wrong with one text: `said` are the words, `zh` and `en` tell a person why."""

    field: str
    code: str
    said: str
    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class Claim:
    """A kind of forbidden claim."""

    code: str
    zh: str
    en: str
    any: re.Pattern[str]
    but: re.Pattern[str] | None

    def find(self, text: str) -> str | None:
        """The first words that claim it."""
        allowed = [one.span() for one in self.but.finditer(text)] if self.but else []
        for found in self.any.finditer(text):
            if not any(start <= found.start() and found.end() <= end for start, end in allowed):
                return found[0]
        return None


@cache
def claims() -> tuple[Claim, ...]:
    """The table of forbidden claims."""
    told: list[dict[str, Any]] = yaml.safe_load(
        (Path(__file__).parent / "forbidden_claims.yaml").read_text(encoding="utf-8")
    )
    return tuple(
        Claim(
            one["code"], one["zh"], one["en"], re.compile("|".join(one["any"])),
            re.compile("|".join(one["but"])) if "but" in one else None,
        )
        for one in told
    )  # fmt: skip


def find_claims(text: str) -> list[tuple[Claim, str]]:
    """Each kind of forbidden claim in a text, with the words that make it."""
    # Spaced, wide or invisible characters would hide a claim: 最 佳, １００％. Commas between characters would, too.
    plain = phrases.normal(text)
    squeezed = re.sub(r"(?<=[\u4e00-\u9fff])[\s,.·*_\-]+(?=[\u4e00-\u9fff])", "", plain)
    found = []
    for claim in claims():
        said = claim.find(plain) or claim.find(squeezed)
        if said:
            found.append((claim, said))
    return found


def check_copy(texts: Mapping[str, str], sources: Sequence[str], *, costs: bool) -> list[CopyProblem]:
    """Everything that stands against sending these texts (see TEXTS). `costs`: one of the items has a price."""
    problems = []
    for field, (language, chars_max) in TEXTS.items():
        text = texts.get(field, "").replace(PLACEHOLDER, "").strip()
        if not texts.get(field, "").strip():
            problems.append(CopyProblem(field, "missing", "", "尚未填写。", "It is empty."))
            continue
        problems += [
            CopyProblem(field, code, said, zh, en)
            for code, said, zh, en in _problems(field, text, language, chars_max, sources, costs=costs)
        ]
    return problems


def _problems(
    field: str, text: str, language: str, chars_max: int, sources: Sequence[str], *, costs: bool
) -> list[tuple[str, str, str, str]]:
    found = []
    if len(text) > chars_max:
        found.append(("too_long", "", f"超过 {chars_max} 字。", f"It is longer than {chars_max} characters."))
    if strange := re.search(r"\{[^}]*\}?", text):
        found.append(("placeholder_unknown", strange[0], "只能使用占位符 {item}。", "The only placeholder is {item}."))
    if wrong_language(text, language):
        found.append(("wrong_language", "", "语言不符。", "It is written in the other language."))
    zh, en = NOT_IN_FACTS
    found += [("not_in_facts", ungrounded.text, zh, en) for ungrounded in check_grounded(text, sources)]
    if costs and (free := FREE.search(text)):
        found.append(("price_wrong", free[0], "项目并非免费。", "The item is not free."))
    found += [(claim.code, said, claim.zh, claim.en) for claim, said in find_claims(text)]
    if field.startswith("plain_") and (long := _too_long_to_read(text, language)):
        found.append(
            (
                "not_plain", long, f"每句不超过 {PLAIN_HAN_MAX} 字，方便阅读。",
                f"Sentences of {PLAIN_WORDS_MAX} words at most are easy to read.",
            )
        )  # fmt: skip
    return found


def _too_long_to_read(text: str, language: str) -> str:
    """The first sentence that is; empty when none is."""
    for sentence in SENTENCE.split(text):
        if language == "zh":
            length, most = len(re.findall(r"[\u4e00-\u9fff]", sentence)), PLAIN_HAN_MAX
        else:
            length, most = len(sentence.split()), PLAIN_WORDS_MAX
        if length > most:
            return sentence.strip()[:80]
    return ""
