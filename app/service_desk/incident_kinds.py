"""What can fail for many at once, and the words by which residents tell of it. Pure.

The lexicon is the first voice of matching: it works with every server down, and it keeps apart what vectors hold
together ("no water" and "no power" are near neighbours to an embedder).
"""

import re
from dataclasses import dataclass
from enum import StrEnum


class IncidentKind(StrEnum):
    """停水, 停电, 停气, 停暖, 热水, 电梯, 网络, 排水, 漏水, 门禁, 照明, 异味, 垃圾, 噪音, 其他."""

    WATER = "water"
    ELECTRICITY = "electricity"
    GAS = "gas"
    HEATING = "heating"
    HOT_WATER = "hot_water"
    LIFT = "lift"
    NETWORK = "network"
    DRAINAGE = "drainage"
    LEAK = "leak"
    ACCESS = "access"
    LIGHTING = "lighting"
    SMELL = "smell"
    REFUSE = "refuse"
    NOISE = "noise"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class KindWords:
    """`zh` and `en` say in a notice what is the matter; `told` finds it in a report."""

    zh: str
    en: str
    told: re.Pattern[str] | None


def _words(zh: str, en: str, *told: str) -> KindWords:
    return KindWords(zh, en, re.compile("|".join(told), re.IGNORECASE) if told else None)


_NOT_LIFT = r"(?:出不来|不出来)?"

