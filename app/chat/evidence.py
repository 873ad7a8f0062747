"""What the community's documents hold on a question, and whether that answers it. Decided before any model is asked."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from app.chat import router
from app.chat.claims import Claim, Draft
from app.chat.prompt import Source
from app.chat.publishing import Stopwatch
from app.knowledge import answers, evidence, quotes, search
from app.knowledge.answers import Hit
from app.knowledge.quotes import Quote
from app.knowledge.search import Found
from app.runtime import Runtime


class Verdict(StrEnum):
    """What the search alone says: the passages answer, they do not, or a reader should look."""

    ANSWERED = "answered"
    UNSURE = "unsure"
    SILENT = "silent"


@dataclass(frozen=True)
class Evidence:
    """`quotes` as they are shown, `sources` as the model and the numbers check see them, best first.

    `answerable` decides where no reader can be asked.
    """

    verdict: Verdict
    answerable: bool
    approved: Hit | None
    quotes: list[dict[str, Any]]
    sources: list[Source]


async def gather(runtime: Runtime, claimed: Claim, draft: Draft, watch: Stopwatch) -> Evidence:
    """Search for the turn's question as its caller, as of now. What was found goes into the draft's trace."""
    caller = claimed.caller
    assert caller is not None
    settings, now = runtime.settings, runtime.clock()
    if not settings.retrieval:
        return Evidence(Verdict.ANSWERED, answerable=True, approved=None, quotes=[], sources=[])
    wanted = router.search_text(claimed.turn.question, claimed.history)
    question = await search.prepare(runtime.embedder, wanted)
    watch.mark("embedded")
    async with runtime.transaction(claimed.tenant) as session:
        results = await search.search(
            session,
            caller,
            question,
            as_of=now,
            limit=settings.passages_per_answer_max,
            candidates=settings.search_candidates,
            along=lambda: answers.nearest(caller, question, as_of=now),
        )
        if hit := answers.hit_of(question, results.along, settings):
            await answers.count_hit(session, caller, hit.answer_id)
            draft.trace["approved"] = {"answer_id": str(hit.answer_id), "similarity": round(hit.similarity, 3)}
            return Evidence(Verdict.ANSWERED, True, hit, _approved_quote(hit, claimed.turn.language), [])
    watch.mark("searched")
    judged = evidence.judge(results)
    draft.trace |= {
        "searched_for": wanted,
        "passages": [_traced(found) for found in results.found],
        "evidence": {"score": round(judged.score, 3), **{k: round(v, 3) for k, v in judged.features.items()}},
    }
    chosen = quotes.choose(results, limit=settings.quotes_per_answer_max)
    verdict = Verdict.SILENT if judged.score < settings.unsure_score_min else Verdict.UNSURE
    if judged.score >= settings.unsure_score_max:
        verdict = Verdict.ANSWERED
    return Evidence(
        verdict,
        judged.answers(settings.answerable_score_min),
        None,
        [_shown(n, quote) for n, quote in enumerate(chosen, 1)],
        [Source(found.title, found.section, found.text) for found in results.found],
    )


def _shown(n: int, quote: Quote) -> dict[str, Any]:
    return {
        "n": n,
        "document_id": str(quote.document_id),
        "document": quote.title,
        "file": quote.file_name,
        "section": quote.section,
        "quote": quote.text,
    }


def _approved_quote(hit: Hit, language: str) -> list[dict[str, Any]]:
    """An approved answer cites the document it was written from, if staff named one."""
    if hit.document_id is None or hit.title is None:
        return []
    shown = {"n": 1, "document_id": str(hit.document_id), "document": hit.title, "file": "", "section": ""}
    return [{**shown, "quote": hit.text(language)}]


def _traced(found: Found) -> dict[str, Any]:
    scores = {name: round(value, 3) for name, value in asdict(found.scores).items()}
    return {
        "passage_id": str(found.passage_id),
        "document": found.title,
        "file": found.file_name,
        "section": found.section,
        **scores,
    }
