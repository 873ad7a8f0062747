"""Triage 分诊: free text to kind, category, place, urgency and how sure all this is. Pure: voices in, opinion out.

Three voices tell the category: the intent, the classifier of categories, and words that point to one. Urgency is a rule
before it is a model's. What stays open is said as doubts; an order with a doubt waits for a person.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import structlog

from app.service_desk.places import Found, Place, Said
from app.service_desk.tables import OrderKind, Urgency
from app.service_desk.triage_tables import ASK_WORDS, AT_HOME, CATEGORY_OF_INTENT, ORDERS, POINTING, PRESSING, URGENT
from models import intent as intent_model
from models.embedder import Vectors
from models.versions import WeightsDamaged

log = structlog.get_logger(__name__)

WORD_WEIGHT = 8.0
"""How much a pointing word multiplies the share of its category. This and the next two: chosen on the training part."""
CATEGORY_FLOOR = 0.005
"""What a word can raise even where the classifier has never seen the category."""
INTENT_SAY, INTENT_FLOOR = 0.3, 0.02
"""How much the intent has to say: the classifier of categories knows orders only, and knows them well."""
EMERGENCY_SHARE_MIN = 0.5
"""From here on the model alone calls it urgent and asks a person whether it is more."""
NOT_AN_ORDER_SHARE_MIN = 0.5
OPINIONS_KEPT = 3
RULES_SHARE = 0.5


class Doubt(StrEnum):
    """Why a person should look."""

    CONFIDENCE_LOW = "confidence_low"
    PLACE_UNKNOWN = "place_unknown"
    PLACE_MISSING = "place_missing"
    SEVERAL_MATTERS = "several_matters"
    NOT_AN_ORDER = "not_an_order"
    EMERGENCY_UNSURE = "emergency_unsure"
    CATEGORY_MISSING = "category_missing"


class Voice(StrEnum):
    """What was heard: vectors and wording, or wording alone because the embedder is away or another one.

    RULES: the weights cannot be read; words point, and nothing is sure.
    """

    FULL = "full"
    WORDING = "wording"
    RULES = "rules"


@dataclass(frozen=True)
class Opinion:
    """Shares of intents and of categories, each summing to 1, the likeliest first."""

    intents: tuple[tuple[str, float], ...]
    categories: tuple[tuple[str, float], ...]
    emergency_share: float
    voice: Voice


@dataclass(frozen=True)
class Triage:
    """What an order is about. `confidence` is the probability that the category is right."""

    kind: OrderKind
    category_code: str
    urgency: Urgency
    confidence: float
    place: Place
    intents: tuple[tuple[str, float], ...]
    categories: tuple[tuple[str, float], ...] = ()
    doubts: tuple[Doubt, ...] = ()
    slots: Mapping[str, str] = field(default_factory=dict)
    voice: Voice = Voice.FULL

    @property
    def needs_person(self) -> bool:
        return bool(self.doubts)

    def facts(self) -> dict[str, Any]:
        """As JSON, for the order's row, its event and the wire."""
        return {
            "kind": self.kind, "category_code": self.category_code, "urgency": self.urgency,
            "confidence": round(self.confidence, 3), "place": self.place.label, "place_found": self.place.found,
            "intents": {name: round(share, 3) for name, share in self.intents},
            "categories": {name: round(share, 3) for name, share in self.categories},
            "doubts": list(self.doubts), "slots": dict(self.slots), "voice": self.voice,
        }  # fmt: skip


def hear(text: str, vector: Vectors | None) -> Opinion:
    """What the classifiers make of a text. `vector` (width,) is its query vector, None without a fitting embedder."""
    vectors = vector[None] if vector is not None else None
    try:
        intents, categories = intent_model.load_intents(), intent_model.load_categories()
    except WeightsDamaged as error:
        log.error("triage_weights_unusable", error=str(error))
        return by_rules(text)
    shares = intents.scores(vectors, [text])
    by_intent = dict(zip(intents.labels, map(float, shares[0]), strict=True))
    by_words = dict(zip(categories.labels, map(float, categories.scores(vectors, [text])[0]), strict=True))
    return Opinion(
        _ranked(by_intent),
        _ranked(category_shares(text, by_intent, by_words)),
        float(intents.emergency_share(shares)[0]),
        Voice.WORDING if vector is None else Voice.FULL,
    )


