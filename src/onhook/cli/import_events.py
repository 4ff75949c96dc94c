"""`onhook import-events`: raw events that `onhook export-events` wrote."""

from pathlib import Path
from typing import Annotated

import typer

from onhook.cli.commands import CommandGroup
from onhook.cli.open_appdb import open_appdb
from onhook.cli.options import DataOption, load_config
from onhook.lib.clock import SystemClock
from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.ops.cluster_ledger import open_checked_ledger
from onhook.ops.event_transfer import import_events as transfer_events
from onhook.ops.event_transfer import read_lines
from onhook.pbx.registry import dialects
from onhook.runtime.engines import ENGINES

app = CommandGroup(add_completion=False)


@app.command(epilog="Example: onhook import-events since-upgrade.jsonl")
async def import_events(
    file: Annotated[Path, typer.Argument(metavar="FILE", help=_("File that `onhook export-events` wrote"))],
    data: DataOption = None,
) -> None:
    """Add the raw events of a file to the ledger, also while the server runs; those that are there already are
    recognised.
    """
    config = load_config(data=data)
    async with open_appdb(data) as appdb:  # refuses a directory that is none
        ledger = await open_checked_ledger(config, appdb, ENGINES)
        try:
            with file.open("rb") as lines:
                outcomes = await transfer_events(ledger, dialects(), read_lines(lines))
        except OSError as error:
            raise UsageError(
                _("cannot read the file: {reason}", reason=error.strerror or error), location=str(file)
            ) from error
        finally:
            await ledger.close()
        print(
            _(
                "{new} events added, {duplicate} were there already, {deleted} were deleted before.",
                new=outcomes["new"],
                duplicate=outcomes["duplicate"],
                deleted=outcomes["deleted"],
            )
        )
        action = f"import {outcomes['new']} new events of the file {file.name}"
        await appdb.audit.add_action(action, now_us=SystemClock().microseconds())
