"""What a resident asks of the conversation itself: a person, or the bot again. Pure rules, no model, before all else.

The rules look at the new message alone: an old wish in the history is no wish.
"""

import re
import unicodedata
from difflib import get_close_matches
from enum import StrEnum


class Wish(StrEnum):
    PERSON = "person"
    BOT = "bot"


REN = "[人仁任认亻]"
GONG = "[工共公功攻弓宫龚]"
PEOPLE = (
    f"{REN}{GONG}(?:客服|服务|座席|坐席|台)?|真人(?:客服)?|活人|大活人|客服(?:人员|小姐|妹子)?|在线客服|工作人员|值班(?:人员|的|员)"
    "|(?:你们|恁|你哋)?(?:物业|前台|管家|管理处)(?:的人|人员|经理|主管|主任|师傅|管家|前台|值班)?|(?:你们|你哋|恁)?(?:这儿|这里)?管事(?:的|儿的)(?:人)?"
    "|(?:你们|你哋|恁)的?(?:人|经理|领导|主管|老板|头儿?|负责人)|经理|主管|领导|负责人|阿姨|小哥"
)
"""Whom one asks for. Alone only the first few are a wish; the rest need a verb before them."""
GIVE = "转到?|转接到?|转给|接到?|接通|换成?|叫|喊|找|请|要|想要|需要|帮我找|帮我转|帮我接|给我(?:转|接|叫|喊|找|换|来|整)?|联系|呼叫|搵|揾|寻|整|弄|派|来"
WHO_ONE = "一?(?:个|位|名|下|哈|下子)?(?:会说话的|能说话的|懂的|说得上话的)?"
SELF = "(?:我|俺|阿拉|偶|吾|老子|本人|咱)?"
TALK = "(?:说话?|讲话?|聊|谈|沟通|对话|倾|倾偈|摆|唠|讲讲|说说|问问?|反映)"
BOTS = "(?:机器人?|机械人|智障|人工智障|AI|ai|电脑|程序|机器|bot)"

