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
    print_table(rows, ("name", "address", "connected", "received until (UTC)", "CDR source", "gaps"))


def _format_row(appdb: AppDb, asterisk: AsteriskPbx, name: str) -> list[str]:
    source = appdb.cdr_sources.get(asterisk.sn)
    return [
        name,
        f"{asterisk.host}:{asterisk.port}",
        "yes" if asterisk.is_connected else asterisk.error or "not yet",
        UNKNOWN if asterisk.covered_until is None else f"{asterisk.covered_until:%Y-%m-%d %H:%M:%S}",
        UNKNOWN if source is None else source.location,
        str(len(find_open_gaps(appdb, asterisk.sn, SystemClock().now()))),
    ]
