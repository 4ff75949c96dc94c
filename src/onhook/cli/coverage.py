"""`onhook coverage`: which stretches are surely complete, and which are gaps."""

from datetime import datetime
from typing import Annotated
from zoneinfo import ZoneInfo

import msgspec
import typer

from onhook.cdr.coverage import Stretch, within
from onhook.cdr.record_filter import parse_moment
from onhook.cdr.utc_offset import zone_named
from onhook.cli.destination import SubscriptionFormat
from onhook.cli.formats import UNKNOWN, show_table
from onhook.cli.open_appdb import open_settings
from onhook.cli.options import DataOption, ZoneOption, configured
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
    form: SubscriptionFormat = "table",
    zone: ZoneOption = None,
    data: DataOption = None,
) -> None:
    """Show which stretches are surely complete and why, and the gaps."""
    reader = zone_named(configured(data=data, zone=zone).zone)
    now = SystemClock().now()
    begin, end = (parse_moment(text, reader, now, name=name) for name, text in (("--since", since), ("--until", until)))
    if begin >= end:
        raise UsageError("--since is not before --until", todo="turn them round")
    with open_settings(data) as settings:
        pbxs = [settings.pbx(pbx)] if pbx else settings.pbxs()
        known = [(one, within(settings.receiving.stretches(one.sn), begin, end)) for one in pbxs]
    if form == "json":
        rows = [{"pbx": one.name, "sn": one.sn, "stretches": stretches} for one, stretches in known]
        print(msgspec.json.encode(rows).decode())
        return
    show_table(
        [[one.name, *_cells(stretch, reader)] for one, stretches in known for stretch in stretches],
        ("pbx", "from", "until", "state", "why"),
    )


def _cells(stretch: Stretch, zone: ZoneInfo) -> list[str]:
    return [_local(stretch.since, zone), _local(stretch.until, zone), stretch.state, stretch.why or UNKNOWN]


def _local(moment: datetime, zone: ZoneInfo) -> str:
    """To the minute: coverage is not about seconds."""
    return moment.astimezone(zone).isoformat(sep=" ", timespec="minutes")
