"""The command `linli eval intents`."""

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.evals.commands import JsonOut, Limit, Seed, chosen, evals

if TYPE_CHECKING:
    from rich.table import Table

    from app.evals.intents import Report
    from models.embedder import Vectors

TRAINING_SEED = 20_261_122
CONFUSIONS_SHOWN = 15


@evals.command("intents")
def intents_command(
    file: Annotated[
        Path | None, typer.Argument(exists=True, dir_okay=False, help="{text, intent, slots?, language} a line.")
    ] = None,
    train: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Train on these labelled texts first.")
    ] = None,
    test: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="With --train: score these.")] = None,
    wording: Annotated[bool, typer.Option("--wording", help="Without the embedder, as when it is away.")] = False,
    json_out: JsonOut = None,
    limit: Limit = 0,
    seed: Seed = None,
) -> None:
    """Say what the texts of FILE are about; or train on any labelled set and score another.

    Files are JSON Lines with {text, intent|label|category}, CSV with such a header, or an object of splits (CLINC150).
    Needs no database and no engine. Without FILE: the utterances that the released classifier never saw.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from app import settings
    from app.evals import intents, labelled, table
    from app.runtime import open_embedder
    from models.intent import IntentClassifier, load_intents
    from models.training.train_intent import DATA

    if (train is None) != (test is None):
        raise typer.BadParameter("--train and --test go together")
    tested = test or file or DATA / "intents_held_out.jsonl"
    rows = chosen(labelled.read(tested, split="test"), limit=limit, seed=seed)
    taught = labelled.read(train, split="train") if train else []
    embedder = open_embedder(settings.load()) if not wording or train else None
    bar = Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=Console(stderr=True))
    with bar:
        task = bar.add_task("embedding", total=len(rows) + len(taught))

        def embedded(some: list[labelled.Labelled]) -> "Vectors | None":
            if embedder is None:
                return None
            texts = [row.text for row in some]
            return asyncio.run(intents.embed(embedder, texts, step=lambda n: bar.update(task, advance=n)))

        model, learnt = load_intents(), {}
        if taught:
            from models.training import classifier

            vectors = embedded(taught)
            assert embedder is not None
            assert vectors is not None
            bar.update(task, description="training")
            texts, labels = [row.text for row in taught], [row.label for row in taught]
            fitted = classifier.train(texts, labels, vectors, embedder=embedder.name, seed=TRAINING_SEED)
            model, learnt = IntentClassifier(fitted.arrays), fitted.figures
        elif embedder is not None and not model.understands(embedder.name):
            bar.console.print(f"[yellow]The weights do not understand {embedder.name}: by wording alone.[/yellow]")
            embedder = None
        report = intents.evaluate(model, rows, embedded(rows), slots=not taught and any(row.slots for row in rows))
        report.trained = learnt
    source = f", trained on {train}" if train else ""
    _show(report, title=f"{tested.name}: {len(rows)} texts, voice {report.voice}{source}")
    if json_out is not None:
        told = {"file": str(tested), "train": str(train or ""), "voice": report.voice, "limit": limit, "seed": seed}
        table.write_json(
            json_out, command="intents", settings=told, summary=_summary(report),
            rows=[one.told() for one in report.heard],
        )  # fmt: skip


def _summary(report: "Report") -> dict[str, Any]:
    from app.evals import intents

    heard = report.heard
    languages = sorted({one.row.language for one in heard})
    return {
        "all": intents.figures(heard),
        "languages": {name: intents.figures([one for one in heard if one.row.language == name]) for name in languages},
        "labels": intents.by_label(heard),
        "confusion": intents.confusion(heard),
        "costliest": intents.costliest(heard),
        "slots": intents.slot_figures(heard) if any(one.slots for one in heard) else {},
        "classify_seconds": report.classify_seconds,
        "trained": report.trained,
    }


def _show(report: "Report", *, title: str) -> None:
    """Figures, the commonest confusions, emergencies that were missed, slots."""
    from rich.table import Table

    from app.evals import table

    told = _summary(report)
    shown = Table(title=title, title_justify="left", header_style="bold")
    shown.add_column("figure")
    names = ["all", *told["languages"]]
    for name in names:
        shown.add_column(name, justify="right")
    parts = [told["all"], *told["languages"].values()]
    for figure in told["all"]:
        shown.add_row(figure, *(_number(part.get(figure)) for part in parts))
    speed = len(report.heard) / max(report.classify_seconds, 1e-9)
    shown.add_row("texts a second, vectors given", f"{speed:,.0f}", *[""] * (len(names) - 1))
    table.print_wide(shown)
    pairs = [
        (count, wanted, heard)
        for wanted, row in told["confusion"].items()
        for heard, count in row.items()
        if heard != wanted
    ]
    commonest = sorted(pairs, reverse=True)[:CONFUSIONS_SHOWN]
    table.print_wide(_rows("commonest confusions", ("times", "is", "heard as"), commonest))
    if cost := told["costliest"]:
        lines = [(name, _number(value)) for name, value in cost.items() if isinstance(value, float)]
        lines += [
            (f"share at least {cut}", f"recall {one['recall']:.3f}, false alarms {one['false_alarms']:.3f}")
            for cut, one in cost["share_at_least"].items()
        ]
        # The file may be held out: what was missed is read in the JSON, by whoever asks for it.
        lines.append(("missed, named in --json", str(len(cost["missed"]))))
        table.print_wide(_rows(f"costliest errors: {cost['emergencies']} emergencies", ("", ""), lines))
    if told["slots"]:
        slots = [(name, *(_number(value) for value in one.values())) for name, one in told["slots"].items()]
        table.print_wide(_rows("slots", ("slot", "wanted", "given", "right", "precision", "recall"), slots))


def _rows(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> "Table":
    from rich.table import Table

    shown = Table(*columns, title=title, title_justify="left", header_style="bold")
    for row in rows:
        shown.add_row(*map(str, row))
    return shown


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.3f}"