CHINESE = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # 转人工, however it is typed: 转仁公, 转到人工, zhuanrengong.
        f"[转轉传砖专赚](?:到|接|给|成|一下|下|个|去|至)?{REN}{GONG}(?!费|费用|湖|草坪|智能)",
        "zh?uan(?:jie)?ren(?:g)?gong|^zrg$|^rengong$",
        # 人工！ as the whole message.
        f"^{SELF}(?:{REN}{GONG}(?:客服|服务|座席|坐席|台)?|真人(?:客服)?|活人|客服)+(?:呢|在吗?|在不在|啊|呀|吧|啦|哪|有吗|有没有)*$",
        f"(?:有没有|有冇|有得|有木有|有|冇|莫得|没有)(?:{REN}{GONG}|真人|活人|个活人|个真人|能说话的人)(?!停车|收费)",
        # A verb and somebody: 叫你们经理来, 给我找个真人, 我要人工.
        f"(?:{GIVE}){WHO_ONE}(?:{REN}{GONG}(?:客服|服务|座席|坐席)?|真人(?:客服)?|活人|大活人)(?!费|湖|草坪|智能|停车|收费)",
        f"^{SELF}(?:想|要|想要|需要|麻烦|帮我|请|赶紧|快|快点)*(?:{GIVE}){WHO_ONE}(?:{PEOPLE})"
        f"(?:来|嚟|过来|接|出来|回|回复|跟|和|同|帮|给)*{SELF}{TALK}?(?:一下|下|电话|话)?(?:啊|呀|吧|啦|嘛|了|谢谢|行不行|好不好|可以吗)*$",
        # 找个人跟我说, 叫个人来, 喊个人嘛, 换个人. What it shall do else ("找个人修水管") is a repair.
        f"^{SELF}(?:想|要|能不能|可不可以|麻烦|快|赶紧)*(?:{GIVE}|整|派)一?(?:个|位)人(?:来|嚟|过来|出来|回复?|接|嘛|噻|嚛)*"
        f"(?:(?:跟|和|同|与|给|帮){SELF})?(?:{TALK}|回话|接待)?(?:一下|下)?(?:啊|呀|吧|啦|嘛|了|行不行|好不好|可以吗|谢谢)*$",
        # 我要跟人说话, 想搵人倾, 我要同人讲.
        f"(?:想|要|能不能|可以|让我|得)(?:跟|和|同|与|搵|揾|寻)(?:个|你们的|你们|物业的)?(?:真|活)?(?:人|{PEOPLE}){TALK}",
        # Not with a machine.
        f"(?:不|唔|勿|别|莫|懒得|不要|不想|不愿意?|唔想|唔好|勿想|没法|无法|拒绝)(?:再|要)?(?:跟|和|同|与|让|用|搭|对着)(?:你们?这?个?)?{BOTS}",
        f"(?:跟|和|同){BOTS}(?:说不清|讲不清|说不通|没法|扯不清|说不明白)",
        f"(?:不要|唔要|勿要|别用|不用|讨厌|去你的|受够了?)(?:这个|这破|破|个)?{BOTS}(?:回复?|糊弄|敷衍|了|客服|说|$)",
    )
)
ENGLISH_NOUNS = (
    "human", "humans", "person", "people", "agent", "representative", "rep", "operator", "staff", "someone", "somebody",
    "manager", "supervisor", "employee", "receptionist", "attendant",
)  # fmt: skip
ENGLISH_VERBS = re.compile(
    r"\b(?:talk|speak|chat|connect|transfer|trasnfer|put|pass|hand|escalate|reach|get|give|want|need|call|bring|switch"
    r"|speek|tlak|contact)\b"
)
ENGLISH_ASK = re.compile(
    r"\b(?:(?:talk|speak|speek|tlak|chat|connect|transfer|trasnfer|escalate|switch|put|pass|hand)\b.{0,24}?\b(?:to|with|over)"
    r"|get me|give me|i want|i need|i'd like|id like|let me have|bring me|call)\s+(?:me\s+)?(?:to\s+)?"
    r"(?:an?\s+|the\s+|your\s+|some\s+|any\s+)?(?:(?:real|live|actual|human|customer|proper)\s+)*(?P<noun>[a-z]+)"
)
ENGLISH = tuple(
    re.compile(pattern)
    for pattern in (
        r"\b(?:real|live|actual) (?:human|person|agent|people|operator)\b",
        r"\bhuman (?:agent|being|support|help|operator|please|now)\b",
        r"\bcustomer (?:service|support)\b(?!.{0,20}\b(?:number|hours|phone|time)\b)",
        r"(?:don'?t|do not|not|stop|no|never|hate|sick of|tired of|rather not)\b.{0,16}\b(?:talk|speak|chat|deal|dealing|talking)"
        r".{0,12}\b(?:ro)?bots?\b|\b(?:no|not|stop) (?:more )?(?:ro)?bots?\b|\b(?:this )?(?:ro)?bot is useless\b"
        r"|\b(?:talk|speak)\b.{0,12}\bmachine\b",
        r"^(?:stop[, ]*)?(?:a |an |the )?(?:human|person|agent|representative|operator|live agent|real person)"
        r"(?: ?(?:please|pls|plz|now|here|asap|thanks|thank you))*$",
        r"^is (?:there )?(?:any(?:one|body)|someone|a human|a person)(?: real)? (?:there|here|i can (?:talk|speak) to)$",
    )
)
NOUN_LIKENESS = 0.8
ENGLISH_WORDS_MAX = 25

