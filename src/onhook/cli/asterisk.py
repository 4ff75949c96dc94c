"""`onhook asterisk`: the Asterisks that we connect to, and how each fares."""

import typer

from onhook.appdb.appdb import AppDb
from onhook.appdb.asterisks import AsteriskPbx
from onhook.cli.formats import UNKNOWN, show_table
from onhook.cli.open_appdb import open_settings
from onhook.cli.options import DataOption
from onhook.lib.clock import SystemClock
from onhook.sync.asterisk_sync import known_gaps

app = typer.Typer(add_completion=False, help="Asterisks that we connect to.", epilog="Example: onhook asterisk list")


@app.callback()
def group() -> None:
    """One command alone would take the group's name."""


@app.command("list", epilog="Example: onhook asterisk list")
def list_asterisks(data: DataOption = None) -> None:
    """Show the Asterisks that we connect to, since when each is heard, where it keeps its CDRs, and its gaps."""
    with open_settings(data) as settings:
        names = {pbx.sn: pbx.name for pbx in settings.pbxs()}
        rows = [_row(settings, one, names.get(one.sn, one.sn)) for one in settings.asterisks.all()]
    show_table(rows, ("name", "at", "heard", "all kept until (UTC)", "keeps CDRs in", "gaps"))


def _row(settings: AppDb, one: AsteriskPbx, name: str) -> list[str]:
    source = settings.sources.of(one.sn)
    return [
        name,
        f"{one.host}:{one.port}",
        "yes" if one.is_connected else one.trouble or "not yet",
        UNKNOWN if one.covered_until is None else f"{one.covered_until:%Y-%m-%d %H:%M:%S}",
        UNKNOWN if source is None else source.place,
        str(len(known_gaps(settings, one.sn, SystemClock().now()))),
    ]
