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


def find(text: str, voice: Voice | None) -> Emergency | None:
    """What rules and voice make of a text, the last word of those who cannot wait. Without a voice, the rules."""
    reading = emergencies.read(text)
    if _is_settled(text, reading) or voice is None:
        return reading.sure
    return _decide(text, reading, voice(text))


def find_at_once(text: str) -> Emergency | None:
    """As `find` by the wording, but for alarms that the wording does not bear out: these wait for the meaning."""
    reading = emergencies.read(text)
    if _is_settled(text, reading):
        return reading.sure
    opinion = by_wording(text)
    if reading.sure is not None and opinion is not None and opinion.share < AGREES:
        return None
    return _decide(text, reading, opinion)


async def listen(text: str, embedder: Embedder | None) -> Emergency | None:
    """What is found at once, or else by the meaning; where that is not to be had, by rules and wording."""
    return find_at_once(text) or await listen_on(text, embedder)


async def listen_on(text: str, embedder: Embedder | None) -> Emergency | None:
    """As `listen`, when nothing was found at once."""
    if not text.strip() or len(text) > TEXT_CHARS_MAX:
        return None
    vector = None if embedder is None else await _vector(text, embedder)
    return find(text, by_wording) if vector is None else _by_meaning(text, vector)


def find_whole(text: str, vector: Vectors) -> Emergency | None:
    """As `listen`, with the text's query vector at hand. Shapes: vector (width,)."""
    found = find_at_once(text)
    return found if found is not None or len(text) > TEXT_CHARS_MAX else _by_meaning(text, vector)


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
    """Whether nobody is asked: a firm alarm, or a broad one that presses, or a text too long for the voice."""
    stands = reading.sure is not None and _silenced_below(reading, SILENCED_WHOLE) == 0
    return stands or len(text) > TEXT_CHARS_MAX


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
