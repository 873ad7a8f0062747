"""Dates, weekdays and times of the day as they are written in Chinese and English."""

import re
from collections.abc import Callable
from typing import NamedTuple

from app.safety.numerals import CHINESE, ENGLISH_SMALL, parse_small

HALF_DAY = 720


class Date(NamedTuple):
    """A date or a part of one; None is what the text leaves open."""

    year: int | None
    month: int | None
    day: int | None


ZH = r"[零〇一二两三四五六七八九十廿卅]{1,3}"
N = rf"(?:\d{{1,2}}|{ZH})"
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
MONTH = (
    r"(?P<month>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
    r"|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\b\.?"
)
DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?(?![\d:])"
YEAR = r"(?:,?\s+(?P<year>(?:19|20)\d{2}))?(?!\d)"
NOT_A_DAY = r"(?!楼|栋|线|门|电梯|机|院|岗|桩|位|柜|室|房|厅|店|车|常|内|以内|之内|均|用|三餐|之间)"


def _read_numbers(found: re.Match[str]) -> Date | None:
    parts = found.groupdict()
    year = parts.get("year")
    month, day = (parse_small(parts[name]) if parts.get(name) else None for name in ("month", "day"))
    if month not in (None, *range(1, 13)) or day not in (None, *range(1, 32)):
        return None
    return Date(_year(year) if year else None, month, day)


def _year(text: str) -> int:
    return int(text) if text.isdigit() else int("".join(str(parse_small(char)) for char in text))


def _read_english(found: re.Match[str]) -> Date | None:
    parts = found.groupdict()
    month = MONTHS.index(parts["month"][:3]) + 1
    day = int(parts["day"]) if parts.get("day") else None
    if day is not None and not 1 <= day <= 31:
        return None
    return Date(int(parts["year"]) if parts.get("year") else None, month, day)


ZH_YEAR = r"(?P<year>\d{4}|[零〇一二三四五六七八九]{4})"
ZH_DAY = r"(?P<day>\d{1,2}|[一二三]?十[一二三四五六七八九]?|廿[一二三四五六七八九]?)"
NUMERIC = (
    r"(?<!\d)(?P<year>\d{4})(?P<sep>[-/.])(?P<month>\d{1,2})(?P=sep)(?P<day>\d{1,2})(?!\d)",
    # “11月25-27日”: the first day of a range may leave its 日 to the last.
    rf"(?:(?<!\d){ZH_YEAR}\s*年\s*)?(?<!\d)(?P<month>{N})\s*月\s*(?P<day>{N})"
    rf"(?:\s*[日号]|(?=\s*(?:[-~至到—])\s*{N}\s*[日号]))",
    rf"(?<!\d){ZH_YEAR}\s*年\s*(?P<month>{N})\s*月(?:份)?",
    rf"(?<!\d){ZH_YEAR}\s*年(?!级)",
    rf"(?<![\d个.])(?P<month>{N})月(?:份)?(?!租|卡|费|内|以内|之内)",
    rf"(?<![\d.]){ZH_DAY}\s?[日号]{NOT_A_DAY}",
)
NTH = r"(?:st|nd|rd|th)?"
WORDED = (
    rf"(?<![\d.:])\b(?P<day>\d{{1,2}}){NTH}(?=\s*(?:-|–|to|and)\s*\d{{1,2}}{NTH}\s+(?:of\s+)?{MONTH})",
    rf"(?<![\d.:])\b{DAY}\s+(?:of\s+)?{MONTH}{YEAR}",
    rf"\b{MONTH}\s+{DAY}{YEAR}",
    rf"\b{MONTH}\s+(?P<year>(?:19|20)\d{{2}})(?!\d)",
)
Dates = tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], Date | None]], ...]
CHINESE_DATES: Dates = tuple((re.compile(pattern), _read_numbers) for pattern in NUMERIC)
ENGLISH_DATES: Dates = tuple((re.compile(pattern), _read_english) for pattern in WORDED)
HAS_DATE = re.compile(r"[年月日号]|\d[-/.]\d")
ENGLISH_DATE_END = re.compile(
    r"\s*(?:-|–|to|and)\s*(?P<day>\d{1,2})(?:st|nd|rd|th)?(?![\d:.])(?!\s*[a-z%]*\s*[ap]\.?m)"
)


