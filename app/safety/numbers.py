"""Every number, time, date, phone, price and address in a Chinese or English text, with values that can be compared.

Pure. A text is read segment by segment (a line, a sentence), so that a stream can be read again from its last segment.
The finders run in order; what one has read is taken, so that 2026-11-25 is a date and not three numbers.
"""

import itertools
import re
from dataclasses import replace

from app.safety import calendar
from app.safety.amounts import find_amounts, find_shares, is_measured, join_durations, share_units
from app.safety.facts import RANGE_GAP, Fact, Kind, Page, normalise, segments
from app.safety.numerals import CHINESE, parse_small


def find_facts(text: str) -> list[Fact]:
    """Every fact, in order of place. List markers (1. ② 3、) and citation marks ([1]) are none."""
    return [
        replace(fact, start=fact.start + offset, end=fact.end + offset)
        for offset, segment in segments(text)
        for fact in _read(segment)
    ]


def _read(segment: str) -> list[Fact]:
    if not re.search(rf"[\d０-９]|{CHINESE}|[半天日午末周工廿]|[A-Za-z]|[①-⑳]", segment):
        return []
    page = Page(normalise(segment))
    for finder in FINDERS:
        finder(page)
    page.facts.sort(key=lambda fact: (fact.start, fact.end))
    return join_durations(page.text, share_units(page.text, page.facts))


# Links and markers

LINK = re.compile(
    r"(?:https?://|www\.)(?=[a-z0-9])[^\s\u3000-\u9fff<>\"'，。；）]+|[\w.+-]+@[a-z0-9-]+(?:\.[a-z0-9-]+)+"
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
    rf"(?P<lead>\s*(?:[#>*|-]+\s*|[\[【]\d{{1,2}}[\]】]\s*)*)(?:\d{{1,2}}[.)、](?!\d)|\(\d{{1,2}}\)|\({CHINESE}{{1,3}}\)|{CHINESE}{{1,3}}、(?!{CHINESE})"
    rf"|第{CHINESE}{{1,4}}[条章节](?!\s*第)|(?P<section>\d{{1,2}}(?:\.\d{{1,2}}){{1,3}})(?=\s))"
)
INLINE_MARK = re.compile(r"(?<=[:;；,\s(])\(?(\d{1,2})(?:[)、]|\.(?=\s|[^\d\s.,a-z]))(?!\d)")


def _find_links(page: Page) -> None:
    for found in page.find(LINK) if page.latin else ():
        words = found[0].rstrip(".,;:!?)")
        page.add_span(found.start(), found.start() + len(words), Kind.LINK, bare_link(words))


def bare_link(text: str) -> str:
    """An address without what may differ in notation."""
    return re.sub(r"^https?://|^www\.", "", re.sub(r"^https?://", "", text.lower())).rstrip("/")


def _find_marks(page: Page) -> None:
    for pattern in (CITATION, CIRCLED, COUNTED):
        for found in page.find(pattern):
            page.take(found.start(), found.end())
    mark = LINE_MARK.match(page.text)
    # “3.5 hours” opens a line as “3.1 Opening hours” does; only what has no unit is a section's number.
    if (
        mark
        and page.free(mark.end("lead"), mark.end())
        and not (mark["section"] and is_measured(page.text, mark.end()))
    ):
        page.take(*mark.span())
    expected = 1
    for found in page.find(INLINE_MARK):
        if int(found[1]) == expected:
            page.take(found.start(), found.end())
            expected += 1


# Phones and codes

PHONE = re.compile(
    r"(?<![\d.])(?:\+?86[-\s]?)?(?:\(?\d{3,4}\)?[-\s]\d{3,4}[-\s]\d{3,4}|\(?0\d{2,3}\)?[-\s]?\d{7,8}|1\d{10}|\d{7,8}[-\s]\d{3,4}|\d{7,13})(?!\.?\d|%|\s*(?:元|yuan))"
)
CODE = re.compile(r"(?<![a-z0-9])(?!rmb|cny|no)([a-z]{1,4})-?(\d+)([a-z]?)(?![a-z0-9])")


def _find_phones(page: Page) -> None:
    for found in page.find(PHONE):
        digits = re.sub(r"\D", "", found[0])
        page.add(found, Kind.PHONE, digits[2:] if found[0].startswith("+86") or len(digits) == 13 else digits)


def _find_codes(page: Page) -> None:
    for found in page.find(CODE) if page.latin else ():
        page.add(found, Kind.CODE, f"{found[1]}{found[2]}{found[3]}".upper())


# Dates, weekdays and times of the day: patterns and readings are in calendar.py


def _find_dates(page: Page) -> None:
    chinese = calendar.CHINESE_DATES if calendar.HAS_DATE.search(page.text) else ()
    for pattern, read in (*chinese, *(calendar.ENGLISH_DATES if page.latin else ())):
        for found in page.find(pattern):
            if (date := read(found)) is not None:
                page.add(found, Kind.DATE, date)
    for fact in [fact for fact in page.facts if fact.kind is Kind.DATE]:
        # “November 25 to 27”
        end = calendar.ENGLISH_DATE_END.match(page.text, fact.end)
        if end and page.free(*end.span()) and page.text[fact.start].isalpha() and int(end["day"]) <= 31:
            page.add_span(*end.span("day"), Kind.DATE, calendar.Date(None, None, int(end["day"])))
    dates = sorted((fact for fact in page.facts if fact.kind is Kind.DATE), key=lambda fact: fact.start)
    for earlier, later in itertools.pairwise(dates):
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
    for pattern in (*calendar.TIMES, *(calendar.ENGLISH_TIMES if page.latin else ())):
        for found in page.find(pattern):
            if minutes := calendar.read_time(found):
                page.add(found, Kind.TIME, minutes)
    # “2:00-5:00 pm”, “下午2:00-5:00” and “8至10点”: the other end of a range may take the same half of the day.
    times = sorted((fact for fact in page.facts if fact.kind is Kind.TIME), key=lambda fact: fact.start)
    for first, second in itertools.pairwise(times):
        marked = [calendar.MARKED.search(page.text[fact.start : fact.end]) is not None for fact in (first, second)]
        if marked[0] != marked[1] and RANGE_GAP.fullmatch(page.text[first.end : second.start]):
            plain = second if marked[0] else first
            assert isinstance(plain.value, frozenset)
            page.facts[page.facts.index(plain)] = replace(plain, value=calendar.both_halves(plain.value))
    for found in page.find(calendar.RANGE_START):
        after = next((fact for fact in times if fact.start == found.end()), None)
        if after is not None and (hour := parse_small(found["hour"])) is not None and hour <= 24:
            page.add_span(*found.span("hour"), Kind.TIME, calendar.both_halves(frozenset({hour * 60})))


FINDERS = (
    _find_links,
    _find_marks,
    _find_phones,
    _find_dates,
    _find_weekdays,
    _find_times,
    _find_codes,
    find_shares,
    find_amounts,
)
