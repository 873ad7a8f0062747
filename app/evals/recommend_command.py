"""The command `linli eval recommend`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.evals.commands import JsonOut, Limit, Seed, evals

if TYPE_CHECKING:
    from app.evals.recommend import Report

SEED = 20_261_130
PROTOCOLS = ("random", "leave-one-out", "temporal")
FIGURES = ("ndcg@10", "recall@10", "ndcg@20", "recall@20", "mrr", "coverage", "novelty")


@evals.command("recommend")
def recommend_command(
    file: Annotated[
        Path | None, typer.Argument(exists=True, dir_okay=False, help="user,item,rating,timestamp a line.")
    ] = None,
    protocol: Annotated[
        str, typer.Option(help="random (75/25 of each user), leave-one-out (the last), temporal (after a time).")
    ] = "random",
    train: Annotated[
        list[Path] | None, typer.Option(exists=True, dir_okay=False, help="A given split: train on these files.")
    ] = None,
    test: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="With --train: ask for these.")] = None,
    practice: Annotated[bool, typer.Option("--practice", help="On the practice community's made-up year.")] = False,
    rating_min: Annotated[float | None, typer.Option(help="Leave out lines rated below this.")] = None,
    json_out: JsonOut = None,
    limit: Limit = 0,
    seed: Seed = None,
) -> None:
    """Train on part of FILE, ask for the rest, and print how well each source, the blend and others' models rank.

    All items are ranked, none are sampled. Settings are chosen on part of the training events. Needs no database and
    no engine. Files are CSV (comma, tab or ::, header optional, timestamp optional for random), or the lines of
    published splits: a user and their items, separated by blanks.
    """
    from rich.console import Console
    from rich.progress import Progress, TextColumn, TimeElapsedColumn

    from app.evals import interactions, recommend, table
    from models.training import splits
    from models.training.interactions import Events

    if protocol not in PROTOCOLS:
        raise typer.BadParameter(f"is none of {', '.join(PROTOCOLS)}", param_hint="--protocol")
    if (not train) != (test is None) or sum((file is not None, bool(train), practice)) != 1:
        raise typer.BadParameter("give FILE, or --train and --test together, or --practice")

    def read(path: Path) -> Events:
        return interactions.read(path, rating_min=rating_min, limit=limit, seed=seed)

    with Progress(TextColumn("{task.description}"), TimeElapsedColumn(), console=Console(stderr=True)) as bar:
        task = bar.add_task("reading")

        def say(words: str) -> None:
            bar.update(task, description=words)

        if train and test is not None:
            known, asked = interactions.joined([read(path) for path in train]), read(test)
            name = f"{test.name} after {', '.join(path.name for path in train)}"
        else:
            if file is not None:
                events, name = read(file), file.name
            else:
                events, name = interactions.of_practice(), "practice community"
            if protocol != "random" and events.times is None:
                raise typer.BadParameter(f"{protocol} needs timestamps", param_hint="--protocol")
            known, asked = splits.divide(events, protocol, seed=SEED if seed is None else seed)  # type: ignore[arg-type]
        report = recommend.evaluate(
            known, asked, protocol=protocol, seed=SEED if seed is None else seed, say=say  # type: ignore[arg-type]
        )  # fmt: skip
    _show(report, title=f"{name}, {'given split' if train else protocol}")
    if json_out is not None:
        told = {"file": str(file or ""), "train": [str(one) for one in train or []], "test": str(test or ""),
                "protocol": protocol, "rating_min": rating_min, "limit": limit, "seed": seed}  # fmt: skip
        summary = {line.name: line.figures | {"fit_seconds": line.fit_seconds} for line in report.lines}
        told |= report.facts
        table.write_json(
            json_out, command="recommend", settings=told, rows=report.rows,
            summary={"all": summary, "blend_against": report.ratios()},
        )  # fmt: skip


def _show(report: "Report", *, title: str) -> None:
    from rich.table import Table

    from app.evals import recommend, table

    facts = report.facts
    size = f"{facts['users']} users, {facts['items']} items, {facts['train_events']} events to learn from"
    shown = Table(title=f"{title}: {size}, {facts['asked_users']} users asked about", title_justify="left")
    shown.add_column("recommender")
    for name in (*FIGURES, "fit s"):
        shown.add_column(name, justify="right")
    for line in report.lines:
        values = [f"{line.figures[name]:.4f}" for name in FIGURES]
        shown.add_row(
            recommend.LABELS[line.name], *values, f"{line.fit_seconds:.1f}",
            end_section=line.name == "blend", style="bold" if line.name == "blend" else None,
        )  # fmt: skip
    table.print_wide(shown)
    ratios = Table("blend's ndcg@10 against", "ratio", title_justify="left")
    for name, value in report.ratios().items():
        ratios.add_row(name, f"{value:.3f}")
    table.print_wide(ratios)