NOT_WANTED = re.compile(
    rf"(?:不用|不必|不要|不需要|无需|不想|别|先别|甭|唔使|唔好|勿要|莫)(?:再|给我|帮我|麻烦)?(?:{GIVE})*(?:{REN}{GONG}|真人|活人|客服|人来|个人)"
    r"|\b(?:don'?t|do not|no need|without|not)\b.{0,24}\b(?:human|person|agent|representative|operator|someone|staff)\b(?!.{0,20}bot)"
)
ABOUT = re.compile(
    rf"{REN}{GONG}(?:费|湖|草坪|智能|呼吸|成本|收费|多少钱)|(?:客服|前台|物业|管家|服务中心|经理|值班)(?:的)?(?:电话|号码|热线|几点|上班|下班|在哪|地址|时间|微信|联系方式)"
    r"|\b(?:phone|number|hours|address|email)\b|\bperson(?:al)? (?:in charge|liable)\b|\bper person\b",
    re.IGNORECASE,
)
"""The words in a question about something else, which the documents may answer."""

BACK = re.compile(
    rf"^(?:取消(?:转|转接)?(?:{REN}{GONG})?(?:排队)?|(?:不用|不要|不必|别|算了)?,?(?:不用|不|别|甭)(?:再)?(?:转|等|找|叫)(?:了)?(?:{REN}{GONG}|真人|客服)?了?"
    rf"|(?:继续|还是|接着|改)?(?:问|跟|和|用|找|回到?|切回|返回|转回)(?:你|{BOTS})(?:吧|就行|好了|问|说|回答|继续)*|返回(?:{BOTS})"
    rf"|(?:back|return|switch back)(?: to)?(?: the)? (?:ro)?bot|continue with (?:the )?(?:ro)?bot|cancel(?: the)?(?: hand-?off| transfer)?"
    rf"|never ?mind(?: the (?:human|agent|person))?|i(?:'ll| will) ask the (?:ro)?bot)(?:谢谢|了|吧|please)*$",
    re.IGNORECASE,
)
"""Whole messages, and of effect only while somebody waits for a person."""


def find(message: str) -> Wish | None:
    """What the message asks of the conversation, if it does."""
    plain = _plain(message)
    if BACK.match(plain.replace(" ", "")) or BACK.match(plain):
        return Wish.BOT
    return Wish.PERSON if wants_person(message) else None


def wants_person(message: str) -> bool:
    """Whether the message asks for a person. What only mentions one ("人工费多少钱") does not."""
    plain = _plain(message)
    han = re.sub(r"\s+", "", plain)
    if NOT_WANTED.search(han) or NOT_WANTED.search(plain):
        return False
    asked = any(pattern.search(han) for pattern in CHINESE)
    if not asked and len(plain.split()) <= ENGLISH_WORDS_MAX:
        asked = any(pattern.search(plain) for pattern in ENGLISH) or _english_noun(plain)
    return asked and not _is_about(han, plain)


def _is_about(han: str, plain: str) -> bool:
    if not (ABOUT.search(han) or ABOUT.search(plain)):
        return False
    # "客服电话打不通，转人工": the wish stands beside what it is about.
    return re.search(f"转{REN}{GONG}(?!费)", han) is None


def _english_noun(plain: str) -> bool:
    """A verb that asks for somebody, also where the noun is mistyped."""
    at = 0
    # "i want to talk to a human" asks twice, one within the other.
    while found := ENGLISH_ASK.search(plain, at):
        noun, at = found["noun"], found.start() + 1
        if len(noun) >= 3 and get_close_matches(noun, ENGLISH_NOUNS, n=1, cutoff=NOUN_LIKENESS):
            return _ends_there(plain[found.end() :])
    return False


def _ends_there(rest: str) -> bool:
    """Somebody to talk to, not "someone to fix my tap", which is a repair."""
    return re.match(r"\s+(?:to|who can|for)\s+(?!talk|speak|help|me\b|answer)\w+", rest) is None


def _plain(message: str) -> str:
    """Lower case, width and marks made alike."""
    text = unicodedata.normalize("NFKC", message).lower().replace("’", "'")
    return re.sub(r"[^\w\s']+", " ", text).strip()
