"""Whether the passages answer, where the search alone is not sure: a ready engine reads them and says yes or no.

One token, constrained to two words, and its probability: a small model asked to refuse in its own words refuses nearly
everything. The judgement and the answer share all of the prompt but its last line.
"""

from collections.abc import Mapping

import structlog

from app.chat import prompt
from app.chat.claims import Claim, Draft
from app.chat.evidence import Evidence, Verdict
from app.runtime import Runtime
from app.settings import Settings
from models.engine import EngineFailed, Message, Request, State

log = structlog.get_logger(__name__)

CHOICE_TOKENS_MAX = 4


async def answers(runtime: Runtime, claimed: Claim, draft: Draft, evidence: Evidence, engine: State) -> bool:
    """The search's own verdict when it is sure or nobody can be asked, else the engine's. Raises EngineBusy."""
    if evidence.verdict is Verdict.SILENT:
        return False
    if evidence.verdict is Verdict.ANSWERED or engine is not State.READY:
        return evidence.answerable
    yes, no = prompt.YES_NO[claimed.turn.language]
    request = Request(
        messages=messages(runtime.settings, claimed, evidence, prompt.JUDGE),
        max_tokens=CHOICE_TOKENS_MAX,
        choices=(yes, no),
        salt=str(claimed.turn.community_id),
    )
    try:
        judged = await runtime.engine.complete(request)
    except EngineFailed as error:
        log.warning("judgement_failed", turn_id=str(claimed.turn.id), error=str(error))
        return evidence.answerable
    share = judged.shares.get(yes, float(judged.text == yes))
    draft.trace["evidence"]["engine_says"] = round(share, 3)
    return share >= runtime.settings.unsure_share_min


def messages(settings: Settings, claimed: Claim, evidence: Evidence, last: Mapping[str, str]) -> tuple[Message, ...]:
    """The prompt of a turn with one of two last lines."""
    return prompt.build(
        community=claimed.community_name,
        language=claimed.turn.language,
        history=prompt.fit_history(
            claimed.history, tokens_max=settings.history_tokens_max, turns_max=settings.history_turns_max
        ),
        sources=evidence.sources,
        question=claimed.turn.question,
        last=last,
    )
