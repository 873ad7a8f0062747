"""Whether the passages answer, where the search alone is not sure: a ready engine reads the quotes and says yes or no.

One token, constrained to two words, and its probability: a small model asked to refuse in its own words refuses nearly
everything. It judges better from the quotes under a prompt of its own than as part of the answer's (see DECISIONS.md).
"""

import structlog

from app.chat import prompt
from app.chat.claims import Claim, Draft
from app.chat.evidence import Evidence, Verdict
from app.runtime import Runtime
from models.engine import EngineFailed, Request, State

log = structlog.get_logger(__name__)

CHOICE_TOKENS_MAX = 4


async def answers(runtime: Runtime, claimed: Claim, draft: Draft, evidence: Evidence, engine: State) -> bool:
    """The search's own verdict when it is sure or nobody can be asked, else the engine's. Raises EngineBusy."""
    if evidence.verdict is Verdict.SILENT:
        return False
    if evidence.verdict is Verdict.ANSWERED or engine is not State.READY:
        return evidence.answerable
    request = Request(
        messages=prompt.judgement(evidence.quotes, draft.trace["searched_for"]),
        max_tokens=CHOICE_TOKENS_MAX,
        choices=(prompt.YES, prompt.NO),
        salt=str(claimed.turn.community_id),
        session=str(claimed.turn.conversation_id),
    )
    try:
        judged = await runtime.engine.complete(request)
    except EngineFailed as error:
        log.warning("judgement_failed", turn_id=str(claimed.turn.id), error=str(error))
        return evidence.answerable
    share = judged.shares.get(prompt.YES, float(judged.text == prompt.YES))
    draft.trace["evidence"]["engine_says"] = round(share, 3)
    return share >= runtime.settings.unsure_share_min
