"""The command `linli eval search`."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from app.evals.commands import PRACTICE_DOCUMENTS, PRACTICE_QUESTIONS, JsonOut, Limit, Seed, chosen, evals


@evals.command("search")
def search_command(
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="{id, question, gold} a line, or a SQuAD-form .json.")
    ] = PRACTICE_QUESTIONS,
    documents: Annotated[
        Path, typer.Option(exists=True, help="Folder, or a corpus file with {id, text} a line.")
    ] = PRACTICE_DOCUMENTS,
    json_out: JsonOut = None,
    limit: Limit = 0,
    seed: Seed = None,
) -> None:
    """Find the passages for the questions of FILE and print recall and MRR for meaning, wording and both."""
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

    from app import settings
    from app.evals import parts, search, table

    wanted = chosen(search.read_wanted(file), limit=limit, seed=seed)

    async def run(config: settings.Settings) -> search.Report:
        async with parts.evaluation_runtime(config, engine=False, say=say) as runtime:
            return await search.evaluate(runtime, wanted, documents, say=say, step=lambda: bar.update(task, advance=1))

    def say(words: str) -> None:
        bar.update(task, description=words)

    console = Console(stderr=True)
    with Progress(console=console) as bar:
        task = bar.add_task("starting", total=len(wanted))
        with parts.ready_parts(settings.load(), engine=False, say=say) as config:
            report = asyncio.run(run(config))
    for name, code in report.refused_files.items():
        console.print(f"[yellow]{name} could not be read: {code}[/yellow]")
    shown = Table(title=f"{file.name} over {documents}: {len(wanted)} questions", title_justify="left")
    for name in ("kind", "order", "recall@1", "recall@5", "recall@10", "MRR@10"):
        shown.add_column(name)
    for kind, order, figures in search.lines(report):
        shown.add_row(kind, order, *(f"{value:.3f}" for value in figures.values()), end_section=order == "fused")
    table.print_wide(shown)
    if json_out is not None:
        summary = {"all": report.figures()} | {kind: report.figures(kind) for kind in report.kinds()}
        told = {"file": str(file), "documents": str(documents), "limit": limit, "seed": seed}
        rows = [one.row() for one in report.ranked]
        table.write_json(json_out, command="search", settings=told, summary=summary, rows=rows)
