"""The progress of commands that go through all events."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from onhook.lib.messages import _


@contextmanager
def event_progress() -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on a terminal, and nothing in a pipe; yield what receives the number of the last event that
    was processed, and that of the last one.
    """
    console = Console(stderr=True)
    columns = (TextColumn(_("events")), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("events", total=None)
        yield lambda completed, total: progress.update(task, completed=completed, total=total)
