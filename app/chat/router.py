"""Which road a question takes before anything is searched. Pure rules: small talk and refusals need no model."""

import re

from app.chat import wishes
from app.chat.tables import Route
from app.chat.texts import Text

SMALL_TALK: tuple[tuple[Text, re.Pattern[str]], ...] = (
    (
        Text.GREETING,
        re.compile(
            r"(你|您)?好[啊呀吗嘛]*|(早上|上午|中午|下午|晚上)好|早(安|啊)?|嗨+|哈[喽啰罗]|在吗?|有人吗|喂+"
            r"|hi|hello|hey|good (morning|afternoon|evening)( there)?|(hi|hello|hey)( there)?",
            re.IGNORECASE,
        ),
    ),
    (
        Text.THANKS,
        re.compile(
            r"(好的?|行|嗯+|知道了|明白了|懂了|收到)?[,，。 ]*(谢+谢*(你|您|啦|了|哈)?|多谢|感谢|辛苦了)"
            r"|(好的?|行|嗯+|知道了|明白了|收到|ok|okay|got it)"
            r"|(ok(ay)?[, ]*)?(thanks?|thank you|thx)( (a lot|so much|very much))?",
            re.IGNORECASE,
        ),
    ),
    (Text.GOODBYE, re.compile(r"再见|拜拜|回头见|(good)?bye( bye)?|see you", re.IGNORECASE)),
    (
        Text.WHO,
        re.compile(
            r"(你|您)(是谁|叫什么(名字)?|是(机器人|真人|人|ai)吗?|是不是(机器人|真人|人)|能(做|干)(什么|啥)|会(什么|啥))"
            r"|who are you|what are you|are you (a )?(robot|human|bot|real person)|what can you do",
            re.IGNORECASE,
        ),
    ),
)
"""Whole messages only: "你好，停车怎么收费" is a question."""

REFUSED = re.compile(
    r"(系统|初始|隐藏|内部)(的)?(提示词?|指令|prompt)|(忽略|无视|忘掉|忘记)(你|之前|以上|上面|前面|所有)[^。]{0,12}(指令|规则|提示|设定|要求)"
    r"|system prompt|(ignore|disregard|forget) (all |any )?(the |your |my )?(previous|prior|above|earlier) "
    r"(instructions?|rules?|prompts?)|developer mode|jailbreak"
    r"|(邻居|别人|他人|其他业主|其他住户|隔壁|楼上|楼下|\d+室?的?(业主|住户))[^。？?]{0,8}(手机号|电话号码|身份证|车牌号?是|住址|工资|账单)"
    r"|(写|编|作)(一?[首篇个段])?[^。]{0,6}(诗|小说|代码|程序|作文|论文)"
    r"|(write|compose) (me )?(a |an |some )?(poem|novel|code|essay|program|python)"
    r"|(my )?neighbou?r'?s? (phone|mobile|id|bank|bill)",
    re.IGNORECASE,
)
"""Others' personal data, our instructions, and work that is not a community's: declined without a search."""

EDGES = " \t\n。．.!！?？~～,，、…"


def choose(question: str) -> tuple[Route, Text | None]:
    """The route and, where the answer is fixed, its text."""
    plain = question.strip(EDGES)
    for text, pattern in SMALL_TALK:
        if pattern.fullmatch(plain):
            return Route.SMALL_TALK, text
    if REFUSED.search(question):
        return Route.REFUSAL, Text.REFUSAL
    if wishes.wants_person(question):
        # Where a person can be had the wish was granted before this. Here is a door to which nobody could answer.
        return Route.HANDOFF, Text.NO_PERSON_HERE
    return Route.KNOWLEDGE, None


POINTS_BACK = re.compile(
    r"^(那|那么|然后|还有|另外|如果|要是|这个|那个|它|上面|刚才|and |what about|how about|then |if )"
    r"|(呢|这个|那个|它|他们|刚才|上面|同样)[?？]?$|\b(it|that|those|they|there|this)\b",
    re.IGNORECASE,
)
SHORT_CHARS = 10


def search_text(question: str, history: list[dict[str, str]]) -> str:
    """What to search for: a follow-up ("那周末呢？") is searched together with the question it points back to."""
    before = next((m["content"] for m in reversed(history) if m["role"] == "user"), "")
    if before and (len(question) <= SHORT_CHARS or POINTS_BACK.search(question.strip())):
        return f"{before} {question}"
    return question
