"""`onhook asterisk`: the Asterisks that we connect to, and how each fares."""

import typer

from onhook.appdb.appdb import AppDb
from onhook.appdb.asterisks import AsteriskPbx
from onhook.cli.formats import UNKNOWN, print_table
from onhook.cli.open_appdb import open_appdb
from onhook.cli.options import DataOption
from onhook.lib.clock import SystemClock
from onhook.sync.asterisk_sync import find_open_gaps

app = typer.Typer(add_completion=False, help="Asterisks that we connect to.", epilog="Example: onhook asterisk list")


@app.callback()
def group() -> None:
    """One command alone would take the group's name."""


@app.command("list", epilog="Example: onhook asterisk list")
def list_asterisks(data: DataOption = None) -> None:
    """Show the Asterisks that we connect to, since when each is heard, where it keeps its CDRs, and its gaps."""
    with open_appdb(data) as appdb:
        names = {pbx.sn: pbx.name for pbx in appdb.pbxs()}
        rows = [_format_row(appdb, asterisk, names.get(asterisk.sn, asterisk.sn)) for asterisk in appdb.asterisks.all()]
    print_table(rows, ("name", "at", "heard", "all kept until (UTC)", "keeps CDRs in", "gaps"))


def _format_row(settings: AppDb, one: AsteriskPbx, name: str) -> list[str]:
    source = settings.sources.of(one.sn)
    return [
        name,
        f"{one.host}:{one.port}",
        "yes" if one.is_connected else one.trouble or "not yet",
        UNKNOWN if one.covered_until is None else f"{one.covered_until:%Y-%m-%d %H:%M:%S}",
        UNKNOWN if source is None else source.place,
        str(len(find_open_gaps(settings, one.sn, SystemClock().now()))),
    ]
