"""The `linli` command. Every part of the work is imported only by the command that does it, so that help is quick."""

import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn
from uuid import UUID

import typer

from app import settings
from app.errors import AppError
from app.settings import Settings

cli = typer.Typer(no_args_is_help=True, add_completion=False, help="Linli 邻里: a smart-community assistant.")
knowledge = typer.Typer(no_args_is_help=True, help="The documents that answers are taken from.")
cli.add_typer(knowledge, name="knowledge")
dead = typer.Typer(no_args_is_help=True, help="Jobs that failed at every attempt.")
cli.add_typer(dead, name="dead")
ranker = typer.Typer(no_args_is_help=True, help="What was learned from what residents take up.")
cli.add_typer(ranker, name="ranker")
Language = Annotated[str, typer.Option(help="zh or en; the terminal's when empty.")]


@cli.command()
def up() -> None:
    """Start everything on this machine and watch it, until Ctrl-C."""
    from app.screen import Screen
    from app.supervisor import Supervisor

    raise typer.Exit(Supervisor(settings.load(), Screen()).run())


@cli.command()
def web() -> None:
    """Run the web process."""
    import uvicorn

    config = _ready_settings()
    uvicorn.run(
        "app.main:create_app",
        factory=True,
        host=config.web_host,
        port=config.web_port,
        # Requests are logged by our own middleware, with their ids and without their texts.
        access_log=False,
        log_config=None,
        # main.py looks at them, where LINLI_TRUSTED_PROXIES names who may send them.
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=max(1, int(config.shutdown_seconds)),
    )


@cli.command()
def worker() -> None:
    """Run a worker process."""
    from app import worker as process

    _ready_settings()
    process.main()


@cli.command()
def migrate(
    revision: Annotated[str, typer.Argument(help="Revision to reach; a number or `head`.")] = "head",
) -> None:
    """Bring the database to the newest form, as the owner role."""
    from app import migrate as migrations

    url = settings.load().database_owner_url
    if not url:
        _fail("LINLI_DATABASE_OWNER_URL is not set and no `linli up` runs here.")
    migrations.upgrade(url, revision)


@cli.command()
def backup(file: Annotated[Path, typer.Argument(help="File to write; replaced when it exists.")]) -> None:
    """Write all rows and uploaded files of the embedded database into one file, also while Linli runs."""
    from app.backup import back_up

    written = back_up(settings.load(), file)
    typer.echo(f"{file}: {written / 1_000_000:.1f} MB")


@cli.command()
def restore(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="What `linli backup` wrote.")],
) -> None:
    """Fill an empty data folder (LINLI_DATA_DIR) from a backup. Then start Linli as ever."""
    from app.backup import restore as read_in

    config = settings.load()
    read_in(config, file)
    typer.echo(f"{config.data_dir} holds the backup now. Start Linli with: linli up")


@cli.command()
def seed() -> None:
    """Fill the database with the practice community; twice changes nothing."""
    import asyncio

    from app.embedded import write_private
    from app.practice.guide import try_it
    from app.practice.seed import seed as fill
    from app.runtime import open_runtime

    config = _ready_settings()

    async def run() -> str:
        async with open_runtime(config) as runtime:
            return try_it(
                await fill(runtime, progress=lambda step, done, all_: print(step, done, "of", all_, flush=True))
            )

    guide = asyncio.run(run())
    # It holds the demo password, and every later start shows it again.
    write_private(config.data_dir / "try_it.txt", guide + "\n")
    print(guide.replace("{address}", f"http://{config.web_host}:{config.web_port}"))


@cli.command()
def engine() -> None:
    """Prepare the model and run vLLM, at the port that LINLI_ENGINE_URL names (8000 when it names none)."""
    from urllib.parse import urlsplit

    from app import engine_process

    config = settings.load()
    raise typer.Exit(engine_process.run(config, port=urlsplit(config.engine_url).port or 8000))


@knowledge.command("add")
def knowledge_add(
    folder: Annotated[
        Path, typer.Argument(exists=True, help="A file, or a folder with md, txt, html, pdf, docx, xlsx.")
    ],
    community: Annotated[str, typer.Option(help="Short name of the community.")],
) -> None:
    """Add the documents below a folder. The same content twice changes nothing."""
    import asyncio

    from app.knowledge.folder import add_folder
    from app.runtime import open_runtime

    async def run() -> int:
        async with open_runtime(_ready_settings()) as runtime:
            return await add_folder(runtime, folder, slug=community, say=typer.echo)

    raise typer.Exit(1 if asyncio.run(run()) else 0)


