"""`onhook sweep`: store the files in which a PBX has left what it could not send."""

from pathlib import Path
from typing import Annotated

import typer

from onhook.cli.commands import CommandGroup
from onhook.cli.open_appdb import open_appdb
from onhook.cli.options import DataOption, load_config
from onhook.lib.clock import SystemClock
from onhook.lib.messages import _
from onhook.pbx.registry import dialects
from onhook.receiver.pbx_registry import RegisteredPbx
from onhook.runtime.adapters.ingest import open_ingestor
from onhook.sync.file_sweeps import create_sweeper
from onhook.sync.folder_sweep import SweepTotals
from onhook.sync.line_files import LineTotals

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
        sender = RegisteredPbx(sn=registered_pbx.sn, dialect=registered_pbx.dialect)
        async with open_ingestor(config) as ingestor:
            sweeper = create_sweeper(
                dialects()[sender.dialect], sender, ingestor=ingestor, clock=SystemClock(), target=move_to
            )
            totals = await sweeper.sweep(folder)
        print(_describe_lines(totals) if isinstance(totals, LineTotals) else _describe_files(totals))
        action = f"store {totals.new} new events of {folder.name} for the PBX {registered_pbx.name}"
        await appdb.audit.add_action(action, now_us=SystemClock().microseconds())


def _describe_files(totals: SweepTotals) -> str:
    return _(
        "{files} files: {new} new, {existing} already stored, {recent} written just now, {unreadable} that are no"
        " readable events.",
        files=totals.files,
        new=totals.new,
        existing=totals.existing,
        recent=totals.recent,
        unreadable=totals.unreadable,
    )


def _describe_lines(totals: LineTotals) -> str:
    return _(
        "{files} files with {lines} lines: {new} new, {existing} already stored, {unreadable} that are no calls;"
        " the last line of {recent} files may go on, and is left out.",
        files=totals.files,
        lines=totals.lines,
        new=totals.new,
        existing=totals.lines - totals.new - totals.unreadable,
        unreadable=totals.unreadable,
        recent=totals.recent,
    )
