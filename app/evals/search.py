"""`linli eval search`: how well the passages that answer are found, by meaning, by wording and by both."""

import dataclasses
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any
from uuid import UUID

from sqlalchemy import select

from app.evals.lines import read_rows
from app.evals.scratch import Scratch, add_texts, files_below, scratch_community
from app.knowledge import search
from app.knowledge.search import Found
from app.people.tables import Space, SpaceKind
from app.runtime import Runtime

RANKED_MAX = 200
"""Candidates that are ranked; the gold one beyond counts as not found."""
DEPTHS = (1, 5, 10)
ORDERS: dict[str, Callable[[Found], float]] = {
    "plain cosine": lambda found: found.scores.cosine,
    "meaning": lambda found: found.scores.meaning,
    "wording": lambda found: found.scores.wording,
    "fused": lambda found: found.scores.fused,
}


@dataclass(frozen=True)
class Wanted:
    """A question and the ids (file names, or ids of the corpus) of which one must be found."""

    id: str
    text: str
    gold: frozenset[str]
    role: str = "resident"
    kind: str = ""
    as_of: datetime | None = None
    building: str = ""


@dataclass
class Ranked:
    """Rank of the first gold id per order; 0 when it is not among the candidates."""

    wanted: Wanted
    ranks: dict[str, int]
    seconds: float

    def row(self) -> dict[str, Any]:
        return {"id": self.wanted.id, "question": self.wanted.text, "kind": self.wanted.kind, "ranks": self.ranks}


@dataclass
class Report:
    ranked: list[Ranked]
    refused_files: dict[str, str] = field(default_factory=dict)

    def figures(self, kind: str | None = None) -> dict[str, dict[str, float]]:
        """Per order: recall@1, @5, @10 and MRR@10."""
        rows = [one for one in self.ranked if kind in (None, one.wanted.kind)]
        return {name: measures([one.ranks[name] for one in rows]) for name in ORDERS}

    def kinds(self) -> list[str]:
        return sorted({one.wanted.kind for one in self.ranked if one.wanted.kind})

    def seconds_median(self) -> float:
        return median(one.seconds for one in self.ranked)


def measures(ranks: Sequence[int]) -> dict[str, float]:
    """Recall at each depth and the mean reciprocal rank within 10; 0 stands for not found."""
    found = {f"recall@{depth}": sum(0 < rank <= depth for rank in ranks) / len(ranks) for depth in DEPTHS}
    return found | {"MRR@10": sum(1 / rank for rank in ranks if 0 < rank <= 10) / len(ranks)}


def parse_wanted(told: dict[str, Any], number: int) -> Wanted | None:
    """A line {id, question, gold}, or a question of `linli eval qa`, whose `doc` is the gold; None if unanswerable."""
    gold = told["gold"] if "gold" in told else told.get("doc", [])
    if told.get("answerable") is False or not gold:
        return None
    moment = datetime.fromisoformat(told["as_of"]) if told.get("as_of") else None
    if moment is not None and moment.tzinfo is None:
        raise ValueError("as_of has no time zone")
    return Wanted(
        str(told.get("id", number)), str(told["question"]), frozenset(str(name) for name in gold),
        str(told.get("role", "resident")), str(told.get("kind", "")), moment, str(told.get("building") or ""),
    )  # fmt: skip


def read_wanted(path: Path) -> list[Wanted]:
    """The questions of a file: JSON Lines, or a reading set in SQuAD's form such as CMRC. Raises BadLine."""
    if path.suffix == ".json":
        return [one for one, _ in _squad(path)]
    return [one for one in read_rows(path, parse_wanted) if one is not None]


def read_corpus(path: Path) -> list[tuple[str, str]]:
    """(id, text) of a corpus file: JSON Lines {id, text}, or the paragraphs of a set in SQuAD's form."""
    if path.suffix == ".json":
        return list(dict.fromkeys(paragraph for _, paragraph in _squad(path)))
    return read_rows(path, lambda told, _: (str(told["id"]), str(told["text"])))


def _squad(path: Path) -> list[tuple[Wanted, tuple[str, str]]]:
    found = []
    for article in json.loads(path.read_text(encoding="utf-8"))["data"]:
        for number, paragraph in enumerate(article["paragraphs"]):
            name = str(paragraph.get("id") or f"{article.get('id', article.get('title', ''))}-{number}")
            for asked in paragraph["qas"]:
                wanted = Wanted(str(asked["id"]), asked["question"], frozenset({name}))
                found.append((wanted, (name, paragraph["context"])))
    return found


async def evaluate(
    runtime: Runtime, wanted: Sequence[Wanted], documents: Path, *, say: Callable[[str], None] = lambda _: None,
    step: Callable[[], None] = lambda: None,
) -> Report:  # fmt: skip
    """Ask every question over a scratch community that knows `documents`, a folder or a corpus file."""
    corpus = read_corpus(documents) if documents.suffix in (".json", ".jsonl") else []
    files = [] if corpus else files_below(documents)
    async with scratch_community(runtime, files, progress=say) as scratch:
        for number, (name, body) in enumerate(corpus, start=1):
            say(f"text {number} of {len(corpus)}")
            await add_texts(scratch, [(name, body)])
        report = Report([], scratch.refused)
        say("asking")
        buildings = await buildings_of(scratch)
        for one in wanted:
            report.ranked.append(await rank(scratch, one, buildings))
            step()
    return report


async def buildings_of(scratch: Scratch) -> dict[str, UUID]:
    """The buildings that the documents name, by name."""
    async with scratch.runtime.transaction(scratch.tenant) as session:
        named = select(Space.name, Space.id).where(
            Space.community_id == scratch.community_id, Space.kind == SpaceKind.BUILDING
        )
        return {row.name: row.id for row in await session.execute(named)}


async def rank(scratch: Scratch, wanted: Wanted, buildings: Mapping[str, UUID]) -> Ranked:
    """Ask one question as whoever it names, who lives in the building it names."""
    runtime = scratch.runtime
    question = await search.prepare(runtime.embedder, wanted.text)
    caller = scratch.callers.get(wanted.role, scratch.callers["resident"])
    if home := buildings.get(wanted.building):
        caller = dataclasses.replace(caller, building_ids=frozenset({home}))
    started = time.perf_counter()
    async with runtime.transaction(scratch.tenant) as session:
        results = await search.search(
            session, caller, question, as_of=wanted.as_of or runtime.clock(), limit=RANKED_MAX,
            candidates=RANKED_MAX // 2,
        )  # fmt: skip
    return Ranked(wanted, ranks_of(results.found, wanted.gold), time.perf_counter() - started)


def ranks_of(found: Sequence[Found], gold: frozenset[str]) -> dict[str, int]:
    """Rank of the first gold document under each order, counting each document once. Wording 0 is not found."""
    ranks = {}
    for name, score in ORDERS.items():
        listed = [one for one in found if name != "wording" or one.scores.wording > 0]
        names = list(dict.fromkeys(one.file_name for one in sorted(listed, key=score, reverse=True)))
        ranks[name] = next((place for place, own in enumerate(names, start=1) if own in gold), 0)
    return ranks


def lines(report: Report) -> list[tuple[str, str, Mapping[str, float]]]:
    """(kind, order, figures) for the table; the first kind is all."""
    rows: list[tuple[str, str, Mapping[str, float]]] = []
    rows += [("all", order, figures) for order, figures in report.figures().items()]
    for kind in report.kinds():
        rows += [(kind, order, figures) for order, figures in report.figures(kind).items()]
    return rows
