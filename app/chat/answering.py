"""From a claimed turn to an answer: approved answer, quotes and the model's words, each checked by code.

Whether the documents answer and how the answer is worded are two decisions. The first is the search's or, where it is
unsure, a constrained yes or no of the engine. Quotes that the search is confident of are on the screen before the model
has said a word; its words are dropped for the quotes when they hold a number that no shown passage holds, refuse, echo
the question or come in the wrong language.
"""

from contextlib import aclosing

import structlog
from prometheus_client import Counter

from app.chat import judging, prompt, recommending, router
from app.chat.citing import cited
from app.chat.claims import Claim, Draft
from app.chat.evidence import Evidence, gather
from app.chat.publishing import TurnFeed
from app.chat.tables import Mode, Route
from app.chat.texts import Text, say
from app.knowledge.ingest import EmbedderMismatch
from app.runtime import Runtime
from app.safety import grounding
from app.settings import Settings
from models.engine import EngineFailed, Message, Request, State
from models.openai_embedder import EmbedderFailed

log = structlog.get_logger(__name__)

INTROS = {
    "engine_off": Text.QUOTES_DEGRADED,
    "engine_failed": Text.QUOTES_DEGRADED,
    "engine_warming": Text.QUOTES_WARMING,
}
"""How quotes begin that stand because the engine could not be asked; otherwise nobody is told of an engine."""
FALLBACKS = Counter("linli_answer_fallbacks_total", "Answers that fell back to quotes", ["reason"])


async def write_answer(runtime: Runtime, claimed: Claim, draft: Draft, feed: TurnFeed) -> None:
    """Fill `draft` and publish it on the way. Raises EngineBusy before the model's first word."""
    draft.route, fixed = router.choose(claimed.turn.question)
    if fixed is not None:
        await _say(claimed, draft, feed, fixed)
        return
    wanted = recommending.find(claimed.turn.question)
    if wanted is not None and await recommending.answer(runtime, claimed, draft, feed, wanted):
        return
    try:
        evidence = await gather(runtime, claimed, draft, feed.watch)
    except (EmbedderFailed, EmbedderMismatch) as error:
        log.error("search_unavailable", turn_id=str(claimed.turn.id), error=str(error))
        FALLBACKS.labels("search_unavailable").inc()
        draft.trace["search_error"] = str(error)
        await _say(claimed, draft, feed, Text.SEARCH_DOWN)
        return
    draft.quotes = evidence.quotes
    if evidence.approved is not None:
        draft.route, draft.mode = Route.APPROVED, Mode.FIXED
        draft.answer = evidence.approved.text(claimed.turn.language)
        draft.citations = evidence.quotes
        await feed.publish("retrieved", {"quotes": evidence.quotes})
        await feed.text(draft.answer)
    else:
        engine = await runtime.engine.state()
        draft.trace["engine"] = {"state": engine.state, "detail": engine.detail}
        if evidence.answerable and runtime.settings.retrieval:
            await _show_quotes(draft, feed)
        if await judging.answers(runtime, claimed, draft, evidence, engine.state):
            if not evidence.answerable:
                await _show_quotes(draft, feed)
            await _word(runtime, claimed, draft, feed, evidence, engine.state)
        else:
            draft.quotes = []
            await _say(claimed, draft, feed, Text.NOT_FOUND, replaces=evidence.answerable)


async def _show_quotes(draft: Draft, feed: TurnFeed) -> None:
    await feed.publish("retrieved", {"quotes": draft.quotes, "engine": draft.trace["engine"]})
    feed.watch.mark("quotes")


async def _say(claimed: Claim, draft: Draft, feed: TurnFeed, text: Text, *, replaces: bool = False) -> None:
    """A fixed text; where quotes were shown before it, it takes their place."""
    draft.mode = Mode.FIXED
    draft.trace["fixed"] = text
    draft.answer = say(text, claimed.turn.language)
    if replaces:
        await feed.publish("replaced", {"text": draft.answer, "reason": "not_answered", "quotes": []})
    else:
        await feed.text(draft.answer)


