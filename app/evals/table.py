"""Figures of an evaluation on the screen and in a file."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from app.evals.qa_judge import Tally


def qa_table(tallies: Mapping[str, Tally], *, title: str) -> Table:
    """One line a kind. “-” is where a figure has no meaning."""
    table = Table(title=title, title_justify="left", header_style="bold")
    table.add_column("kind")
    for name in (
        "asked", "right", "words alone", "missing fact", "forbidden fact", "refused wrongly", "refused rightly",
        "should have refused", "cited right doc", "invented numbers", "first quote p50/p90 s", "total p50/p90 s",
    ):  # fmt: skip
        table.add_column(name, justify="right")
    for kind, one in tallies.items():
        answerable = one.asked - one.refused_rightly - one.answered_wrongly
        unanswerable = one.asked - answerable
        figures = one.figures()
        table.add_row(
            kind,
            str(one.asked),
            f"{one.right} ({one.right / one.asked:.0%})",
            str(one.words_right),
            _count(one.missing, answerable),
            _alarm(one.forbidden),
            _count(one.refused_wrongly, answerable),
            _count(one.refused_rightly, unanswerable),
            _count(one.answered_wrongly, unanswerable),
            f"{one.cited_right}/{one.with_files}" if one.with_files else "-",
            _alarm(one.invented_numbers),
            _seconds(figures, "quote_ms"),
            _seconds(figures, "total_ms"),
            end_section=kind == list(tallies)[-2] if len(tallies) > 1 else False,
            style="bold" if kind == "all" else None,
        )
    return table


def _count(value: int, of: int) -> str:
    return str(value) if of else "-"


def _alarm(value: int) -> str:
    return f"[red]{value}[/red]" if value else "0"


def _seconds(figures: Mapping[str, Any], name: str) -> str:
    middle, high = figures[f"{name}_p50"], figures[f"{name}_p90"]
    return "-" if middle is None else f"{middle / 1000:.2f} / {high / 1000:.2f}"


def print_wide(table: Table) -> None:
    """Print whole words also where the output is no terminal, such as a log."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    console.print(table)


def write_json(path: Path, *, command: str, settings: Mapping[str, Any], summary: Any, rows: Sequence[Any]) -> None:
    """One object: what was run, the figures, and every row's result."""
    told = {"command": command, "settings": dict(settings), "summary": summary, "rows": list(rows)}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(told, ensure_ascii=False, indent=1, default=str) + "\n", encoding="utf-8")
