"""`linli eval`: the assistant measured on files that a property company brings, on a community made for it."""

import asyncio
import random
from pathlib import Path
from typing import Annotated, TypeVar

import typer

Row = TypeVar("Row")
evals = typer.Typer(no_args_is_help=True, help="Measure the assistant on your own files.")

ROOT = Path(__file__).resolve().parents[2]
PRACTICE_QUESTIONS = ROOT / "tests" / "quality" / "practice_qa.jsonl"
PRACTICE_DOCUMENTS = ROOT / "app" / "practice" / "documents"
"""What is measured when no files are named: the practice community."""

JsonOut = Annotated[Path | None, typer.Option("--json", help="Write every row's result here.")]
Limit = Annotated[int, typer.Option(min=0, help="Use so many lines at most; 0 uses all.")]
Seed = Annotated[int | None, typer.Option(help="With a limit: choose the lines by this seed instead of the first.")]
EngineSwitch = Annotated[str, typer.Option("--engine", help="on, or off for degraded mode.")]


@evals.callback()
def group() -> None:
    """Keeps `linli eval` a group also while it has one command."""


def chosen(rows: list[Row], *, limit: int, seed: int | None) -> list[Row]:
    """The lines to use, in the file's order."""
    if not limit or limit >= len(rows):
        return rows
    if seed is None:
        return rows[:limit]
    places = random.Random(seed).sample(range(len(rows)), limit)  # noqa: S311 (a choice of lines, not a secret)
    return [rows[place] for place in sorted(places)]


@evals.command()
def qa(
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="Questions, one JSON object a line.")
    ] = PRACTICE_QUESTIONS,
    documents: Annotated[Path, typer.Option(exists=True, help="Folder with the documents.")] = PRACTICE_DOCUMENTS,
    json_out: JsonOut = None,
    limit: Limit = 0,
    seed: Seed = None,
    engine: EngineSwitch = "on",
) -> None:
    """Ask the questions of FILE over the documents of DIR and judge the answers."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from app import settings
    from app.evals import lines, parts, table
    from app.evals.qa import Asked, Result, evaluate
    from app.evals.qa_judge import parse_question, tally

    if engine not in ("on", "off"):
        raise typer.BadParameter("is neither on nor off", param_hint="--engine")
    questions = chosen(lines.read_rows(file, parse_question), limit=limit, seed=seed)
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    )

    async def run(config: settings.Settings) -> Result:
        async with parts.evaluation_runtime(config, engine=engine == "on", say=say) as runtime:
            return await evaluate(runtime, questions, documents, say=say, step=step)

    def say(words: str) -> None:
        bar.update(task, description=words)

    def step(asked: Asked) -> None:
        bar.update(task, advance=1)

    with bar:
        task = bar.add_task("starting", total=len(questions))
        with parts.ready_parts(settings.load(), engine=engine == "on", say=say) as config:
            result = asyncio.run(run(config))
    for name, code in result.refused_files.items():
        console.print(f"[yellow]{name} could not be read: {code}[/yellow]")
    tallies = tally([(one.question, one.shown, one.verdict) for one in result.asked])
    table.print_wide(table.qa_table(tallies, title=f"{file.name} over {documents}, engine {result.engine}"))
    if json_out is not None:
        summary = {kind: one.figures() for kind, one in tallies.items()}
        told = {"file": str(file), "documents": str(documents), "engine": result.engine, "limit": limit, "seed": seed}
        table.write_json(
            json_out, command="qa", settings=told, summary=summary, rows=[one.row() for one in result.asked]
        )


# Last, because it registers itself in the group above.
from app.evals import emergencies_command, intents_command, recommend_command, search_command  # noqa: E402, F401
