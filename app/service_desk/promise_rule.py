"""Promises in what staff write to residents: who will do something, and by when. Pure.

What is found is only proposed; a person confirms it. So a miss costs little and a wrong find a glance.
"""

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from app.safety.numerals import parse_small


@dataclass(frozen=True, slots=True)
class Found:
    """The sentence that promises, and until when, in UTC or any zone."""

    text: str
    due_at: datetime


N = r"(?:\d{1,3}|[零〇一二两三四五六七八九十]{1,3})"
SENTENCE = re.compile(r"[^。！？!?；;\n]+[。！？!?；;\n]?")
WILL_ZH = re.compile(
    r"会|将|安排|上门|赶到|到(?:场|达|您|你|家|现场|位)?|过[来去]|来修|回(?:电|复|访|您|你)|联系|通知(?:您|你)|处理|修好|解决|完成|答复|给(?:您|你)|派|保证|尽量|争取|恢复"
)
WILL_EN = re.compile(
    r"\b(?:will|'ll|shall|going to|be there|promise|aim to|plan to|expect to|arrive|come by|comes? (?:over|round)|is coming|are coming)\b",
    re.I,
)
NO_PROMISE_ZH = re.compile(
    r"[吗么呢]\s*[？?]?$|[？?]$|(?:不能|没法|无法|不会|来不及|恐怕)[^，,]{0,12}(?:上门|到|来|处理|修|完成)|昨[天晚日]|前天|上周|^\s*(?:请|麻烦|烦请)(?:您|你)"
    r"|(?:您|你)(?:是否|方便|可以|能不能|说|要求|反映|反馈)|已(?:经)?(?:于|在)"
)
NO_PROMISE_EN = re.compile(
    r"\?\s*$|\b(?:cannot|can't|won't|will not|unable|could not|couldn't|yesterday|last (?:night|week))\b|^\s*(?:please|kindly|could you|can you|would you)\b"
    r"|\b(?:you (?:said|asked|told|will|need|must|should))\b", re.I,
)  # fmt: skip

UNITS_ZH = {"分钟": 1, "分": 1, "刻钟": 15, "小时": 60, "钟头": 60, "天": 1440, "日": 1440, "周": 10080, "星期": 10080}
WITHIN_ZH = re.compile(
    rf"(?P<half>半)?(?P<n>{N})?\s*(?:个)?(?P<and_half>半)?\s*(?P<working>工作)?(?P<unit>分钟|刻钟|小时|钟头|天|日|星期|周)(?P<tail_half>半)?\s*(?:之内|以内|内|之后|后)"
)
WITHIN_EN = re.compile(
    r"\b(?:within|in)\s+(?:the next\s+)?(?P<n>\d{1,3}|an?|one|two|three|four|five|six|seven|eight|ten|twelve|twenty|thirty|half an|a half)\s*"
    r"(?:working\s+|business\s+)?(?P<unit>minutes?|mins?|hours?|hrs?|days?|weeks?)\b",
    re.I,
)
EN_NUMBERS = {
    "a": 1.0, "an": 1.0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8,
    "ten": 10, "twelve": 12, "twenty": 20, "thirty": 30, "half an": 0.5, "a half": 0.5,
}  # fmt: skip
UNITS_EN = {"min": 1, "hour": 60, "hr": 60, "day": 1440, "week": 10080}

