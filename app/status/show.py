"""The house on a terminal of 80 columns or more, in Chinese or English."""

import time
from collections.abc import Iterable

from rich import box
from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from app.status.alerts import Severity, wrong
from app.status.dead import Found
from app.status.house import House, quantile
from app.status.words import Words
from app.vitals import EngineVital, PoolVital, Vitals
from models.engine import State

COLOURS = {Severity.PAGE: "red", Severity.TICKET: "yellow", Severity.INFO: "cyan"}
STATE_COLOURS = {State.READY: "green", State.WARMING: "yellow", State.FAILING: "red", State.OFF: "red"}
BAR_CHARS = 16


def screen(house: House, words: Words) -> RenderableType:
    """Everything `linli status` shows."""
    parts: list[RenderableType] = [
        _title(house, words),
        _heading(words("queue")),
        *_queue(house, words),
        _heading(words("engines")),
        *_engines(house, words),
        _heading(words("processes")),
        _processes(house, words),
        *_wrong(house, words),
    ]
    return Group(*parts)


def _title(house: House, words: Words) -> RenderableType:
    stores_up = all(found == "ok" for found in house.parts.values())
    if not stores_up or (not house.of_role("worker") and not house.of_role("web")):
        mood = f"[bold red]{words('down')}[/]"
    elif house.engine_ready:
        mood = f"[bold green]{words('full')}[/]"
    else:
        mood = f"[bold yellow]{words('degraded')}[/]"
    stores = "   ".join(
        f"{words(name)} [green]{words('ok')}[/]"
        if found == "ok"
        else f"{words(name)} [red]{words('down_part')}[/] [dim]({escape(found.removeprefix('down: '))})[/]"
        for name, found in house.parts.items()
    )
    return Text.from_markup(f"[bold]Linli 邻里[/]  {house.at:%Y-%m-%d %H:%M:%S} UTC  {mood}\n{stores}")


def _heading(text: str) -> RenderableType:
    return Padding(Text(text, style="bold"), (1, 0, 0, 0))


def _figures(said: Iterable[tuple[str, str]]) -> RenderableType:
    """Names with their numbers, as many in a line as fit; none is torn apart."""
    return Columns([Text.from_markup(f"{name} [bold]{value}[/]") for name, value in said], padding=(0, 2))


