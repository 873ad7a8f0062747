"""What Linli says in its own words, in both languages. Nothing here states a fact about the community."""

from enum import StrEnum


class Text(StrEnum):
    NOT_FOUND = "not_found"
    QUOTES_INTRO = "quotes_intro"
    QUOTES_DEGRADED = "quotes_degraded"
    QUOTES_WARMING = "quotes_warming"
    SEARCH_DOWN = "search_down"
    REFUSAL = "refusal"
    GREETING = "greeting"
    THANKS = "thanks"
    GOODBYE = "goodbye"
    WHO = "who"


TEXTS: dict[Text, dict[str, str]] = {
    Text.NOT_FOUND: {
        "zh": "现有资料里没有找到这个问题的答案。您可以换个说法再问，或者联系物业服务中心。",
        "en": "I could not find the answer in the community's documents. "
        "Please rephrase the question or contact the property service centre.",
    },
    Text.QUOTES_INTRO: {
        "zh": "以下是资料原文：",
        "en": "This is what the documents say:",
    },
    Text.QUOTES_DEGRADED: {
        "zh": "智能回答暂时不可用，以下是资料原文：",
        "en": "Written answers are not available right now. This is what the documents say:",
    },
    Text.QUOTES_WARMING: {
        "zh": "智能回答正在启动，请过几分钟再问；以下是资料原文：",
        "en": "Written answers are warming up; ask again in a few minutes. This is what the documents say:",
    },
    Text.SEARCH_DOWN: {
        "zh": "资料检索暂时不可用，请稍后再问；急事请直接联系物业服务中心。",
        "en": "The documents cannot be searched right now. Please ask again later; "
        "if it is urgent, contact the property service centre.",
    },
    Text.REFUSAL: {
        "zh": "这件事我帮不上忙。我可以回答小区里的问题，比如收费、停车、装修、设施和通知。",
        "en": "I cannot help with that. I can answer questions about the community: "
        "fees, parking, renovation, facilities and notices.",
    },
    Text.GREETING: {
        "zh": "您好！我是邻里助手，小区的规定、收费、设施和通知都可以问我。",
        "en": "Hello! I am Linli, the community's assistant. Ask me about rules, fees, facilities and notices.",
    },
    Text.THANKS: {"zh": "不客气，有问题随时问我。", "en": "You are welcome. Ask me any time."},
    Text.GOODBYE: {"zh": "再见，祝您生活愉快。", "en": "Goodbye, have a nice day."},
    Text.WHO: {
        "zh": "我是邻里助手，一个计算机程序，根据小区的资料回答问题，并注明出处。",
        "en": "I am Linli, a computer program. I answer from the community's documents and name the source.",
    },
}


def say(text: Text, language: str) -> str:
    """The text in `zh` or `en`."""
    return TEXTS[text][language]