def by_rules(text: str) -> Opinion:
    """What is left without weights: the words that point somewhere, never sure enough to go on without a person."""
    pointed = [code for code, pattern in POINTING.items() if pattern.search(text)] or ["other"]
    shares = dict.fromkeys(pointed, RULES_SHARE / len(pointed))
    return Opinion((("repair_unit", 0.0),), _ranked(shares), 0.0, Voice.RULES)


def category_shares(text: str, by_intent: Mapping[str, float], by_words: Mapping[str, float]) -> dict[str, float]:
    """The share of every category: the classifier's, raised by pointing words, weighed with what the intents mean."""
    pointed = {code for code, pattern in POINTING.items() if pattern.search(text)}
    codes = {*by_words, *pointed, *(code for code in CATEGORY_OF_INTENT.values() if code is not ASK_WORDS)}
    raised = _shares(
        {
            code: max(by_words.get(code, 0.0), CATEGORY_FLOOR) * (WORD_WEIGHT if code in pointed else 1.0)
            for code in codes
        }
    )
    meant = dict.fromkeys(codes, 0.0)
    for intent, share in by_intent.items():
        if (code := CATEGORY_OF_INTENT[intent]) is not ASK_WORDS:
            meant[code] += share
    open_share = sum(share for intent, share in by_intent.items() if CATEGORY_OF_INTENT[intent] is ASK_WORDS)
    return _shares(
        {
            code: share ** (1 - INTENT_SAY) * (INTENT_FLOOR + meant[code] + open_share * share) ** INTENT_SAY
            for code, share in raised.items()
        }
    )


def _shares(weights: Mapping[str, float]) -> dict[str, float]:
    whole = sum(weights.values())
    return {name: weight / whole for name, weight in weights.items()}


def classify(
    text: str, *, opinion: Opinion, said: Said, place: Place, kinds: Mapping[str, OrderKind], confidence_min: float,
    emergency: str | None = None, slots: Mapping[str, str] | None = None,
) -> Triage:  # fmt: skip
    """Put the voices together. `kinds`: the categories in use, by code. `emergency`: the kind that was heard."""
    code, confidence = opinion.categories[0]
    urgency = choose_urgency(text, code, emergency=emergency, emergency_share=opinion.emergency_share)
    doubts = [
        doubt
        for doubt, holds in (
            (Doubt.CONFIDENCE_LOW, confidence < confidence_min),
            (Doubt.CATEGORY_MISSING, code not in kinds),
            (Doubt.PLACE_UNKNOWN, place.found is Found.UNKNOWN),
            (Doubt.PLACE_MISSING, place.found is Found.NONE and code in AT_HOME),
            (Doubt.SEVERAL_MATTERS, opinion.intents[0][0] == "multi_intent"),
            (Doubt.NOT_AN_ORDER, _is_no_order(opinion)),
            (Doubt.EMERGENCY_UNSURE, emergency is None and opinion.emergency_share >= EMERGENCY_SHARE_MIN),
        )
        if holds
    ]
    return Triage(
        kind=kinds.get(code, OrderKind.REPAIR), category_code=code, urgency=urgency, confidence=confidence,
        place=place, intents=opinion.intents[:OPINIONS_KEPT], categories=opinion.categories[:OPINIONS_KEPT],
        doubts=tuple(doubts), slots={**(slots or {}), **said.facts()}, voice=opinion.voice,
    )  # fmt: skip


def choose_urgency(text: str, category_code: str, *, emergency: str | None, emergency_share: float) -> Urgency:
    """What was heard as an emergency is one. The intents' opinion alone makes it urgent at most."""
    if emergency is not None:
        return Urgency.EMERGENCY
    if category_code in PRESSING or URGENT.search(text) or emergency_share >= EMERGENCY_SHARE_MIN:
        return Urgency.URGENT
    return Urgency.ROUTINE


def _is_no_order(opinion: Opinion) -> bool:
    elsewhere = sum(share for name, share in opinion.intents if name not in ORDERS and name != "multi_intent")
    return elsewhere >= NOT_AN_ORDER_SHARE_MIN and opinion.categories[0][0] != "inspection"


def _ranked(shares: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
    return tuple(sorted(shares.items(), key=lambda one: -one[1]))
