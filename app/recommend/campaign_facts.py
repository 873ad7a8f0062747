"""What is known of a campaign's items, as words that copy may take its facts from, and a draft made of nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from app.people.local_time import clock
from app.recommend.campaign_copy import PLACEHOLDER
from app.recommend.tables import Item, ItemKind

SATURDAY = 5
KIND_WORDS: dict[ItemKind, tuple[str, str]] = {
    ItemKind.ACTIVITY: ("社区活动", "a community activity"),
    ItemKind.SERVICE: ("便民服务", "a service near you"),
    ItemKind.FACILITY: ("公共设施", "a facility of the community"),
    ItemKind.OFFER: ("优惠信息", "an offer for residents"),
    ItemKind.NOTICE: ("小区公告", "a notice of the community"),
    ItemKind.ARTICLE: ("值得一读", "something to read"),
    ItemKind.GROUP: ("邻里小组", "a group of neighbours"),
}


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts in words, by language where they differ. What is not known is empty."""

    title: dict[str, str]
    what: dict[str, str]
    when: dict[str, str]
    where: str
    price: dict[str, str]
    phone: str
    sources: tuple[str, ...]
    """All of it, and the items' own texts: what the numbers of a copy must stand in."""
    costs: bool


def facts_of(items: Sequence[Item], *, zone: ZoneInfo, phone: str) -> Facts:
    """The facts of these items; the first is the main one. Without any, the copy is about {item}."""
    sources = [phone, *(text for item in items for text in _words(item, zone))]
    if not items:
        both = {"zh": PLACEHOLDER, "en": PLACEHOLDER}
        none = {"zh": "", "en": ""}
        return Facts(both, none, none, "", none, phone, tuple(sources), costs=False)
    item = items[0]
    zh, en = KIND_WORDS[item.kind]
    return Facts(
        title={"zh": item.title, "en": item.title_en or en.capitalize()}, what={"zh": zh, "en": en},
        when=when_of(item, zone), where=item.place, price=price_of(item), phone=phone, sources=tuple(sources),
        costs=any(one.price_cents > 0 for one in items),
    )  # fmt: skip


def _words(item: Item, zone: ZoneInfo) -> list[str]:
    told = [item.title, item.title_en, item.text, item.text_en, item.place, item.provider]
    told += [*when_of(item, zone).values(), *price_of(item).values()]
    if item.capacity is not None:
        told += [f"名额{item.capacity}人", f"{item.capacity} places"]
    for moment in (item.starts_at, item.ends_at, item.expires_at):
        if moment is not None:
            # With weekday and year, for who writes “Saturday” or “2026”.
            here = moment.astimezone(zone)
            told += [f"{here:%Y-%m-%d %H:%M}", f"{here:%A}", f"星期{'一二三四五六日'[here.weekday()]}"]
            told += ["周末 weekend"] if here.weekday() >= SATURDAY else []
    return [text for text in told if text]


def when_of(item: Item, zone: ZoneInfo) -> dict[str, str]:
    if item.starts_at is None:
        return {"zh": "", "en": ""}
    return {language: _span(item.starts_at, item.ends_at, zone, language) for language in ("zh", "en")}


def _span(starts: datetime, ends: datetime | None, zone: ZoneInfo, language: str) -> str:
    begins = clock(starts, zone, language)
    if ends is None or ends.astimezone(zone).date() != starts.astimezone(zone).date():
        return begins
    word = "至" if language == "zh" else " to "
    return f"{begins}{word}{ends.astimezone(zone):%H:%M}"


def price_of(item: Item) -> dict[str, str]:
    if item.price_cents == 0:
        return {"zh": "免费", "en": "free"}
    yuan = f"{item.price_cents / 100:.2f}".removesuffix("0").removesuffix(".0").removesuffix(".")
    return {"zh": f"{yuan}元", "en": f"{yuan} yuan"}


@dataclass(frozen=True, slots=True)
class Style:
    """How a variant begins and ends; {title} and {what} are put in. The facts stand between."""

    title_zh: str
    title_en: str
    opens_zh: str
    opens_en: str
    closes_zh: str
    closes_en: str


STYLES: dict[str, Style] = {
    "A": Style(
        "{title}", "{title}", "{what}：{title}。", "{title}.", "欢迎参加。", "You are welcome.",
    ),
    "B": Style(
        "邀请您：{title}", "You are invited: {title}", "邻居您好，{title}开始报名了。",
        "Dear neighbour, come and join: {title}.", "期待见到您。", "We look forward to seeing you.",
    ),
    "C": Style(
        "想去看看吗？{title}", "Would you like this? {title}", "感兴趣的话，可以看看{title}。",
        "This may be for you: {title}.", "不感兴趣可以直接忽略。", "If not, simply ignore it.",
    ),
}  # fmt: skip
"""One for each label, so that variants differ from the first draft on."""


def fill(facts: Facts, label: str) -> dict[str, str]:
    """The texts of the template (campaign_copy.py: TEXTS), from the facts and nothing else."""
    style = STYLES[label]
    zh = {"title": facts.title["zh"], "what": facts.what["zh"] or "为您推荐"}
    en = {"title": facts.title["en"], "what": facts.what["en"]}
    lines_zh = [(f"时间：{facts.when['zh']}", facts.when["zh"]), (f"地点：{facts.where}", facts.where)]
    lines_en = [(f"When: {facts.when['en']}", facts.when["en"]), (f"Where: {facts.where}", facts.where)]
    lines_zh += [(f"费用：{facts.price['zh']}", facts.price["zh"]), (f"咨询：{facts.phone}", facts.phone)]
    lines_en += [(f"Price: {facts.price['en']}", facts.price["en"]), (f"Questions: {facts.phone}", facts.phone)]
    told_zh = "".join(f"{line}。" for line, known in lines_zh if known)
    told_en = " ".join(f"{line}." for line, known in lines_en if known)
    return {
        "title_zh": _put(style.title_zh, zh),
        "title_en": _put(style.title_en, en),
        "body_zh": f"{_put(style.opens_zh, zh)}{told_zh}{_put(style.closes_zh, zh)}",
        "body_en": " ".join(part for part in (_put(style.opens_en, en), told_en, _put(style.closes_en, en)) if part),
        "plain_zh": f"{facts.title['zh']}。{told_zh}",
        "plain_en": " ".join(part for part in (f"{facts.title['en']}.", told_en) if part),
    }


def _put(pattern: str, words: dict[str, str]) -> str:
    # Not str.format: a title may hold braces of its own.
    return pattern.replace("{title}", words["title"]).replace("{what}", words["what"])
