"""The command `linli eval emergencies`."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from app.evals.commands import ROOT, JsonOut, Limit, Seed, chosen, evals

HELD_OUT = ROOT / "tests" / "quality" / "emergencies_held_out.jsonl"


@evals.command("emergencies")
def emergencies_command(
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="{text, emergency, kind} a line.")
    ] = HELD_OUT,
    wording: Annotated[bool, typer.Option("--wording", help="Without the embedder, as when it is away.")] = False,
    json_out: JsonOut = None,
    limit: Limit = 0,
    seed: Seed = None,
) -> None:
    """Find the emergencies in FILE: recall, false alarms, the rules alone and with the classifier. Needs no engine."""
    from rich.table import Table

    from app import settings
    from app.evals import emergencies, intents, lines, table
    from app.runtime import open_embedder
    from app.safety import second_voice

    rows = chosen(lines.read_rows(file, emergencies.parse_told), limit=limit, seed=seed)
    embedder = None if wording else open_embedder(settings.load())
    vectors = None
    if embedder is not None and second_voice.understands(embedder):
        vectors = asyncio.run(intents.embed(embedder, [row.text for row in rows]))
    heard = emergencies.evaluate(rows, second_voice.by_wording, vectors)
    shown = Table(title=f"{file.name}: {len(rows)} sentences", title_justify="left", header_style="bold")
    for name in ("", "voice", "positives", "found", "recall", "right kind", "others", "false alarms", "share"):
        shown.add_column(name, justify="left" if name in ("", "voice") else "right")
    for name, group in emergencies.groups(heard).items():
        for voice in heard[0].kinds:
            one = emergencies.figures(group, voice)
            found, others = one.positives - one.missed, one.texts - one.positives
            shown.add_row(
                name, voice, str(one.positives), str(found), _share(one.recall), str(one.right_kind), str(others),
                str(one.alarmed), _share(one.false_alarms), end_section=voice == list(heard[0].kinds)[-1],
            )  # fmt: skip
    table.print_wide(shown)
    times = emergencies.microseconds(heard)
    typer.echo(
        f"rules: {times['median']:.0f} microseconds a text in the middle, "
        f"{times['p99']:.0f} at the 99th percentile, {times['max']:.0f} at most"
    )
    if json_out is not None:
        told = {"file": str(file), "limit": limit, "seed": seed}
        results = [one.row() for one in heard]
        table.write_json(
            json_out, command="emergencies", settings=told, summary=emergencies.summary(heard), rows=results
        )


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