KINDS: dict[IncidentKind, KindWords] = {
    IncidentKind.WATER: _words(
        "停水", "the water supply is interrupted",
        r"(?<!热)(?:没有?|冇|断|无|停了?|莫得|木有|缺)(?:自来)?水(?!电费|费|表|卡|印|漏|渍|管|暖)",
        r"(?<!热)水(?:也|又|都|就|突然|怎么|咋|已经)*(?:停了|断了|没了|没有了|不来|还没来|没来|出不来|不出|下不来)",
        r"(?:水龙头|龙头|水管|花洒|淋浴|水箱)[^，。,.!！?？]{0,8}?(?:不出水|没出水|没有?水|冇水|不流水|放不出|滴水不出|没反应)",
        r"(?:不来|不出|放不出|接不到|用不了|来不了)水", r"水压[^，。,.]{0,6}(?:低|小|不足|不够|没有|为零|上不来)", r"水(?:很|好|太|特别)小",
        r"(?<!hot )water(?:\W+supply)?(?:'s|\W+(?:is|was|has been|has|went|seems))?\W+(?:still\W+|been\W+|completely\W+|all\W+)?"
        r"(?:off|out|gone|cut|stopped|interrupted|not (?:running|coming))\b",
        r"\b(?:no|without|lost|cut off the|ran out of)\s+(?:running\s+|tap\s+|cold\s+)?water\b(?!\s*(?:bill|leak|damage))",
        r"\btaps?\b[^.!?]{0,25}\b(?:dry|nothing|dead|empty)\b", r"\b(?:low|weak|poor)\s+water\s+pressure", r"water pressure\b[^.!?]{0,15}\b(?:low|weak|poor|gone)",
        r"\bwater\b[^.!?]{0,12}\b(?:outage|cut-?off|stoppage)\b",
    ),
    IncidentKind.ELECTRICITY: _words(
        "停电", "the power supply is interrupted",
        r"(?:没有?|冇|断|无|停了?|莫得|木有)电(?!梯|视|话|费|池|动|信|表|瓶|脑|影|子|工|卡)",
        r"(?<!充)电(?:也|又|都|就|突然|怎么|咋|已经)*(?:停了|断了|没了|没有了|不来|还没来|没来)",
        r"(?:全|都|整栋|整层|整个单元|一片)[^，。,.]{0,4}(?:黑了|漆黑|黑灯)", r"总闸|跳闸",
        r"\b(?:no|without|lost)\s+(?:power|electricity)\b", r"\b(?:power|electricity)\b\W+(?:is|was|has been|'s|has|went|just)?\W*"
        r"(?:still\W+|been\W+|gone\W+|just\W+)?(?:off|out|gone|cut|down|interrupted)", r"\b(?:power|electricity)\s+(?:outage|cut|failure)|\bblackout\b",
        r"\bbreaker\b[^.!?]{0,15}\btrip", r"\blights\b[^.!?]{0,10}\b(?:went|all)\s+(?:out|off)\b",
    ),
    IncidentKind.GAS: _words(
        "停气", "the gas supply is interrupted",
        r"(?:没有?|冇|断|无|停了?)(?:煤|天然|燃)?气(?!味|费|表|体|泡)", r"(?:煤气|天然气|燃气)[^，。,.]{0,4}(?:停了|断了|没了|打不着|点不着|没有了|没来)",
        r"(?:灶|炉子?|燃气灶)[^，。,.]{0,4}(?:打不着|点不着|打不起)",
        r"\b(?:no|without)\s+gas\b(?!\s*(?:smell|bill|leak))", r"\bgas\b\W+(?:supply\W+)?(?:is|was|'s|has been)?\W*(?:off|out|cut|interrupted)\b", r"\bstove\b[^.!?]{0,15}\b(?:won't|not)\s+light",
    ),
    IncidentKind.HEATING: _words(
        "停暖", "the heating is interrupted",
        r"(?:没有?|停|断|无|冇)(?:了)?(?:暖气?|供暖|地暖)", r"(?:暖气片?|地暖|供暖)[^，。,.]{0,8}(?:不热|冰|凉|停|没来|没热|坏|不行)",
        r"\bno\s+heating\b", r"\b(?:heating|radiators?)\b[^.!?]{0,20}\b(?:off|out|cold|not working|broken|stopped|dead)\b",
    ),
    IncidentKind.HOT_WATER: _words(
        "热水中断", "the hot water is interrupted",
        r"(?:没有?|停|断|无|冇)(?:了)?热水", r"热水[^，。,.]{0,5}(?:没了|没有|停|不热|不来|出不来|断)", r"\bno\s+hot\s+water\b", r"\bhot\s+water\b[^.!?]{0,12}\b(?:off|out|gone|stopped|not)\b",
    ),
    IncidentKind.LIFT: _words(
        "电梯停运", "the lift is out of service",
        r"电梯(?![^，。,.]{0,4}广告)[^，。,.]{0,10}(?:坏|停|不动|不走|故障|不运行|没反应|不开|用不了|卡|抖|罢工|没电|维修|动不了|不上|不下|不工作)",
        rf"(?:没有?|冇)电梯(?:用|坐|乘){_NOT_LIFT}",
        r"\b(?:lift|elevator)s?\b[^.!?]{0,25}\b(?:broken|out|stuck|stopped|down|dead|not (?:working|moving)|doesn'?t|won'?t|shak)",
        r"\bno\s+(?:lift|elevator)\b",
    ),
    IncidentKind.NETWORK: _words(
        "网络中断", "the network is down",
        r"(?:没有?|断|无|停|冇)(?:了)?(?:网络?|信号|宽带|wifi)", r"(?:网络?|宽带|wi-?fi|无线)[^，。,.]{0,6}(?:断|没了|不通|连不上|上不了|停|瘫|挂|掉线|用不了)", r"上不了网", r"(?:有线)?电视[^，。,.]{0,6}(?:没信号|雪花|看不了|没图像|断)",
        r"\bno\s+(?:internet|network|wi-?fi|broadband)\b", r"\b(?:internet|network|wi-?fi|broadband)\b[^.!?]{0,15}\b(?:down|out|off|dead|not working|gone)\b",
    ),
    IncidentKind.DRAINAGE: _words(
        "下水堵塞", "the drains are blocked",
        r"(?:下水道?|地漏|马桶|污水|主管道|排水)[^，。,.]{0,8}(?:堵|返|反|冒|溢|倒灌|下不去|排不|往上)", r"(?:返|反|倒灌|冒)(?:脏|污|臭)?水", r"污水(?:返|反|横流|外溢|出来|满)",
        r"\b(?:drains?|sewage|sewer|toilet)\b[^.!?]{0,20}\b(?:block|back(?:ed|ing)?\s*up|overflow|clog|coming up)", r"\bsewage\b",
    ),
    IncidentKind.LEAK: _words(
        "管道漏水", "a pipe is leaking",
        r"(?:水管|管道|管子|主管|水阀|消防管|立管)[^，。,.]{0,6}(?:爆|裂|漏|破|喷|炸)", r"爆管", r"漏水", r"(?:水)?漫(?:出来|到|了|进)", r"(?:楼道|大厅|车库|地库|电井)[^，。,.]{0,6}(?:进水|积水|都是水|全是水|淹)",
        r"\bburst\s+(?:pipe|main)|\bpipes?\b[^.!?]{0,12}\b(?:burst|leak)|\bleak(?:s|ing|age)?\b|\bflood(?:ed|ing)?\b|water\s+(?:is\s+)?(?:pouring|gushing)",
    ),
    IncidentKind.ACCESS: _words(
        "门禁故障", "the entrance system is out of order",
        r"(?:门禁|单元门|大门|道闸|人脸|刷脸|刷卡|对讲)[^，。,.]{0,8}(?:坏|打不开|开不了|没反应|失灵|不识别|关不上|抬不|故障|进不去|不了|不行)",
        r"\b(?:door|gate|barrier|intercom|key\s*card|face\s+scan)\b[^.!?]{0,22}\b(?:broken|stuck|won'?t|doesn'?t|not working|fails?|dead|jammed)\b",
    ),
    IncidentKind.LIGHTING: _words(
        "公共照明故障", "the shared lighting is out",
        r"(?:楼道|楼梯|走廊|过道|大厅|大堂|车库|地库|路|门口|院子?|单元)里?的?(?:声控)?灯[^，。,.]{0,8}(?:不亮|没亮|坏|灭|闪|黑)",
        r"(?:楼道|楼梯间?|走廊|过道|大厅|大堂|车库|地库)[^，。,.]{0,6}(?:黑灯瞎火|漆黑|很黑|太黑|好黑)", r"路灯",
        r"\b(?:hall(?:way)?|stair(?:s|well|way)?|corridor|garage|street|lobby|entrance)\s+lights?\b[^.!?]{0,20}\b(?:out|off|broken|dead|flicker|not)",
    ),
    IncidentKind.SMELL: _words(
        "异味", "there is a bad smell",
        r"臭(?!氧)|异味|恶臭|怪味|难闻|(?:焦|霉|馊|腥)味", r"\bsmells?\b|\bstink|\bstench\b|\bodou?r\b",
    ),
    IncidentKind.REFUSE: _words(
        "垃圾未清运", "the refuse is not collected",
        r"垃圾[^，。,.]{0,8}(?:满|没[人有]?收|没清|没倒|堆|溢|不收|没人管)", r"\b(?:bins?|garbage|rubbish|trash|refuse)\b[^.!?]{0,20}\b(?:full|overflow|not (?:been )?(?:collected|emptied)|piling|everywhere)",
    ),
    IncidentKind.NOISE: _words(
        "噪音", "there is noise",
        r"噪音|噪声|太吵|很吵|好吵|吵死|吵得|吵闹|嗡嗡|轰鸣|扰民|吵人", r"\bnois[ey]\w*|\bloud\b|\bhumming\b",
    ),
    IncidentKind.OTHER: _words("设施故障", "something is out of order"),
}  # fmt: skip
"""A test proves it complete."""

