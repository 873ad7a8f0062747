"""Whether the passages that were found answer the question at all. Pure; how an answer is worded comes after.

A logistic regression over five plain features, fitted on the practice questions (225 of them, a quarter answered by no
document; practice_qa.jsonl). Held out by cross-validation: area under the curve .84; at the default threshold of .6 it
passes 83 % of the answerable and stops 66 % of the rest, which are near misses of what the documents do say.
"""

import math
from dataclasses import dataclass

from app.knowledge import tokens
from app.knowledge.quotes import coverage
from app.knowledge.search import Results

WEIGHTS = {"meaning": 9.266, "cover": 5.227, "cross_language": 1.489, "asked": 2.184, "unmentioned": -2.732}
BIAS = -5.455
PASSAGES_LOOKED_AT = 4


@dataclass(frozen=True)
class Judgement:
    """`score` is the probability that the passages answer; `features` are for the trace of a turn."""

    score: float
    features: dict[str, float]

    def answers(self, score_min: float) -> bool:
        return self.score >= score_min


def judge(results: Results) -> Judgement:
    """Score 0 without passages."""
    if not results.found:
        return Judgement(0.0, {})
    language = results.question.language
    asked = tokens.content_tokens(results.question.text)
    own = [found for found in results.found[:PASSAGES_LOOKED_AT] if found.language == language]
    features = {
        # The best meaning of any candidate, not only of the first passage.
        "meaning": max(results.meanings),
        "cover": max((coverage(asked, f"{f.path}\n{f.text}", results.asked) for f in own), default=0.0),
        # Wording cannot cover a question in another language, so the missing cover is made up for.
        "cross_language": float(results.found[0].language != language),
        # A question of two tokens is covered by chance.
        "asked": math.log(len(asked) + 1),
        "unmentioned": _unmentioned(results, asked) if own else 0.0,
    }
    logit = BIAS + sum(WEIGHTS[name] * value for name, value in features.items())
    return Judgement(1.0 / (1.0 + math.exp(-logit)), features)


def _unmentioned(results: Results, asked: frozenset[str]) -> float:
    """How rare the rarest asked token is that no looked-at passage mentions: 1 when no passage of all does."""
    said = frozenset[str]().union(
        *(tokens.tokens(f"{found.path}\n{found.text}") for found in results.found[:PASSAGES_LOOKED_AT])
    )
    return max((results.asked.get(token, 0.0) / results.unheard for token in asked - said), default=0.0)