DAYS_ZH = {
    "今天": 0,
    "今日": 0,
    "今晚": 0,
    "今早": 0,
    "明天": 1,
    "明日": 1,
    "明早": 1,
    "明晚": 1,
    "后天": 2,
    "大后天": 3,
}
DAY_ZH = re.compile(
    r"(?P<word>大后天|今天|今日|今晚|今早|明天|明日|明早|明晚|后天)|(?P<next>下)?(?:个)?(?:周|星期|礼拜)(?P<week>[一二三四五六日天末])"
    rf"|(?:(?P<month>{N})月)?(?P<day>{N})[日号](?!楼|栋|单元|线|门|院|梯)"
)
WEEK_ZH = {name: number for number, name in enumerate("一二三四五六日")} | {"天": 6, "末": 6}
PARTS_ZH = {"早上": 10, "早晨": 10, "上午": 12, "中午": 13, "下午": 18, "傍晚": 19, "晚上": 22, "晚": 22, "早": 10}
"""Until when a part of the day lasts."""
LATE = frozenset({"下午", "傍晚", "晚上", "今晚", "明晚", "晚"})
CLOCK_ZH = re.compile(
    rf"(?P<part>早上|早晨|上午|中午|下午|傍晚|晚上|晚|早)?\s*(?P<hour>{N})\s*(?:[:：](?P<colon>\d{{2}})|[点时](?!内|之内|以内|后)(?:(?P<half>半)|(?P<quarter>[一三])刻|(?P<minute>{N})分?)?)"
)
PART_ZH = re.compile(r"早上|早晨|上午|中午|下午|傍晚|晚上|今晚|明晚|今早|明早")
DAY_EN = re.compile(
    r"\b(?P<word>today|tonight|tomorrow|this (?:morning|afternoon|evening)|(?:the )?day after tomorrow)\b"
    r"|\b(?P<next>next\s+)?(?P<week>mon|tues|wednes|thurs|fri|satur|sun)day\b",
    re.I,
)
WEEK_EN = {"mon": 0, "tues": 1, "wednes": 2, "thurs": 3, "fri": 4, "satur": 5, "sun": 6}
CLOCK_EN = re.compile(r"\b(?P<hour>\d{1,2})(?:[:.](?P<minute>\d{2}))?\s*(?P<half>a\.?m\b\.?|p\.?m\b\.?|o'?clock)|\b(?P<h24>\d{1,2}):(?P<m24>\d{2})\b|\b(?P<noon>noon|midday)\b", re.I)  # fmt: skip
PART_EN = re.compile(
    r"\b(?P<part>morning|noon|afternoon|evening|tonight|end of (?:the )?day|close of business)\b", re.I
)
PARTS_EN = {"morning": 12, "noon": 13, "afternoon": 18, "evening": 22, "tonight": 22}
DAY_ENDS = 18
"""The hour until which a promised day is meant when no hour was said: the end of a working day."""


def find_promise(text: str, *, now: datetime, zone: ZoneInfo) -> Found | None:
    """The first sentence that promises something until a time still to come, with that time; else None.

    “明天上午10点前上门”, "we'll call you within 2 hours". A part of the day lasts until its end.
    """
    for sentence in SENTENCE.findall(text):
        said = sentence.strip()
        if not _commits(said):
            continue
        due_at = _duration(said, now) or _moment(said, now.astimezone(zone))
        if due_at is not None and due_at > now:
            return Found(said, due_at)
    return None


def _commits(said: str) -> bool:
    zh = WILL_ZH.search(said) is not None and NO_PROMISE_ZH.search(said) is None
    en = WILL_EN.search(said) is not None and NO_PROMISE_EN.search(said) is None
    return zh or en


def _duration(said: str, now: datetime) -> datetime | None:
    if found := WITHIN_ZH.search(said):
        number = 0.0 if found["n"] is None else float(_number(found["n"]))
        if found["half"] or found["and_half"] or found["tail_half"]:
            number += 0.5
        if number:
            return now + timedelta(minutes=number * UNITS_ZH[found["unit"]])
    if found := WITHIN_EN.search(said):
        word = found["n"].lower()
        minutes = next(value for name, value in UNITS_EN.items() if found["unit"].lower().startswith(name))
        return now + timedelta(minutes=(EN_NUMBERS[word] if word in EN_NUMBERS else float(word)) * minutes)
    return None


