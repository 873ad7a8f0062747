"""Amounts in a text: prices, durations, shares, counts, in figures and in words, with their units."""

import re
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from app.safety.facts import ARABIC, GAP, Fact, Kind, Page
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
from app.safety.units import BEFORE, CHINESE_UNITS, ENGLISH_UNITS, ITEM, MONEY, PERCENT, SCALES

HALF = re.compile(r"一半|半价|半数|减半|半额|折半|\bhalf\b(?![\s-](?:an?\s|hour|day|year|month|past))")
SHARES = re.compile(
    rf"百分之(?P<zh>{CHINESE}+(?:点{CHINESE}+)?|{ARABIC})|(?P<low>{CHINESE}{{1,3}}|\d+)分之(?P<high>{CHINESE}{{1,3}}|\d+)"
    rf"|(?<![\d.])(?P<off>{ARABIC})\s*%\s*off\b|(?P<zhe>(?<!\d)\d{{1,2}}(?:\.\d)?|{CHINESE}{{1,2}})折"
    r"|\b(?P<en>one|two|three)[\s-](?P<en_low>thirds?|quarters?)\b|\bper\s?cent\b"
)
DECIMALS = re.compile(r"(?P<digits>[零〇一二两三四五六七八九]+)(?P<scale>[百千万亿]?)")
"""What follows 点 in 一点五 and 一点五万; anything else after it is no decimal."""
HALVES = re.compile(
    rf"(?:(?P<count>{CHINESE}+|\d+)\s*个?)?半(?P<of_zh>个?小时|个?钟头|个月|天|年)"
    rf"|(?P<whole>{CHINESE}+|\d+)(?P<then>年|天|个月)半(?!价|夜)"
    r"|\bhalf(?:\s+an?\s+|[\s-])(?P<of_en>hour|day|year|month)\b"
)
_HALF_UNITS = {"小时": ("minute", 60), "钟头": ("minute", 60), "天": ("minute", 1440), "年": ("month", 12)} | {
    "月": ("month", 1), "hour": ("minute", 60), "day": ("minute", 1440), "year": ("month", 12), "month": ("month", 1)
}  # fmt: skip


def find_shares(page: Page) -> None:
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
    if value is not None and (decimals := DECIMALS.fullmatch(tail)):
        value += Fraction("0." + "".join(str(parse_small(digit)) for digit in decimals["digits"]))
        value *= SCALES.get(decimals["scale"], 1)
    return value


AMOUNT = re.compile(
    # The first look at a character is what makes this quick: most begin no amount.
    rf"(?=[\d¥$€a-z]|{CHINESE})(?P<sign>¥|\brmb|\bcny|\$|€)?(?(sign)\s*)(?:(?<![\d.])(?P<arabic>{ARABIC})(?P<th>(?:st|nd|rd|th)\b)?"
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
    r"|四周(?!岁|年)|四处|四季|三者|[三四五八]方|三角(?!钱)|三餐|百姓|百货|千万(?!元)|万一|第一|唯一|统一|同一|万能|万科|一应"
)
BEFORE_NO_NUMBER = re.compile(r"(?:第|唯|统|同|任|其|之|专|单|万|逐|不|合|星期|礼拜|周)$")
INDEFINITE = frozenset({ITEM, "people"})


def find_amounts(page: Page) -> None:
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


def is_measured(text: str, at: int) -> bool:
    """Whether a measure stands there. “1.2 包裹” is a section on parcels, not 1.2 packs."""
    return _unit(text, at)[0] not in ("", ITEM, "times", "people", "household")


# Between facts


def share_units(text: str, facts: Sequence[Fact]) -> list[Fact]:
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


def join_durations(text: str, facts: Sequence[Fact]) -> list[Fact]:
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
