"""What the model may say: every number, time, date, phone, price, address in an answer stands in one of the sources.

Pure. `GroundedStream` checks while the answer is being written: a number is shown only when it is complete and found,
and from the clause of the first one that is not, nothing more is shown.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from fractions import Fraction

from app.safety import calendar, streaming
from app.safety.facts import SEGMENT, Fact, Kind, normalise
from app.safety.numbers import find_facts
from app.safety.units import CHINESE_UNITS, ENGLISH_UNITS, ITEM, MINUTES_A_DAY


@dataclass(frozen=True, slots=True)
class Ungrounded:
    """A fact of the answer, at [start, end), that no source has."""

    start: int
    end: int
    text: str
    kind: Kind


def check_grounded(answer: str, sources: Sequence[str]) -> list[Ungrounded]:
    """The facts of the answer that stand in none of the sources, in order. Markers of lists and citations are free."""
    return Grounds(sources).check(answer)


class Grounds:
    """The facts of some sources, read once, and what agrees with them."""

    def __init__(self, sources: Sequence[str]) -> None:
        self.facts = [fact for source in sources for fact in (*find_facts(source), *implied_facts(source))]
        dates = [fact.value for fact in self.facts if isinstance(fact.value, calendar.Date)]
        self.years = {date.year for date in dates} | {fact.value for fact in self.facts if fact.kind is Kind.NUMBER}
        self.weekdays = frozenset[int]().union(
            *(fact.value for fact in self.facts if fact.kind is Kind.WEEKDAY and isinstance(fact.value, frozenset))
        )

    def check(self, answer: str) -> list[Ungrounded]:
        return [
            Ungrounded(fact.start, fact.end, answer[fact.start : fact.end], fact.kind)
            for fact in find_facts(answer)
            if not self.have(fact)
        ]

    def have(self, fact: Fact) -> bool:
        """Whether a source states this."""
        if fact.kind is Kind.WEEKDAY:
            assert isinstance(fact.value, frozenset)
            return fact.value <= self.weekdays
        return any(self._agree(fact, source) for source in self.facts)

    def _agree(self, fact: Fact, source: Fact) -> bool:
        agree = False
        match fact.value, source.value:
            case calendar.Date() as said, calendar.Date() as stands:
                agree = self._dates_agree(said, stands)
            case calendar.Date() as said, Fraction() as stands:
                agree = _date_is_number(said, stands, source.unit)
            case Fraction() as said, calendar.Date() as stands:
                agree = fact.unit in ("", "th") and said in (stands.year, stands.month, stands.day)
            case frozenset() as said, frozenset() as stands:
                agree = fact.kind is source.kind and not said.isdisjoint(stands)
            case Fraction() as said, Fraction() as stands:
                agree = _numbers_agree(said, fact.unit, stands, source.unit)
            case str() as said, str() as stands:
                agree = said == stands
        return agree

    def _dates_agree(self, said: calendar.Date, stands: calendar.Date) -> bool:
        if (
            said.year is not None
            and said.year != stands.year
            and (stands.year is not None or said.year not in self.years)
        ):
            return False
        return (said.month in (None, stands.month)) and (said.day in (None, stands.day))


def _date_is_number(said: calendar.Date, stands: Fraction, unit: str) -> bool:
    """“2026年” is the 2026 of “2026版”, “15日” is “the 15th” or fifteen days."""
    if said.month is None and said.day is None:
        return unit in ("", "th", ITEM) and said.year == stands
    if said.year is None and said.month is None and said.day is not None:
        return (unit in ("", "th", ITEM) and said.day == stands) or (
            unit == "minute" and said.day * MINUTES_A_DAY == stands
        )
    return said.year is None and said.day is None and unit == "month" and said.month == stands


def _numbers_agree(said: Fraction, unit: str, stands: Fraction, source_unit: str) -> bool:
    if {unit, source_unit} == {"month", "year of age"}:
        years, ages = (said, stands) if unit == "month" else (stands, said)
        return years == 12 * ages
    free = ("", "th")
    if unit == source_unit or (unit in free and source_unit in (*free, ITEM)) or (source_unit in free and unit == ITEM):
        return said == stands
    # A bare “2” on one side may be the figure of “2小时”, whose value here is 120 minutes: compare what is written.
    if source_unit in free:
        return any(said == stands * factor for factor in _factors(unit))
    if unit in free:
        return any(said * factor == stands for factor in _factors(source_unit))
    return False


def _factors(unit: str) -> set[Fraction]:
    return {Fraction(1)} | {
        factor for words in (CHINESE_UNITS, ENGLISH_UNITS) for name, factor in words.values() if name == unit
    }


_PER_ZH = {"小时": (60, "minute"), "天": (1440, "minute"), "日": (1440, "minute"), "周": (10080, "minute")} | {
    "分钟": (1, "minute"), "月": (1, "month"), "年": (12, "month"), "次": (1, "times"), "户": (1, "household"),
    "人": (1, "people"), "度": (1, "degree"), "吨": (1, "ton"), "平方米": (1, "m2"), "层": (1, "floor"),
}  # fmt: skip
_PER_EN = {"hour": "小时", "day": "天", "week": "周", "minute": "分钟", "month": "月", "year": "年", "visit": "次"} | {
    "time": "次", "household": "户", "person": "人", "night": "天", "half day": "天",
}  # fmt: skip
_ADVERBS = {
    "hourly": "小时",
    "daily": "天",
    "weekly": "周",
    "monthly": "月",
    "yearly": "年",
    "annual": "年",
    "annually": "年",
}
PER = re.compile(
    rf"(?:每|/|首|单|一)个?(?:自然)?(?P<zh>{'|'.join(_PER_ZH)})|\b(?:per|an?|each|every|/)\s*(?P<en>{'|'.join(_PER_EN)})\b"
    rf"|\b(?P<adverb>{'|'.join(_ADVERBS)})\b"
)


def implied_facts(source: str) -> list[Fact]:
    """What a source says without a figure: “每小时” has one hour in it, “每天” and “daily” all weekdays."""
    text = normalise(source)
    facts = []
    for found in PER.finditer(text):
        word = found["zh"] or _PER_EN.get(found["en"] or "") or _ADVERBS[found["adverb"]]
        value, unit = _PER_ZH[word]
        facts.append(Fact(found.start(), found.end(), Kind.NUMBER, Fraction(value), unit))
    for found in calendar.EVERY_DAY.finditer(text):
        facts.append(Fact(found.start(), found.end(), Kind.WEEKDAY, frozenset(range(1, 8))))
        facts.append(Fact(found.start(), found.end(), Kind.NUMBER, Fraction(MINUTES_A_DAY), "minute"))
    return facts


# The answer as it is written

CLAUSE_ENDS = re.compile(r"[，。；！？\n]|[,;!?]\s|\.\s")


class GroundedStream:
    """Lets through what is checked. `ungrounded` has what stopped it; the full text of the model is in `answer`.

    All that `push` and `finish` return, joined, is a prefix of the cleaned answer (without images and link targets).
    """

    def __init__(self, sources: Sequence[str]) -> None:
        self.ungrounded: list[Ungrounded] = []
        self._grounds = Grounds(sources)
        self._raw = ""
        self._shown = 0

    @property
    def answer(self) -> str:
        """All that the model wrote so far, without images and link targets."""
        return streaming.strip_links(self._raw)

    @property
    def stopped(self) -> bool:
        """Whether something ungrounded was found: nothing more will be shown."""
        return bool(self.ungrounded)

    def push(self, text: str) -> str:
        """Take the next piece of the answer; what may be shown now."""
        if self.stopped:
            self._raw += text
            return ""
        self._raw += text
        clean = streaming.strip_links(self._raw[: streaming.open_link_start(self._raw)])
        start = self._segment_start(clean)
        facts = find_facts(clean[start:])
        held = start + streaming.unfinished_start(clean[start:], facts)
        # A model that has lost its way writes blanks without end: none is shown before a word follows.
        while held > self._shown and clean[held - 1].isspace():
            held -= 1
        return self._release(clean, start, held, facts)

    def finish(self) -> str:
        """The answer is complete: what was held back and stands."""
        if self.stopped:
            return ""
        clean = self.answer
        start = self._segment_start(clean)
        return self._release(clean, start, len(clean), find_facts(clean[start:]))

    def _segment_start(self, clean: str) -> int:
        """Where reading has to start again. A segment is read as a whole, since its end can change its beginning."""
        start = 0
        for found in SEGMENT.finditer(clean, 0, self._shown):
            start = found.end()
        return start

    def _release(self, clean: str, start: int, until: int, facts: Sequence[Fact]) -> str:
        for fact in facts:
            begin, end = fact.start + start, fact.end + start
            if end > until:
                break
            if end > self._shown and not self._grounds.have(fact):
                self.ungrounded.append(Ungrounded(begin, end, clean[begin:end], fact.kind))
                until = max((found.end() for found in CLAUSE_ENDS.finditer(clean, 0, begin)), default=0)
                break
        until = max(until, self._shown)
        piece, self._shown = clean[self._shown : until], until
        return piece


# Words about the answer as a whole

_THE_SOURCES = "资料|文件|文档|文中|原文|段落|(?:材料|信息|规定|通知|手册)[里中]|上述|以上|其中|目前"
_SAYS = "提到|提及|提供|说明|包含|涉及|给出|明确|写明|记载|规定|信息|内容|找到|查到|确定|回答|得知"
REFUSALS = (
    rf"(?:{_THE_SOURCES}).{{0,10}}?(?:没有|没|未|无|并未|不能|无法)(?:.{{0,6}}?)(?:{_SAYS})",
    r"(?:没有|没|未|未能|没能|无法|不能|并未)(?:直接|明确|具体)?(?:[在从].{0,10}?)?(?:找到|查到|提到|提及|涉及|得知|回答)",
    r"(?:没有|暂无|并无|无|未提供)(?:任何)?(?:相关|关于|这方面|具体|足够|有关)(?:的)?.{0,12}?"
    r"(?:信息|内容|规定|资料|答案|记载|说明)",
    r"(?:^|[，。,])(?:我)?(?:也)?(?:不清楚|不知道|不了解|不太清楚|无法确定|不能确定)",
    r"(?:抱歉|对不起|很遗憾).{0,20}?(?:无法|不能|没有|没|未)",
    r"(?:\bnot|n't|n’t)\s+(?:\w+\s+){0,2}(?:found|find|mention\w*|specif\w+|stat\w+|contain\w*)",
    r"(?:\bnot|n't|n’t)\s+(?:\w+\s+){0,2}(?:cover\w*|know|sure|say|determine|answer|have (?:any )?information)",
    r"(?:document|passage|text|source|information|context)s?\b.{0,24}(?:\bnot|n't|n’t)\s+(?:\w+\s+)?"
    r"(?:provide|include|available)",
    r"\bno\s+(?:\w+\s+)?(?:information|mention|details?|data)\b|\bunable to (?:find|answer|determine|say)\b",
    r"\bcannot\s+(?:\w+\s+)?(?:answer|find|determine)",
)
NOT_FOUND = re.compile("|".join(REFUSALS), re.IGNORECASE)
NOT_FOUND_CHARS = 60
"""A refusal opens the answer; a note further on (“not included in the price”) is not one."""


def says_not_found(answer: str) -> bool:
    """Whether the model itself says that it has no answer."""
    return NOT_FOUND.search(answer.strip()[: NOT_FOUND_CHARS * (1 if has_chinese(answer) else 2)]) is not None


NEGATION = re.compile(r"不[能可得用需必会行准许允]|没有|无需|无须|禁止|\bnot?\b|n['’]t\b|\bnever\b", re.IGNORECASE)


def echoes_question(answer: str, question: str) -> bool:
    """Whether the answer only says the question again, or asks one itself. What adds a fact or denies is an answer."""
    said, asked = _letters(answer), _letters(question)
    if not said or not asked:
        return not said
    denies = NEGATION.search(answer) is not None and NEGATION.search(question) is None
    if denies or Grounds([question]).check(answer):
        return False
    if re.fullmatch(r"[^。！!\n]*[?？]", answer.strip()):
        return True
    if len(said) < 0.6 * len(asked) or len(said) > 1.5 * len(asked):
        return False
    return said in asked or asked in said or SequenceMatcher(None, said, asked, autojunk=False).ratio() > 0.85


REPEATED_LETTERS = 16
"""A run of the prompt this long in an answer is no accident in Chinese; English gets three times as much."""


def repeats(answer: str, prompt: str) -> bool:
    """Whether half of the answer or more is copied from our own instructions, as small models do."""
    said, told = _letters(answer), _letters(prompt)
    run = REPEATED_LETTERS if has_chinese(answer) else 3 * REPEATED_LETTERS
    if len(said) < run:
        return False
    copied, at = 0, 0
    while at + run <= len(said):
        length = run
        if said[at : at + run] in told:
            while at + length < len(said) and said[at : at + length + 1] in told:
                length += 1
            copied, at = copied + length, at + length
        else:
            at += 1
    return copied >= len(said) / 2


def _letters(text: str) -> str:
    return re.sub(r"[\W_]+|请问|您好|你好", "", normalise(text))


def has_chinese(text: str) -> bool:
    return re.search(r"[\u4e00-\u9fff]", text) is not None


def wrong_language(answer: str, wanted: str) -> bool:
    """Whether the answer is mainly in the other language than `wanted` ("zh" or "en"). Names and codes do not count."""
    chinese = len(re.findall(r"[\u4e00-\u9fff]", answer))
    words = len(re.findall(r"[A-Za-z]{2,}", answer))
    # One English word carries about as much as 1.6 Chinese characters.
    if wanted == "zh":
        return words >= 3 and words * 1.6 > chinese
    return chinese >= 4 and chinese > words * 1.6
