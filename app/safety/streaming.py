"""Where a half-written answer is still open: a number that may grow, a link that may close. Pure."""

import re
from collections.abc import Sequence

from app.safety import calendar
from app.safety.amounts import NOT_A_UNIT
from app.safety.facts import ARABIC, GAP, Fact, normalise
from app.safety.numerals import CHINESE, ENGLISH_WORDS, ORDINALS
from app.safety.units import CHINESE_UNITS, ENGLISH_UNITS, SCALES

# Links

_INNER = r"!?\[[^\[\]\n]{0,300}\](?:\([^()\n]{0,500}\))?"
_TEXT = rf"(?:[^\[\]\n!]|!(?!\[)|{_INNER})*"
IMAGE = re.compile(r"!\[[^\[\]\n]{0,300}\]\([^()\n]{0,500}\)")
LINK = re.compile(r"\[([^\[\]\n]{0,300})\]\([^()\n]{0,500}\)")
TAG = re.compile(r"</?[A-Za-z][^<>\n]{0,500}>")
OPEN = re.compile(
    rf"!?\[{_TEXT}(?:!|!?\[[^\[\]\n]*(?:\](?:\([^()\n]*)?)?)?\Z|!?\[{_TEXT}\](?:\([^()\n]*)?\Z|!\Z|<(?:/?(?:[A-Za-z][^<>\n]*)?)?\Z"
)
OPEN_CHARS_MAX = 900
"""Past this a bracket is just a bracket."""


def strip_links(text: str) -> str:
    """The text without images and tags, and of links only their words."""
    if "](" not in text and "<" not in text:
        return text
    return TAG.sub("", LINK.sub(r"\1", IMAGE.sub("", text)))


def open_link_start(text: str) -> int:
    """Where an image, link or tag begins that is not closed yet; the length of the text when none is."""
    start = max(0, len(text) - OPEN_CHARS_MAX)
    start = max(start, text.rfind("\n", start) + 1)
    if not any(sign in text[start:] for sign in "[!<"):
        return len(text)
    found = OPEN.search(text, start)
    return found.start() if found else len(text)


# Numbers

ATOM = re.compile(rf"{ARABIC}|{CHINESE}+|半|\b(?:{'|'.join((*ENGLISH_WORDS, *ORDINALS))})\b")
ADDRESS = re.compile(r"[a-z0-9._%+-]*(?:@|://|www\.|[a-z0-9]\.[a-z])[^\s\u3000-\u9fff]*\Z")
FIGURES = re.compile(r"[a-z0-9._%+-]*\d[a-z0-9._%+@-]*\Z")
"""A run with a figure is open until it ends: “5” may be the start of 5kg or of 5lou@qq.com."""
LAST_WORD = re.compile(r"[a-z]+\Z")
NUMBER_WORDS = (
    *ENGLISH_WORDS,
    *ORDINALS,
    *calendar.EN_DAYS,
    *("twice", "thrice", "once", "half", "noon", "midday", "midnight", "quarter", "a dozen", "weekdays", "weekends"),
    *("january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november"),
    *("december", "sept"),
)
"""Words that are, or begin, a number, a day or a time."""
_EN_AFTER = (
    *(word for word in ENGLISH_UNITS if len(word) > 1),
    *(word for word in SCALES if word.isascii()),
    *ENGLISH_WORDS,
    *calendar.MONTHS,
    *("january", "february", "march", "april", "june", "july", "august", "september", "october", "november"),
    *(
        "december",
        "a.m.",
        "a. m.",
        "p.m.",
        "p. m.",
        "am",
        "pm",
        "o'clock",
        "o’clock",
        "of ",
        "% off",
        "thirds",
        "quarters",
    ),
    *("in the morning", "in the afternoon", "in the evening", "at night", "and a half", "per cent", "a", "an", "per"),
    *("each", "every", "to ", "and ", "or ", "through ", "until ", "till ", "past", "off"),
)
CONTINUATIONS = frozenset(
    {
        *CHINESE_UNITS,
        *(more + unit for more in "多余来几" for unit in CHINESE_UNITS),
        *(
            "个半小时",
            "个半钟头",
            "个半月",
            "分之",
            "点半",
            "点钟",
            "点一刻",
            "时间",
            "月份",
            "刻钟",
            "整",
            "半",
            "年半",
            "天半",
        ),
        *(
            "点" + word
            for word in ("建议", "要求", "注意", "原因", "说明", "内容", "好处", "意见", "提示", "事项", "之间的")
        ),
        *("日" + word for word in ("以内", "之内", "三餐", "之间", "电梯")),
        *("号" + word for word in ("楼", "栋", "线", "门", "电梯", "电机")),
        *NOT_A_UNIT.pattern.replace("(?!币)", "").split("|"),
        *(
            "下起般定些样",
            "部分",
            "黄金",
            "长假",
            "期间",
            "以内",
            "之内",
            "以下",
            "年级",
            "月",
            "日",
            "号",
            "点",
            "时",
            "折",
            ":",
            ".",
            ",",
        ),
        *("st", "nd", "rd", "th", "-", " "),
        *(space + word for space in ("", " ", "-", "st ", "nd ", "rd ", "th ") for word in _EN_AFTER),
        *(", 20", ", 19", "℃", "°c", "% off", " % off"),
    }
)
_PREFIXES = frozenset(word[:length] for word in CONTINUATIONS for length in range(1, len(word) + 1))
_CONTINUES_MAX = max(map(len, _PREFIXES))


def unfinished_start(text: str, facts: Sequence[Fact]) -> int:
    """Where in the text the last number, time or address begins that the next characters may still change.

    `facts` are the text's. The length of the text when nothing is open, so that plain words pass at once.
    """
    plain = normalise(text)
    opens = [found.start() for pattern in (ADDRESS, FIGURES) if (found := pattern.search(plain))]
    if (word := LAST_WORD.search(plain)) and any(name.startswith(word[0]) for name in NUMBER_WORDS):
        opens.append(word.start())
    start = min([len(plain), *opens])
    spans = _spans(plain, facts)
    while spans and (spans[-1][1] > start or may_continue(plain[spans[-1][1] : start])):
        start = min(start, spans.pop()[0])
    return start


def _spans(plain: str, facts: Sequence[Fact]) -> list[tuple[int, int]]:
    """Places of the facts and of whatever may become one, merged where they overlap."""
    found = [(fact.start, fact.end) for fact in facts]
    found += [atom.span() for atom in ATOM.finditer(plain)]
    merged: list[tuple[int, int]] = []
    for start, end in sorted(found):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def may_continue(rest: str) -> bool:
    """Whether what stands after a number may still belong to it or join it to the next one."""
    if len(rest) > _CONTINUES_MAX:
        return False
    return "\n" not in rest and (rest in _PREFIXES or GAP.fullmatch(rest) is not None)
