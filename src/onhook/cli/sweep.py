"""`onhook sweep`: store the files in which a PBX has left what it could not send."""

from pathlib import Path
from typing import Annotated

import typer

from onhook.cdr.merge import SWEEP
from onhook.cli.commands import CommandGroup
from onhook.cli.open_appdb import open_appdb
from onhook.cli.options import DataOption, load_config
from onhook.lib.clock import SystemClock
from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.pbx.dialect import LegDialect
from onhook.pbx.registry import dialects
from onhook.receiver.pbx_registry import RegisteredPbx
from onhook.runtime.adapters.ingest import open_ingestor
from onhook.sync.folder_sweep import FolderSweeper

app = CommandGroup(add_completion=False)


@app.command(epilog="Example: onhook sweep /var/log/freeswitch/json_cdr_err --pbx Fusion --move-to /var/tmp/sent")
async def sweep(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help=_("Folder of the files, one event in each"))],
    *,
    pbx: Annotated[str, typer.Option("--pbx", metavar="NAME", help=_("Name or serial number of its PBX"))],
    move_to: Annotated[
        Path | None,
        typer.Option(
            "--move-to",
            metavar="FOLDER",
            help=_("Folder for files that are stored; they stay by default"),
            show_default=False,
        ),
    ] = None,
    data: DataOption = None,
) -> None:
    """Store the files in which a PBX has left what it could not send, also while the server runs."""
    config = load_config(data=data)
    async with open_appdb(data) as appdb:
        registered_pbx = await appdb.pbx(pbx)
    dialect = dialects()[registered_pbx.dialect]
    if not isinstance(dialect, LegDialect):
        raise UsageError(
            _("a {dialect} PBX leaves no files", dialect=registered_pbx.dialect),
            hint=_("`onhook import` reads a call file"),
        )
    sender = RegisteredPbx(sn=registered_pbx.sn, dialect=registered_pbx.dialect)
    async with open_ingestor(config) as ingestor:
        sweeper = FolderSweeper(
            dialect=dialect,
            ingest=lambda body: ingestor.ingest(sender, body, SWEEP),
            now_us=SystemClock().microseconds,
            target=move_to,
        )
        totals = await sweeper.sweep(folder)
    print(
        _(
            "{files} files: {new} new, {existing} already stored, {recent} written just now, {unreadable} that are no"
            " readable events.",
            files=totals.files,
            new=totals.new,
            existing=totals.existing,
            recent=totals.recent,
            unreadable=totals.unreadable,
        )
    )
