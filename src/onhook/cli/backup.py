"""`onhook backup`: a consistent copy, also while the server runs."""

from pathlib import Path
from typing import Annotated

import typer

from onhook.cli.commands import CommandGroup
from onhook.cli.options import DataOption, load_config, print_note
from onhook.lib.clock import SystemClock
from onhook.lib.messages import _
from onhook.ops.backup import create_backup

app = CommandGroup(add_completion=False)


@app.command(epilog="Example: onhook backup /mnt/backups/onhook-2026-04-27")
def backup(
    directory: Annotated[Path, typer.Argument(metavar="DIRECTORY", help=_("Target: a new directory"))],
    *,
    without_settings: Annotated[
        bool, typer.Option("--without-settings", help=_("Also where the settings are lost"))
    ] = False,
    data: DataOption = None,
) -> None:
    """Copy the ledger and the application database, secrets included, to a directory. The store is rebuilt from the
    ledger.
    """
    config = load_config(data=data)
    manifest = create_backup(config, directory, SystemClock(), without_settings=without_settings)
    if config.appdb:
        print_note(_("the application database is on PostgreSQL: back it up there, with `pg_dump`"))
    print(_("Backed up {files} to {directory}.", files=" and ".join(manifest.files), directory=directory))
