"""The service desk: opening and moving orders beside the same SQL by hand, lists over 1,000 to a million orders, and
how many reports a core triages a second.

Run: .venv/bin/python -m bench.bench_service_desk [--sizes 1000 100000 1000000] [--plans] [--only writes|lists|triage]
"""

import argparse
import asyncio
import dataclasses
import itertools
import re
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy.ext.asyncio import AsyncEngine

from app import db, embedded, migrate
from app.feed import Feed
from app.people.callers import Caller
from app.queue import Queue
from app.rest.pages import PageQuery
from app.runtime import Runtime, open_embedder, open_redis
from app.service_desk import listing, work_orders
from app.service_desk.listing import Filters, OrderSort
from app.service_desk.tables import Channel, OrderKind, Status, Urgency, WorkOrder
from app.settings import Settings
from bench import by_hand, desk_town, desk_triage, pairs, passages, town
from bench.desk_town import Archive, Desk
from bench.pairs import Side
from models.scripted_engine import ScriptedEngine
from tests.make import Make

WRITERS = (1, 8, 32)
DONE_PER_SIDE = 64
"""Orders opened, or moved, by all writers together in one round."""
COMMUNITIES, RESIDENTS_EACH = 8, 4
RATIO_MIN, FLAT_MAX = 0.6, 2.0
SIZES = (1_000, 100_000, 1_000_000)
PAGE, REPEATS = 20, 10


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--plans", action="store_true", help="print the plans of the largest size in full")
    parser.add_argument("--only", choices=("writes", "lists", "triage"))
    parser.add_argument("--writers", type=int, nargs="+", default=list(WRITERS))
    told = parser.parse_args()
    pairs.conditions()
    met = True
    if told.only in (None, "writes"):
        # Commits reach the disk here, as they do where Linli runs.
        with tempfile.TemporaryDirectory() as name, embedded.services(Path(name), durable=True) as services:
            await asyncio.to_thread(migrate.upgrade, services.database_owner_url)
            met &= await writes(services, told.writers)
    if told.only in (None, "lists"):
        with tempfile.TemporaryDirectory() as name, embedded.services(Path(name), durable=False) as services:
            await asyncio.to_thread(migrate.upgrade, services.database_owner_url)
            met &= await lists(services, told.sizes, in_full=told.plans)
    if told.only in (None, "triage"):
        with tempfile.TemporaryDirectory() as name, embedded.services(Path(name), durable=False) as services:
            await asyncio.to_thread(migrate.upgrade, services.database_owner_url)
            await triage(services)
    raise SystemExit(0 if met else 1)


async def opened(stack: AsyncExitStack, settings: Settings) -> tuple[Runtime, AsyncEngine]:
    """A runtime without an engine and an embedder: neither is asked for anything."""
    engine, sessions = db.open_database(settings.database_url, settings)
    redis = open_redis(settings)
    feed = Feed(redis, settings)
    for close in (feed.close, redis.aclose, engine.dispose):
        stack.push_async_callback(close)
    parts: dict[str, Any] = {
        "queue": Queue(redis, settings), "feed": feed, "engine": ScriptedEngine([]), "embedder": town.NoEmbedder(),
    }  # fmt: skip
    return Runtime(settings=settings, sessions=sessions, redis=redis, **parts), engine


# Writing


