"""A resident reports in chat what is known already: the incident is told from its row and offered, before the model.

The next short message may take the offer up ("关注") or report all the same ("报修"). All of it are rules and rows, so
it works with engine, embedder and Redis away.
"""

import re
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from app.chat import conversations, router, wishes
from app.chat.tables import Conversation, ConversationStatus, Route, Turn
from app.chat.texts import Text, say
from app.knowledge.language import language_of
from app.people.callers import Caller, CallerKind
from app.runtime import Runtime
from app.service_desk import incident_offers, work_orders
from app.service_desk.incident_errors import IncidentNotFound, IncidentOver
from app.service_desk.tables import Channel

OFFER = "incident_offer"
"""In the trace of a turn: the incident that was offered, and the words of the report."""

FOLLOW = re.compile(
    r"(?:好的?|行|可以|要|嗯+|对|是的?)?[,， ]*(?:我要|帮我|请)?关注(?:一下|它|进展|这个)?"
    r"|好的?|行|可以|要|嗯+|是的?|yes(?: please)?|ok(?:ay)?|sure|please do"
    r"|(?:yes|ok(?:ay)?|sure|please)?[, ]*(?:i(?:'ll| will| want to)? )?follow(?: it| this)?(?: please)?",
    re.IGNORECASE,
)
REPORT = re.compile(
    r"(?:还是|我要|我还是要|帮我|请|单独|不同)*[,， ]*(?:报修|登记|下单|开工单|提交工单)(?:一下)?"
    r"|(?:please )?(?:report|open)(?: it| an order| anyway| it anyway)?(?: please)?",
    re.IGNORECASE,
)
TAIL = "吧啊呀哦嘛的了谢您你"


@dataclass(frozen=True)
class Answer:
    """What is said at once, and what is kept of how it came about."""

    text: str
    trace: dict[str, Any]


async def find_answer(
    session: AsyncSession, runtime: Runtime, caller: Caller, *, question: str, conversation_id: UUID | None,
    turn_id: UUID,
) -> Answer | None:  # fmt: skip
    """What to say to a report of a known incident, or to what follows such an offer; None for everything else.

    Raises TooManyOrders when a resident reports all the same, more often than they may in a day.
    """
    if caller.kind is not CallerKind.RESIDENT:
        return None
    plain = question.strip(router.EDGES).rstrip(TAIL).strip(router.EDGES) or question
    follows, reports = FOLLOW.fullmatch(plain) is not None, REPORT.fullmatch(plain) is not None
    if conversation_id is None or not (follows or reports):
        return await _offer(session, runtime, caller, question)
    offered = await _offered(session, caller, conversation_id)
    if offered is None:
        return None
    if reports:
        return await _report(session, runtime, caller, question, offered, conversation_id, turn_id)
    return await _follow(session, runtime, caller, question, offered)


async def _offer(session: AsyncSession, runtime: Runtime, caller: Caller, question: str) -> Answer | None:
    if not incident_offers.tells_of(question):
        return None
    if wishes.find(question) is not None or router.choose(question)[0] is not Route.KNOWLEDGE:
        return None
    found = await incident_offers.find(session, runtime, caller, question)
    if found is None:
        return None
    text, language = Text.INCIDENT_FOLLOWED if found.following else Text.INCIDENT_KNOWN, language_of(question)
    kept = {OFFER: {"incident_id": str(found.incident.id), "text": question}}
    return Answer(say(text, language, said=found.said[language]), kept)


async def _offered(session: AsyncSession, caller: Caller, conversation_id: UUID) -> dict[str, str] | None:
    """What the last turn of the conversation offered, where no person has it meanwhile."""
    turns = (
        conversations.visible_turns(caller)
        .join(Conversation, Conversation.id == Turn.conversation_id)
        .where(Turn.conversation_id == conversation_id, Conversation.status == ConversationStatus.BOT)
    )
    last: Turn | None = await session.scalar(turns.order_by(Turn.number.desc()).limit(1))
    return last.trace.get(OFFER) if last is not None else None


async def _follow(
    session: AsyncSession, runtime: Runtime, caller: Caller, question: str, offer: dict[str, str]
) -> Answer:
    language = language_of(question)
    incident_id = offer["incident_id"]
    try:
        incident = await incident_offers.follow(session, runtime, caller, UUID(incident_id))
    except (IncidentNotFound, IncidentOver):
        return Answer(say(Text.INCIDENT_OVER, language), {"incident": {"id": incident_id, "over": True}})
    text = say(Text.INCIDENT_NOW_FOLLOWED, language, title=incident.title)
    return Answer(text, {"incident": {"id": incident_id, "followed": True}})


async def _report(
    session: AsyncSession, runtime: Runtime, caller: Caller, question: str, offer: dict[str, str],
    conversation_id: UUID, turn_id: UUID,
) -> Answer:  # fmt: skip
    """An order with the words of the report, in whose place the incident was offered."""
    order = await work_orders.open_order(
        session, runtime, caller, kind=None, text=offer["text"], channel=Channel.AI,
        conversation_id=conversation_id, turn_id=turn_id,
    )  # fmt: skip
    told = {"id": offer["incident_id"], "work_order_id": str(order.id), "number": order.number}
    return Answer(say(Text.INCIDENT_REPORTED, language_of(question), number=order.number), {"incident": told})
