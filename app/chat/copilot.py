"""What the model writes for staff: a reply with its sources, a kinder wording, a summary, a translation, a next step.

Always a draft. Numbers are checked as in answers: one that stands in no source takes the model's words back. Without
the model there is a plainer text, and it says so.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import structlog

from app.chat import copilot_actions, copilot_prompt, drafts, story
from app.chat.answering import write_answer
from app.chat.claims import Claim, Draft
from app.chat.drafts import Work, Written
from app.chat.prompt import fit_history, said_by_staff
from app.chat.publishing import TurnFeed
from app.chat.story import TURN, Entry
from app.chat.tables import DraftKind, MessageKind, Mode, Route, Turn
from app.db import is_away
from app.people.callers import system_caller
from app.queue import Lease
from app.runtime import Runtime
from app.safety import grounding
from app.safety.numbers import find_facts
from app.service_desk import triaging
from models.engine import EngineFailed, Message, Request, State

log = structlog.get_logger(__name__)

SUMMARY_TOKENS_MAX = 250


async def write_draft(runtime: Runtime, lease: Lease) -> None:
    """Write one waiting draft. A second delivery finds it written. Raises EngineBusy (the queue puts it back)."""
    work = await drafts.claim(runtime, lease)
    if work is None:
        return
    begun = "restart" if work.draft.attempts > 1 else "started"
    await runtime.feed.publish(work.draft.id, begun, {"attempt": work.draft.attempts}, token=work.token)
    try:
        written = await WRITERS[work.draft.kind](runtime, work)
    except Exception as error:
        if lease.attempt >= runtime.settings.job_attempts_max and not is_away(error):
            log.exception("draft_failed", draft_id=str(work.draft.id))
            await drafts.give_up(runtime, work.draft.id, work.draft.community_id, reason=type(error).__name__)
        raise
    await drafts.save(runtime, work, written)


async def _reply(runtime: Runtime, work: Work) -> Written:
    """An answer as the bot would give it, found with the resident's rights: what staff alone may know is not in it."""
    words = question_of(work.entries)
    if not words or work.asker is None:
        return Written("", Mode.FIXED, facts={"reason": "nothing_asked" if work.asker else "caller_gone"})
    turn = Turn(
        id=work.draft.id, community_id=work.draft.community_id, conversation_id=work.conversation.id,
        number=work.conversation.last_number, messages=words, language=work.draft.language,
    )  # fmt: skip
    history = history_of(work.entries, words, work.draft.language)
    claimed = Claim(turn, work.token, work.tenant, work.asker, work.community_name, history, restarted=False)
    feed = TurnFeed(runtime.feed, work.draft.id, token=work.token)
    draft = Draft(trace={"times": feed.watch.marks})
    await write_answer(runtime, claimed, draft, feed)
    facts: dict[str, Any] = {"answers": words}
    if draft.mode is not Mode.MODEL:
        fallback = draft.trace.get("fallback", {})
        facts["reason"] = fallback.get("reason") or draft.trace.get("fixed") or draft.route
    return Written(draft.answer, draft.mode or Mode.FIXED, draft.citations, facts)


async def _rewrite(runtime: Runtime, work: Work) -> Written:
    text, language = work.draft.text_given, work.draft.language
    said, reason = await _ask(runtime, work, copilot_prompt.rewrite(text, language), sources=[text])
    if said is None:
        return Written(copilot_prompt.politely(text, language), Mode.FIXED, facts={"reason": reason})
    return Written(said, Mode.MODEL, facts=_left_out(text, said))


async def _translate(runtime: Runtime, work: Work) -> Written:
    text, language = work.draft.text_given, work.draft.language
    said, reason = await _ask(runtime, work, copilot_prompt.translate(text, language), sources=[text])
    if said is None:
        return Written(text, Mode.FIXED, facts={"reason": reason, "untranslated": True})
    return Written(said, Mode.MODEL, facts=_left_out(text, said))


