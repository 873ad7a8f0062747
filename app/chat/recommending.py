"""Recommendations in a conversation: a wish for them is found by rules, and answered from facts, without the engine."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from app.chat.claims import Claim, Draft
from app.chat.publishing import TurnFeed
from app.chat.tables import Mode, Route
from app.chat.texts import Text, say
from app.people import local_time
from app.people.callers import CallerKind
from app.recommend import reasons, recommendations
from app.recommend.recommendations import Recommendations, Recommended
from app.recommend.tables import ItemKind, ListPurpose
from app.runtime import Runtime

SHOWN = 4
CHARS_MAX = 60
"""Longer messages tell of something else."""

KINDS: tuple[tuple[re.Pattern[str], frozenset[ItemKind]], ...] = (
    (re.compile(r"活动|好玩|课程?|讲座|去处|events?|activit|things? to do|courses?"), frozenset({ItemKind.ACTIVITY, ItemKind.GROUP})),
    (re.compile(r"优惠|打折|折扣|便宜|offers?|deals?|discounts?"), frozenset({ItemKind.OFFER})),
    (re.compile(r"小组|社团|群|groups?|clubs?"), frozenset({ItemKind.GROUP})),
    (re.compile(r"文章|articles?|reads?\b"), frozenset({ItemKind.ARTICLE, ItemKind.NOTICE})),
    (re.compile(r"设施|场地|场馆|facilit|courts?"), frozenset({ItemKind.FACILITY})),
    (re.compile(r"服务|services?"), frozenset({ItemKind.SERVICE})),
)  # fmt: skip
"""What of it somebody asks for; nothing named means all kinds."""
NOUN = (
    "活动|好玩的?|课程?|讲座|好?去处|优惠|打折的?|折扣|小组|社团|文章|设施|场地|场馆|服务|内容|东西|"
    "适合我(?:们|家)?的?(?:活动|优惠|课程?|小组|内容|服务)?"
)
WISH = re.compile(
    # 推荐点活动, 有什么活动推荐, 给我推荐几个, 有什么适合我的活动; the wish is the whole message.
    rf"(?:请|麻烦|帮我|帮忙|给我们?|能不能|能否|可以|可不可以|最近|近期|今天|明天|这周末?|本周末?|周末|小区(?:里)?|社区(?:里)?|你|您|都|,|\s)*"
    rf"(?:推荐(?:一下|下)?(?:几个|一些|些|点|点儿|个|给我)?(?:最近|近期|这周末?|周末|小区(?:里)?的?)?(?:的)?(?:{NOUN})?"
    rf"|(?:有什么|有啥|有哪些|有没有|有|哪些|什么)(?:好的?|值得参加的?|值得看的?)?(?:{NOUN})?(?:可以|能|值得)?(?:推荐的?|参加的?)(?:给我)?"
    rf"|(?:有什么|有啥|有哪些|有没有)(?:适合我(?:们|家)?的?(?:活动|优惠|课程?|小组|内容|服务)|值得参加的?(?:活动|课程?)?|好玩的(?:活动)?))"
    rf"(?:吗|么|吧|呢|啊|呀|一下|谢谢)*"
)
WISH_EN = re.compile(
    r"(?:hi|hello|please|can you|could you|do you have|have you|are there|is there|what|which|any|some|would you|,|\s)*"
    r"(?:(?:recommend(?:ations?)?|suggest(?:ions?)?)(?: (?:me|us|something|some|any|a few|an?|for me|for us|things?))*"
    r"(?: (?:events?|activit(?:y|ies)|things? to do|offers?|deals?|groups?|clubs?|articles?|courses?|services?|facilities))?"
    r"|(?:events?|activities|things? to do|offers?|groups?|courses?) (?:do you recommend|would you recommend|are there for me)"
    r"|(?:is |'s )?(?:going )?on (?:this weekend|today|tomorrow|this week))"
    r"(?: (?:for (?:me|us|kids|children|the weekend)|this weekend|this week|today|nearby|around here|please|here))*"
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What recommendations somebody asks for. No kinds: all."""

    kinds: frozenset[ItemKind]


def find(message: str) -> Wanted | None:
    """What recommendations the message asks for, if that is all it asks. "推荐一家搬家公司" is a question for search."""
    plain = re.sub(r"[^\w\s',]+", " ", unicodedata.normalize("NFKC", message).lower().replace("’", "'")).strip()
    if not plain or len(plain) > CHARS_MAX:
        return None
    if not (WISH.fullmatch(re.sub(r"\s+", "", plain)) or WISH_EN.fullmatch(plain)):
        return None
    named = [kinds for pattern, kinds in KINDS if pattern.search(plain)]
    return Wanted(frozenset[ItemKind]().union(*named))


async def answer(runtime: Runtime, claimed: Claim, draft: Draft, feed: TurnFeed, wanted: Wanted) -> bool:
    """Answer a resident's wish; False when there is nothing to recommend, and the documents may know more."""
    caller = claimed.caller
    if caller is None or caller.kind is not CallerKind.RESIDENT:
        return False
    async with runtime.transaction(claimed.tenant) as session:
        made = await recommendations.recommend_for(
            session, runtime, caller, SHOWN, purpose=ListPurpose.CHAT, language=claimed.turn.language,
            kinds=wanted.kinds,
        )  # fmt: skip
        zone = await local_time.zone_of(session, caller.community_id)
    if not made.items and not made.opted_out:
        return False
    draft.route, draft.mode = Route.RECOMMENDATION, Mode.FIXED
    draft.trace["recommended"] = {
        "list_id": str(made.list_id), "items": [str(one.facts.id) for one in made.items], "ranked": made.ranked,
        "opted_out": made.opted_out,
    }  # fmt: skip
    draft.answer = worded(made, runtime, zone, claimed.turn.language)
    await feed.text(draft.answer)
    return True


def worded(made: Recommendations, runtime: Runtime, zone: ZoneInfo, language: str) -> str:
    """The list as a person would say it, of nothing but its facts."""
    if made.opted_out:
        return say(Text.RECOMMEND_OFF, language)
    lines = [f"{number}. {_line(one, runtime, zone, language)}" for number, one in enumerate(made.items, 1)]
    return "\n".join((say(Text.RECOMMENDED, language), *lines, say(Text.RECOMMEND_WHY, language)))


def _line(one: Recommended, runtime: Runtime, zone: ZoneInfo, language: str) -> str:
    facts, english = one.facts, language == "en"
    told: list[str] = []
    if facts.starts_at is not None and facts.starts_at > runtime.clock():
        told.append(reasons.day_and_time(facts.starts_at, runtime.clock(), zone, language))
    if facts.place:
        told.append(facts.place)
    if facts.price_cents:
        yuan = f"{facts.price_cents / 100:.2f}".removesuffix(".00")
        told.append(f"{yuan} yuan" if english else f"{yuan}元")
    why = [reason.text for reason in one.reasons if reason.code != "soon" or not told]
    return _joined(facts.title_in(language), told, why, english=english)


def _joined(title: str, told: Sequence[str], why: Sequence[str], *, english: bool) -> str:
    if english:
        return title + (f" ({', '.join(told)})" if told else "") + (f": {'; '.join(why)}." if why else ".")
    return f"「{title}」" + (f"（{'，'.join(told)}）" if told else "") + (f"：{'；'.join(why)}。" if why else "。")
