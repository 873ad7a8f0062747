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
    INCIDENT_KNOWN = "incident_known"
    INCIDENT_FOLLOWED = "incident_followed"
    INCIDENT_NOW_FOLLOWED = "incident_now_followed"
    INCIDENT_OVER = "incident_over"
    INCIDENT_REPORTED = "incident_reported"
    WHO = "who"
    PERSON_CALLED = "person_called"
    PERSON_CALLED_CLOSED = "person_called_closed"
    PERSON_CALLED_BEFORE = "person_called_before"
    PERSON_IS_HERE = "person_is_here"
    PERSON_CAME = "person_came"
    PERSON_LEFT = "person_left"
    STILL_WAITING = "still_waiting"
    STILL_CLOSED = "still_closed"
    WILL_CALL_BACK = "will_call_back"
    BOT_IS_BACK = "bot_is_back"
    CASE_CLOSED = "case_closed"
    URGENT_CALL = "urgent_call"
    NO_PERSON_HERE = "no_person_here"
    EMERGENCY_REPORTED = "emergency_reported"
    EMERGENCY_JOINED = "emergency_joined"
    EMERGENCY_CALL = "emergency_call"
    EMERGENCY_NOTED = "emergency_noted"
    EMERGENCY_WELL = "emergency_well"
    RECOMMENDED = "recommended"
    RECOMMEND_WHY = "recommend_why"
    RECOMMEND_OFF = "recommend_off"


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
    Text.RECOMMENDED: {"zh": "这些可能适合您：", "en": "These may suit you:"},
    Text.RECOMMEND_WHY: {
        "zh": "想知道为什么推荐，或少看某一类，可以在“推荐”里查看和设置。",
        "en": "Why these, and how to see less of a kind: look under “Recommendations”.",
    },
    Text.RECOMMEND_OFF: {
        "zh": "您已关闭推荐，所以我不给您推荐内容。想看的话，可以在“推荐”设置里重新打开。",
        "en": "You switched recommendations off, so I recommend nothing. You can switch them on again in the settings "
        "of “Recommendations”.",
    },
    Text.EMERGENCY_REPORTED: {
        "zh": "已通知物业值班人员，紧急工单 {number} 号。有新情况请直接在这里说。",
        "en": "The staff on duty have been told: emergency work order {number}. Tell me here if anything changes.",
    },
    Text.EMERGENCY_JOINED: {
        "zh": "您说的已补充到紧急工单 {number} 号，值班人员能看到。",
        "en": "What you said was added to emergency work order {number}. The staff on duty can see it.",
    },
    Text.EMERGENCY_CALL: {
        "zh": "暂时没能通知到物业，请马上打上面的电话。",
        "en": "The property could not be told from here. Please call the numbers above now.",
    },
    Text.EMERGENCY_NOTED: {
        "zh": "收到，已转告值班人员。危险还在的话，请先打上面的电话。",
        "en": "I passed this on to the staff on duty. If there is still danger, call the numbers above first.",
    },
    Text.EMERGENCY_WELL: {
        "zh": "收到，已告诉值班人员您说没事了。他们确认后会结束这个工单。",
        "en": "I told the staff on duty that you say all is well. They will check and then close the work order.",
    },
    Text.INCIDENT_KNOWN: {
        "zh": "{said}\n要关注进展吗？回复“关注”，有消息就通知您；您那里情况不同，回复“报修”单独登记。",
        "en": "{said}\nReply “follow” to be told how it goes on; if it is different at yours, reply “report” and it "
        "is noted by itself.",
    },
    Text.INCIDENT_FOLLOWED: {
        "zh": "{said}\n您已关注，有消息就通知您；您那里情况不同，回复“报修”单独登记。",
        "en": "{said}\nYou follow it and will be told how it goes on; if it is different at yours, reply “report” and "
        "it is noted by itself.",
    },
    Text.INCIDENT_NOW_FOLLOWED: {
        "zh": "好的，已为您关注“{title}”，有进展和恢复时都会通知您。",
        "en": "Done. You follow “{title}” and will be told how it goes on and when it is over.",
    },
    Text.INCIDENT_OVER: {
        "zh": "这个事件已经结束。如果您那里还没有恢复，请告诉我具体情况。",
        "en": "This incident is over. If it is not over at yours, tell me what is wrong.",
    },
    Text.INCIDENT_REPORTED: {
        "zh": "已为您单独登记，工单 {number} 号。",
        "en": "It is noted by itself: work order {number}.",
    },
    Text.WHO: {
        "zh": "我是邻里助手，一个计算机程序，根据小区的资料回答问题，并注明出处。",
        "en": "I am Linli, a computer program. I answer from the community's documents and name the source.",
    },
    Text.PERSON_CALLED: {
        "zh": "好的，已通知物业工作人员，请稍等，您可以先把情况写在这里。{minutes}分钟内没有人接，我会再告诉您。"
        "{call}想继续问我，回复“继续问机器人”。",
        "en": "All right, the staff have been called. You can already write down what it is about. If nobody comes "
        "within {minutes} minutes I will tell you. {call}To go on with me, reply “back to the bot”.",
    },
    Text.PERSON_CALLED_CLOSED: {
        "zh": "现在是物业下班时间，没有工作人员在线，{opens}上班。您的请求已经记下，{due}前会有人联系您，"
        "可以先把情况写在这里。{call}想继续问我，回复“继续问机器人”。",
        "en": "The office is closed now and nobody is online; it opens on {opens}. Your request is noted, and somebody "
        "will contact you by {due}. You can already write down what it is about. {call}To go on with me, reply "
        "“back to the bot”.",
    },
    Text.PERSON_CALLED_BEFORE: {
        "zh": "已经通知过工作人员，正在等他们接入，不用再发一次。想继续问我，回复“继续问机器人”。",
        "en": "The staff have been called already and we are waiting for them; there is no need to ask again. "
        "To go on with me, reply “back to the bot”.",
    },
    Text.PERSON_IS_HERE: {
        "zh": "工作人员已经在这个会话里了，直接说就行。",
        "en": "A member of the staff is here already; just write.",
    },
    Text.PERSON_CAME: {
        "zh": "物业工作人员{name}已接入，接下来由{name}答复您。",
        "en": "{name} of the property staff has joined and will answer you from here.",
    },
    Text.PERSON_LEFT: {
        "zh": "会话已转回，正在为您安排另一位工作人员。",
        "en": "We are finding another member of the staff for you.",
    },
    Text.STILL_WAITING: {
        "zh": "抱歉，还没有工作人员接入，已通知物业主管，仍在为您排队，您不用重复发送。{call}",
        "en": "Sorry, nobody has joined yet. The manager has been told; you are still in line and need not ask again. "
        "{call}",
    },
    Text.STILL_CLOSED: {
        "zh": "现在是物业下班时间，您的请求还在，{opens}上班，{due}前会有人联系您。{call}",
        "en": "The office is closed now. Your request is kept; it opens on {opens}, and somebody will contact you by "
        "{due}. {call}",
    },
    Text.WILL_CALL_BACK: {
        "zh": "抱歉，工作人员现在都没有接上。您的请求已经记下，{due}前会有人联系您，不用一直等在这里。{call}",
        "en": "Sorry, nobody could join. Your request is noted and somebody will contact you by {due}; you need "
        "not wait here. {call}",
    },
    Text.BOT_IS_BACK: {
        "zh": "接下来由我继续为您解答，需要人工随时说“转人工”。",
        "en": "I will go on from here. Say “talk to a person” whenever you want one.",
    },
    Text.CASE_CLOSED: {
        "zh": "工作人员已结束这次会话，还有问题直接发消息就行。",
        "en": "The staff have closed this conversation. Just write when there is more.",
    },
    Text.URGENT_CALL: {"zh": "急事请直接拨打{phone}。", "en": "If it is urgent, call {phone}. "},
    Text.NO_PERSON_HERE: {
        "zh": "这个入口接不了人工。请在小区的邻里对话里说“转人工”，或者直接联系物业服务中心。",
        "en": "Nobody of the staff can be reached through this door. Ask for a person in the community's own chat, or "
        "contact the property service centre.",
    },
}


def say(text: Text, language: str, **facts: object) -> str:
    """The text in `zh` or `en`, its blanks filled."""
    return TEXTS[text][language].format(**facts).strip()
