"""Wording tokens: Chinese character bigrams, stemmed English words, numbers and codes whole."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache

import snowballstemmer

RUN = re.compile(
    r"(?P<han>[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+)"
    r"|(?P<code>[a-z]*\d+(?:[.,:\-/]?[a-z0-9]+)*)"
    r"|(?P<word>[a-z]+(?:'[a-z]+)?)"
)
_WORDS = """
a an the is are was were be been am do does did can could may might shall should will would must have has had i me my we
us our you your he she it its they them their this that these those what which who whom whose when where why how of to
in on at for from by with about as and or not no if then there here so than too very just any some all each please tell
get got need want know let
"""
_PAIRS = """
什么 怎么 么办 多少 少钱 哪里 哪个 哪些 几点 几个 几天 请问 问一 一下 可以 以吗 是不 不是 是否 能不 不能 有没 没有
我家 我的 你们 我们 吗我 的是 是什 是多 要多 怎样 如何 为什 的吗 了吗 呢我 需要 要什 应该 想问 告诉
"""
STOP_WORDS = frozenset(_WORDS.split())
STOP_HAN = frozenset(_PAIRS.split())
"""Bigrams of asking rather than of what is asked; they count neither as content nor as cover."""
TOKEN_CHARS_MAX = 40

_stem = lru_cache(maxsize=20_000)(snowballstemmer.stemmer("english").stemWord)


def normalised(text: str) -> str:
    """Full-width to half-width, lower case."""
    return unicodedata.normalize("NFKC", text).lower()


def tokens(text: str) -> Iterator[str]:
    """Every token in order of appearance, repeats included."""
    for match in RUN.finditer(normalised(text)):
        run = match.group()
        if match.lastgroup == "han":
            yield from [run] if len(run) == 1 else (run[at : at + 2] for at in range(len(run) - 1))
        elif match.lastgroup == "word":
            yield _stem(run)[:TOKEN_CHARS_MAX]
        else:
            yield run[:TOKEN_CHARS_MAX]


def counts(text: str) -> Counter[str]:
    return Counter(tokens(text))


def content_tokens(text: str) -> frozenset[str]:
    """The distinct tokens that carry what a question asks for."""
    found = set()
    for match in RUN.finditer(normalised(text)):
        run = match.group()
        if match.lastgroup == "word":
            if run not in STOP_WORDS:
                found.add(_stem(run)[:TOKEN_CHARS_MAX])
        elif match.lastgroup == "han" and len(run) > 1:
            found.update(pair for at in range(len(run) - 1) if (pair := run[at : at + 2]) not in STOP_HAN)
        else:
            found.add(run[:TOKEN_CHARS_MAX])
    return frozenset(found)
