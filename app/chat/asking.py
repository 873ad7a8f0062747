"""Where every question comes in: an emergency is answered right here, before queue, engine and embedder are thought of.

The turn is written as answered, with the approved card, in the transaction that opens the emergency order. The same way
a report of a known incident is answered: with what its row tells, and the offer to follow it.
"""

import time
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from app.chat import conversations, known_incidents
from app.chat.conversations import TITLE_CHARS, check_text
from app.chat.tables import ConversationStatus, Mode, Route, Turn, TurnStatus
from app.chat.texts import Text, say
from app.chat.turns import TURNS
from app.clock import CLOCK
from app.db import is_away
from app.errors import AppError, RateLimited
from app.knowledge.language import language_of
from app.people.callers import Caller
from app.rest.rate_limits import RateLimits
from app.runtime import Runtime
from app.safety import emergencies, second_voice
from app.safety.emergencies import Emergency
from app.service_desk import cards, emergency_reports
from app.service_desk.emergency_reports import Report
from app.service_desk.tables import Channel

log = structlog.get_logger(__name__)

FOLLOW_UP_CHARS_MAX = 60
"""Longer messages are questions of their own."""


async def hear_emergency(runtime: Runtime, limits: RateLimits, caller: Caller, text: str) -> Emergency | None:
    """The emergency that a question tells of: by rules and wording at once, within the limits by the meaning too.

    Raises RateLimited; but whoever rules or wording hear is never refused.
    """
    heard = second_voice.hear(text)
    if heard.found is not None and not heard.asks_meaning:
        return heard.found
    try:
        await limits.check("turn", caller.key, per_minute_max=runtime.settings.turns_per_minute_max)
    except RateLimited:
        if (alone := emergencies.find(text) or heard.found) is not None:
            return alone
        raise
    return await second_voice.listen_on(text, heard, runtime.embedder)


async def ask(
    session: AsyncSession, runtime: Runtime, caller: Caller, *, text: str, emergency: Emergency | None,
    conversation_id: UUID | None = None, history: list[dict[str, str]] | None = None,
) -> Turn:  # fmt: skip
    """The turn of a question: answered already for an emergency (`hear_emergency`) and what follows one, else waiting.

    Raises as `conversations.start_turn`; an emergency is never refused, but for being empty.
    """
    chars_max = runtime.settings.turn_text_chars_max
    if emergency is not None:
        question = check_text(text[:chars_max], chars_max=chars_max)
        return await _answer(session, runtime, caller, emergency, question=question, conversation_id=conversation_id)
    if conversation_id is not None and (follow_up := _follow_up(text)):
        question = check_text(text, chars_max=chars_max)
        order = await emergency_reports.find_open(session, runtime, caller, conversation_id)
        if order is not None:
            await emergency_reports.say(session, runtime, caller, order, question)
        if order is not None and await _speaks(session, caller, conversation_id):
            answer = say(follow_up, language_of(question))
            trace = {"emergency": {"work_order_id": str(order.id), "number": order.number, "follow_up": follow_up}}
            return await _add_answered(
                session, runtime, caller, Route.EMERGENCY, question=question, conversation_id=conversation_id,
                answer=answer, trace=trace,
            )  # fmt: skip
    if known := await _known(session, runtime, caller, text, conversation_id):
        return known
    return await conversations.start_turn(
        session, runtime, caller, text=text, conversation_id=conversation_id, history=history
    )


async def _known(
    session: AsyncSession, runtime: Runtime, caller: Caller, text: str, conversation_id: UUID | None
) -> Turn | None:
    """The turn of a report of a known incident, and of what a resident makes of that offer. Raises TooManyOrders."""
    turn_id, question = CLOCK.new_id(), text.strip()
    answer = await known_incidents.find_answer(
        session, runtime, caller, question=question, conversation_id=conversation_id, turn_id=turn_id
    )
    if answer is None or (conversation_id is not None and not await _speaks(session, caller, conversation_id)):
        return None
    return await _add_answered(
        session, runtime, caller, Route.INCIDENT, turn_id=turn_id, conversation_id=conversation_id,
        question=check_text(text, chars_max=runtime.settings.turn_text_chars_max), answer=answer.text,
        trace=answer.trace,
    )  # fmt: skip


