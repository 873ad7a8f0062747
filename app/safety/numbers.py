"""Every number, time, date, phone, price and address in a Chinese or English text, with values that can be compared.

Pure. A text is read segment by segment (a line, a sentence), so that a stream can be read again from its last segment.
The finders run in order; what one has read is taken, so that 2026-11-25 is a date and not three numbers.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from fractions import Fraction

from app.safety import calendar
from app.safety.numerals import (
    CHINESE,
    ENGLISH,
    ORDINALS,
    PAIR,
    parse_arabic,
    parse_chinese,
    parse_english,
    parse_small,
)
from app.safety.units import BEFORE, CHINESE as CHINESE_UNITS, ENGLISH as ENGLISH_UNITS, ITEM, MONEY, PERCENT, SCALES

WIDE = str.maketrans("０１２３４５６７８９：．％￥（）／－～＠\u3000﹣‐‑‒−", "0123456789:.%¥()/-~@ -----")
"""One character for one, so that places in the text stay the same."""

ARABIC = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?"
SEGMENT = re.compile(r"\n+|(?<=[。！？])|(?<=[.!?])\s+(?=[A-Z])")
RANGE_WORD = r"(?:[-–—~～]|至|到|\bto\b|\bthrough\b|\buntil\b|\btill\b)"
LIST_WORD = rf"(?:{RANGE_WORD}|、|和|或|或者|与|\band\b|\bor\b|,\s|&|/)"
GAP = re.compile(rf"\s*{LIST_WORD}?\s*")
RANGE_GAP = re.compile(rf"\s*{RANGE_WORD}\s*")


class Kind(StrEnum):
    NUMBER = "number"
    TIME = "time"
    DATE = "date"
    WEEKDAY = "weekday"
    PHONE = "phone"
    CODE = "code"
    LINK = "link"


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact in a text, at [start, end).

    `value` by kind: Fraction for a number (money in yuan, percent, durations in minutes or months); frozenset of
    minutes of the day that a time may mean; calendar.Date; frozenset of weekdays from 1; digits of a phone; a code in
    capitals; a link without its scheme. `unit` is what a number measures, "" when nothing says so.
    """

    start: int
    end: int
    kind: Kind
    value: Fraction | frozenset[int] | calendar.Date | str
    unit: str = ""


