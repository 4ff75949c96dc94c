"""`onhook rebuild`: rebuild the store from the ledger."""

import contextlib
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from onhook.cli.commands import CommandGroup
from onhook.cli.options import DataOption, load_config
from onhook.lib.errors import NotFound
from onhook.lib.messages import _
from onhook.ops.instance_lock import check_data_directory, check_ledger_file, has_appdb, no_data_error
from onhook.ops.rebuild import RebuildProgressCallback, check_begin
from onhook.ops.rebuild import rebuild as rebuild_store
from onhook.runtime.engines import ENGINES

app = CommandGroup(add_completion=False)


@app.command(epilog="Example: onhook rebuild")
async def rebuild(data: DataOption = None) -> None:
    """Rebuild calls.duckdb from the ledger, after a change of time zone or number plan, or when it is damaged.

    A running server shows the old store meanwhile, and changes to the new one within a second or two.
    """
    config = load_config(data=data)
    check_data_directory(config)
    check_ledger_file(config)
    if not config.ledger_file.exists():
        raise NotFound(
            _("there is no ledger"), location=str(config.data), hint=_("name the data directory with --data")
        )
    if not has_appdb(config):
        raise no_data_error(config)  # without the names, zones and numbers of the PBXs the calls would be others
    check_begin(config)
    with _progress() as on_progress:
        position = await rebuild_store(config, on_progress, ENGINES, reads_again=True)
    print(_("The store contains all events of the ledger, up to entry {position}.", position=position))


@contextlib.contextmanager
def _progress() -> Iterator[RebuildProgressCallback]:
    """Show a progress bar on a terminal; nothing in a pipe."""
    console = Console(stderr=True)
    columns = (TextColumn(_("events")), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("events", total=None)
        yield lambda completed, total: progress.update(task, completed=completed, total=total)