def _moment(said: str, here: datetime) -> datetime | None:
    day = _day_zh(said, here.date()) or _day_en(said, here.date())
    clock = _clock_zh(said, here if day is None else None) or _clock_en(said)
    if day is None and clock is None and not (PART_ZH.search(said) or PART_EN.search(said)):
        return None
    on = day or here.date()
    at = clock or _part(said) or time(DAY_ENDS)
    return datetime.combine(on, at, tzinfo=here.tzinfo)


def _day_zh(said: str, today: date) -> date | None:
    found = DAY_ZH.search(said)
    if found is None:
        return None
    if found["word"]:
        return today + timedelta(days=DAYS_ZH[found["word"]])
    if found["week"]:
        return _weekday(today, WEEK_ZH[found["week"]], following=bool(found["next"]))
    day, month = _number(found["day"]), _number(found["month"]) if found["month"] else None
    return _calendar_day(today, month, day)


def _calendar_day(today: date, month: int | None, day: int) -> date | None:
    for ahead in range(13):
        number = today.month - 1 + ahead
        year, candidate = today.year + number // 12, number % 12 + 1
        if month is not None and candidate != month:
            continue
        try:
            found = date(year, candidate, day)
        except ValueError:
            continue
        if found >= today:
            return found
    return None


def _day_en(said: str, today: date) -> date | None:
    found = DAY_EN.search(said)
    if found is None:
        return None
    if word := (found["word"] or "").lower():
        return today + timedelta(days=2 if "after" in word and "afternoon" not in word else int(word == "tomorrow"))
    return _weekday(today, WEEK_EN[found["week"].lower()], following=bool(found["next"]))


def _weekday(today: date, wanted: int, *, following: bool) -> date:
    """This week's or, when it has passed, the coming one; `following`: the one of the calendar week after this."""
    if following:
        return today - timedelta(days=today.weekday()) + timedelta(days=7 + wanted)
    return today + timedelta(days=(wanted - today.weekday()) % 7)


def _clock_zh(said: str, here: datetime | None) -> time | None:
    found = None
    for found in CLOCK_ZH.finditer(said):  # noqa: B007 (the last time said is the end of a span)
        pass
    if found is None:
        return None
    hour = _number(found["hour"])
    minute = 0
    if found["colon"]:
        minute = int(found["colon"])
    elif found["half"]:
        minute = 30
    elif found["quarter"]:
        minute = 15 * _number(found["quarter"])
    elif found["minute"]:
        minute = _number(found["minute"])
    named = found["part"] or (PART_ZH.search(said) or [""])[0]
    late = named in LATE or (named == "中午" and hour < 6)
    # “3点前上门” said at noon means the afternoon.
    passed = here is not None and not named and time(hour % 24, minute % 60) <= here.time()
    if hour < 12 and (late or passed):
        hour += 12
    return time(hour, minute) if hour < 24 and minute < 60 else None


def _clock_en(said: str) -> time | None:
    found = None
    for found in CLOCK_EN.finditer(said):  # noqa: B007
        pass
    if found is None:
        return None
    if found["noon"]:
        return time(12)
    if found["h24"]:
        hour, minute, half = int(found["h24"]), int(found["m24"]), ""
    else:
        hour, minute, half = int(found["hour"]), int(found["minute"] or 0), (found["half"] or "").lower()
    afternoon = half.startswith("p") or (half.startswith("o") and PART_EN.search(said) and "afternoon" in said.lower())
    if afternoon and hour < 12:
        hour += 12
    elif half.startswith("a") and hour == 12:
        hour = 0
    return time(hour, minute) if hour < 24 and minute < 60 else None


def _part(said: str) -> time | None:
    if found := PART_ZH.search(said):
        return time(PARTS_ZH[found[0] if found[0] in PARTS_ZH else found[0][-1]])
    if found := PART_EN.search(said):
        return time(PARTS_EN.get(found["part"].lower(), DAY_ENDS))
    return None


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else int(parse_small(text) or 0)
