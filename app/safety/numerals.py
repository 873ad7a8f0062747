"""Chinese and English number words to values."""

import re
from fractions import Fraction

DIGITS = {
    **{word: value for value, word in enumerate("零一二三四五六七八九")},
    **{word: value for value, word in enumerate("零壹贰叁肆伍陆柒捌玖")},
    **{"〇": 0, "两": 2, "幺": 1},
}
UNITS = {"十": 10, "拾": 10, "百": 100, "佰": 100, "千": 1_000, "仟": 1_000}
GROUPS = {"万": 10_000, "亿": 100_000_000}
TENS = {"廿": 20, "卅": 30}
CHINESE = "[" + "".join((*DIGITS, *UNITS, *GROUPS, *TENS)) + "]"
PAIR = re.compile(r"一两|两三|三四|三五|四五|五六|六七|七八|八九")
"""Two digits beside each other that mean “one or the other”, not a two-digit number."""

SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
    " eighteen nineteen"
)
TENTHS = "twenty thirty forty fifty sixty seventy eighty ninety"
NTHS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth"
ENGLISH_SMALL = {word: value for value, word in enumerate(SMALL.split())}
ENGLISH_TENS = {word: 10 * value for value, word in enumerate(TENTHS.split(), 2)}
ENGLISH_SCALES = {"dozen": 12, "hundred": 100, "thousand": 1_000, "million": 1_000_000}
ENGLISH_WORDS = (*ENGLISH_SMALL, *ENGLISH_TENS, *ENGLISH_SCALES)
ORDINALS = {word: value for value, word in enumerate(NTHS.split(), 1)}
_WORD = "(?:" + "|".join(sorted(ENGLISH_WORDS, key=len, reverse=True)) + ")"
_SCALE = "(?:hundred|thousand|million|dozen)"
ENGLISH = rf"(?:(?:an?\s+)?{_SCALE}|(?!{_SCALE}){_WORD})(?:(?:\s+and\s+|[\s-]+){_WORD})*"
"""A run of number words; the caller adds the word boundaries."""


def parse_chinese(text: str) -> Fraction | None:
    """The value of a run of Chinese numerals: 二十五, 两百五, 一千二, 二〇二六. None when it is not a number (万一)."""
    if not any(char in UNITS or char in GROUPS or char in TENS for char in text):
        if len(text) > 1 and "两" in text:
            return None
        return Fraction(int("".join(str(DIGITS[char]) for char in text)))
    total = section = digit = 0
    last = 1
    pending = False
    for char in text:
        if char in DIGITS:
            if pending and digit:
                return None
            digit, pending = DIGITS[char], True
            if digit == 0:
                last = 10  # After 零 a digit counts for itself: 一百零五 is 105, 一百五 is 150.
        elif char in TENS:
            section, digit, pending, last = section + TENS[char], 0, False, 10
        elif char in UNITS:
            if not pending and UNITS[char] != 10:
                return None
            section += (digit if pending else 1) * UNITS[char]
            digit, pending, last = 0, False, UNITS[char]
        else:
            if not pending and not section:
                return None
            total = (total + section + digit) * GROUPS[char]
            section, digit, pending, last = 0, 0, False, GROUPS[char]
    return Fraction(total + section + digit * (last // 10 if pending else 1))


def parse_english(text: str) -> Fraction:
    """The value of a run of English number words: twenty-five, two hundred and fifty, a dozen."""
    total = current = 0
    for word in re.split(r"[\s-]+", text.lower()):
        if word in ENGLISH_SMALL:
            current += ENGLISH_SMALL[word]
        elif word in ENGLISH_TENS:
            current += ENGLISH_TENS[word]
        elif word in ENGLISH_SCALES:
            current = max(current, 1) * ENGLISH_SCALES[word]
            if ENGLISH_SCALES[word] >= 1_000:
                total, current = total + current, 0
    return Fraction(total + current)


def parse_arabic(text: str) -> Fraction:
    return Fraction(text.replace(",", ""))


def parse_small(text: str) -> int | None:
    """An hour, minute, day or month written in digits, Chinese numerals or English words."""
    if text.isdigit():
        return int(text)
    value = parse_chinese(text) if re.fullmatch(f"{CHINESE}+", text) else parse_english(text)
    return None if value is None else int(value)