@knowledge.command("reembed")
def knowledge_reembed(
    community: Annotated[str, typer.Option(help="Short name of the community.")],
) -> None:
    """Embed a community's documents and approved answers again, after another embedder was set.

    Start Linli with the new settings first: its workers embed. Until this ends, what is not embedded yet is not found.
    """
    import asyncio

    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from app.knowledge.reembedding import reembed_community
    from app.runtime import open_runtime
    from models.openai_embedder import EmbedderFailed

    bar = Progress(TextColumn("embedding documents"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())

    async def run() -> list[tuple[str, str]]:
        async with open_runtime(_ready_settings()) as runtime:
            return await reembed_community(
                runtime, slug=community, show=lambda done, total: bar.update(task, completed=done, total=total)
            )

    with bar:
        task = bar.add_task("", total=None)
        try:
            failed = asyncio.run(run())
        except EmbedderFailed as error:
            _fail(f"The embedder does not answer: {error}")
    for title, code in failed:
        typer.echo(f"failed  {title}  {code}")
    raise typer.Exit(1 if failed else 0)


@cli.command()
def status(
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on until Ctrl-C.")] = False,
    seconds: Annotated[float, typer.Option(help="Pause between two looks.")] = 2.0,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    language: Language = "",
) -> None:
    """Show the whole house and what to do about what is wrong. Ends with 1 when residents notice it."""
    import asyncio
    from contextlib import suppress

    from app.status.commands import status as show
    from app.status.words import language_of_terminal

    chosen = language or language_of_terminal()
    with suppress(KeyboardInterrupt):
        showing = show(_ready_settings(), language=chosen, watch_seconds=seconds if watch else None, as_json=as_json)
        raise typer.Exit(asyncio.run(showing))


@dead.command("list")
def dead_list(
    limit: Annotated[int, typer.Option(help="How many, newest first.")] = 50,
    language: Language = "",
) -> None:
    """Show the dead jobs with reason, age and community."""
    import asyncio

    from app.status.commands import list_dead
    from app.status.words import language_of_terminal

    asyncio.run(list_dead(_ready_settings(), language=language or language_of_terminal(), limit=limit))


@dead.command("replay")
def dead_replay(
    name: Annotated[str, typer.Argument(help="Name of the job, as `linli dead list` shows it.")] = "",
    row_id: Annotated[str, typer.Argument(help="Id of its row.")] = "",
    everything: Annotated[bool, typer.Option("--all", help="All of them; with a NAME all of that name.")] = False,
) -> None:
    """Let dead jobs run again with all their attempts.

    Documents are embedded again. A question that died was already ended as failed and whoever asked was told; that is
    not undone, its job only leaves the list.
    """
    import asyncio

    from app.status.commands import replay_dead

    if not everything and not (name and row_id):
        _fail("Name a job and its row, or say --all.")
    try:
        row = UUID(row_id) if row_id else None
    except ValueError:
        _fail(f"{row_id} is not an id.")
    raise typer.Exit(asyncio.run(replay_dead(_ready_settings(), name=name or None, row_id=row)))


OfCommunity = Annotated[str, typer.Option(help="Short name of the community.")]


@ranker.command("list")
def ranker_list(community: OfCommunity) -> None:
    """Show the versions of a community's ranker, newest first, with what was measured of them."""
    from app.recommend import commands

    _rank(community, commands.list_versions)


@ranker.command("train")
def ranker_train(community: OfCommunity) -> None:
    """Let a worker train one. It goes live by itself when it is better than the live one on what came later."""
    from app.recommend import commands

    _rank(community, commands.start_training)


@ranker.command("rollback")
def ranker_rollback(community: OfCommunity) -> None:
    """Put the version into use again that was live before."""
    from app.recommend import commands

    _rank(community, commands.roll_back)


def _rank(community: str, do: Any) -> None:
    import asyncio

    from app.recommend import commands
    from app.runtime import open_runtime

    async def run() -> None:
        async with open_runtime(_ready_settings()) as runtime:
            await commands.run(runtime, community, do, say=typer.echo)

    asyncio.run(run())


@cli.command()
def openapi() -> None:
    """Print the OpenAPI description of the API."""
    from app.main import create_app

    print(json.dumps(create_app().openapi(), ensure_ascii=False, indent=2))


def _ready_settings() -> Settings:
    """The settings, with every part named that a process cannot do without."""
    config = settings.load()
    missing = [
        name
        for name, value in (
            ("LINLI_DATABASE_URL", config.database_url),
            ("LINLI_REDIS_URL", config.redis_url),
            ("LINLI_SECRET_KEY", config.secret_key),
        )
        if not value
    ]
    if missing:
        _fail(f"Not set: {', '.join(missing)}. `linli up` sets them by itself; other commands find them while it runs.")
    return config


def _fail(text: str) -> NoReturn:
    typer.secho(text, fg="red", err=True)
    raise typer.Exit(2)


def join_running() -> None:
    """Take over the addresses of a `linli up` that runs over the same data folder, where none are set.

    Explicit settings win: somebody who names a database means it.
    """
    config = Settings()
    if config.database_url:
        return
    try:
        shared: dict[str, str] = json.loads((config.data_dir / "running.json").read_text())
    except (OSError, ValueError):
        return
    for name, value in shared.items():
        os.environ.setdefault(name, value)


def main() -> None:
    """Entry point of `linli`."""
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    if command != "up":
        join_running()
    # Evaluation brings heavy imports of its own and is not in every installation.
    if command in ("eval", "--help", "") and importlib.util.find_spec("app.evals"):
        from app.evals.commands import evals

        cli.add_typer(evals, name="eval")
    try:
        cli()
    except AppError as failure:
        _fail_at_once(failure)


def _fail_at_once(failure: AppError) -> None:
    typer.secho(f"{failure.message_en}\n{failure.message_zh}", fg="red", err=True)
    sys.exit(1)


if __name__ == "__main__":
    main()
