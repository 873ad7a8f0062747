"""Finds many phrases in a short text at once: normalised spelling in, spans by concept out. Pure, and quick."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

Span = tuple[int, int]

GAP_HAN_CHARS, GAP_LATIN_CHARS = 4, 16
"""How much `~` may stand for."""
STOPS = "。!?;\n"
INVISIBLE = re.compile(r"[\u200b-\u200f\u2060\ufeff\ufe0f'’‘`]")
MARKS = str.maketrans({",": ",", "、": ",", ":": ":", "~": ",", "…": "。", "—": ",", "\t": " ", "\r": "\n", "|": ","})
HAN_SPACE = re.compile(r"(?<=[\u3400-\U0003ffff]) +| +(?=[\u3400-\U0003ffff])")
DASH = re.compile(r" -+ ")
END_DOT = re.compile(r"\.(?=\s|$|[^\w.])")
LONG_CRY = re.compile(r"([!?。])[!?。]+")


def normal(text: str, simplified: Mapping[int, int] | None = None) -> str:
    """The text as the phrases are written: width, case and characters alike, no apostrophes, no blanks between Han."""
    plain = unicodedata.normalize("NFKC", INVISIBLE.sub("", text)).lower()
    plain = INVISIBLE.sub("", plain).translate(MARKS)
    if simplified:
        plain = plain.translate(simplified)
    plain = END_DOT.sub("。", HAN_SPACE.sub("", DASH.sub(", ", plain)))
    return LONG_CRY.sub(r"\1", plain)


@dataclass(frozen=True)
class Phrase:
    """Literal parts in order, with gaps between them."""

    concept: str
    parts: tuple[str, ...]
    gap_chars: int
    word_start: bool
    word_end: bool

    @classmethod
    def of(cls, concept: str, written: str) -> "Phrase":
        parts = tuple(part.replace("_", " ") for part in written.rstrip("*").split("~"))
        latin = written[0].isascii() and written[0].isalnum()
        gap = GAP_LATIN_CHARS if parts[-1].isascii() else GAP_HAN_CHARS
        last = parts[-1][-1]
        ends = last.isascii() and last.isalnum() and not written.endswith("*")
        return cls(concept, parts, gap, latin, ends)

    def end_in(self, text: str, start: int) -> int:
        """Where the phrase whose first part stands here ends; 0 when the rest does not follow."""
        end = start + len(self.parts[0])
        for part in self.parts[1:]:
            at = text.find(part, end, end + self.gap_chars + len(part))
            if at < 0 or any(stop in text[end:at] for stop in STOPS):
                return 0
            end = at + len(part)
        return 0 if self.word_end and end < len(text) and _is_latin(text[end]) else end


def _is_latin(char: str) -> bool:
    return char.isascii() and char.isalnum()


class Phrases:
    """An index of phrases by how they begin. `spans` looks at each place of a text once."""

    def __init__(self, concepts: Mapping[str, Iterable[str]]) -> None:
        self._by_two: dict[str, list[tuple[str, Phrase]]] = {}
        self._by_one: dict[str, list[tuple[str, Phrase]]] = {}
        for concept, words in concepts.items():
            for written in words:
                phrase = Phrase.of(concept, written)
                first = phrase.parts[0]
                index, size = (self._by_one, 1) if len(first) == 1 else (self._by_two, 2)
                index.setdefault(first[:size], []).append((first, phrase))

    def spans(self, text: str) -> dict[str, list[Span]]:
        """Where each concept stands, in the order of the text."""
        found: dict[str, list[Span]] = {}
        by_one, by_two = self._by_one, self._by_two
        inside_word = False
        for at, char in enumerate(text):
            starting, inside_word = inside_word, char.isascii() and char.isalnum()
            if starting and inside_word:
                continue
            for index, key in ((by_two, text[at : at + 2]), (by_one, char)):
                for first, phrase in index.get(key, ()):
                    if text.startswith(first, at) and (end := phrase.end_in(text, at)):
                        found.setdefault(phrase.concept, []).append((at, end))
        return found


class Replacing:
    """Replaces known spellings by what is meant, the longest first."""

    def __init__(self, meant: Mapping[str, str]) -> None:
        self._by_first: dict[str, list[tuple[Phrase, str]]] = {}
        for word in sorted(meant, key=len, reverse=True):
            self._by_first.setdefault(word[0], []).append((Phrase.of("", word), meant[word]))

    def __call__(self, text: str) -> str:
        parts, copied, at, by_first = [], 0, 0, self._by_first
        while at < len(text):
            word = self._word_at(text, at) if text[at] in by_first else None
            if word is None:
                at += 1
                continue
            end, meant = word
            parts += [text[copied:at], meant]
            copied = at = end
        return "".join([*parts, text[copied:]]) if parts else text

    def _word_at(self, text: str, at: int) -> tuple[int, str] | None:
        if at and _is_latin(text[at]) and _is_latin(text[at - 1]):
            return None
        for phrase, meant in self._by_first[text[at]]:
            if text.startswith(phrase.parts[0], at) and (end := phrase.end_in(text, at)):
                return end, meant
        return None


class Spelling:
    """Knows words with one slip: a letter wrong, missing, too many, or in its neighbour's place.

    Both the word and what was typed are compared with one letter left out (SymSpell). The first letter must be right,
    and words that another word of these is told by (`known`) stay as they are.
    """

    CHARS_MIN = 6
    WORD = re.compile(r"[a-z]{6,}")

    def __init__(self, words: Iterable[str], known: Iterable[str]) -> None:
        words = list(words)
        self._known = frozenset(known) | frozenset(words)
        self._by_rest = {rest: word for word in words for rest in (word, *_one_less(word))}

    def __call__(self, text: str) -> str:
        return self.WORD.sub(lambda match: self._meant(match.group()), text)

    def _meant(self, typed: str) -> str:
        if typed in self._known:
            return typed
        for rest in (typed, *_one_less(typed)):
            word = self._by_rest.get(rest)
            if word is not None and abs(len(word) - len(typed)) <= 1:
                return word
        return typed


def _one_less(word: str) -> list[str]:
    """The word without one letter, the first one kept."""
    return [word[:at] + word[at + 1 :] for at in range(1, len(word))]
