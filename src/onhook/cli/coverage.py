"""`onhook coverage`: verified complete times and gaps."""

from typing import Annotated
from zoneinfo import ZoneInfo

import typer

from onhook.cdr.coverage import Interval, fill_gaps
from onhook.cdr.record_filter import parse_period
from onhook.cli.commands import CommandGroup
from onhook.cli.destination import TableOrJsonFormat
from onhook.cli.formats import encode_json, print_table
from onhook.cli.open_appdb import open_appdb
from onhook.cli.options import DataOption, ZoneOption, load_reader_zone, option_with_default
from onhook.lib.clock import SystemClock
from onhook.lib.messages import _
from onhook.lib.text import UNKNOWN
from onhook.lib.timestamps import format_time

app = CommandGroup(add_completion=False)

SinceOption = Annotated[
    str,
    typer.Option("--since", metavar="TIME", help=_("Calls that ended at or after this time, as for `onhook calls`")),
]
UntilOption = Annotated[str, typer.Option("--until", metavar="TIME", help=_("Calls that ended before this time"))]


@app.command(epilog="Example: onhook coverage --pbx Office --since 30d")
async def coverage(
    *,
    pbx: Annotated[
        str | None, option_with_default("--pbx", metavar="NAME", help_text=_("Only this PBX"), default="all")
    ] = None,
    since: SinceOption = "7d",
    until: UntilOption = "now",
    output_format: TableOrJsonFormat = "table",
    zone: ZoneOption = None,
    data: DataOption = None,
) -> None:
    """Show which times are verified complete, which are connected, and the gaps, with reasons."""
    reader_zone = load_reader_zone(data, zone)
    begin, end = parse_period(since, until, reader_zone, SystemClock().now())
    async with open_appdb(data) as appdb:
        pbxs = [await appdb.pbx(pbx)] if pbx else await appdb.pbxs()
        pbx_intervals = [
            (listed_pbx, fill_gaps(await appdb.sync_states.intervals(listed_pbx.sn), begin, end)) for listed_pbx in pbxs
        ]
    if output_format == "json":
        rows = [
            {"pbx": listed_pbx.name, "sn": listed_pbx.sn, "intervals": intervals}
            for listed_pbx, intervals in pbx_intervals
        ]
        print(encode_json(rows))
        return
    print_table(
        [
            [listed_pbx.name, *_format_cells(interval, reader_zone)]
            for listed_pbx, intervals in pbx_intervals
            for interval in intervals
        ],
        ("pbx", "from", "until", "state", "reason"),
    )


def _format_cells(interval: Interval, zone: ZoneInfo) -> list[str]:
    return [
        format_time(interval.since, zone),
        format_time(interval.until, zone),
        interval.state,
        interval.reason or UNKNOWN,
    ]