async def _word(
    runtime: Runtime, claimed: Claim, draft: Draft, feed: TurnFeed, evidence: Evidence, engine: State
) -> None:
    """The model's words, or the quotes in their place."""
    if engine in (State.OFF, State.WARMING):
        await _quote(claimed, draft, feed, reason=f"engine_{engine}")
        return
    try:
        reason = await _stream(runtime, claimed, draft, feed, evidence)
    except EngineFailed as error:
        log.warning("engine_failed", turn_id=str(claimed.turn.id), error=str(error))
        draft.trace["engine_error"] = str(error)
        reason = "engine_failed"
    feed.watch.mark("worded")
    if reason is None:
        draft.mode = Mode.MODEL
        draft.citations = cited(draft.answer, evidence.quotes)
        await feed.publish("citation", {"citations": draft.citations})
    else:
        await _quote(claimed, draft, feed, reason=reason)


async def _stream(runtime: Runtime, claimed: Claim, draft: Draft, feed: TurnFeed, evidence: Evidence) -> str | None:
    """Publishes the model's words as far as they are grounded; the reason to drop them, or None when they are good.

    A number is held back until it is whole and found in a passage, so a wrong one is not shown even for a moment.
    """
    request = Request(
        messages=_messages(runtime.settings, claimed, evidence),
        max_tokens=runtime.settings.answer_tokens_max,
        salt=str(claimed.turn.community_id),
        session=str(claimed.turn.conversation_id),
    )
    checked = grounding.GroundedStream([f"{s.document} {s.section}\n{s.text}" for s in evidence.sources])

    def check(text: str) -> str:
        shown = checked.push(text)
        draft.answer += shown
        return shown

    async with feed.frames(check) as frames, aclosing(runtime.engine.stream(request)) as deltas:
        async for delta in deltas:
            feed.watch.mark("first_token")
            if delta.usage is not None:
                draft.usage = delta.usage
            if delta.text:
                await frames.add(delta.text)
            if checked.ungrounded:
                break
        frames.check()
        if not checked.ungrounded and (shown := checked.finish()):
            draft.answer += shown
            frames.say(shown)
    return _objection(claimed, draft, checked, instructions=request.messages[0].content)


def _messages(settings: Settings, claimed: Claim, evidence: Evidence) -> tuple[Message, ...]:
    return prompt.build(
        community=claimed.community_name,
        language=claimed.turn.language,
        history=prompt.fit_history(
            claimed.history, tokens_max=settings.history_tokens_max, turns_max=settings.history_turns_max
        ),
        sources=evidence.sources,
        question=claimed.turn.question,
    )


def _objection(claimed: Claim, draft: Draft, checked: grounding.GroundedStream, *, instructions: str) -> str | None:
    """Why the model's words are worse than the quotes; None when they are not."""
    answer, question = draft.answer, claimed.turn.question
    if checked.ungrounded:
        draft.trace["ungrounded"] = {"facts": [item.text for item in checked.ungrounded], "answer": checked.answer}
    objections = {
        "ungrounded": bool(checked.ungrounded),
        "empty": not answer.strip(),
        "model_refused": grounding.says_not_found(answer),
        "instructions": grounding.repeats(answer, instructions),
        "echo": grounding.echoes_question(answer, question),
        "wrong_language": grounding.wrong_language(answer, claimed.turn.language),
    }
    return next((reason for reason, holds in objections.items() if holds), None)


async def _quote(claimed: Claim, draft: Draft, feed: TurnFeed, *, reason: str) -> None:
    """The quotes stand alone; what the model had said so far is taken back."""
    FALLBACKS.labels(reason).inc()
    said_before = draft.answer
    draft.trace["fallback"] = {"reason": reason, "said_before": said_before}
    if not draft.quotes:
        # Without retrieval there is nothing to fall back to.
        await _say(claimed, draft, feed, Text.NOT_FOUND, replaces=bool(said_before))
        return
    intro = say(INTROS.get(reason, Text.QUOTES_INTRO), claimed.turn.language)
    lines = (f"[{q['n']}] {q['quote']}（《{q['document']}》{q['section']}）" for q in draft.quotes)
    draft.answer = "\n".join((intro, *lines))
    draft.mode, draft.citations = Mode.QUOTES, draft.quotes
    if said_before:
        await feed.publish("replaced", {"text": draft.answer, "reason": reason})
    else:
        await feed.text(draft.answer)
