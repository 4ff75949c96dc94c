"""`onhook asterisk`: AMI connections and their state."""

from zoneinfo import ZoneInfo

from onhook.appdb.appdb import AppDb
from onhook.appdb.asterisks import AsteriskPbx
from onhook.cli.commands import CommandGroup
from onhook.cli.formats import format_optional_time, print_table
from onhook.cli.open_appdb import open_appdb
from onhook.cli.options import DataOption, ZoneOption, load_reader_zone, print_note
from onhook.lib.clock import SystemClock
from onhook.lib.messages import _
from onhook.lib.text import UNKNOWN
from onhook.pbx.asterisk.connection import find_trunks
from onhook.pbx.asterisk.trunks import describe_unknown_trunks
from onhook.sync.asterisk_sync import find_open_gaps

app = CommandGroup(add_completion=False, help=_("Show AMI connections."), epilog="Example: onhook asterisk list")


@app.callback()
def group() -> None:
    """Keep the group's name: with one command alone Typer would drop it."""


@app.command("list", epilog="Example: onhook asterisk list")
async def list_asterisks(zone: ZoneOption = None, data: DataOption = None) -> None:
    """List the Asterisk PBXs with an AMI connection: connected since, CDR source, gaps."""
    reader_zone = load_reader_zone(data, zone)
    async with open_appdb(data) as appdb:
        names = {pbx.sn: pbx.name for pbx in await appdb.pbxs()}
        asterisks = await appdb.asterisks.all()
        rows = [
            await _format_row(appdb, asterisk, names.get(asterisk.sn, asterisk.sn), reader_zone)
            for asterisk in asterisks
        ]
    print_table(rows, ("name", "address", "connected", "received until", "CDR source", "trunks", "gaps"))
    for asterisk in asterisks:
        if _find_trunks(asterisk) is None:
            name = names.get(asterisk.sn, asterisk.sn)
            detail, hint = describe_unknown_trunks(name)
            print_note(_("{pbx}: {detail}; {hint}", pbx=name, detail=detail, hint=hint))


def _find_trunks(asterisk: AsteriskPbx) -> tuple[str, ...] | None:
    return find_trunks(asterisk.trunks, asterisk.detected_config)


async def _format_row(appdb: AppDb, asterisk: AsteriskPbx, name: str, zone: ZoneInfo) -> list[str]:
    source = await appdb.cdr_sources.get(asterisk.sn)
    trunks = _find_trunks(asterisk)
    return [
        name,
        f"{asterisk.host}:{asterisk.port}",
        "yes" if asterisk.is_connected else asterisk.error or "never",
        format_optional_time(asterisk.covered_until, zone),
        UNKNOWN if source is None else source.location,
        UNKNOWN if trunks is None else ", ".join(trunks),
        str(len(await find_open_gaps(appdb, asterisk.sn, SystemClock().now()))),
    ]
