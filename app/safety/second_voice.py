"""The intent classifier as a second voice where the rules are unsure: it only ever adds to what they found."""

from collections.abc import Callable
from functools import cache
from importlib import import_module

from app.safety import emergencies
from app.safety.emergencies import Emergency

Voice = Callable[[str], float]
"""How likely a text is an emergency of any kind."""
SHARE_MIN = 0.5


def find(text: str, voice: Voice | None) -> Emergency | None:
    """What the rules are sure of; what they are unsure of when the voice says so too. Without a voice, the rules."""
    reading = emergencies.read(text)
    if reading.sure is not None or reading.unsure is None or voice is None:
        return reading.sure
    return reading.unsure if voice(text) >= SHARE_MIN else None


@cache
def intent_voice() -> Voice | None:
    """The released intent classifier, hearing only the wording: no embedder is asked. None where there is none."""
    try:
        intent = import_module("models.intent")
    except ImportError:
        return None
    classifier = intent.load_intents()

    def voice(text: str) -> float:
        return float(classifier.emergency_share(classifier.scores(texts=[text]))[0])

    return voice