class Page:
    """A segment being read: which characters are taken, and the facts so far."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.taken = bytearray(len(text))
        self.facts: list[Fact] = []

    def free(self, start: int, end: int) -> bool:
        return self.taken.find(1, start, end) < 0

    def find(self, pattern: re.Pattern[str]) -> Iterator[re.Match[str]]:
        """The matches over characters that nothing has taken yet."""
        for found in pattern.finditer(self.text):
            if self.free(found.start(), found.end()):
                yield found

    def take(self, start: int, end: int) -> None:
        self.taken[start:end] = b"\1" * (end - start)

    def add(self, found: re.Match[str], kind: Kind, value: Fraction | frozenset[int] | calendar.Date | str) -> None:
        self.add_span(found.start(), found.end(), kind, value)

    def add_span(
        self, start: int, end: int, kind: Kind, value: Fraction | frozenset[int] | calendar.Date | str, unit: str = ""
    ) -> None:
        self.take(start, end)
        self.facts.append(Fact(start, end, kind, value, unit))


def normalise(text: str) -> str:
    """The text in lower case with half-width digits and signs, character by character."""
    wide = text.translate(WIDE)
    low = wide.lower()
    # A few letters of other scripts grow when they are lowered.
    return low if len(low) == len(wide) else "".join(low if len(low := char.lower()) == 1 else char for char in wide)


def segments(text: str) -> Iterator[tuple[int, str]]:
    """The lines and sentences of a text, with their places."""
    start = 0
    for found in SEGMENT.finditer(text):
        if found.end() > start:
            yield start, text[start : found.end()]
            start = found.end()
    if start < len(text):
        yield start, text[start:]


def find_facts(text: str) -> list[Fact]:
    """Every fact, in order of place. List markers (1. ② 3、) and citation marks ([1]) are none."""
    facts = []
    for offset, segment in segments(text):
        for fact in _read(segment):
            facts.append(replace(fact, start=fact.start + offset, end=fact.end + offset))
    return facts


def _read(segment: str) -> list[Fact]:
    if not re.search(rf"[\d０-９]|{CHINESE}|[半天日午末周工廿]|[A-Za-z]|[①-⑳]", segment):
        return []
    page = Page(normalise(segment))
    for finder in FINDERS:
        finder(page)
    page.facts.sort(key=lambda fact: (fact.start, fact.end))
    return _join_durations(page.text, _share_units(page.text, page.facts))


# Links and markers

LINK = re.compile(
    r"(?:https?://|www\.)[^\s\u3000-\u9fff<>\"'，。；）]+|[\w.+-]+@[a-z0-9-]+(?:\.[a-z0-9-]+)+"
    r"|(?<![\w.@-])[a-z0-9-]+(?:\.[a-z0-9-]+)*\.(?:com|cn|net|org|gov|edu|io|app|top|xyz|info|cc)\b(?:/[^\s\u3000-\u9fff]*)?",
    re.ASCII,
)
CITATION = re.compile(r"[\[【]\^?\d{1,2}(?:\s*[,、-]\s*\d{1,2})*[\]】](?!\s*(?:元|块|yuan|%))")
CIRCLED = re.compile(r"[①-⑳⑴-⒇]")
COUNTED = re.compile(
    r"(?:以下|下列|如下|这|以上|上述|如下的)\s*[一二两三四五六七八九十\d]+\s*(?:点|种|项|个|条|步|方面|类|大)"
    r"|\b(?:the\s+following|these|those|both)\s+(?:two|three|four|five|six|seven|\d)\b"
)
"""How many things a list has is counted by who writes the list; no source has to say it."""
LINE_MARK = re.compile(
    rf"\s*(?:[#>*|-]+\s*)*(?:\d{{1,2}}[.)、](?!\d)|\(\d{{1,2}}\)|\({CHINESE}{{1,3}}\)|{CHINESE}{{1,3}}、(?!{CHINESE})"
    rf"|第{CHINESE}{{1,4}}[条章节](?!\s*第)|(?P<section>\d{{1,2}}(?:\.\d{{1,2}}){{1,3}})(?=\s))"
)
INLINE_MARK = re.compile(r"(?<=[:;；,\s(])\(?(\d{1,2})(?:[)、]|\.(?=\s|[^\d\s.,a-z]))(?!\d)")


def _find_links(page: Page) -> None:
    for found in page.find(LINK):
        words = found[0].rstrip(".,;:!?)")
        page.add_span(found.start(), found.start() + len(words), Kind.LINK, bare_link(words))


def bare_link(text: str) -> str:
    """An address without what may differ in notation."""
    return re.sub(r"^https?://|^www\.", "", re.sub(r"^https?://", "", text.lower())).rstrip("/")


def _find_marks(page: Page) -> None:
    for pattern in (CITATION, CIRCLED, COUNTED):
        for found in page.find(pattern):
            page.take(found.start(), found.end())
    if (mark := LINE_MARK.match(page.text)) and page.free(*mark.span()):
        # “3.5 hours” opens a line as “3.1 Opening hours” does; only what has no unit is a section's number.
        if not (mark["section"] and _unit_after(page.text, mark.end())):
            page.take(*mark.span())
    expected = 1
    for found in page.find(INLINE_MARK):
        if int(found[1]) == expected:
            page.take(found.start(), found.end())
            expected += 1


# Phones and codes

PHONE = re.compile(
    r"(?<![\d.])(?:\+?86[-\s]?)?(?:\(?\d{3,4}\)?[-\s]\d{3,4}[-\s]\d{3,4}|\(?0\d{2,3}\)?[-\s]?\d{7,8}|1\d{10}|\d{7,8}[-\s]\d{3,4}|\d{7,13})(?![\d.%]|\s*(?:元|yuan))"
)
CODE = re.compile(r"(?<![a-z0-9])(?!rmb|cny|no)([a-z]{1,4})-?(\d+)([a-z]?)(?![a-z0-9])")


def _find_phones(page: Page) -> None:
    for found in page.find(PHONE):
        digits = re.sub(r"\D", "", found[0])
        page.add(found, Kind.PHONE, digits[2:] if found[0].startswith("+86") or len(digits) == 13 else digits)


def _find_codes(page: Page) -> None:
    for found in page.find(CODE):
        page.add(found, Kind.CODE, f"{found[1]}{found[2]}{found[3]}".upper())


# Dates, weekdays and times of the day: patterns and readings are in calendar.py


def _find_dates(page: Page) -> None:
    for pattern, read in calendar.DATES:
        for found in page.find(pattern):
            if (date := read(found)) is not None:
                page.add(found, Kind.DATE, date)
    for fact in [fact for fact in page.facts if fact.kind is Kind.DATE]:
        # “November 25 to 27”
        end = calendar.ENGLISH_DATE_END.match(page.text, fact.end)
        if end and page.free(*end.span()) and page.text[fact.start].isalpha() and int(end["day"]) <= 31:
            page.add_span(*end.span("day"), Kind.DATE, calendar.Date(None, None, int(end["day"])))
    dates = sorted((fact for fact in page.facts if fact.kind is Kind.DATE), key=lambda fact: fact.start)
    for earlier, later in zip(dates, dates[1:], strict=False):
        # “11月25日至27日”: the second day is of the same month.
        assert isinstance(earlier.value, calendar.Date)
        assert isinstance(later.value, calendar.Date)
        if RANGE_GAP.fullmatch(page.text[earlier.end : later.start]):
            whole = calendar.complete(later.value, earlier.value)
            page.facts[page.facts.index(later)] = replace(later, value=whole)


def _find_weekdays(page: Page) -> None:
    for found in page.find(calendar.WEEKDAYS):
        page.add(found, Kind.WEEKDAY, calendar.read_weekdays(found))


def _find_times(page: Page) -> None:
    for pattern in calendar.TIMES:
        for found in page.find(pattern):
            if minutes := calendar.read_time(found):
                page.add(found, Kind.TIME, minutes)
    # “2:00-5:00 pm”, “下午2:00-5:00” and “8至10点”: the other end of a range may take the same half of the day.
    times = sorted((fact for fact in page.facts if fact.kind is Kind.TIME), key=lambda fact: fact.start)
    for first, second in zip(times, times[1:], strict=False):
        marked = [calendar.MARKED.search(page.text[fact.start : fact.end]) is not None for fact in (first, second)]
        if marked[0] != marked[1] and RANGE_GAP.fullmatch(page.text[first.end : second.start]):
            plain = second if marked[0] else first
            assert isinstance(plain.value, frozenset)
            page.facts[page.facts.index(plain)] = replace(plain, value=calendar.both_halves(plain.value))
    for found in page.find(calendar.RANGE_START):
        after = next((fact for fact in times if fact.start == found.end()), None)
        if after is not None and (hour := parse_small(found["hour"])) is not None and hour <= 24:
            page.add_span(*found.span("hour"), Kind.TIME, calendar.both_halves(frozenset({hour * 60})))


# Shares and amounts

HALF = re.compile(r"一半|半价|半数|减半|半额|折半|\bhalf\b(?![\s-](?:an?\s|hour|day|year|month|past))")
SHARES = re.compile(
    rf"百分之(?P<zh>{CHINESE}+(?:点{CHINESE}+)?|{ARABIC})|(?P<low>{CHINESE}{{1,3}}|\d+)分之(?P<high>{CHINESE}{{1,3}}|\d+)"
    rf"|(?<![\d.])(?P<off>{ARABIC})\s*%\s*off\b|(?P<zhe>(?<!\d)\d{{1,2}}(?:\.\d)?|{CHINESE}{{1,2}})折"
    r"|\b(?P<en>one|two|three)[\s-](?P<en_low>thirds?|quarters?)\b|\bper\s?cent\b"
)
HALVES = re.compile(
    rf"(?:(?P<count>{CHINESE}+|\d+)\s*个?)?半(?P<of_zh>个?小时|个?钟头|个月|天|年)"
    rf"|(?P<whole>{CHINESE}+|\d+)(?P<then>年|天|个月)半(?!价|夜)"
    r"|\bhalf(?:\s+an?\s+|[\s-])(?P<of_en>hour|day|year|month)\b"
)
_HALF_UNITS = {"小时": ("minute", 60), "钟头": ("minute", 60), "天": ("minute", 1440), "年": ("month", 12)} | {
    "月": ("month", 1), "hour": ("minute", 60), "day": ("minute", 1440), "year": ("month", 12), "month": ("month", 1)
}  # fmt: skip


def _find_shares(page: Page) -> None:
    for found in page.find(HALVES):
        word = found["of_zh"] or found["then"] or found["of_en"]
        unit, factor = _HALF_UNITS[word.removeprefix("个")]
        whole = _value(found["count"] or found["whole"] or "") or Fraction(0)
        page.add_span(*found.span(), Kind.NUMBER, (whole + Fraction(1, 2)) * factor, unit)
    for found in page.find(HALF):
        page.add_span(*found.span(), Kind.NUMBER, Fraction(50), PERCENT)
    for found in page.find(SHARES):
        if (share := _share(found)) is not None:
            page.add_span(*found.span(), Kind.NUMBER, share, PERCENT)


def _share(found: re.Match[str]) -> Fraction | None:
    if found["zh"]:
        return _value(found["zh"])
    if found["low"]:
        low, high = _value(found["low"]), _value(found["high"])
        return Fraction(100) * high / low if low and high else None
    if found["off"]:
        return 100 - parse_arabic(found["off"])
    if found["zhe"]:
        value = _value(found["zhe"])
        return None if value is None else value * 10 if value < 10 else value
    if found["en"]:
        return 100 * parse_english(found["en"]) / (3 if found["en_low"].startswith("third") else 4)
    return None


def _value(text: str) -> Fraction | None:
    if not text:
        return None
    if text[0].isdigit():
        return parse_arabic(text)
    whole, _, tail = text.partition("点")
    value = parse_chinese(whole)
    if value is not None and tail:
        value += Fraction("0." + "".join(str(parse_small(char)) for char in tail))
    return value


AMOUNT = re.compile(
    rf"(?P<sign>¥|\brmb|\bcny|\$|€)?(?(sign)\s*)(?:(?<![\d.])(?P<arabic>{ARABIC})(?P<th>(?:st|nd|rd|th)\b)?"
    rf"|(?P<zh>{CHINESE}+(?:点{CHINESE}+)?)|\b(?P<en>{ENGLISH})\b(?P<half>\s+and\s+a\s+half\b)?"
    rf"|\b(?P<often>twice|thrice|once(?=\s+(?:a|an|per|every|each)\b))\b"
    rf"|\b(?P<nth>{'|'.join(ORDINALS)})(?=[\s-](?:floor|day|week|month|year|time|phase|building|car|vehicle)s?\b))"
)
_ZH_UNITS = "|".join(sorted(map(re.escape, CHINESE_UNITS), key=len, reverse=True))
_EN_UNITS = "|".join(sorted((re.escape(word).replace(r"\ ", r"\s+") for word in ENGLISH_UNITS), key=len, reverse=True))
UNIT = re.compile(rf"(?P<more>[多余来几])?\s?(?P<zh>{_ZH_UNITS})|[\s-]?(?P<en>{_EN_UNITS})(?![a-z])")
NOT_A_UNIT = re.compile(
    r"年级|期间|次日|人工|人民(?!币)|度假|天然|方便|方式|方案|方法|方可|平时|平台|室内|室外|门口|户外|户内|层面|位于|位置|夜间|晚上|晚间|家属|家庭|家人|班长|点击|米饭|片区|升级"
)
SCALE = re.compile(r"\s?(?:(?P<zh>[万千百亿])|(?P<en>hundred|thousand|million)\b)")
BEFORE_WORD = re.compile(rf"\b({'|'.join(BEFORE)})\s*(?:no\.?\s*)?$")
NO_NUMBER = re.compile(
    r"一[下起般定些样直旦律并切共致带向边面方旁经会儿概贯系流如同度时]|一部分|一一|十分(?!钟|之)|[五六十]一(?=假|黄金|长假|节|期间)"
    r"|四周(?!岁|年)|四处|四季|三者|三方|三餐|百姓|百货|千万(?!元)|万一|第一|唯一|统一|同一|万能|万科|一应"
)
BEFORE_NO_NUMBER = re.compile(r"(?:第|唯|统|同|任|其|之|专|单|万|逐|不|合|星期|礼拜|周)$")
INDEFINITE = frozenset({ITEM, "people"})


def _find_amounts(page: Page) -> None:
    for found in page.find(AMOUNT):
        value = _amount(page.text, found)
        if value is None:
            continue
        end = found.end()
        if found["arabic"] and (scale := SCALE.match(page.text, end)):
            value, end = value * SCALES[scale["zh"] or scale["en"]], scale.end()
        unit, unit_end, factor = _unit(page.text, end)
        if found["sign"]:
            unit, factor = MONEY if found["sign"].strip() not in "$€" else "foreign", Fraction(1)
        if not unit and (before := BEFORE_WORD.search(page.text[max(0, found.start() - 16) : found.start()])):
            unit = BEFORE[before[1]]
        word = found["zh"] or found["en"] or ""
        if word and not _is_quantity(page.text, found, word, value, unit):
            continue
        end = unit_end if page.free(end, unit_end) else end
        tail = Fraction(0)
        if (
            unit == MONEY
            and (change := re.match(r"([1-9]|[五])(?![\d.个元块])", page.text[end:]))
            and page.text[end - 1] == "块"
        ):
            tail, end = Fraction(parse_small(change[1]) or 0, 10), end + 1
        unit = unit or ("times" if found["often"] else "th" if found["th"] or found["nth"] else "")
        if word and PAIR.fullmatch(word):
            for digit in word:
                page.add_span(found.start(), end, Kind.NUMBER, Fraction(parse_small(digit) or 0) * factor, unit)
        else:
            page.add_span(found.start(), end, Kind.NUMBER, value * factor + tail, unit)


def _amount(text: str, found: re.Match[str]) -> Fraction | None:
    if found["arabic"]:
        return parse_arabic(found["arabic"])
    if found["zh"]:
        if PAIR.fullmatch(found["zh"]):
            return Fraction(parse_small(found["zh"][0]) or 0)
        return None if NO_NUMBER.match(text, found.start("zh")) else _value(found["zh"])
    if found["en"]:
        return parse_english(found["en"].removeprefix("a ").removeprefix("an ")) + (
            Fraction(1, 2) if found["half"] else 0
        )
    return Fraction(ORDINALS[found["nth"]] if found["nth"] else {"twice": 2, "thrice": 3}.get(found["often"], 1))


def _is_quantity(text: str, found: re.Match[str], word: str, value: Fraction, unit: str) -> bool:
    """Whether a number word counts something: 三层 does, 二维码, 一个 and “one of them” do not."""
    if found["en"]:
        return value != 1 or unit not in ("", ITEM, "people", "times")
    if value == 1 and (unit in ("", *INDEFINITE) or text[: found.start()].endswith("第")):
        return False
    if BEFORE_NO_NUMBER.search(text[max(0, found.start() - 2) : found.start()]) and not unit:
        return False
    if unit:
        return True
    return len(word) >= 2 and (len(word) >= 3 or word[0] in "十廿卅" or word[-1] in "十百千万亿廿卅")


def _unit(text: str, at: int) -> tuple[str, int, Fraction]:
    """What is measured, where its word ends, and the factor to the measure's base."""
    found = UNIT.match(text, at)
    if found is None or NOT_A_UNIT.match(text, found.start("zh") if found["zh"] else found.start()):
        return "", at, Fraction(1)
    if found["zh"]:
        measure, factor = CHINESE_UNITS[found["zh"]]
        return measure, found.end("zh"), factor
    measure, factor = ENGLISH_UNITS[re.sub(r"\s+", " ", found["en"])]
    return measure, found.end("en"), factor


