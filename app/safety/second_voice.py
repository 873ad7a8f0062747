"""A classifier as a second voice: it adds to what the rules found, and silences what else speaks against.

It is heard by the wording alone at once, and by the meaning too where an embedder is at hand: `listen` never waits
longer than `MEANING_SECONDS_MAX` for that. A firm alarm of the rules is never silenced, and neither it nor one that the
wording bears out waits for anything.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

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

# By how much the rules heard: (a hint or nothing, whether something speaks against it).
SHARES_MIN_WHOLE = {(True, False): 0.4, (True, True): 0.7, (False, False): 0.6, (False, True): 0.8}
SHARES_MIN_WORDING = {(True, False): 0.6, (True, True): 0.9, (False, False): 0.8, (False, True): 0.98}
"""How sure the voice must be. Chosen on batches of sentences that it was not trained on, a third of them written to be
mistaken, so that it adds about one false alarm in sixty of those."""


SILENCED_WHOLE = (0.01, 0.2)
SILENCED_WORDING = (0.005, 0.05)
"""Below which share an alarm that only broad signs told is none: as it stands, and where words cast doubt on it too.

That it presses makes up for one of these."""
AGREES = 0.8
"""From this share of the wording on, an alarm of the rules does not wait for the meaning."""
NOTHING_BELOW = 0.01
"""Below this share of the wording, and without a hint for the rules, a text is none, and nobody embeds it.

Nine of ten ordinary questions are; of the emergencies written for tuning and for trying, none
(tests/quality/test_emergencies.py)."""


@dataclass(frozen=True)
class Heard:
    """What rules and wording make of a text, and whether the meaning may still change that."""

    found: Emergency | None
    asks_meaning: bool


def find(text: str, voice: Voice | None) -> Emergency | None:
    """What rules and voice make of a text, the last word of those who cannot wait. Without a voice, the rules."""
    reading = emergencies.read(text)
    if _is_settled(text, reading) or voice is None:
        return reading.sure
    return _decide(text, reading, voice(text))


def hear(text: str) -> Heard:
    """At once. The meaning is asked of alarms that the wording does not bear out and of silence it is not sure of."""
    reading = emergencies.read(text)
    if _is_settled(text, reading) or (opinion := by_wording(text)) is None:
        return Heard(reading.sure, asks_meaning=False)
    found = _decide(text, reading, opinion)
    if reading.sure is not None:
        return Heard(found, asks_meaning=opinion.share < AGREES)
    return Heard(found, asks_meaning=found is None and (reading.unsure is not None or opinion.share >= NOTHING_BELOW))


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


def _is_settled(text: str, reading: Reading) -> bool:
    """Whether nobody is asked: a firm alarm, or a broad one that presses, or a text too long for the voice, or none."""
    stands = reading.sure is not None and _silenced_below(reading, SILENCED_WHOLE) == 0
    return stands or not text.strip() or len(text) > TEXT_CHARS_MAX


def _silenced_below(reading: Reading, shares: tuple[float, float]) -> float:
    if reading.firm:
        return 0.0
    against = 1 + reading.doubted - reading.pressing
    return 0.0 if against <= 0 else shares[against - 1]


def _decide(text: str, reading: Reading, opinion: Opinion | None) -> Emergency | None:
    if opinion is None:
        return reading.sure
    if reading.sure is not None:
        silenced_below = _silenced_below(reading, SILENCED_WHOLE if opinion.whole else SILENCED_WORDING)
        return None if opinion.share < silenced_below else reading.sure
    shares_min = SHARES_MIN_WHOLE if opinion.whole else SHARES_MIN_WORDING
    if opinion.share < shares_min[reading.unsure is not None, reading.doubted]:
        return None
    return reading.unsure or Emergency(opinion.kind, text.strip()[:WORDS_CHARS])


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
