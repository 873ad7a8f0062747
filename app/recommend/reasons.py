"""Why something is recommended, in words that are made of nothing but the facts that spoke for it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from app.people.local_time import MONTHS
from app.recommend.catalogue import Facts
from app.recommend.signals import FEATURES, WEIGHTS, Signals, households_of
from app.recommend.situation import Situation
from app.recommend.tables import FeedbackKind

SHOWN_MAX = 2
"""Reasons told with a list; `why` tells all."""
PEOPLE_MIN = 5
"""Fewer neighbours are not spoken of."""
ALIKE_MIN, WORDS_MIN = 0.5, 0.1
"""Signals from which on an item is said to be like another, or to fit what somebody wrote."""
QUOTED_CHARS = 24
NEIGHBOURS, CROWD = 0.3, 0.25
"""How strong as a reason. What everybody likes weighs much in a score and tells a person little."""

WEEKDAYS = {"zh": "一二三四五六日", "en": ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")}
DID: dict[FeedbackKind, tuple[str, str]] = {
    FeedbackKind.CLICKED: ("看过", "looked at"),
    FeedbackKind.JOINED: ("参加过", "joined"),
    FeedbackKind.BOUGHT: ("买过", "bought"),
    FeedbackKind.LIKED: ("喜欢", "liked"),
}
"""What a resident did, for every positive kind; a test proves it complete."""
COHORTS: dict[str, tuple[str, str]] = {
    "building": ("和您同楼栋的家庭中，有{households}户选择了它", "{households} households of your building chose it"),
    "tenure-rents": ("租住在这里的家庭中，有{households}户选择了它", "{households} households who rent here chose it"),
    "tenure-owns": ("业主家庭中，有{households}户选择了它", "{households} households of owners chose it"),
    "size": (
        "和您家人数相近的家庭中，有{households}户选择了它",
        "{households} households about as large as yours chose it",
    ),
}
WORDS: dict[str, tuple[str, str]] = {
    "history": ("因为您{did}「{title}」", "Because you {did} “{title}”"),
    "alike": ("和您{did}的「{title}」相近", "Much like “{title}”, which you {did}"),
    "interest": ("您关注「{category}」", "You are interested in {category}"),
    "about": ("符合您写的「{words}」", "It fits what you wrote: “{words}”"),
    "near": ("就在您住的楼栋：{place}", "In your building: {place}"),
    "soon": ("{when}开始，还来得及", "Begins {when}: you can still make it"),
    "popular": ("最近有{people}位邻居看过或参加", "{people} neighbours looked at it or joined lately"),
    "fresh": ("新发布", "New here"),
    "tried": ("换换口味：不常推荐给您的内容", "For a change: something we seldom show you"),
    "on_offer": ("面向您的正在进行的内容", "On offer for you now"),
}
"""Every reason in both languages."""


@dataclass(frozen=True, slots=True)
class Reason:
    """`facts` are what the words are made of; `strength` orders the reasons of one item."""

    code: str
    text: str
    facts: Mapping[str, Any]
    strength: float


@dataclass(frozen=True, slots=True)
class Item:
    """One recommended item as reasons see it: its facts, its features by name, and what drove it."""

    facts: Facts
    code: int
    said: Mapping[str, float]
    like: int
    driver: int
    by_lot: bool


def explain(
    situation: Situation, signals: Signals, place: int, *, driver: int, by_lot: bool, language: str
) -> list[Reason]:
    """All true reasons for a candidate, the strongest first; never none."""
    code = int(signals.codes[place])
    said = dict(zip(FEATURES, signals.features[place].tolist(), strict=True))
    item = Item(situation.catalogue.facts[code], code, said, int(signals.like[place]), driver, by_lot)
    found = [reason for make in MAKERS if (reason := make(situation, item, language)) is not None]
    found.sort(key=lambda one: -one.strength)
    return found or [_reason("on_offer", language, 0.0)]


def _reason(
    code: str, language: str, strength: float, *, template: tuple[str, str] | None = None, **facts: Any
) -> Reason:
    zh, en = template or WORDS[code]
    return Reason(code, (en if language == "en" else zh).format(**facts), facts, strength)


def _history(situation: Situation, item: Item, language: str) -> Reason | None:
    """What they did that, by the ranker, leads here."""
    if item.driver < 0 or item.said["ranker"] <= 0:
        return None
    return _about_past(situation, "history", item.driver, language, WEIGHTS["ranker"] * item.said["ranker"])


def _alike(situation: Situation, item: Item, language: str) -> Reason | None:
    if item.like < 0 or item.said["past"] < ALIKE_MIN or item.like == item.driver:
        return None
    return _about_past(situation, "alike", item.like, language, WEIGHTS["past"] * item.said["past"])


def _about_past(situation: Situation, code: str, place: int, language: str, strength: float) -> Reason:
    past = situation.past[place]
    zh, en = DID[past.kind]
    facts = situation.catalogue.facts[past.code]
    did = en if language == "en" else zh
    return _reason(code, language, strength, did=did, title=facts.title_in(language), item_id=str(past.item_id))


def _interest(situation: Situation, item: Item, language: str) -> Reason | None:
    shared = [one for one in situation.known.interests if one in item.facts.categories]
    if not situation.personalised or not shared:
        return None
    return _reason("interest", language, WEIGHTS["interest"], category=shared[0])


def _words(situation: Situation, item: Item, language: str) -> Reason | None:
    about = " ".join(situation.known.about.split())
    if not about or item.said["about"] < WORDS_MIN:
        return None
    words = about if len(about) <= QUOTED_CHARS else about[:QUOTED_CHARS] + "…"
    return _reason("about", language, WEIGHTS["about"] * item.said["about"], words=words)


def _near(situation: Situation, item: Item, language: str) -> Reason | None:
    if not item.said["near"] or not item.facts.place:
        return None
    return _reason("near", language, WEIGHTS["near"], place=item.facts.place)


def _soon(situation: Situation, item: Item, language: str) -> Reason | None:
    if not item.said["soon"] or item.facts.starts_at is None:
        return None
    when = day_and_time(item.facts.starts_at, situation.moment, ZoneInfo(situation.known.timezone), language)
    return _reason(
        "soon", language, WEIGHTS["soon"] * item.said["soon"], when=when, starts_at=item.facts.starts_at.isoformat()
    )


def _households(situation: Situation, item: Item, language: str) -> Reason | None:
    counted = households_of(situation, item.code) if situation.personalised else None
    if counted is None:
        return None
    (cohort, value), households = counted
    template = COHORTS.get(cohort) or COHORTS[f"{cohort}-{value}"]
    return _reason("households", language, NEIGHBOURS, template=template, households=households, cohort=cohort)


def _popular(situation: Situation, item: Item, language: str) -> Reason | None:
    people = int(situation.statistics.people[item.code]) if item.code < len(situation.statistics.people) else 0
    if people < PEOPLE_MIN:
        return None
    return _reason("popular", language, CROWD * item.said["popular"], people=people)


def _fresh(situation: Situation, item: Item, language: str) -> Reason | None:
    if not item.said["fresh"]:
        return None
    return _reason("fresh", language, WEIGHTS["fresh"] * item.said["fresh"])


def _tried(situation: Situation, item: Item, language: str) -> Reason | None:
    # Honest before all else: without the lot it would not stand here.
    return _reason("tried", language, 10.0) if item.by_lot else None


MAKERS: tuple[Callable[[Situation, Item, str], Reason | None], ...] = (
    _history, _alike, _interest, _words, _near, _soon, _households, _popular, _fresh, _tried,
)  # fmt: skip


def day_and_time(at: datetime, now: datetime, zone: ZoneInfo, language: str) -> str:
    """今天14:00, 明天09:30, 本周六14:00, 下周二10:00, 12月5日14:00; today 14:00, Sat 28 Nov 14:00."""
    here, today = at.astimezone(zone), now.astimezone(zone).date()
    days = (here.date() - today).days
    if language == "en":
        names = {0: "today", 1: "tomorrow"}
        day = names.get(days) or f"{WEEKDAYS['en'][here.weekday()]} {here.day} {MONTHS[here.month - 1]}"
        return f"{day} {here:%H:%M}"
    monday = today - timedelta(days=today.weekday())
    weeks = (here.date() - monday).days // 7
    weekday = WEEKDAYS["zh"][here.weekday()]
    named = {0: "今天", 1: "明天"}.get(days) or {0: f"本周{weekday}", 1: f"下周{weekday}"}.get(weeks)
    return f"{named or f'{here.month}月{here.day}日'}{here:%H:%M}"
