"""How many reports a core triages a second, end to end: emergency rules, classifier and places, for bench_service_desk.

Texts are utterances that nobody trained on; the community has the tree of a middling town. The engine is not asked.
"""

import dataclasses
import json
from itertools import product
from pathlib import Path

from app.people.callers import system_caller
from app.people.tables import Space, SpaceKind
from app.runtime import Runtime
from app.service_desk import triaging
from app.service_desk.triaging import Report
from bench import pairs
from bench.pairs import Side
from models import training
from models.openai_embedder import EmbedderFailed
from tests.make import Make, Place

TEXTS = Path(training.__file__).parent / "data" / "intents_held_out.jsonl"
TEXTS_MAX = 100
PHASES, BUILDINGS, UNITS = 2, 20, 3


class Away:
    """An embedder that refuses."""

    name, width = "away", 384

    async def embed_queries(self, texts: object) -> object:
        raise EmbedderFailed("away")

    embed_passages = embed_queries


async def build_tree(runtime: Runtime) -> Place:
    place = await Make(runtime).place()
    async with runtime.transaction(place.tenant) as session:
        for phase in range(1, PHASES + 1):
            top = Space(community_id=place.id, kind=SpaceKind.PHASE, name=f"{phase}期", label=f"{phase}期")
            session.add(top)
            await session.flush()
            for number, unit in product(range(1, BUILDINGS + 1), range(UNITS + 1)):
                if unit == 0:
                    name = f"{number}栋"
                    house = Space(
                        community_id=place.id, kind=SpaceKind.BUILDING, name=name, label=f"{top.label}{name}",
                        parent_id=top.id,
                    )  # fmt: skip
                    session.add(house)
                    await session.flush()
                    house.building_id = house.id
                    continue
                session.add(
                    Space(
                        community_id=place.id, kind=SpaceKind.UNIT, name=f"{unit}单元",
                        label=f"{house.label}{unit}单元", parent_id=house.id, building_id=house.id,
                    )
                )  # fmt: skip
    return place


async def measure(runtime: Runtime) -> None:
    """Print texts a second, and what one costs a core: thinking alone, without the embedder, and with the database."""
    place = await build_tree(runtime)
    caller = system_caller(place.tenant)
    lines = TEXTS.read_text(encoding="utf-8").splitlines()
    texts = [str(json.loads(line)["text"]) for line in lines[:: max(1, len(lines) // TEXTS_MAX)]][:TEXTS_MAX]

    async def look(text: str) -> Report:
        async with runtime.transaction(place.tenant) as session:
            return await triaging.look_around(session, caller, text=text)

    known = [await look(text) for text in texts]
    away = dataclasses.replace(runtime, embedder=Away())  # type: ignore[arg-type]

    def thinking(with_parts: Runtime) -> Side:
        async def side() -> float:
            for report in known:
                await triaging.think(with_parts, report)
            return float(len(known))

        return side

    async def whole() -> float:
        for text in texts:
            await triaging.think(runtime, await look(text))
        return float(len(texts))

    sides = {
        "with the embedder": thinking(runtime),
        "wording alone": thinking(away),
        "with what is read from Postgres": whole,
    }
    ratios = await pairs.compare(sides, pairs=5)
    pairs.table(ratios, unit="texts/s", title="triage, one after the other")
    for name, ratio in ratios.items():
        print(f"  {name}: {1 / ratio.cpu_seconds_per_unit:.0f} texts per CPU second")
