"""A classifier as a second voice: it adds to what the rules found, and silences what it is sure to be none.

It is heard by the wording alone at once, and by the meaning too where an embedder is at hand: `listen` never waits
longer than `MEANING_SECONDS_MAX` for that, and not at all where the wording is plain.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import structlog

from app.safety import emergencies
from app.safety.emergencies import Emergency, EmergencyKind, Reading
from models import intent
from models.embedder import Embedder, Vectors
from models.openai_embedder import EmbedderFailed
from models.versions import WeightsDamaged

log = structlog.get_logger(__name__)

MEANING_SECONDS_MAX = 0.5
TEXT_CHARS_MAX = 300
"""Longer texts are seldom a cry for help, and one sentence among many sways the meaning little."""
WORDS_CHARS = 60


@dataclass(frozen=True)
class Opinion:
    """How likely a text is an emergency of any kind, and of which; `whole` when the meaning was heard too."""

    share: float
    kind: EmergencyKind
    whole: bool = False


Voice = Callable[[str], Opinion | None]


class Sign(StrEnum):
    """What the rules heard."""

    FIRM = "firm"
    """Signs that hardly ever mean anything else, or broad ones that press."""
    BROAD = "broad"
    HINT = "hint"
    """Not enough for the rules to alarm."""
    NOTHING = "nothing"


SHARES_MIN_WHOLE = {
    Sign.FIRM: (0.01, 0.05), Sign.BROAD: (0.05, 0.3), Sign.HINT: (0.2, 0.5), Sign.NOTHING: (0.3, 0.6)
}  # fmt: skip
"""How sure the voice must be for an alarm: as it stands, and where words cast doubt on it ("昨天", "演习").

Chosen on hard sentences of eight authors, each scored by a classifier that had not seen that author: of 1,759
emergencies .933 are found, of 2,396 others, half of them written to be mistaken, .037 alarm. Of 685 firm alarms 4 were
silenced.
"""
SHARES_MIN_WORDING = {
    Sign.FIRM: (0.005, 0.02), Sign.BROAD: (0.05, 0.3), Sign.HINT: (0.3, 0.6), Sign.NOTHING: (0.5, 0.8)
}  # fmt: skip
"""On the same .887 and .053."""
AGREES_FIRM, AGREES = 0.2, 0.9
"""From this share of the wording on, an alarm does not wait for the meaning."""
NOTHING_BELOW = 0.003
"""Below this share of the wording, and without a hint for the rules, a text is none, and nobody embeds it.

Five of six ordinary questions are; of the emergencies that were trained on or tuned on, none
(tests/quality/test_emergencies.py)."""


@dataclass(frozen=True)
class Heard:
    """What rules and wording make of a text, and whether the meaning may still change that."""

    found: Emergency | None
    asks_meaning: bool


def find(text: str, voice: Voice | None) -> Emergency | None:
    """What rules and voice make of a text, the last word of those who cannot wait. Without a voice, the rules."""
    reading = emergencies.read(text)
    opinion = voice(text) if voice is not None and _is_for_the_voice(text) else None
    return _decide(text, reading, opinion)


def hear(text: str) -> Heard:
    """At once. The meaning is asked of alarms that the wording does not bear out and of silence it is not sure of."""
    reading = emergencies.read(text)
    opinion = by_wording(text) if _is_for_the_voice(text) else None
    found = _decide(text, reading, opinion)
    if opinion is None:
        return Heard(found, asks_meaning=False)
    sign = _sign(reading)
    plain = opinion.share >= (AGREES_FIRM if sign is Sign.FIRM else AGREES)
    nothing = sign is Sign.NOTHING and opinion.share < NOTHING_BELOW
    return Heard(found, asks_meaning=not (plain or nothing))


async def listen(text: str, embedder: Embedder | None) -> Emergency | None:
    """What is found at once, or else by the meaning; where that is not to be had, by rules and wording."""
    return await listen_on(text, hear(text), embedder)


async def listen_on(text: str, heard: Heard, embedder: Embedder | None) -> Emergency | None:
    """As `listen`, for what was heard at once."""
    vector = await _vector(text, embedder) if heard.asks_meaning and embedder is not None else None
    return heard.found if vector is None else _by_meaning(text, vector)


def find_whole(text: str, vector: Vectors) -> Emergency | None:
    """As `listen`, with the text's query vector at hand. Shapes: vector (width,)."""
    heard = hear(text)
    return _by_meaning(text, vector) if heard.asks_meaning else heard.found


def _by_meaning(text: str, vector: Vectors) -> Emergency | None:
    return _decide(text, emergencies.read(text), _opinion(text, vector))


def by_wording(text: str) -> Opinion | None:
    """The classifier's opinion of the words alone. None without weights."""
    return _opinion(text, None)


def understands(embedder: Embedder) -> bool:
    """Whether the classifier was trained with this embedder's vectors."""
    try:
        return intent.load_emergencies().understands(embedder.name)
    except WeightsDamaged:
        return False


def _opinion(text: str, vector: Vectors | None) -> Opinion | None:
    try:
        classifier = intent.load_emergencies()
    except WeightsDamaged as error:
        log.error("emergency_weights_unusable", error=str(error))
        return None
    shares = classifier.scores(vector[None] if vector is not None else None, [text])
    kinds = {label: float(share) for label, share in zip(classifier.labels, shares[0], strict=True)}
    kinds.pop(intent.NO_EMERGENCY)
    kind = max(kinds, key=lambda label: kinds[label])
    return Opinion(sum(kinds.values()), EmergencyKind(kind), vector is not None)


def _is_for_the_voice(text: str) -> bool:
    return len(text.strip()) > 0 and len(text) <= TEXT_CHARS_MAX


def _sign(reading: Reading) -> Sign:
    if reading.sure is not None:
        return Sign.FIRM if reading.firm or reading.pressing else Sign.BROAD
    return Sign.HINT if reading.unsure is not None else Sign.NOTHING


def _decide(text: str, reading: Reading, opinion: Opinion | None) -> Emergency | None:
    if opinion is None:
        return reading.sure
    shares_min = SHARES_MIN_WHOLE if opinion.whole else SHARES_MIN_WORDING
    if opinion.share < shares_min[_sign(reading)][reading.doubted]:
        return None
    return reading.sure or reading.unsure or Emergency(opinion.kind, text.strip()[:WORDS_CHARS])


async def _vector(text: str, embedder: Embedder) -> Vectors | None:
    """The text's query vector, None where it does not come in time or the weights do not understand it."""
    if not understands(embedder):
        return None
    try:
        async with asyncio.timeout(MEANING_SECONDS_MAX):
            vector: Vectors = (await embedder.embed_queries([text]))[0]
    except (EmbedderFailed, TimeoutError) as error:
        log.warning("emergency_without_meaning", error=type(error).__name__)
        return None
    return vector
