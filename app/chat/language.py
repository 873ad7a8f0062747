"""Which language a text is in: Chinese or English, by its script."""

import re

CHINESE = re.compile(r"[\u4e00-\u9fff\u3400-\u4dbf]")
WORD = re.compile(r"[A-Za-z]+(?:'[a-z]+)?")


def language_of(text: str) -> str:
    """`zh` or `en`. One English word weighs about two Chinese characters; mixed texts go to the heavier side.

    A Chinese sentence with a few English words ("我的 parking pass 怎么办理") is Chinese. No letters at all: zh.
    """
    chinese = len(CHINESE.findall(text))
    english = len(WORD.findall(text))
    return "en" if english * 2 > chinese * 1.5 and chinese < 4 * english and english else "zh"