async def _speaks(session: AsyncSession, caller: Caller, conversation_id: UUID) -> bool:
    """Whether Linli answers here. Where a person has the conversation, only an emergency itself breaks the silence."""
    own = await conversations.get_own(session, caller, conversation_id)
    return own.status is ConversationStatus.BOT


def _follow_up(text: str) -> Text | None:
    """What a short message may be if an emergency is open in its conversation: all well again, where, or hurry."""
    if len(text) > FOLLOW_UP_CHARS_MAX:
        return None
    if emergencies.says_all_is_well(text):
        return Text.EMERGENCY_WELL
    if emergencies.cries_for_help(text) or emergency_reports.find_place(text):
        return Text.EMERGENCY_NOTED
    return None


async def _answer(
    session: AsyncSession, runtime: Runtime, caller: Caller, emergency: Emergency, *, question: str,
    conversation_id: UUID | None,
) -> Turn:  # fmt: skip
    started = time.perf_counter()
    language = language_of(question)
    own_id, number = await conversations.take_number(
        session, runtime, caller, conversation_id, title=question[:TITLE_CHARS]
    )
    turn = conversations.new_turn(runtime, caller, own_id, number, question=question)
    reported = await _report(session, runtime, caller, emergency, turn)
    card = await cards.read(session, caller, emergency.kind, language)
    told: dict[str, Any] = {"kind": emergency.kind, "words": emergency.words}
    if reported is not None:
        told |= {"work_order_id": str(reported.order.id), "number": reported.order.number, "joined": reported.joined}
        text = Text.EMERGENCY_JOINED if reported.joined else Text.EMERGENCY_REPORTED
        card = f"{card}\n\n{say(text, language, number=reported.order.number)}"
    else:
        card = f"{card}\n\n{say(Text.EMERGENCY_CALL, language)}"
    times = {"total_ms": round((time.perf_counter() - started) * 1000)}
    trace = {"emergency": told, "times": times}
    return await _end(session, runtime, turn, Route.EMERGENCY, answer=card, trace=trace)


async def _report(
    session: AsyncSession, runtime: Runtime, caller: Caller, emergency: Emergency, turn: Turn
) -> Report | None:
    """The order; None when it could not be opened: the card must reach whoever is in need all the same."""
    try:
        async with session.begin_nested():
            return await emergency_reports.report(
                session, runtime, caller, emergency.kind, text=turn.question, channel=Channel.AI,
                conversation_id=turn.conversation_id, turn_id=turn.id,
            )  # fmt: skip
    except (AppError, SQLAlchemyError) as error:
        if is_away(error):
            raise
        log.exception("emergency_not_reported", turn_id=str(turn.id), kind=emergency.kind)
        return None


async def _add_answered(
    session: AsyncSession, runtime: Runtime, caller: Caller, route: Route, *, question: str,
    conversation_id: UUID | None, answer: str, trace: dict[str, Any], turn_id: UUID | None = None,
) -> Turn:  # fmt: skip
    own_id, number = await conversations.take_number(
        session, runtime, caller, conversation_id, title=question[:TITLE_CHARS]
    )
    turn = conversations.new_turn(runtime, caller, own_id, number, question=question)
    turn.id = turn_id or turn.id
    return await _end(session, runtime, turn, route, answer=answer, trace=trace)


async def _end(
    session: AsyncSession, runtime: Runtime, turn: Turn, route: Route, *, answer: str, trace: dict[str, Any]
) -> Turn:
    turn.status, turn.route, turn.mode = TurnStatus.ANSWERED, route, Mode.FIXED
    turn.answer, turn.trace = answer, trace
    turn.started_at = turn.finished_at = runtime.clock()
    session.add(turn)
    await session.flush()
    TURNS.labels(turn.status, turn.route, turn.mode).inc()
    return turn