@dataclass
class Writers:
    """So many that write at once, each for somebody of its own, and what each of them does."""

    number: int
    ours: list[Callable[[], Awaitable[object]]]
    by_hand: list[Callable[[], Awaitable[object]]]
    by_session: list[Callable[[], Awaitable[object]]]
    latencies: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def side(self, name: str, works: Sequence[Callable[[], Awaitable[object]]]) -> Side:
        async def write(work: Callable[[], Awaitable[object]]) -> None:
            for _ in range(DONE_PER_SIDE // self.number):
                started = time.perf_counter()
                await work()
                self.latencies[name].append(time.perf_counter() - started)

        async def run() -> float:
            await asyncio.gather(*(write(work) for work in works))
            return float(DONE_PER_SIDE // self.number * self.number)

        return run

    async def compare(self, what: str) -> bool:
        works = {"by hand": self.by_hand, "by hand, through SQLAlchemy": self.by_session, "ours": self.ours}
        sides = {name: self.side(name, some) for name, some in works.items()}
        ratios = await pairs.compare(sides, pairs=5)
        pairs.table(ratios, unit=f"{what}/s", title=f"{what}, {self.number} at once")
        p99 = {name: 1000 * float(np.percentile(found, 99)) for name, found in self.latencies.items()}
        print(f"  p99: ours {p99['ours']:.1f} ms, by hand {p99['by hand']:.1f} ms")
        return pairs.goal(f"  {what} against the same SQL by hand", ratios["ours"], at_least=RATIO_MIN)


async def triage(services: Any) -> None:
    settings = Settings(
        _env_file=None, database_url=services.database_url, redis_url=services.redis_url, triage_engine=False
    )
    async with AsyncExitStack() as stack:
        runtime, _ = await opened(stack, settings)
        await desk_triage.measure(dataclasses.replace(runtime, embedder=open_embedder(settings)))


async def writes(services: Any, writers: Sequence[int]) -> bool:
    settings = Settings(
        _env_file=None, database_url=services.database_url, redis_url=services.redis_url,
        database_pool_connections=max(WRITERS), queue_waiting_max=10_000_000,
        queue_waiting_per_community_max=10_000_000,
    )  # fmt: skip
    met = True
    async with AsyncExitStack() as stack:
        runtime, engine = await opened(stack, settings)
        desks = [await desk_town.build_desk(runtime, residents=RESIDENTS_EACH) for _ in range(COMMUNITIES)]
        connections = await by_hand.connect(services.database_url, max(WRITERS))
        for connection in connections:
            stack.push_async_callback(connection.close)
        # Neighbours of the list write to different communities: one community's numbers are given one by one.
        people = [desk.residents[n] for n in range(RESIDENTS_EACH) for desk in desks]
        for number in writers:
            ours = [opening(runtime, caller) for caller in people[:number]]
            caught = [await by_hand.catch(engine, one.tenant, work) for one, work in zip(people, ours, strict=False)]
            hands = [sending(connection, [piece]) for connection, piece in zip(connections, caught, strict=False)]
            sessions = [sending_through(runtime, [piece]) for piece in caught]
            met &= await Writers(number, ours, hands, sessions).compare("orders")
            print(f"  {len(caught[0].statements)} statements an order\n")
        for number in writers:
            places = [desk for _ in range(RESIDENTS_EACH) for desk in desks][:number]
            ours = [await moving(runtime, desk, n // COMMUNITIES) for n, desk in enumerate(places)]
            twins = [await moving(runtime, desk, n // COMMUNITIES) for n, desk in enumerate(places)]
            # There and back, so that by hand, too, every move changes the status.
            there = [
                await by_hand.catch(engine, one.dispatcher.tenant, work)
                for one, work in zip(places, twins, strict=True)
            ]
            back = [
                await by_hand.catch(engine, one.dispatcher.tenant, work)
                for one, work in zip(places, twins, strict=True)
            ]
            hands = [sending(*both) for both in zip(connections, zip(there, back, strict=True), strict=False)]
            sessions = [sending_through(runtime, both) for both in zip(there, back, strict=True)]
            met &= await Writers(number, ours, hands, sessions).compare("moves")
            print(f"  {len(there[0].statements)} statements a move\n")
    return met


def opening(runtime: Runtime, caller: Caller) -> Callable[[], Awaitable[object]]:
    numbers = itertools.count()

    async def work() -> object:
        async with runtime.transaction(caller.tenant) as session:
            # By the desk's hand, since a resident may open ten a day.
            return await work_orders.open_order(
                session, runtime, caller, kind=OrderKind.REPAIR, text=f"厨房水管漏水 {next(numbers)}",
                channel=Channel.STAFF,
            )  # fmt: skip

    return work


async def moving(runtime: Runtime, desk: Desk, n: int) -> Callable[[], Awaitable[object]]:
    """Moves one order to and fro."""
    order = await Make(runtime).work_order(status=Status.IN_PROGRESS, reporter=desk.reporters[n])
    ways = itertools.cycle((Status.PAUSED, Status.IN_PROGRESS))

    async def work() -> object:
        async with runtime.transaction(desk.dispatcher.tenant) as session:
            return await work_orders.move(session, runtime, desk.dispatcher, order.id, to=next(ways))

    return work


def sending(connection: Any, pieces: Iterable[by_hand.Piece]) -> Callable[[], Awaitable[object]]:
    """Sends them one after the other, over and over."""
    turn = itertools.cycle(pieces)
    return lambda: by_hand.send(connection, next(turn))


def sending_through(runtime: Runtime, pieces: Iterable[by_hand.Piece]) -> Callable[[], Awaitable[object]]:
    turn = itertools.cycle(pieces)
    return lambda: by_hand.send_through_session(runtime, next(turn))


# Lists


Asked = tuple[Filters, OrderSort]

LISTS: dict[str, Callable[[Archive], Asked]] = {
    "newest": lambda town: (Filters(), OrderSort.NEWEST),
    "open": lambda town: (Filters(is_open=True), OrderSort.NEWEST),
    "status: one": lambda town: (Filters(status=[Status.SUBMITTED]), OrderSort.NEWEST),
    "status: two": lambda town: (Filters(status=[Status.SUBMITTED, Status.DISPATCHED]), OrderSort.NEWEST),
    "kind": lambda town: (Filters(kind=[OrderKind.PRAISE]), OrderSort.NEWEST),
    "category": lambda town: (Filters(category_id=town.category_id), OrderSort.NEWEST),
    "building": lambda town: (Filters(building_id=town.building_id), OrderSort.NEWEST),
    "building and kind": lambda town: (
        Filters(building_id=town.building_id, kind=[OrderKind.REPAIR]), OrderSort.NEWEST
    ),
    "assignee": lambda town: (Filters(assignee_id=town.assignee_id), OrderSort.NEWEST),
    "urgency": lambda town: (Filters(urgency=[Urgency.EMERGENCY]), OrderSort.NEWEST),
    "channel": lambda town: (Filters(channel=[Channel.SENSOR]), OrderSort.NEWEST),
    "overdue": lambda town: (Filters(overdue=True), OrderSort.NEWEST),
    "a year ago": lambda town: (
        Filters(created_to=town.runtime.clock() - timedelta(days=365)), OrderSort.NEWEST
    ),
    "most pressing": lambda town: (Filters(), OrderSort.DUE),
    "oldest": lambda town: (Filters(), OrderSort.OLDEST),
}  # fmt: skip


async def ask(archive: Archive, asked: Asked, *, cursor: str | None = None) -> list[WorkOrder]:
    wanted, sort = asked
    async with archive.runtime.transaction(archive.caller.tenant) as session:
        statement = await listing.narrowed(session, archive.caller, work_orders.visible_to(archive.caller), wanted)
        query = PageQuery(cursor=cursor, limit=PAGE)
        rows, _ = await listing.fetch_page(session, statement, sort=sort, wanted=wanted, query=query)
    return rows


async def lists(services: Any, sizes: Sequence[int], *, in_full: bool) -> bool:
    archives: dict[str, Archive] = {}
    engines: dict[str, AsyncEngine] = {}
    met = True
    async with AsyncExitStack() as stack:
        for size in sizes:
            started = time.perf_counter()
            settings = await own_database(services, size)
            runtime, engine = await opened(stack, settings)
            superuser = await passages.connect(f"{services.database_superuser_url.rsplit('/', 1)[0]}/desk_{size}")
            archives[f"{size:,}"] = await desk_town.build_archive(runtime, superuser, orders=size)
            engines[f"{size:,}"] = engine
            await superuser.close()
            print(f"{size:,} orders made in {time.perf_counter() - started:.0f} s")
        for name, asked in LISTS.items():
            rows = {size: len(await ask(archive, asked(archive))) for size, archive in archives.items()}
            assert set(rows.values()) == {PAGE}, (name, rows)
            ratios = await pairs.compare({size: asking(one, asked(one)) for size, one in archives.items()}, pairs=5)
            last = list(ratios)[-1]
            shown = "  ".join(f"{size} {1000 / ratio.value:6.2f} ms" for size, ratio in ratios.items())
            print(f"\n{name:18} {shown}")
            met &= pairs.goal(f"  {last} as slow as {next(iter(ratios))}", slower(ratios[last]), at_most=FLAT_MAX)
            for line in await plan(archives[last], engines[last], asked(archives[last]), in_full=in_full):
                print(f"  {line}")
    return met


def slower(ratio: pairs.Ratio) -> pairs.Ratio:
    """From rates to times."""
    return pairs.Ratio(1 / ratio.median, 1 / ratio.high, 1 / ratio.low, 0.0)


def asking(archive: Archive, asked: Asked) -> Side:
    async def side() -> float:
        for _ in range(REPEATS):
            await ask(archive, asked)
        return float(REPEATS)

    return side


async def own_database(services: Any, size: int) -> Settings:
    admin = await passages.connect(services.database_superuser_url)
    # The template must have nobody in it.
    await admin.execute(f"CREATE DATABASE desk_{size} TEMPLATE linli OWNER linli_owner")
    await admin.execute(f"GRANT CONNECT ON DATABASE desk_{size} TO linli_app")
    await admin.close()
    url = f"{services.database_url.rsplit('/', 1)[0]}/desk_{size}"
    return Settings(_env_file=None, database_url=url, redis_url=services.redis_url, database_statement_seconds=300)


async def plan(archive: Archive, engine: AsyncEngine, asked: Asked, *, in_full: bool) -> list[str]:
    """How Postgres finds the page: which index, and how many rows it looked at in vain."""
    piece = await by_hand.catch(engine, archive.caller.tenant, lambda: ask(archive, asked))
    sql, values = piece.statements[-1]
    (connection,) = await by_hand.connect(archive.runtime.settings.database_url, 1)
    try:
        await connection.execute(f"BEGIN; {db.tenant_sql(archive.caller.tenant)}")
        rows = await connection.fetch(f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, BUFFERS OFF) {sql}", *values)
        lines = [str(row[0]) for row in rows]
    finally:
        await connection.close()
    if in_full:
        return lines
    return [line.strip() for line in lines if re.search(r"Scan|Sort|Removed", line)]


if __name__ == "__main__":
    asyncio.run(main())
