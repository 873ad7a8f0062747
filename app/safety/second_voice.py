"""The intent classifier as a second voice where the rules are unsure: it only ever adds to what they found."""

from collections.abc import Callable

from app.safety import emergencies
from app.safety.emergencies import Emergency
from models import intent

Voice = Callable[[str], float]
"""How likely a text is an emergency of any kind."""
SHARE_MIN = 0.7


def find(text: str, voice: Voice | None) -> Emergency | None:
    """What the rules are sure of; what they are unsure of when the voice says so too. Without a voice, the rules."""
    reading = emergencies.read(text)
    if reading.sure is not None or reading.unsure is None or voice is None:
        return reading.sure
    return reading.unsure if voice(text) >= SHARE_MIN else None


def intent_voice(text: str) -> float:
    """By the released intent classifier, which hears only the wording here: no embedder is asked."""
    classifier = intent.load_intents()
    return float(classifier.emergency_share(classifier.scores(texts=[text]))[0])