def _unit_after(text: str, at: int) -> bool:
    return bool(_unit(text, at)[0])


# Between facts


def _share_units(text: str, facts: Sequence[Fact]) -> list[Fact]:
    """“4-7岁”, “6、7栋”: a bare number takes the unit of the one it is listed with."""
    out = list(facts)
    for place in range(len(out) - 2, -1, -1):
        here, after = out[place], out[place + 1]
        if here.kind is not Kind.NUMBER or here.unit or after.kind is not Kind.NUMBER or not after.unit:
            continue
        gap = text[here.end : after.start]
        if GAP.fullmatch(gap) and gap.strip():
            # The factor of the unit word (hours to minutes) goes along with the unit.
            factor = _unit_factor(text[after.start : after.end], after)
            assert isinstance(here.value, Fraction)
            out[place] = replace(here, value=here.value * factor, unit=after.unit)
    return out


def _unit_factor(words: str, fact: Fact) -> Fraction:
    found = AMOUNT.match(words)
    return (
        Fraction(1)
        if found is None
        else _unit(words, found.end())[2]
        if fact.unit in ("minute", "month", "cm", "gram")
        else Fraction(1)
    )


def _join_durations(text: str, facts: Sequence[Fact]) -> list[Fact]:
    """“1小时30分钟” and “5元5角” are one fact each."""
    out: list[Fact] = []
    for fact in facts:
        last = out[-1] if out else None
        if (
            last is not None
            and last.kind is fact.kind is Kind.NUMBER
            and last.unit == fact.unit
            and fact.unit in ("minute", MONEY)
            and re.fullmatch(r"\s*(?:and\s+|零)?", text[last.end : fact.start])
            and isinstance(last.value, Fraction)
            and isinstance(fact.value, Fraction)
            and fact.value < last.value
        ):
            out[-1] = replace(last, end=fact.end, value=last.value + fact.value)
        else:
            out.append(fact)
    return out


FINDERS = (
    _find_links,
    _find_marks,
    _find_phones,
    _find_dates,
    _find_weekdays,
    _find_times,
    _find_codes,
    _find_shares,
    _find_amounts,
)