BACK_AGAIN = re.compile(
    r"(?:水|电|气|暖气?|网络?|电梯)(?:已经|终于|刚刚?|又)*(?:来了|好了|恢复了?|修好了|通了|有了)|恢复正常|已经?恢复"
    r"|\b(?:is|are|'s)\s+(?:back|restored|on again|working again|fixed)\b|\bback\s+(?:on|to normal)\b",
    re.IGNORECASE,
)
"""Who tells that it is over reports nothing."""
NOT_AN_OUTAGE = re.compile(
    r"(?:没有?|不|未)(?:再|继续|在)?漏水|漏水(?:已经|都)?(?:修好|好)了|(?:会|要|是不是|什么时候)(?:不会)?停(?:水|电|气|暖)(?:的)?(?:吗|么|\?|？)|停(?:水|电|气|暖)[^，。,.]{0,4}(?:通知|公告)|(?:通知|公告)[^，。,.]{0,6}停(?:水|电|气|暖)"
    r"|\bnot\s+leaking\b|\bno\s+leak"
)


def kinds_of(text: str) -> frozenset[IncidentKind]:
    """What a report says has failed, as far as its words tell; empty when they tell nothing."""
    said = NOT_AN_OUTAGE.sub("，", text)
    if BACK_AGAIN.search(said):
        return frozenset()
    found = {kind for kind, words in KINDS.items() if words.told is not None and words.told.search(said)}
    # "No hot water" names water too, and a leaking pipe is told of by who has no water because of it.
    if IncidentKind.HOT_WATER in found:
        found.discard(IncidentKind.WATER)
    return frozenset(found)