def _table(*columns: str, left: int = 1) -> Table:
    """A plain table; the first `left` columns are text, the others numbers."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="dim", padding=(0, 1))
    for place, name in enumerate(columns):
        table.add_column(name, justify="left" if place < left else "right", no_wrap=place >= left, overflow="fold")
    return table


def _queue(house: House, words: Words) -> Iterable[RenderableType]:
    if house.stats is None:
        yield Text(words("unknown_queue"), style="red")
        return
    table = _table(words("lane"), words("ready"), words("oldest"), words("expected"))
    for lane, found in house.stats.lanes.items():
        table.add_row(
            words(lane), str(found.ready), seconds(found.oldest_wait_seconds) if found.ready else "-",
            seconds(found.expected_wait_seconds or None),
        )  # fmt: skip
    yield table
    stats = house.stats
    counts = [("running", stats.leased), ("delayed", stats.delayed), ("parked", stats.parked), ("dead", stats.dead)]
    if house.documents_waiting is not None:
        counts.append(("documents", house.documents_waiting))
    yield _figures(
        (words(name), f"[bold red]{number}[/]" if name == "dead" and number else str(number)) for name, number in counts
    )
    if house.crowds:
        crowds = _table(words("community"), words("ready"), words("share"))
        waiting = max(1, stats.waiting)
        for crowd in house.crowds:
            share = min(1.0, crowd.waiting / waiting)
            bar = "█" * max(1, round(share * BAR_CHARS))
            crowds.add_row(
                escape(crowd.name or str(crowd.community_id)), str(crowd.waiting), f"{share:4.0%} {bar:<{BAR_CHARS}}"
            )
        yield _heading(words("communities"))
        yield crowds


def _engines(house: House, words: Words) -> Iterable[RenderableType]:
    if not house.engine_wanted:
        # Only the processes know which engine they were given.
        yield Text(words("not_wanted" if house.processes else "unknown"))
    elif not house.engines:
        yield Text(words("not_seen"), style="yellow")
    else:
        loads = any(engine.running is not None for engine in house.engines)
        columns = [words("engine"), words("state"), words("in_flight"), *([words("load")] if loads else [])]
        table = _table(*columns, left=2)
        for engine in house.engines:
            load = [f"{_number(engine.running)} / {_number(engine.waiting)}"] if loads else []
            table.add_row(escape(engine.name), _state(engine, words), f"{engine.in_flight} / {engine.slots}", *load)
        yield table
    if not house.processes:
        return
    firsts, share = house.first_token_seconds, house.cache_hit_share
    middle, late = quantile(firsts, 0.5), quantile(firsts, 0.95)
    yield _figures([
        (words("tokens"), f"{house.tokens_per_second:.0f}"),
        (words("first_token"), f"{seconds(middle)} / {seconds(late)}" if middle is not None else "-"),
        (words("cache"), f"{share:.0%}" if share is not None else "-"),
        (words("answers"), f"{house.lately('turns_answered'):.0f}"),
        (words("refused"), f"{house.lately('refusals'):.0f}"),
    ])  # fmt: skip


def _state(engine: EngineVital, words: Words) -> str:
    said = f"[{STATE_COLOURS[engine.state]}]{words(f'state_{engine.state}')}[/]"
    return said if engine.state is State.READY else f"{said} [dim]{escape(engine.detail[:120])}[/]"


def _processes(house: House, words: Words) -> RenderableType:
    if not house.processes:
        return Text(words("unknown_queue") if house.stats is None else words("nobody"), style="red")
    table = _table(
        words("process"), words("up"), words("jobs"), words("followers"), words("database_pool"),
        words("redis_pool"), words("lag"),
    )  # fmt: skip
    for found in house.processes:
        jobs = f"{found.jobs_running}/{found.slots}" if found.slots else "-"
        followers = str(found.followers) if found.role == "web" else "-"
        table.add_row(
            _named(found, house), seconds(max(0.0, time.time() - found.started_at)), jobs, followers,
            _pool(found.database), _pool(found.redis), f"{found.loop_lag_seconds * 1000:.0f} ms",
        )  # fmt: skip
    return table


def _named(found: Vitals, house: House) -> str:
    """Its role and number; the host where there are several, the version where it differs."""
    several = len({other.host for other in house.processes}) > 1
    versions = len({other.version for other in house.processes}) > 1
    said = f"{found.role} {escape(found.host)}:{found.pid}" if several else f"{found.role} {found.pid}"
    return f"{said} [yellow]{escape(found.version)}[/]" if versions else said


def _pool(pool: PoolVital) -> str:
    said = f"{pool.in_use}/{pool.size}"
    return f"[red]{said} +{pool.waiting}[/]" if pool.waiting else said


def _wrong(house: House, words: Words) -> Iterable[RenderableType]:
    found = wrong(house)
    if not found:
        yield Padding(Text(words("well"), style="green"), (1, 0, 0, 0))
        return
    yield _heading(words("wrong"))
    for alert, seen in found:
        colour = COLOURS[alert.severity]
        summary, description, action = (
            getattr(text, words.language) for text in (alert.summary, alert.description, alert.action)
        )
        yield Text.from_markup(f"[{colour}]●[/] [bold]{escape(summary)}[/]  [dim]{escape(seen)}[/]")
        yield Padding(Text(description), (0, 0, 0, 2))
        yield Padding(Text.from_markup(f"[{colour}]→[/] {escape(action)}"), (0, 0, 0, 2))


def dead_table(found: list[Found], words: Words) -> RenderableType:
    """The dead jobs, newest first; NAME and ROW_ID as `linli dead replay` takes them."""
    if not found:
        return Text(words("none_dead"), style="green")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="dim", padding=(0, 1))
    for name in (words("job"), words("community"), words("age"), words("attempts"), words("reason")):
        table.add_column(name, overflow="fold")
    for entry in found:
        job = entry.dead.job
        table.add_row(
            f"{job.name}\n[dim]{job.row_id}[/]", escape(entry.community or str(job.community_id)[:8]),
            f"{seconds(max(0.0, time.time() - entry.dead.died_at))} {words('ago')}", str(entry.dead.attempts),
            escape(entry.dead.reason),
        )  # fmt: skip
    return table


def seconds(value: float | None) -> str:
    """A time as people say it: 240 ms, 3.2 s, 5 min, 2.1 h, 3.0 d."""
    if value is None:
        return "-"
    if value < 1:
        return f"{value * 1000:.0f} ms"
    for limit, size, unit in ((60, 1, "s"), (3_600, 60, "min"), (86_400, 3_600, "h")):
        if value < limit:
            return f"{value / size:.1f} {unit}" if value < 10 * size else f"{value / size:.0f} {unit}"
    return f"{value / 86_400:.1f} d"


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)


def as_json(house: House, words: Words) -> dict[str, object]:
    """The same for programs: stable English names, times in seconds."""
    firsts = house.first_token_seconds
    return {
        "at": house.at.isoformat(),
        "parts": house.parts,
        "queue": None if house.stats is None else {
            "lanes": {
                lane: {
                    "ready": found.ready, "oldest_wait_seconds": found.oldest_wait_seconds,
                    "expected_wait_seconds": found.expected_wait_seconds,
                }
                for lane, found in house.stats.lanes.items()
            },
            **{name: getattr(house.stats, name) for name in ("waiting", "delayed", "parked", "leased", "dead")},
        },
        "communities": [
            {"id": str(crowd.community_id), "name": crowd.name, "waiting": crowd.waiting} for crowd in house.crowds
        ],
        "documents_waiting": house.documents_waiting,
        "engine_wanted": house.engine_wanted,
        "engines": [engine.model_dump(mode="json") for engine in house.engines],
        "tokens_per_second": house.tokens_per_second,
        "first_token_seconds": {"p50": quantile(firsts, 0.5), "p95": quantile(firsts, 0.95), "count": len(firsts)},
        "prefix_cache_hit_share": house.cache_hit_share,
        "processes": [found.model_dump(mode="json") for found in house.processes],
        "wrong": [
            {
                "alert": alert.name, "severity": alert.severity, "seen": seen,
                "summary": getattr(alert.summary, words.language), "action": getattr(alert.action, words.language),
            }
            for alert, seen in wrong(house)
        ],
    }  # fmt: skip
