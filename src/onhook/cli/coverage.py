"""`onhook coverage`: which stretches are surely complete, and which are gaps."""

from datetime import datetime
from typing import Annotated
from zoneinfo import ZoneInfo

import msgspec
import typer

from onhook.cdr.coverage import Interval, fill_gaps
from onhook.cdr.record_filter import parse_time
from onhook.cdr.utc_offset import get_zone
from onhook.cli.destination import TableOrJsonFormat
from onhook.cli.formats import UNKNOWN, print_table
from onhook.cli.open_appdb import open_appdb
from onhook.cli.options import DataOption, ZoneOption, load_config
from onhook.lib.clock import SystemClock
from onhook.lib.errors import UsageError

app = typer.Typer(add_completion=False)

SinceOption = Annotated[
    str, typer.Option("--since", metavar="TIME", help="Calls that ended from then on, as for `onhook calls`.")
]
UntilOption = Annotated[str, typer.Option("--until", metavar="TIME", help="Calls that ended before then.")]


@app.command(epilog="Example: onhook coverage --pbx Office --since 30d")
def coverage(
    *,
    pbx: Annotated[str | None, typer.Option("--pbx", metavar="NAME", help="One PBX alone.", show_default="all")] = None,
    since: SinceOption = "7d",
    until: UntilOption = "now",
    form: TableOrJsonFormat = "table",
    zone: ZoneOption = None,
    data: DataOption = None,
) -> None:
    """Show which stretches are surely complete and why, and the gaps."""
    reader_zone = get_zone(load_config(data=data, zone=zone).zone)
    now = SystemClock().now()
    start, end = (
        parse_time(text, reader_zone, now, name=name) for name, text in (("--since", since), ("--until", until))
    )
    if start >= end:
        raise UsageError("--since is not before --until", todo="turn them round")
    with open_appdb(data) as appdb:
        pbxs = [appdb.pbx(pbx)] if pbx else appdb.pbxs()
        pbx_intervals = [
            (listed_pbx, fill_gaps(appdb.receiving.stretches(listed_pbx.sn), start, end)) for listed_pbx in pbxs
        ]
    if form == "json":
        rows = [
            {"pbx": listed_pbx.name, "sn": listed_pbx.sn, "stretches": intervals}
            for listed_pbx, intervals in pbx_intervals
        ]
        print(msgspec.json.encode(rows).decode())
        return
    print_table(
        [
            [listed_pbx.name, *_format_cells(interval, reader_zone)]
            for listed_pbx, intervals in pbx_intervals
            for interval in intervals
        ],
        ("pbx", "from", "until", "state", "why"),
    )


def _format_cells(stretch: Interval, zone: ZoneInfo) -> list[str]:
    return [
        _format_minute(stretch.since, zone),
        _format_minute(stretch.until, zone),
        stretch.state,
        stretch.why or UNKNOWN,
    ]


def _format_minute(moment: datetime, zone: ZoneInfo) -> str:
    """To the minute: coverage is not about seconds."""
    return moment.astimezone(zone).isoformat(sep=" ", timespec="minutes")
