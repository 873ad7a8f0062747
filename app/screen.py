"""What `linli up` shows: steps with their times, a progress bar for the engine, who crashed and where to read on.

On a terminal the bar moves in place; in a log file each new stage is one line.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

from app.engine_process import Status
from models.engine import State

LINE_PERCENT = 10
"""Outside a terminal, a line is printed every so many percent."""


class Screen:
    """The screen of one `linli up`."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, soft_wrap=True)
        self.bar: Progress | None = None
        self.task: TaskID | None = None
        self.shown = Status(State.OFF, "", -LINE_PERCENT)
        """What the last line said; outside a terminal only."""

    def say(self, text: str) -> None:
        self.console.print(text)

    def title(self, folder: Path) -> None:
        self.say(f"[bold]Linli 邻里[/bold]  data in {escape(str(folder))}")

    @contextmanager
    def step(self, what: str) -> Iterator[Callable[[str], None]]:
        """Show that a step runs, then how long it took. Yields what shows how far it is."""
        started_at = time.monotonic()
        with self.console.status(f"{what} …") as status:
            yield lambda detail: status.update(f"{what} … [dim]{escape(detail)}[/dim]")
        self.say(f"  [green]✓[/green] {what}  [dim]{time.monotonic() - started_at:.1f} s[/dim]")

    def ready(self, address: str, *, seconds: float, folder: Path) -> None:
        self.say(f"\n[bold green]Ready[/bold green] in {seconds:.0f} s: [bold]{address}[/bold]  (API: {address}/docs)")
        guide = folder / "try_it.txt"
        if guide.exists():
            self.console.print(guide.read_text().replace("{address}", address), markup=False)
        self.say(f"  [dim]Logs are in {escape(str(folder / 'logs'))}. Ctrl-C stops everything.[/dim]\n")

    def problem(self, text: str) -> None:
        self.say(f"[bold red]✗[/bold red] {escape(text)}")

    def crashed(self, name: str, code: int, *, delay_seconds: float, words: str, log: Path) -> None:
        self.say(f"[yellow]![/yellow] {name} ended with status {code}; starting again in {delay_seconds:.0f} s. {log}")
        if words:
            self.console.print(words, style="dim", markup=False)

    def restarted(self, name: str) -> None:
        self.say(f"[green]✓[/green] {name} started again")

    # The engine

    def engine_elsewhere(self, url: str) -> None:
        if url:
            self.say(f"  [green]✓[/green] engine at {escape(url)}")
        else:
            self.say("  [dim]- no engine (LINLI_ENGINE_MODE=off): answers are quoted passages[/dim]")

    def engine(self, status: Status) -> None:
        """Show how far the engine is; called with every new state."""
        if status.state is State.READY:
            self._end_bar()
            self.say("[bold green]✓ Engine ready[/bold green]: full answers from now on")
        elif status.state is State.WARMING:
            self._show_progress(status)
        else:
            self._end_bar()

    def _show_progress(self, status: Status) -> None:
        if not self.console.is_terminal:
            moved = abs(status.percent - self.shown.percent) >= LINE_PERCENT
            if status.detail != self.shown.detail or moved:
                self.shown = status
                self.say(f"  engine warming up: {escape(status.detail)} ({status.percent} %)")
            return
        if self.bar is None:
            columns = (BarColumn(24), TaskProgressColumn(), TimeElapsedColumn())
            self.bar = Progress(TextColumn("engine warming up: {task.description}"), *columns, console=self.console)
            self.task = self.bar.add_task(status.detail, total=100)
            self.bar.start()
        assert self.task is not None
        self.bar.update(self.task, completed=status.percent, description=escape(status.detail))

    def _end_bar(self) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar, self.task = None, None

    def no_model(self, why: str, *, log: Path) -> None:
        self._end_bar()
        self.say(f"[yellow]! Linli runs without the model:[/yellow] {escape(why)}")
        self.say(f"  [dim]Answers are quoted passages. Start Linli again to try once more. {log}[/dim]")

    # Down

    def stopping(self) -> None:
        self._end_bar()
        self.say("Stopping …")

    def killed(self, name: str) -> None:
        self.say(f"[yellow]![/yellow] {name} did not stop in time and was killed")

    def stopped(self) -> None:
        self.say("Stopped.")
