"""`onhook export-events`: raw events as a file, for another data directory."""

from contextlib import aclosing
from pathlib import Path
from typing import Annotated

import typer

from onhook.cdr.record_filter import parse_time
from onhook.cdr.utc_offset import get_zone
from onhook.cli.commands import CommandGroup
from onhook.cli.options import DataOption, load_config, option_with_default
from onhook.cli.private_file import private_file
from onhook.lib.clock import SystemClock
from onhook.lib.messages import _, _n
from onhook.lib.timestamps import to_microseconds
from onhook.ops.event_transfer import export_events as transfer_events
from onhook.ops.instance_lock import check_data_directory, has_ledger, no_data_error
from onhook.runtime.engines import ENGINES

app = CommandGroup(add_completion=False)


@app.command(epilog="Example: onhook export-events since-upgrade.jsonl --since 2026-11-28")
async def export_events(
    file: Annotated[Path, typer.Argument(metavar="FILE", help=_("Target, with one event per line"))],
    *,
    since: Annotated[
        str | None,
        option_with_default("--since", metavar="TIME", help_text=_("Only events received since then"), default="all"),
    ] = None,
    data: DataOption = None,
) -> None:
    """Write raw events to a file that `onhook import-events` reads, also while the server runs. The file appears when
    it is complete, readable for its owner alone.
    """
    config = load_config(data=data)
    check_data_directory(config)
    if not has_ledger(config):
        raise no_data_error(config)
    since_us = to_microseconds(parse_time(since, get_zone(config.zone), SystemClock().now())) if since else 0
    ledger = ENGINES.open_ledger(config)
    count = 0
    try:
        with private_file(file) as output:
            async with aclosing(transfer_events(ledger, since_us)) as lines:
                async for part in lines:
                    output.write(b"".join(part))
                    count += len(part)
    finally:
        await ledger.close()
    print(_n("{count} event written to {file}.", "{count} events written to {file}.", count, count=count, file=file))
