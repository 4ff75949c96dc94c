"""`onhook sweep`: store the files in which a PBX has left what it could not send."""

from pathlib import Path
from typing import Annotated

import typer

from onhook.cdr.merge import SWEEP
from onhook.cli.commands import CommandGroup
from onhook.cli.open_appdb import open_appdb
from onhook.cli.options import DataOption, load_config
from onhook.config import Config
from onhook.lib.clock import SystemClock
from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.pbx.dialect import LegDialect, LineDialect
from onhook.pbx.registry import dialects
from onhook.receiver.pbx_registry import RegisteredPbx
from onhook.runtime.adapters.ingest import open_ingestor
from onhook.sync.folder_sweep import FolderSweeper
from onhook.sync.line_files import LineFileSweeper

app = CommandGroup(add_completion=False)


@app.command(epilog="Example: onhook sweep /var/log/freeswitch/json_cdr_err --pbx Fusion --move-to /var/tmp/sent")
async def sweep(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help=_("Folder of the files; or a file of lines"))],
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
    """Store the files in which a PBX has left its calls or what it could not send, also while the server runs."""
    config = load_config(data=data)
    async with open_appdb(data) as appdb:
        registered_pbx = await appdb.pbx(pbx)
    dialect = dialects()[registered_pbx.dialect]
    sender = RegisteredPbx(sn=registered_pbx.sn, dialect=registered_pbx.dialect)
    if isinstance(dialect, LineDialect):
        print(await _sweep_lines(config, sender, dialect, folder, move_to))
        return
    if not isinstance(dialect, LegDialect):
        raise UsageError(
            _("a {dialect} PBX leaves no files", dialect=registered_pbx.dialect),
            hint=_("`onhook import` reads a call file"),
        )
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


async def _sweep_lines(
    config: Config, sender: RegisteredPbx, dialect: LineDialect, path: Path, target: Path | None
) -> str:
    """Store the lines of a file or a folder; return the sentence to print."""
    async with open_ingestor(config) as ingestor:
        sweeper = LineFileSweeper(
            dialect=dialect,
            ingest=lambda body: ingestor.ingest(sender, body, SWEEP),
            now_us=SystemClock().microseconds,
            target=target,
        )
        totals = await sweeper.sweep(path)
    return _(
        "{files} files with {lines} lines: {new} new, {existing} already stored, {unreadable} that are no calls;"
        " {recent} files were written just now.",
        files=totals.files,
        lines=totals.lines,
        new=totals.new,
        existing=totals.lines - totals.new - totals.unreadable,
        unreadable=totals.unreadable,
        recent=totals.recent,
    )