def complete(date: Date, earlier: Date) -> Date:
    """The date with the month and year it leaves open taken from the one before it."""
    if date.month is None:
        return Date(date.year or earlier.year, earlier.month, date.day)
    return date


# Weekdays, Monday is 1

ZH_DAYS = {**{char: day for day, char in enumerate("一二三四五六日", 1)}, "天": 7}
EN_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
EN_DAY = (
    r"(?:mon|tues|wednes|thurs|fri|satur|sun)days?|(?:mon|tues?|thu|thurs?|fri)\b|(?:wed|sat|sun)(?=\s*[-–]\s*[mtwfs])"
)
EN_LAST = r"(?:mon|tues|wednes|thurs|fri|satur|sun)days?|mon|tues?|wed|thu|thurs?|fri|sat|sun"
WEEKDAYS = re.compile(
    r"(?:星期|礼拜|周)(?P<zh>[一二三四五六日](?:[、和与及][一二三四五六日](?![次个点天月]))*|(?<!周)天)(?!次|回|遍|趟|个|天|期)"
    r"(?:\s*(?:至|到|-|~|—)\s*(?:星期|礼拜|周)?(?P<zh_last>[一二三四五六日]|(?<!周)天)(?!次|回|个|点|天|月|期|号))?"
    r"|(?P<end>周末|\bweekends?\b)|(?P<work>(?<![个\d一二两三四五六七八九十])工作日|\bweekdays?\b)"
    rf"|\b(?P<en>{EN_DAY})\b(?:\s*(?:-|–|to|through|until)\s*(?P<en_last>{EN_LAST})\b)?"
)
EVERY_DAY = re.compile(
    r"每天|每日|天天|全年|全天|\bdaily\b|\bevery\s?day\b|\b7 days a week\b|\bseven days a week\b|\b24/7\b"
)


def read_weekdays(found: re.Match[str]) -> frozenset[int]:
    """The weekdays meant; a range is all of its days."""
    if found["end"]:
        return frozenset((6, 7))
    if found["work"]:
        return frozenset(range(1, 6))
    if found["zh"]:
        first = [ZH_DAYS[char] for char in found["zh"] if char in ZH_DAYS]
        last = ZH_DAYS[found["zh_last"]] if found["zh_last"] else None
    else:
        first = [_english_day(found["en"])]
        last = _english_day(found["en_last"]) if found["en_last"] else None
    if last is None:
        return frozenset(first)
    days = [
        *first[:-1],
        *(range(first[-1], last + 1) if first[-1] <= last else (*range(first[-1], 8), *range(1, last + 1))),
    ]
    return frozenset(days)


def _english_day(word: str) -> int:
    return next(number for number, name in enumerate(EN_DAYS, 1) if name.startswith(word[:3]))


# Times, in minutes of the day