async def _summary(runtime: Runtime, work: Work) -> Written:
    language = work.draft.language
    told = copilot_prompt.told(work.entries, language)
    said, reason = await _ask(runtime, work, copilot_prompt.summary(told, language), sources=[told])
    if said is None:
        return Written(copilot_prompt.extract(work.entries, language), Mode.QUOTES, facts={"reason": reason})
    return Written(said, Mode.MODEL)


async def _suggest(runtime: Runtime, work: Work) -> Written:
    """What the resident's words are about, and what to do next. The classifiers say it; the engine only fills slots."""
    words = "\n".join(question_of(work.entries))
    if not words:
        return Written("", Mode.FIXED, facts={"reason": "nothing_asked"})
    async with runtime.transaction(work.tenant) as session:
        report = await triaging.look_around(session, system_caller(work.tenant), text=words)
    thought = await triaging.think(runtime, report)
    action = copilot_actions.choose(thought)
    text = copilot_actions.TEXTS[action][work.draft.language]
    return Written(text, Mode.FIXED, facts={**thought.facts(), "action": action})


WRITERS: Mapping[DraftKind, Callable[[Runtime, Work], Awaitable[Written]]] = {
    DraftKind.REPLY: _reply,
    DraftKind.REWRITE: _rewrite,
    DraftKind.TRANSLATE: _translate,
    DraftKind.SUMMARY: _summary,
    DraftKind.SUGGEST: _suggest,
}
"""Who writes what may be asked for; BOT_ANSWER was written already."""


async def _ask(
    runtime: Runtime, work: Work, messages: tuple[Message, ...], *, sources: Sequence[str]
) -> tuple[str | None, str]:
    """The model's words, or None and why they are not to be had or not to be used. Raises EngineBusy."""
    engine = await runtime.engine.state()
    if engine.state in (State.OFF, State.WARMING):
        return None, f"engine_{engine.state}"
    request = Request(
        messages=messages, max_tokens=max(SUMMARY_TOKENS_MAX, runtime.settings.answer_tokens_max),
        salt=str(work.draft.community_id), session=str(work.conversation.id),
    )  # fmt: skip
    try:
        said = (await runtime.engine.complete(request)).text.strip()
    except EngineFailed as error:
        log.warning("draft_engine_failed", draft_id=str(work.draft.id), error=str(error))
        return None, "engine_failed"
    objections = {
        "empty": not said,
        "ungrounded": bool(grounding.check_grounded(said, sources)),
        "instructions": grounding.repeats(said, messages[0].content),
        "wrong_language": grounding.wrong_language(said, work.draft.language),
    }
    reason = next((name for name, holds in objections.items() if holds), "")
    return (None, reason) if reason else (said, "")


def _left_out(text: str, said: str) -> dict[str, Any]:
    """The numbers of a text that its new wording lost: for staff to see before they send it."""
    grounds = grounding.Grounds([said])
    lost = [text[fact.start : fact.end] for fact in find_facts(text) if not grounds.have(fact)]
    return {"left_out": lost} if lost else {}


def question_of(entries: Sequence[Entry]) -> list[str]:
    """What is to be answered: what the resident said since anybody answered, else their last question."""
    questions = [entry for entry in entries if entry.kind != TURN or entry.route != Route.HANDOFF]
    if words := story.last_words(questions):
        return words
    return next((entry.texts for entry in reversed(questions) if entry.kind == TURN), [])


def history_of(entries: Sequence[Entry], words: Sequence[str], language: str) -> list[dict[str, str]]:
    """What came before, as a turn's history."""
    history: list[dict[str, str]] = []
    for entry in entries:
        if entry.kind == TURN and entry.route != Route.HANDOFF and not set(entry.texts) <= set(words):
            history.append({"role": "user", "content": entry.text})
            if entry.answer:
                history.append({"role": "assistant", "content": entry.answer})
        elif entry.kind == MessageKind.REPLY:
            history.append({"role": "user", "content": said_by_staff(entry.text, language)})
    return fit_history(history, tokens_max=10**6, turns_max=len(history))