MORNING = ("凌晨", "清晨", "清早", "早上", "早晨", "上午", "早")
NOON = ("中午", "正午", "午间")
AFTERNOON = ("午后", "下午", "傍晚")
NIGHT = ("夜里", "夜间", "深夜", "半夜", "午夜")
EVENING = ("晚上", "晚间", "当晚", "今晚", "明晚", "每晚", "昨晚", "晚")
MARK = f"(?:(?P<mark>{'|'.join((*MORNING, *NOON, *AFTERNOON, *NIGHT, *EVENING))})\\s?)?"
EN_MARK = r"(?:\s*(?P<half>[ap])\.?\s?m\b\.?|\s+(?P<part>in the morning|in the afternoon|in the evening|at night))"
EN_HOUR = rf"(?:\d{{1,2}}|{'|'.join(word for word, value in ENGLISH_SMALL.items() if 1 <= value <= 12)})"
NOT_A_TIME = r"(?!建议|要求|注意|原因|说明|内容|好处|意见|提示|事项|之间的)"
TIMES = (
    re.compile(rf"{MARK}(?<![\d:.])(?P<hour>\d{{1,2}}):(?P<minute>\d{{2}})(?::\d{{2}})?(?![\d:]){EN_MARK}?"),
    re.compile(
        rf"{MARK}(?<![\d:.零一二三四五六七八九十])(?!{CHINESE}+点{CHINESE}+(?:元|块|倍|米|公斤|千克|度|吨|平|小时|万|亿|折))"
        rf"(?P<hour>\d{{1,2}}|{ZH})\s?(?P<dot>点钟?|时(?!间|段|候|效|速|常|长|期|限))(?P<minute>半(?!价)|整|一刻|三刻|{N}分?(?!\d))?{NOT_A_TIME}"
    ),
)
ENGLISH_TIMES = (
    re.compile(rf"(?<![\d:.])\b(?P<hour>{EN_HOUR})(?:\.(?P<minute>\d{{2}}))?{EN_MARK}"),
    re.compile(rf"\b(?P<hour>{EN_HOUR})\s*(?P<dot>o['’]?\s?clock)\b{EN_MARK}?"),
    re.compile(rf"\b(?P<past>half past|quarter past|quarter to)\s+(?P<hour>{EN_HOUR})\b{EN_MARK}?"),
    re.compile(r"\b(?P<named>noon|midday|midnight)\b"),
)
MARKED = re.compile(rf"{'|'.join((*MORNING, *NOON, *AFTERNOON, *NIGHT, *EVENING))}|[ap]\.?\s?m\b|in the |at night")
RANGE_START = re.compile(rf"(?<![\d.:])(?P<hour>\d{{1,2}}|{ZH}|\b{EN_HOUR})\s*(?:-|–|—|~|至|到|to\b|and\b)\s*")
MINUTE_WORDS = {"半": 30, "整": 0, "一刻": 15, "三刻": 45}


def read_time(found: re.Match[str]) -> frozenset[int]:
    """The minutes of the day this may mean: “8点” is two of them, “晚上8点” and “20:00” one. Empty: not a time."""
    parts = found.groupdict()
    if parts.get("named"):
        return frozenset((0 if parts["named"] == "midnight" else HALF_DAY,))
    hour = parse_small(parts["hour"])
    words = parts.get("minute") or ""
    minute = MINUTE_WORDS[words] if words in MINUTE_WORDS else parse_small(words.removesuffix("分")) if words else 0
    minute = {"half past": 30, "quarter past": 15, "quarter to": -15}.get(parts.get("past") or "", minute)
    if hour is None or minute is None or hour > 24 or minute > 59:
        return frozenset()
    mark, half = parts.get("mark"), parts.get("half") or _half_of(parts.get("part"))
    dot = parts.get("dot") or ""
    # “早一点” is “a little earlier”, “一时” “for a moment”.
    loose = mark in (None, "早", "晚") and not words and not parts["hour"].isdigit()
    if loose and (dot == "时" or (dot == "点" and parts["hour"] == "一")):
        return frozenset()
    if mark:
        hours = {_marked_hour(hour, mark)}
    elif half and hour <= 12:
        hours = {hour % 12 + (12 if half == "p" else 0)}
    elif (dot or parts.get("past")) and hour <= 12:
        hours = {hour % 12, hour % 12 + 12}
    else:
        hours = {hour}
    return frozenset((each * 60 + minute) % 1440 for each in hours)


def _half_of(part: str | None) -> str | None:
    return None if part is None else "a" if part.endswith("morning") else "p"


def _marked_hour(hour: int, mark: str) -> int:
    if hour > 12 or mark in MORNING:
        return 0 if hour == 12 and mark == "凌晨" else hour
    if mark in NOON:
        return hour + 12 if hour <= 3 else hour
    if mark in AFTERNOON:
        return hour % 12 + 12
    if hour == 12:
        return 24
    # “夜里2点” is in the small hours, “晚上8点” before midnight.
    return hour if hour <= 5 else hour + 12


def both_halves(minutes: frozenset[int]) -> frozenset[int]:
    """The same clock face in both halves of the day, for times written up to 12."""
    return minutes | {(minute + HALF_DAY) % 1440 for minute in minutes if minute < 780}
